"""`tirgn data map`: data of any form into a folder of memory-mapped columns."""

from pathlib import Path
from typing import Annotated

import typer

from tirgn_cli import complete, options, output, tables
from tirgn_eqx.runtime.malloc import keep_freed_memory


@options.command(compiles=False)
def map_data(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            autocompletion=complete.data,
            help="folder in the RE-GCN text format, event table, or 'sim' for the simulated world",
        ),
    ],
    *,
    out: Annotated[
        Path,
        options.option(
            "--out",
            metavar="DIR",
            help="folder of the mapped graph, in place of one that is there already (required)",
            panel=options.OUTPUT,
        ),
    ],
    name: Annotated[
        str | None,
        options.option(
            metavar="TEXT", help="name that every result shows (default: the source's own)", panel=options.OUTPUT
        ),
    ] = None,
    history: Annotated[
        bool,
        options.option(
            "--history",
            help="build the index of the history as well (default: the first training builds it)",
            panel=options.OUTPUT,
        ),
    ] = False,
    memory_mb: Annotated[
        int,
        options.option(
            min=16, metavar="MIB", help="with --history, memory for building it (default: 2048)", panel=options.OUTPUT
        ),
    ] = 2048,
    reading: options.ReadingFlags,
    as_json: options.Json = False,
) -> None:
    """Make a mapped graph of data: a folder with one npy file per column, for facts and an index of the history that
    exceed memory. Every command takes it as --data-path.

    A folder whose files are in order of time is written while it is read; other data are read into memory first.

    Example: tirgn data map data/ICEWS14s --out data/icews14s-mapped

    Example: tirgn data map events.parquet --num-days 0 --out data/mapped --history
    """
    keep_freed_memory()
    with output.stdout_to_stderr():
        from tirgn_eqx.data import map_data as write_mapped
        from tirgn_eqx.data.index.history import mapped_vocabulary

        graph = write_mapped(source, out, name=name, **reading.given())
        # Of the facts alone: an index of the history lies beside them, in a folder of its own.
        size = sum(file.stat().st_size for folder in out.expanduser().glob("facts-*") for file in folder.iterdir())
        described = graph.describe()
        report = mapped_vocabulary(graph, memory_mb=memory_mb).report() if history else None
    if as_json:
        more = {} if report is None else {"history": report}
        output.print_json({"folder": str(out), **described, "bytes": size, **more})
        return
    counts = {name: value for name, value in described.items() if name != "sha256"}
    tables.print_table(tables.make_pairs(f"{out}, written", counts | {"bytes": size}))
    if report is not None:
        rows = {name.replace("_", " "): value for name, value in report.items()}
        tables.print_table(tables.make_pairs("History", rows))
    output.print_result(f"sha256 {described['sha256']}")
