"""`tirgn data ingest`: raw GDELT event files into an event table."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from tirgn_cli import options
from tirgn_eqx.errors import ConfigError
from tirgn_eqx.gdelt.options import ACTORS, RELATIONS, TIMES, IngestOptions
from tirgn_eqx.runtime.malloc import keep_freed_memory

EVENTS = "Events"
UNREADABLE = 3  # exit code: all was done, but for files that cannot be read
_SHOWN = 5


def _choice(name: str, known: Any, help: str) -> Any:
    return options.option(metavar="|".join(known), help=help, panel=name, autocompletion=lambda: list(known))


def ingest(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="PATH...", help="raw event files (plain, .zip or .gz), or folders that hold them"),
    ],
    out: Annotated[
        Path,
        options.option(
            metavar="FILE",
            help=f"event table, made or added to; its report and rejects stand beside it "
            f"(default: {options.EVENTS_FILE})",
            panel=options.OUTPUT,
        ),
    ] = options.EVENTS_FILE,
    actor: Annotated[
        str, _choice(EVENTS, ACTORS, "what an entity is: the actor's name, CAMEO code or country (default: name)")
    ] = "name",
    relation: Annotated[
        str,
        _choice(
            EVENTS,
            RELATIONS,
            "what a relation is: event code with quad class (010_Q1), event code, base code, root code "
            "(default: code_quad)",
        ),
    ] = "code_quad",
    time: Annotated[
        str,
        _choice(
            EVENTS, TIMES, "time of an event: when GDELT knew of it, or the day it is said to be of (default: added)"
        ),
    ] = "added",
    quad_class: Annotated[
        str,
        options.option(metavar="N,N", help="quad classes to keep, such as 1,2 (default: 1,2,3,4)", panel=EVENTS),
    ] = "1,2,3,4",
    root_only: Annotated[
        bool,
        options.option("--root-only", help="keep events of a document's lead alone (default: all)", panel=EVENTS),
    ] = False,
    min_mentions: Annotated[
        int,
        options.option(min=0, metavar="N", help="keep events with at least N mentions (default: 0)", panel=EVENTS),
    ] = 0,
    drop_generic_actors: Annotated[
        bool,
        options.option(
            "--drop-generic-actors",
            help="drop events of POLICE, GOVERNMENT and other names of no one in particular (default: kept)",
            panel=EVENTS,
        ),
    ] = False,
    keep_duplicates: Annotated[
        bool,
        options.option(
            "--keep-duplicates",
            help="keep events that repeat a fact: same entities, relation and time under another GlobalEventID "
            "(default: counted and dropped)",
            panel=EVENTS,
        ),
    ] = False,
    as_json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Make an event table of raw GDELT files, or add to it what is new.

    What is no event goes to NAME.rejects.tsv beside the table. Exit code 3: the table
    is made, but the report names files that cannot be read; 1: not one line is an event.

    Example: tirgn data ingest data/gdelt/raw --out events.parquet

    Example: tirgn data ingest raw --quad-class 3,4 --root-only --drop-generic-actors
    """
    chosen = IngestOptions(
        actor=actor,
        relation=relation,
        time=time,
        quad_class=_quad_classes(quad_class),
        root_only=root_only,
        min_mentions=min_mentions,
        drop_generic_actors=drop_generic_actors,
        keep_duplicates=keep_duplicates,
    )
    if out.suffix != ".parquet":
        raise ConfigError(f"--out {out}: an event table is a .parquet file; give it this ending")

    from tirgn_cli import show
    from tirgn_cli.files import check_writable

    check_writable(out)
    keep_freed_memory()
    with show.clean_stdout():
        from tirgn_eqx.gdelt.ingest import ingest as run

        with _progress() as on_progress:
            report = run(paths, out, chosen, on_progress=on_progress)
    if as_json:
        show.document(report)
    else:
        _show(report)
    malformed, read = report["rows"]["malformed"], report["rows"]["read"]
    if malformed:
        from tirgn_eqx.gdelt.report import malformed_in_words

        # A few such lines are everyday; many tell of files that are not as GDELT writes them.
        if malformed == read:
            show.error(malformed_in_words(report))
            raise typer.Exit(1)
        if 10 * malformed > read:
            show.warning(malformed_in_words(report))
        elif not as_json:
            show.note(malformed_in_words(report))
    unreadable = report["files"]["unreadable"]
    if unreadable:
        first = unreadable[0]
        show.error(
            f"{len(unreadable)} of {report['files']['found']} files cannot be read, first {first['file']}: "
            f"{first['reason']}; fetch them again and repeat the command"
        )
        raise typer.Exit(UNREADABLE)


def _quad_classes(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part in ("1", "2", "3", "4") for part in parts):
        raise ConfigError(f"--quad-class {text!r}: must be some of 1, 2, 3, 4, like 1,2")
    return tuple(int(part) for part in parts)


@contextmanager
def _progress() -> Iterator[Callable[[dict[str, int]], None] | None]:
    """Shows on a terminal how far the ingest has come."""
    from rich.text import Text

    from tirgn_cli import show

    console = show.stderr()
    if not console.is_terminal or show.quiet:
        yield None
        return
    with show.sharing(console), show.status(console, "reading") as status:
        yield lambda now: status.update(Text(f"{now['files']:,} of {now['of']:,} files, {now['rows']:,} rows"))


def _show(report: dict[str, Any]) -> None:
    from tirgn_cli import show

    found, rows, events = report["files"], report["rows"], report["events"]
    words = lambda counts: {name.replace("_", " "): count for name, count in counts.items() if count}
    counts = {name: count for name, count in found.items() if name != "unreadable"}
    show.result(show.pairs("Files", words(counts) | {"unreadable": len(found["unreadable"])}))
    show.result(show.pairs("Rows", {"read": rows["read"]} | words(rows)))
    if report["malformed"]["reasons"]:
        show.result(show.pairs("Malformed rows by reason", report["malformed"]["reasons"]))
        first = report["malformed"]["first"][:_SHOWN]
        show.result(show.table("", ["first", "line", "reason"], [list(reject.values()) for reject in first]))
    if any(report["late"].values()):
        show.result(show.pairs("Days late", words(report["late"])))
    title = f"{report['table']}, {'written' if report['written'] else 'unchanged'}"
    show.result(show.pairs(title, {name.replace("_", " "): value for name, value in events.items()}))
    for name, gaps in report["missing"].items():
        if gaps["count"]:
            rows = [list(gap.values()) for gap in gaps["ranges"][:_SHOWN]]
            more = len(gaps["ranges"]) - len(rows)
            title = f"{gaps['count']:,} missing {name.replace('_', ' ')}"
            caption = f"and {more:,} more ranges, see the report" if more else ""
            show.result(show.table(title, ["first", "last", "count"], rows, caption))
