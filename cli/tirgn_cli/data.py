"""`tirgn data`: gets published data, collects GDELT's files, makes event tables of them, converts, maps, counts."""

from typing import Annotated, Any

import typer

from tirgn_cli import complete, options
from tirgn_cli.collect import collect
from tirgn_cli.convert import convert
from tirgn_cli.ingest import ingest
from tirgn_cli.manners import mannered
from tirgn_cli.map import map_data
from tirgn_cli.published import get, list_data

data_app = typer.Typer(
    no_args_is_help=True,
    help="Get published data, collect GDELT's files, make event tables of them, convert data and cut them by time, map "
    "data that exceed memory, and count what is in them.\n\n"
    "Example: tirgn data stats sim",
)
data_app.command("list")(mannered(list_data))
data_app.command("get")(mannered(get))
data_app.command("collect")(mannered(collect))
data_app.command("ingest")(mannered(ingest))
data_app.command("convert")(mannered(convert))
data_app.command("map")(mannered(map_data))


@data_app.command("stats")
@mannered
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
    num_days: options.NumDays = None,
    max_events: options.MaxEvents = None,
    granularity: options.Granularity = None,
    time_format: options.TimeFormat = None,
    columns: options.Columns = None,
    skip_bad_rows: options.SkipBadRows = None,
    as_json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Count what a data set holds: facts, entities, snapshots, gaps, duplicates, and a checksum.

    Example: tirgn data stats sim
    """
    from tirgn_cli import show

    with show.clean_stdout():
        from tirgn_eqx.data import graph_statistics, load_graph

        load = options.given(
            num_days=num_days,
            max_events=max_events,
            granularity=granularity,
            time_format=time_format,
            columns=columns,
            skip_bad_rows=skip_bad_rows,
        )
        statistics = graph_statistics(load_graph(path, **load))
    if as_json:
        show.document(statistics)
    else:
        _show(statistics)


def _show(statistics: dict[str, Any]) -> None:
    from tirgn_cli import show

    by_split = {
        "facts": statistics["facts"],
        "snapshots": statistics["snapshots"],
        "exact duplicates": statistics["duplicates"],
        "answer in history": statistics["answer_in_history"],
        "facts with an unseen entity": statistics["unseen_entity_facts"],
    }
    splits = list(statistics["facts"])
    rows = [[name, *(counts.get(split) for split in splits)] for name, counts in by_split.items()]
    show.result(show.table(statistics["name"], ["", *splits], rows))
    ids = lambda counts: f"{counts['vocabulary']:,} in the vocabulary, {counts['occurring']:,} occurring"
    time, spread = statistics["time"], statistics["facts_per_snapshot"]
    first, last = time["dates"] or (time["first"], time["last"])
    unit = f" {time['unit']}{'' if time['step'] == 1 else 's'}" if time["unit"] and time["step"] else ""
    read = statistics["read"]
    show.result(
        show.pairs(
            "",
            {
                "lines read": _accounted(read) if read else None,
                "times read as": read["times"] if read else None,
                "facts per snapshot": f"{spread['min']:,} to {spread['max']:,}, mean {spread['mean']:,.1f}",
                "entities": ids(statistics["entities"]),
                "relations": ids(statistics["relations"]),
                "time": f"{first} to {last}, step {time['step']}{unit}",
                "gaps": f"{time['gaps']:,}, {time['missing']:,} steps of time without a snapshot"
                if time["gaps"]
                else "none",
                "static edges": statistics["static_edges"],
            },
        )
    )
    show.line(show.stdout(), f"sha256 {statistics['sha256']}")


def _accounted(read: dict[str, Any]) -> str:
    """Where the lines of a source went: `303: 300 facts, 3 blank`."""
    words = {"facts": "facts", "blank": "blank", "bad": "bad", "outside": "outside the days", "thinned": "thinned out"}
    parts = [f"{read[key]:,} {word}" for key, word in words.items() if read[key]]
    return f"{read['lines']:,}: {', '.join(parts)}"
