"""`tirgn data collect`."""

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tirgn_cli import options, output, tables
from tirgn_eqx.errors import ConfigError, IncompleteError
from tirgn_eqx.gdelt.feed import BASE_URL, FEEDS, parse_span, parse_time

if TYPE_CHECKING:
    from tirgn_eqx.gdelt.documents import CollectReport

ROWS_SHOWN = 20  # of a table; --json has all rows
SERVER = "Server"


@options.command(compiles=False)
def collect(
    *,
    directory: Annotated[
        Path,
        options.option(
            "--dir",
            metavar="DIR",
            help="folder of the files; files that are there already are checked, not fetched again (required)",
            panel=options.DATA,
        ),
    ],
    start: Annotated[
        str | None,
        options.option(
            "--from",
            metavar="DATE",
            help="first UTC day, like 2024-01-31, or first time, like 2024-01-31T06:15 (default: --last)",
            panel=options.DATA,
        ),
    ] = None,
    end: Annotated[
        str | None,
        options.option(
            "--to",
            metavar="DATE",
            help="last UTC day, which is included as a whole, or last time (default: now)",
            panel=options.DATA,
        ),
    ] = None,
    last: Annotated[
        str | None,
        options.option(
            "--last",
            metavar="30d|36h",
            help="instead of --from and --to, this many days or hours up to now (default: --from)",
            panel=options.DATA,
        ),
    ] = None,
    feed: Annotated[
        str,
        options.choice(
            choices=FEEDS,
            help="v2: GDELT 2.0, a file each quarter hour; v1: GDELT 1.0, a file each day (default: v2)",
            panel=options.DATA,
        ),
    ] = "v2",
    base_url: Annotated[
        str,
        options.option(
            "--base-url",
            metavar="URL",
            help=f"GDELT's server, or a mirror with the same paths (default: {BASE_URL})",
            panel=SERVER,
        ),
    ] = BASE_URL,
    workers: Annotated[
        int, options.option(min=1, max=32, metavar="N", help="files to fetch at a time (default: 6)", panel=SERVER)
    ] = 6,
    tries: Annotated[
        int, options.option(min=1, metavar="N", help="attempts for each file (default: 5)", panel=SERVER)
    ] = 5,
    timeout: Annotated[
        float, options.option(min=0.1, metavar="SECONDS", help="longest wait for an answer (default: 30)", panel=SERVER)
    ] = 30.0,
    as_json: options.Json = False,
) -> None:
    """Collect GDELT's event files of a range of time, and verify each by its size, md5 and zip archive.

    After an interruption, the same command continues. Files that cannot be fetched do not stop the others and lead to
    exit code 3; quarter hours or days that GDELT does not have are listed, and are no error.

    Example: tirgn data collect --from 2024-01-01 --to 2024-01-31 --dir data/gdelt/raw

    Example: tirgn data collect --last 36h --dir data/gdelt/raw --json
    """
    span = _parse_range(start, end, last)

    from tirgn_cli.collect_view import CollectView

    with output.stdout_to_stderr():
        from tirgn_eqx.gdelt.collect import collect as fetch_files
        from tirgn_eqx.storage.download import Patience

        patience = Patience(tries=tries, timeout=timeout)
        with CollectView() as view:
            report = fetch_files(
                *(directory, *span), feed=feed, base_url=base_url, workers=workers, patience=patience, on_record=view
            )
    if as_json:
        output.print_json(report.model_dump())
    else:
        _show(report)
    if report.failed:
        first = f"{report.failed[0].url}: {report.failed[0].why}"
        raise IncompleteError(
            f"{len(report.failed):,} of {report.listed:,} files could not be fetched, first {first}; the same command "
            "tries them again"
        )
    # Nothing failed and yet nothing came: a mirror without its files, rather than gaps of GDELT itself.
    if report.status != "complete":
        raise IncompleteError(
            f"the server has none of the {report.listed:,} files that it lists, from {report.first} to {report.last}; "
            "is --base-url a mirror with all its files?"
        )


def _parse_range(start: str | None, end: str | None, last: str | None) -> tuple[dt.datetime, dt.datetime]:
    """The first and last time of the range that the options name."""
    now = dt.datetime.now(dt.UTC)
    if last is not None:
        if start is not None or end is not None:
            raise ConfigError("--last: takes the place of --from and --to; give one or the other")
        try:
            return now - parse_span(last), now
        # A span of more than two thousand years overflows.
        except (ConfigError, OverflowError) as error:
            raise ConfigError(f"--last {error}") from error
    if start is None:
        raise ConfigError("--from: missing; give a day like 2024-01-31, or --last 30d")
    return _parse_time("--from", start, end=False), now if end is None else _parse_time("--to", end, end=True)


def _parse_time(option: str, text: str, *, end: bool) -> dt.datetime:
    try:
        return parse_time(text, end=end)
    except ConfigError as error:
        raise ConfigError(f"{option} {error}") from error


def _show(report: "CollectReport") -> None:
    unit = "quarter hours" if report.feed == "v2" else "days"
    after = report.list.files_after_newest
    summary = {
        "from": report.first,
        "to": report.last,
        "listed": report.listed,
        "there already": report.present,
        "fetched": f"{report.fetched:,}, {tables.format_size(report.bytes_fetched)}",
        "failed": len(report.failed),
        f"missing {unit}": report.missing.count,
        "not listed yet": f"{after:,}, after {report.list.newest}" if after else None,
        "malformed lines": report.list.malformed.count or None,
        "lines that repeat": report.list.duplicates or None,
        "time": tables.format_duration(report.seconds),
    }
    tables.print_table(tables.make_pairs(f"GDELT {report.feed} in {output.writable(report.directory)}", summary))
    gaps = [[gap.first, gap.last, gap.count, gap.why] for gap in report.missing.ranges]
    failed = [[file.name, file.why] for file in report.failed]
    malformed = [[f"{bad.list}:{bad.line}", bad.why, bad.text] for bad in report.list.malformed.first]
    for title, columns, rows in (
        (f"Missing {unit}", ["from", "to", "count", "why"], gaps),
        ("Failed", ["file", "why"], failed),
        ("Malformed lines of the list", ["line", "why", "text"], malformed),
    ):
        if rows:
            more = f"and {len(rows) - ROWS_SHOWN:,} more; --json has them all" if len(rows) > ROWS_SHOWN else ""
            tables.print_table(tables.make_table(title, columns, rows[:ROWS_SHOWN], more))
