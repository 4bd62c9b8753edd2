"""`tirgn predict`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from tirgn_cli import complete, options
from tirgn_cli.files import check_writable
from tirgn_eqx.errors import ConfigError, printable
from tirgn_eqx.runtime.malloc import keep_freed_memory
from tirgn_eqx.storage.files import replacing

PARTS = ("subject", "relation", "object")
MOST_SHARES = 3


def predict(
    checkpoint: Annotated[
        Path,
        typer.Argument(
            metavar="CKPT",
            help="checkpoint, such as models/tkg/tirgn_best.npz",
            autocompletion=complete.checkpoints,
        ),
    ],
    subject: Annotated[
        str | None, options.option(metavar="NAME", help="who does it (default: asked for)", panel=options.QUESTION)
    ] = None,
    relation: Annotated[
        str | None, options.option(metavar="NAME", help="what is done (default: asked for)", panel=options.QUESTION)
    ] = None,
    object: Annotated[
        str | None, options.option(metavar="NAME", help="to whom (default: asked for)", panel=options.QUESTION)
    ] = None,
    queries: Annotated[
        Path | None,
        options.option(
            metavar="FILE",
            help="CSV or parquet file of questions with columns subject, relation, object (separated by , ; tab or |), "
            "in every row one of them empty; needs --out (default: none)",
            panel=options.QUESTION,
        ),
    ] = None,
    facts: Annotated[
        int,
        options.option(
            min=0,
            metavar="N",
            help="forecast the N most probable facts overall, instead of answering a question (default: 0)",
            panel=options.QUESTION,
        ),
    ] = 0,
    at: Annotated[
        str | None,
        options.option(
            metavar="DATE",
            help="when, such as 2018-02-01 or 2018-02-01T06:00, or a number where the data has no dates; only what "
            "happened before it is known (default: the step after the newest fact)",
            panel=options.QUESTION,
        ),
    ] = None,
    top: Annotated[
        int,
        options.option(min=1, metavar="K", help="answers to every question (default: 10)", panel=options.OUTPUT),
    ] = 10,
    data_path: Annotated[
        str | None,
        options.option(
            metavar="PATH",
            autocompletion=complete.data,
            help="folder, event table or 'sim' with what is known (default: what it was trained on)",
            panel=options.DATA,
        ),
    ] = None,
    num_days: options.NumDays = None,
    max_events: options.MaxEvents = None,
    granularity: options.Granularity = None,
    time_format: options.TimeFormat = None,
    columns: options.Columns = None,
    skip_bad_rows: options.SkipBadRows = None,
    out: Annotated[
        Path | None,
        options.option(
            metavar="FILE",
            help="CSV or parquet file for the answers to --queries (default: none)",
            panel=options.OUTPUT,
        ),
    ] = None,
    as_json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Forecast by name: give two of subject, relation and object, and the third is forecast, with what carries it.

    Example: tirgn predict models/tkg/tirgn_best.npz --subject "UNITED STATES" --relation 042_Q1

    Example: tirgn predict models/tkg/tirgn_best.npz --subject RUSSIA --object UKRAINE --at 2018-02-01 --json

    Example: tirgn predict models/tkg/tirgn_best.npz --queries queries.csv --out answers.parquet
    """
    keep_freed_memory()
    question = (subject, relation, object)
    _check(question, queries, facts, out)

    from tirgn_cli import show

    with show.clean_stdout():
        from tirgn_eqx.forecast.queries import check_names, read_queries

        table = None if queries is None else read_queries(queries)

        from tirgn_eqx.forecast import Forecaster

        load = options.given(
            num_days=num_days,
            max_events=max_events,
            granularity=granularity,
            time_format=time_format,
            columns=columns,
            skip_bad_rows=skip_bad_rows,
        )
        forecaster = Forecaster.load(checkpoint, data_path, at=at, **load)
        if queries is not None and table is not None and out is not None:
            check_names(queries, table, forecaster.names)
            found: Any = {"time": forecaster.time, "questions": table.height, "out": str(out)}
            with show.working(f"answering {table.height:,} questions"):
                write_answers(out, forecaster, table, top)
        elif facts:
            found = {"time": forecaster.time, "facts": [vars(fact) for fact in forecaster.top_facts(facts)]}
        else:
            found = forecaster.forecast(*question, top=top).to_dict()
    found = {"checkpoint": str(checkpoint), "calibrated": bool(forecaster.temperature), **found}
    if as_json:
        show.document(found)
    elif queries is not None:
        show.note(f"{found['questions']:,} questions about {found['time']} answered; the answers are in {out}")
    else:
        _show(found)


def _check(question: tuple[Any, ...], queries: Path | None, facts: int, out: Path | None) -> None:
    """**Raises:** ConfigError unless exactly one thing is asked for."""
    given = [part for part, name in zip(PARTS, question) if name is not None]
    if queries is not None or facts:
        if given or (queries is not None and facts):
            spare, other = f"--{given[0]}" if given else "--facts", "--queries" if queries is not None else "--facts"
            raise ConfigError(f"{spare}: not with {other}; give one of them")
        if (queries is None) != (out is None):
            raise ConfigError("--queries and --out go together; give both")
        if out is not None:
            check_writable(out)
        return
    if out is not None:
        raise ConfigError("--out: for the answers to --queries; use --json for a single one")
    if len(given) != 2:
        have = " and ".join(f"--{part}" for part in given) or "nothing"
        raise ConfigError(f"{have} given; give two of --subject, --relation and --object, and the third is forecast")


def write_answers(path: Path, forecaster: Any, table: Any, top: int) -> None:
    """One row per answer: question (from 1), time, subject, relation, object, asked_for, rank, probability."""
    import polars as pl

    rows = []
    for number, forecast in enumerate(forecaster.forecasts(table.rows(), top=top), start=1):
        given = {part: getattr(forecast, part) for part in PARTS}
        for rank, candidate in enumerate(forecast.candidates, start=1):
            row = {"question": number, "time": forecast.time} | given | {forecast.asked_for: candidate.name}
            rows.append(row | {"asked_for": forecast.asked_for, "rank": rank, "probability": candidate.probability})
    answers = pl.DataFrame(rows)
    # An open file: polars takes no path whose bytes are not UTF-8.
    with replacing(path) as temporary, temporary.open("wb") as file:
        (answers.write_parquet if path.suffix in (".parquet", ".pq") else answers.write_csv)(file)


def _show(found: dict[str, Any]) -> None:
    from tirgn_cli import show

    percent = lambda value: f"{100 * value:.1f} %"
    if "facts" in found:
        rows = [[*(printable(fact[part]) for part in PARTS), percent(fact["probability"])] for fact in found["facts"]]
        title = f"most probable facts of {found['time']}"
        show.result(show.table(title, [*PARTS, "probability"], rows, text=PARTS))
        return
    asked = {part: found.get(part, "?") for part in PARTS}
    title = f"{asked['subject']} - {asked['relation']} - {asked['object']}  at {found['time']}"
    columns, rows = [found["asked_for"], "probability"], []
    for candidate in found["candidates"]:
        row = [candidate["name"], percent(candidate["probability"])]
        rows.append(row + ([_reason(candidate["because"])] if "because" in candidate else []))
    if len(rows[0]) > len(columns):
        columns.append("because")
    show.result(show.table(title, columns, rows, text=["because"]))


def _reason(because: dict[str, Any]) -> str:
    """What carries a candidate, a line for each."""
    last = lambda found: f"{found['events']:,} x, last {found['last']}"
    if "shares" not in because:
        times = f"seen {last(because)}" if because["events"] else "never seen before"
        return f"{times}; {100 * because['from_history']:.0f} % from history"
    lines = []
    for share in because["shares"][:MOST_SHARES]:
        what = share["kind"]
        if what == "event":
            what = printable(f"{share['subject']} - {share['relation']} - {share['object']} ({last(share)})")
        lines.append(f"{100 * share['share']:.0f} % {what}")
    return "\n".join(lines)
