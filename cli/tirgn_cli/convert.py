"""`tirgn data convert`: data of any form into a folder of text or an event table, with splits cut by time."""

from pathlib import Path
from typing import Annotated

import typer

from tirgn_cli import complete, options, output, tables
from tirgn_cli.common import check_writable
from tirgn_eqx.runtime.malloc import keep_freed_memory


@options.command(
    compiles=False,
    num_days="of an event table, keep the most recent days; 0 = all (default: 0); of sim, days to simulate",
)
def convert(
    source: Annotated[
        str,
        typer.Argument(
            metavar="PATH",
            autocompletion=complete.data,
            help="folder in the RE-GCN text format, also one whose splits cannot be used, or a file of its facts; "
            "folder of TGB or of `tirgn data map`; event table; or 'sim' for the simulated world",
        ),
    ],
    *,
    out: Annotated[
        Path,
        options.option(
            "--out",
            metavar="DIR|FILE",
            help="folder in the RE-GCN text format, or an event table, which ends in .parquet (required)",
            panel=options.OUTPUT,
        ),
    ],
    split: Annotated[
        str | None,
        options.option(
            metavar="SHARES|TIMES",
            help="shares of train, valid and test in percent of the snapshots, as 80/10/10, or the times at which "
            "valid and test begin, as 2018-09-01/2018-10-01 (default: the splits of the data; 80/10/10 if they have "
            "none that can be used)",
            panel=options.DATA,
        ),
    ] = None,
    reading: options.ReadingFlags,
    force: Annotated[
        bool,
        options.option(
            "--force",
            help="replace the event table or the data folder at --out (default: refuse)",
            panel=options.OUTPUT,
        ),
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Convert data of any form to a folder in the RE-GCN text format or to an event table, and cut splits by time.

    A folder holds ids in place of names, a table names in place of ids. An event table has no splits: they are cut
    when it is read.

    Example: tirgn data convert events.parquet --granularity hour --out data/hours

    Example: tirgn data convert data/ICEWS14s --split 60/20/20 --out data/by-time

    Example: tirgn data convert data/ICEWS14s --out icews14s.parquet
    """
    keep_freed_memory()
    with output.stdout_to_stderr():
        from tirgn_eqx.data.convert import TABLE_SUFFIXES, convert_data

        check_writable(out, folder=out.suffix.lower() not in TABLE_SUFFIXES)
        from tirgn_eqx.data.writers import options_to_read_back

        load = reading.given()
        if source.partition(":")[0] != "sim":
            # A conversion keeps all days, while the default of the reader is the newest 30.
            load.setdefault("num_days", 0)
        graph = convert_data(source, out, split=split, force=force, **load)
        is_table = out.suffix.lower() in TABLE_SUFFIXES
        needed = options_to_read_back(graph).given() if is_table else {}
    counts = dict(zip(("train", "valid", "test"), graph.split_counts.sum(1).tolist()))
    described = graph.describe()
    if as_json:
        more = {"options": needed} if is_table else {"splits": counts}
        output.print_json({"out": str(out), "form": "events" if is_table else "folder", **described, **more})
        return
    flags = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in needed.items())
    rows = {name: described[name] for name in ("facts", "entities", "relations", "snapshots")}
    rows |= ({} if is_table else counts) | {"next": f"tirgn data stats {out} {flags}".rstrip()}
    tables.print_table(tables.make_pairs(f"{out}, written", rows))
