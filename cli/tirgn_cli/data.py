"""`tirgn data`: the group of its commands, and `list`, `get` and `stats`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from tirgn_cli import complete, options, output, tables
from tirgn_cli.collect import collect
from tirgn_cli.convert import convert
from tirgn_cli.ingest import ingest
from tirgn_cli.map import map_data

SPLITS = ("train", "valid", "test")

data_app = typer.Typer(
    no_args_is_help=True,
    help="Get published data, collect GDELT's files, make event tables of them, convert data and cut them by time, map "
    "data that exceed memory, and count what is in them.\n\n"
    "Example: tirgn data stats sim",
)


@data_app.command("list")
@options.command(compiles=False)
def list_data(as_json: options.Json = False) -> None:
    """List the published data sets that `tirgn data get` knows, with their counts.

    Example: tirgn data list
    """
    with output.stdout_to_stderr():
        from tirgn_eqx.data.readers.published import SOURCE, list_published

        known = list_published()
    if as_json:
        output.print_json({"source": SOURCE, "datasets": [one.to_dict() for one in known.values()]})
        return
    rows = []
    for one in known.values():
        facts = [(one.facts or {}).get(split) for split in SPLITS]
        rows.append([one.name, one.entities, one.relations, *facts, one.step or "-"])
    caption = "Counted in the files themselves; - if not all of them were available. From " + SOURCE.split("/")[2]
    columns = ["data", "entities", "relations", *SPLITS, "step"]
    tables.print_table(tables.make_table("Published data sets", columns, rows, caption))
    output.print_result("next: tirgn data get ICEWS14s")


@data_app.command("get")
@options.command(compiles=False)
def get(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="name of the data set, see `tirgn data list`", autocompletion=complete.published
        ),
    ],
    out: Annotated[
        Path | None, options.option(metavar="DIR", help="folder to make (default: data/NAME)", panel=options.OUTPUT)
    ] = None,
    source: Annotated[
        str | None,
        options.option(
            "--from",
            metavar="URL|DIR",
            help="address of a folder that holds a folder for each data set, or a local one, which needs no network "
            "(default: the repository of the released TiRGN)",
            panel=options.DATA,
        ),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Get a published data set by name, and verify each file by its checksum.

    After an interruption, the same command continues. A file has its final name only when it is complete.

    Example: tirgn data get ICEWS14s

    Example: tirgn data get YAGO --from datasets --out data/YAGO
    """
    with output.stdout_to_stderr():
        from tirgn_eqx.data import load_graph
        from tirgn_eqx.data.readers.published import SOURCE, find_published, get_published

        one = find_published(name)
        place = out or Path("data") / one.name

        def show_retry(record: Mapping[str, Any]) -> None:
            if record["event"] == "retry":
                wait = tables.format_duration(record["wait"])
                output.print_note(f"{record['name']}: {record['why']}; again in {wait}")

        with output.working(f"getting {one.name}"):
            files = get_published(one, place, source or SOURCE, tell=show_retry)
            graph = load_graph(place)
    # Of a few sets, a checksum is not known for every file.
    for file in (file for file, state in files.items() if state == "unverified"):
        output.print_warning(f"{place / file}: no checksum of it is known, so it was not verified")
    if as_json:
        output.print_json({"folder": str(place), "files": files, "dataset": graph.describe()})
    else:
        output.print_result(tables.format_dataset(graph.describe()))
        output.print_result(f"next: tirgn train --data-path {place}")


data_app.command("collect")(collect)
data_app.command("ingest")(ingest)
data_app.command("convert")(convert)
data_app.command("map")(map_data)


@data_app.command("stats")
@options.command(compiles=False)
def stats(
    path: Annotated[
        str,
        typer.Argument(
            metavar="PATH",
            autocompletion=complete.data,
            help="folder in the RE-GCN text format or of `tirgn data map`, event table, or 'sim' for the simulated "
            "world",
        ),
    ],
    *,
    reading: options.ReadingFlags,
    as_json: options.Json = False,
) -> None:
    """Count what a data set holds: facts, entities, snapshots, gaps, duplicates, and a checksum.

    Example: tirgn data stats sim
    """
    with output.stdout_to_stderr():
        from tirgn_eqx.data import graph_statistics, load_graph

        statistics = graph_statistics(load_graph(path, **reading.given()))
    if as_json:
        output.print_json(statistics)
    else:
        _show(dict(statistics))


def _show(statistics: Mapping[str, Any]) -> None:
    by_split = {
        "facts": statistics["facts"],
        "snapshots": statistics["snapshots"],
        "exact duplicates": statistics["duplicates"],
        "answer in history": statistics["answer_in_history"],
        "facts with an unseen entity": statistics["unseen_entity_facts"],
    }
    splits = list(statistics["facts"])
    rows = [[name, *(counts.get(split) for split in splits)] for name, counts in by_split.items()]
    tables.print_table(tables.make_table(statistics["name"], ["", *splits], rows))
    time, spread, read = statistics["time"], statistics["facts_per_snapshot"], statistics["read"]
    ids = {
        kind: "{vocabulary:,} in the vocabulary, {occurring:,} occurring".format(**statistics[kind])
        for kind in ("entities", "relations")
    }
    first, last = time["dates"] or (time["first"], time["last"])
    unit = f" {time['unit']}{'' if time['step'] == 1 else 's'}" if time["unit"] and time["step"] else ""
    gaps = f"{time['gaps']:,}, {time['missing']:,} steps of time without a snapshot" if time["gaps"] else "none"
    summary = {
        "lines read": _describe_lines(read) if read else None,
        "times read as": read["times"] if read else None,
        "facts per snapshot": f"{spread['min']:,} to {spread['max']:,}, mean {spread['mean']:,.1f}",
        **ids,
        "time": f"{first} to {last}, step {time['step']}{unit}",
        "gaps": gaps,
        "facts that last": f"{statistics['lasting_share']:.1%} held in the snapshot before",
        "static edges": statistics["static_edges"],
    }
    tables.print_table(tables.make_pairs("", summary))
    output.print_result(f"sha256 {statistics['sha256']}")


def _describe_lines(read: Mapping[str, object]) -> str:
    """What the lines of a source were: `303: 300 facts, 3 blank`."""
    words = {"facts": "facts", "blank": "blank", "bad": "bad", "outside": "outside the days", "thinned": "thinned out"}
    parts = [f"{read[key]:,} {word}" for key, word in words.items() if read[key]]
    return f"{read['lines']:,}: {', '.join(parts)}"
