"""`tirgn data collect`: fetches GDELT's event files."""

import datetime as dt
from pathlib import Path
from typing import Annotated, Any

from tirgn_cli import options
from tirgn_eqx.errors import ConfigError, IncompleteError
from tirgn_eqx.gdelt.feed import BASE_URL, FEEDS, parse_span, parse_time

SHOWN = 20  # rows of a table; --json has them all
SERVER = "Server"


def collect(
    directory: Annotated[
        Path,
        options.option(
            "--dir",
            metavar="DIR",
            help="folder of the files; what is there already is checked, not fetched again (required)",
            panel=options.DATA,
        ),
    ],
    start: Annotated[
        str | None,
        options.option(
            "--from",
            metavar="DATE",
            help="first UTC day, like 2024-01-31, or time, like 2024-01-31T06:15, included (default: --last)",
            panel=options.DATA,
        ),
    ] = None,
    end: Annotated[
        str | None,
        options.option(
            "--to",
            metavar="DATE",
            help="last UTC day, which counts whole, or last time, included (default: now)",
            panel=options.DATA,
        ),
    ] = None,
    last: Annotated[
        str | None,
        options.option(
            "--last",
            metavar="30d|36h",
            help="instead of --from and --to, so many days or hours up to now (default: --from)",
            panel=options.DATA,
        ),
    ] = None,
    feed: Annotated[
        str,
        options.option(
            metavar="|".join(FEEDS),
            help="v2: GDELT 2.0, a file each quarter hour; v1: GDELT 1.0, a file each day (default: v2)",
            autocompletion=lambda: list(FEEDS),
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
        int,
        options.option(min=1, max=32, metavar="N", help="files fetched at a time (default: 6)", panel=SERVER),
    ] = 6,
    tries: Annotated[
        int,
        options.option(min=1, metavar="N", help="attempts for each file (default: 5)", panel=SERVER),
    ] = 5,
    timeout: Annotated[
        float,
        options.option(
            min=0.1, metavar="SECONDS", help="wait for an answer at most so long (default: 30)", panel=SERVER
        ),
    ] = 30.0,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Collect GDELT's event files of a range of time, each checked by size, md5 and a look into its zip.

    Broken off, the same command goes on where it was. Files that could not be had leave the others alone and end
    with exit code 3; quarter hours or days that GDELT does not have are listed, and are no error.

    Example: tirgn data collect --from 2024-01-01 --to 2024-01-31 --dir data/gdelt/raw

    Example: tirgn data collect --last 36h --dir data/gdelt/raw --json
    """
    span = _range(start, end, last)

    from tirgn_cli import show
    from tirgn_cli.collecting import CollectingView

    if quiet:
        show.only_warnings()
    with show.clean_stdout():
        from tirgn_eqx.gdelt import collect as collecting
        from tirgn_eqx.storage.download import Patience

        patience = Patience(tries=tries, timeout=timeout)
        with CollectingView(quiet=quiet) as view:
            result = collecting.collect(
                directory,
                *span,
                feed=feed,
                base_url=base_url,
                workers=workers,
                patience=patience,
                on_record=view,
            )
    if as_json:
        show.document(result)
    else:
        _show(result)
    if result["status"] != "complete":
        raise IncompleteError(_incomplete(result))


def _range(start: str | None, end: str | None, last: str | None) -> tuple[dt.datetime, dt.datetime]:
    """The range of time that the options name, both ends included."""
    now = dt.datetime.now(dt.UTC)
    if last is not None:
        if start is not None or end is not None:
            raise ConfigError("--last: stands for --from and --to; give it, or them")
        try:
            return now - parse_span(last), now
        except (ConfigError, OverflowError) as error:
            raise ConfigError(f"--last {error}") from error
    if start is None:
        raise ConfigError("--from: missing; give a day like 2024-01-31, or --last 30d")
    return _time("--from", start, end=False), now if end is None else _time("--to", end, end=True)


def _time(option: str, text: str, *, end: bool) -> dt.datetime:
    try:
        return parse_time(text, end=end)
    except ConfigError as error:
        raise ConfigError(f"{option} {error}") from error


def _incomplete(result: dict[str, Any]) -> str:
    failed, listed = result["failed"], result["listed"]
    if not failed:
        return (
            f"the server has none of the {listed:,} files that it lists, from {result['from']} to {result['to']}; "
            "is --base-url a mirror with all its files?"
        )
    first = f"{failed[0]['url']}: {failed[0]['why']}"
    return f"{len(failed):,} of {listed:,} files could not be had, first {first}; the same command tries them again"


def _show(result: dict[str, Any]) -> None:
    from tirgn_cli import show

    missing, listing = result["missing"], result["list"]
    unit = "quarter hours" if result["feed"] == "v2" else "days"
    after = listing["files_after_newest"]
    show.result(
        show.pairs(
            f"GDELT {result['feed']} in {show.printable(result['directory'])}",
            {
                "from": result["from"],
                "to": result["to"],
                "listed": result["listed"],
                "there already": result["present"],
                "fetched": f"{result['fetched']:,}, {show.size(result['bytes_fetched'])}",
                "failed": len(result["failed"]),
                f"missing {unit}": missing["count"],
                "not listed yet": f"{after:,}, after {listing['newest']}" if after else None,
                "malformed lines": listing["malformed"]["count"] or None,
                "lines that repeat": listing["duplicates"] or None,
                "time": show.duration(result["seconds"]),
            },
        )
    )
    _rows(
        f"Missing {unit}",
        ["from", "to", "count", "why"],
        [[run["from"], run["to"], run["count"], run["why"]] for run in missing["ranges"]],
    )
    _rows("Failed", ["file", "why"], [[end["name"], end["why"]] for end in result["failed"]])
    _rows(
        "Malformed lines of the list",
        ["line", "why", "text"],
        [[f"{bad['list']}:{bad['line']}", bad["why"], bad["text"]] for bad in listing["malformed"]["first"]],
    )


def _rows(title: str, columns: list[str], rows: list[list[Any]]) -> None:
    from tirgn_cli import show

    if rows:
        more = f"and {len(rows) - SHOWN:,} more; --json has them all" if len(rows) > SHOWN else ""
        show.result(show.table(title, columns, rows[:SHOWN], more))
