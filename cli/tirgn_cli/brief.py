"""`tirgn brief`: a page about what may come next."""

from pathlib import Path
from typing import Annotated

from tirgn_cli import options, output, tables
from tirgn_cli.common import check_outputs, check_writable
from tirgn_eqx.runtime.malloc import keep_freed_memory
from tirgn_eqx.storage.atomic_write import write_text


@options.command()
def brief(
    checkpoint: options.Checkpoint,
    *,
    out: Annotated[
        Path, options.option(metavar="FILE", help="the page (default: briefing.html)", panel=options.OUTPUT)
    ] = Path("briefing.html"),
    horizon: Annotated[
        int,
        options.option(min=1, metavar="H", help="steps within which the events come (default: 7)", panel=options.QUERY),
    ] = 7,
    at: options.At = None,
    top: Annotated[
        int,
        options.option(
            min=1,
            max=200,
            metavar="N",
            help="events in the list of the most probable and in that of the most unusual ones (default: 20)",
            panel=options.OUTPUT,
        ),
    ] = 20,
    actors: Annotated[
        int,
        options.option(
            min=0,
            max=200,
            metavar="N",
            help="actors with a list of their own, the most active ones (default: 24)",
            panel=options.OUTPUT,
        ),
    ] = 24,
    actor: Annotated[
        list[str] | None,
        options.option(
            metavar="NAME",
            help="an actor with a list of its own, however active; repeatable (default: none)",
            panel=options.QUERY,
        ),
    ] = None,
    journal: Annotated[
        Path | None,
        options.option(
            metavar="DIR",
            help="folder of a journal, as of `tirgn predict --journal`: the page shows how good its forecasts were, "
            "and what the page forecasts is then written to it (default: none)",
            panel=options.OUTPUT,
        ),
    ] = None,
    title: Annotated[
        str | None,
        options.option(metavar="TEXT", help="title of the page (default: data set and times)", panel=options.OUTPUT),
    ] = None,
    data_path: Annotated[
        str | None,
        options.data_path(
            "folder, event table or 'sim' that holds the history (default: the data that it was trained on)"
        ),
    ] = None,
    reading: options.ReadingFlags,
    as_json: options.Json = False,
) -> None:
    """Write a briefing: what is most probable and what is most unusual in the next steps, and by actor, each with the
    past events behind it.

    The checkpoint needs an event model. The page is one HTML file that loads nothing from elsewhere: it can be mailed,
    printed, and read on a phone or by a screen reader. With --json, the same is printed as data, too. With --journal,
    the page says how good former briefings were.

    Example: tirgn brief models/events/tirgn_best.npz --out briefing.html

    Example: tirgn brief models/events/tirgn_best.npz --horizon 30 --actor RUSSIA --actor UKRAINE

    Example: tirgn brief models/events/tirgn_best.npz --data-path events.parquet --journal journal
    """
    keep_freed_memory()
    check_outputs({"--out": out}, checkpoint, data_path)
    if journal is not None:
        check_writable(journal, folder=True)
    with output.stdout_to_stderr():
        from tirgn_eqx.checkpoint.models import load_event_model
        from tirgn_eqx.forecast.events import EventForecaster
        from tirgn_eqx.forecast.recorder import ForecastRecorder
        from tirgn_eqx.report.briefing import BriefingOptions, make_briefing, read_record
        from tirgn_eqx.report.briefing_page import render_briefing

        recorder = None if journal is None else ForecastRecorder(journal, checkpoint)
        metadata = load_event_model(checkpoint)[2]
        forecaster = EventForecaster.load(checkpoint, data_path, at=at, **reading.given())
        check_outputs({"--out": out}, forecaster.graph.provenance.get("path"))
        record = None if journal is None else read_record(journal, forecaster)
        wanted = BriefingOptions(horizon=horizon, top=top, actors=actors, watched=tuple(actor or ()))
        with output.working(f"forecasting {horizon:,} steps from {forecaster.time} on"):
            briefing = make_briefing(forecaster, str(checkpoint), metadata, wanted, record)
        page = render_briefing(briefing, title)
        write_text(out, page)
        # The two lists alone, whose choice the journal can say: first the page, which tells what was over before.
        if recorder is not None:
            for facts, by in ((briefing.probable, "probability"), (briefing.unusual, "lift")):
                kept = recorder.record(forecaster, facts, horizon=horizon, number=top, by=by)
                output.print_note(f"{kept.written:,} forecasts written to {kept.file}, {kept.repeated:,} were there")
    size = len(page.encode())
    if as_json:
        output.print_json({"briefing": str(out), "bytes": size} | briefing.to_dict())
    else:
        found = f"{len(briefing.probable)} probable and {len(briefing.unusual)} unusual events, {len(briefing.actors)} "
        output.print_result(f"{out}: {tables.format_size(size)}, {found}actors, {briefing.time} to {briefing.until}")
