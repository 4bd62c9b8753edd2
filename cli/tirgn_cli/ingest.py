"""`tirgn data ingest`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tirgn_cli import options, output, tables, values
from tirgn_cli.common import check_writable
from tirgn_eqx.errors import ConfigError
from tirgn_eqx.ingest.options import CHOICES, IngestOptions
from tirgn_eqx.runtime.malloc import keep_freed_memory

if TYPE_CHECKING:
    from tirgn_eqx.ingest.api import IngestProgress
    from tirgn_eqx.ingest.documents import IngestReport

EVENTS = "Events"
UNREADABLE = 3  # exit code: done, except for files that cannot be read
ROWS_SHOWN = 5


def _all_choices(kind: str) -> list[str]:
    """The choices of any source, each once."""
    return list(dict.fromkeys(choice for known in CHOICES.values() for choice in getattr(known, kind)))


@options.command(compiles=False)
def ingest(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="PATH...", help="raw event files (plain, .zip or .gz), or folders that hold them"),
    ],
    *,
    out: Annotated[
        Path | None,
        options.option(
            metavar="FILE",
            help="event table to make or to add to; its report and its malformed lines go to files beside it "
            f"(default: {values.events_file('SOURCE')})",
            panel=options.OUTPUT,
        ),
    ] = None,
    source: Annotated[
        str, options.choice(choices=CHOICES, help="whose files they are (default: gdelt)", panel=EVENTS)
    ] = "gdelt",
    actor: Annotated[
        str,
        options.choice(
            choices=_all_choices("actor"),
            help="what an entity is: the actor's name, country or, of GDELT, CAMEO code (default: name)",
            panel=EVENTS,
        ),
    ] = "name",
    relation: Annotated[
        str | None,
        options.choice(
            choices=_all_choices("relation"),
            help="what a relation is. GDELT and ICEWS: event code with quad class (010_Q1), event code, base code, "
            "root code; ICEWS: also the text of the code; POLECAT: the type of the event, or type and mode (default: "
            "code_quad of GDELT, text of ICEWS, type of POLECAT)",
            panel=EVENTS,
        ),
    ] = None,
    time: Annotated[
        str | None,
        options.choice(
            choices=_all_choices("time"),
            help="time of an event: when it became known (GDELT's DATEADDED, POLECAT's Publication Date), or the day "
            "on which it happened (default: added; ICEWS has the day alone)",
            panel=EVENTS,
        ),
    ] = None,
    quad_class: Annotated[
        str, options.option(metavar="N,N", help="quad classes to keep, such as 1,2 (default: 1,2,3,4)", panel=EVENTS)
    ] = "1,2,3,4",
    root_only: Annotated[
        bool,
        options.option(
            "--root-only",
            help="GDELT: keep only events from the lead paragraph of a document (default: all)",
            panel=EVENTS,
        ),
    ] = False,
    min_mentions: Annotated[
        int,
        options.option(
            min=0, metavar="N", help="GDELT: keep events with at least N mentions (default: 0)", panel=EVENTS
        ),
    ] = 0,
    drop_generic_actors: Annotated[
        bool,
        options.option(
            "--drop-generic-actors",
            help="drop events of POLICE, Citizen (India) and other names that stand for many actors (default: keep)",
            panel=EVENTS,
        ),
    ] = False,
    keep_duplicates: Annotated[
        bool,
        options.option(
            "--keep-duplicates",
            help="keep events that repeat a fact: same entities, relation and time under another id (default: count "
            "and drop)",
            panel=EVENTS,
        ),
    ] = False,
    attributes: Annotated[
        bool,
        options.option(
            "--attributes",
            help="keep countries and sectors of the actors too, of which --static-words makes a static graph (default: "
            "leave out)",
            panel=EVENTS,
        ),
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Make an event table of raw files of GDELT, ICEWS or POLECAT, or add new events to it.

    Malformed lines go to NAME.rejects.tsv beside the table; NAME.repeats.parquet keeps the ids of dropped repeated
    facts and moves with the table. Exit code 3: the table is made, but the report names files that cannot be read; 1:
    all lines are malformed.

    Example: tirgn data ingest data/gdelt/raw --out events.parquet

    Example: tirgn data ingest raw --quad-class 3,4 --root-only --drop-generic-actors

    Example: tirgn data ingest data/icews/raw --source icews --attributes --out icews.parquet
    """
    chosen = IngestOptions(
        source=source,
        actor=actor,
        relation=relation or "",
        time=time or "",
        quad_class=_quad_classes(quad_class),
        root_only=root_only,
        min_mentions=min_mentions,
        drop_generic_actors=drop_generic_actors,
        keep_duplicates=keep_duplicates,
        attributes=attributes,
    )
    out = out or values.events_file(source)
    # Before the raw files are read, which may take long.
    if out.suffix != ".parquet":
        raise ConfigError(f"--out {out}: an event table is a .parquet file; give it this ending")

    check_writable(out)
    keep_freed_memory()

    with output.stdout_to_stderr():
        from tirgn_eqx.ingest.api import ingest as make_table

        with _show_progress() as on_progress:
            report = make_table(paths, out, chosen, on_progress=on_progress)
    if as_json:
        output.print_json(report.model_dump())
    else:
        _show(report)
    malformed, read = report.rows["malformed"], report.rows["read"]
    # A few malformed lines are normal; many mean that the files are not as their source writes them.
    if malformed and malformed == read:
        output.print_error(report.describe_malformed())
        raise typer.Exit(1)
    if 10 * malformed > read:
        output.print_warning(report.describe_malformed())
    elif malformed and not as_json:
        output.print_note(report.describe_malformed())
    if unreadable := report.files.unreadable:
        output.print_error(
            f"{len(unreadable)} of {report.files.found} files cannot be read, first {unreadable[0].file}: "
            f"{unreadable[0].reason}; fetch them again and repeat the command"
        )
        raise typer.Exit(UNREADABLE)


def _quad_classes(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part in ("1", "2", "3", "4") for part in parts):
        raise ConfigError(f"--quad-class {text!r}: must be some of 1, 2, 3, 4, like 1,2")
    return tuple(int(part) for part in parts)


@contextmanager
def _show_progress() -> "Iterator[Callable[[IngestProgress], None] | None]":
    """Show on a terminal how far the ingest is."""
    from rich.text import Text

    console = output.stderr()
    if not console.is_terminal or output.quiet:
        yield None
        return
    with output.share_console(console), output.spinner(console, "reading") as status:
        yield lambda now: status.update(Text(f"{now.files:,} of {now.total:,} files, {now.rows:,} rows"))


def _show(report: "IngestReport") -> None:
    files = _spell(report.files.model_dump(exclude={"unreadable"}))
    tables.print_table(tables.make_pairs("Files", files | {"unreadable": len(report.files.unreadable)}))
    tables.print_table(tables.make_pairs("Rows", {"read": report.rows["read"]} | _spell(report.rows)))
    if report.malformed.reasons:
        tables.print_table(tables.make_pairs("Malformed rows by reason", report.malformed.reasons))
        rows = [[bad.file, bad.line, bad.reason] for bad in report.malformed.first[:ROWS_SHOWN]]
        tables.print_table(tables.make_table("", ["first", "line", "reason"], rows))
    if any(report.noted.values()):
        tables.print_table(tables.make_pairs("Noted in well-formed rows", _spell(report.noted)))
    if any(report.late.values()):
        tables.print_table(tables.make_pairs("Days late", _spell(report.late)))
    events = {name.replace("_", " "): value for name, value in report.events}
    tables.print_table(tables.make_pairs(f"{report.table}, {'written' if report.written else 'unchanged'}", events))
    for name, gaps in report.missing.items():
        if gaps.count:
            rows = [[gap.first, gap.last, gap.count] for gap in gaps.ranges[:ROWS_SHOWN]]
            more = len(gaps.ranges) - len(rows)
            caption = f"and {more:,} more ranges, see the report" if more else ""
            title = f"{gaps.count:,} missing {name.replace('_', ' ')}"
            tables.print_table(tables.make_table(title, ["first", "last", "count"], rows, caption))


def _spell(counts: dict[str, int]) -> dict[str, int]:
    """The counts above 0, by names in plain words."""
    return {name.replace("_", " "): count for name, count in counts.items() if count}
