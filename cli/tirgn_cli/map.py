"""`tirgn data map`: data of any form into a folder that is read from the disk where it is looked at."""

from pathlib import Path
from typing import Annotated, Any

import typer

from tirgn_cli import complete, options


def map_data(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            autocompletion=complete.data,
            help="folder in the RE-GCN text format, event table, or 'sim' for the simulated world",
        ),
    ],
    out: Annotated[
        Path,
        options.option(
            "--out",
            metavar="DIR",
            help="folder of the mapped graph; one that is in it is replaced (required)",
            panel=options.OUTPUT,
        ),
    ],
    name: Annotated[
        str | None,
        options.option(
            metavar="TEXT", help="shown with every result (default: the source's own)", panel=options.OUTPUT
        ),
    ] = None,
    history: Annotated[
        bool,
        options.option(
            "--history",
            help="build the index of the past too (default: the first training does)",
            panel=options.OUTPUT,
        ),
    ] = False,
    memory_mb: Annotated[
        int,
        options.option(
            min=16, metavar="MIB", help="with --history, memory for building it (default: 2048)", panel=options.OUTPUT
        ),
    ] = 2048,
    num_days: options.NumDays = None,
    max_events: options.MaxEvents = None,
    granularity: options.Granularity = None,
    time_format: options.TimeFormat = None,
    columns: options.Columns = None,
    skip_bad_rows: options.SkipBadRows = None,
    as_json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Make a mapped graph of data: a folder of one npy file per column, for facts and an index of
    the past that exceed memory. Every command takes it as --data-path.

    A folder whose files are in order of time is written as it is read; other data are
    read into memory first.

    Example: tirgn data map data/ICEWS14s --out data/icews14s-mapped

    Example: tirgn data map events.parquet --num-days 0 --out data/mapped --history
    """
    from tirgn_cli import show
    from tirgn_eqx.runtime.malloc import keep_freed_memory

    keep_freed_memory()
    with show.clean_stdout():
        from tirgn_eqx.data import map_data as run
        from tirgn_eqx.data.index.history import mapped_vocabulary

        load = options.given(
            num_days=num_days,
            max_events=max_events,
            granularity=granularity,
            time_format=time_format,
            columns=columns,
            skip_bad_rows=skip_bad_rows,
        )
        graph = run(source, out, name=name, **load)
        told: dict[str, Any] = {"folder": str(out)} | graph.describe() | {"bytes": _size(out, "facts-*")}
        if history:
            vocabulary = mapped_vocabulary(graph, memory_mb=memory_mb)
            told["history"] = vocabulary.report()
    if as_json:
        show.document(told)
        return
    report = told.pop("history", {})
    title, sha256 = f"{told.pop('folder')}, written", told.pop("sha256")
    show.result(show.pairs(title, told))
    if report:
        show.result(show.pairs("History", {name.replace("_", " "): value for name, value in report.items()}))
    show.line(show.stdout(), f"sha256 {sha256}")


def _size(folder: Path, pattern: str) -> int:
    return sum(file.stat().st_size for place in folder.expanduser().glob(pattern) for file in place.iterdir())
