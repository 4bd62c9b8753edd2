"""`tirgn data list` and `tirgn data get`."""

from pathlib import Path
from typing import Annotated

import typer

from tirgn_cli import complete, options


def list_data(as_json: options.Json = False, debug: options.Debug = False) -> None:
    """The published data sets that `tirgn data get` knows, with their counts.

    Example: tirgn data list
    """
    from tirgn_cli import show

    with show.clean_stdout():
        from tirgn_eqx.data.readers.published import SOURCE, list_published

        known = list_published()
    if as_json:
        show.document({"source": SOURCE, "datasets": [one.to_dict() for one in known.values()]})
        return
    rows = []
    for one in known.values():
        facts = [(one.facts or {}).get(split) for split in ("train", "valid", "test")]
        rows.append([one.name, one.entities, one.relations, *facts, one.step or "-"])
    caption = "Counted in the files themselves; - where not all of them were at hand. From " + SOURCE.split("/")[2]
    columns = ["data", "entities", "relations", "train", "valid", "test", "step"]
    show.result(show.table("Published data sets", columns, rows, caption))
    show.line(show.stdout(), "next: tirgn data get ICEWS14s")


def get(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="of the data set, see `tirgn data list`", autocompletion=complete.published
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
            help="address of a folder with a folder for each set, or a folder here, which needs no network (default: "
            "the repository of the released TiRGN)",
            panel=options.DATA,
        ),
    ] = None,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Get a published data set by name, each file checked by its checksum.

    Broken off, the same command goes on where it was; what has its name is whole.

    Example: tirgn data get ICEWS14s

    Example: tirgn data get YAGO --from datasets --out data/YAGO
    """
    from tirgn_cli import show

    if quiet:
        show.only_warnings()
    with show.clean_stdout():
        from tirgn_eqx.data import load_graph
        from tirgn_eqx.data.readers.published import SOURCE, find_published, get_published

        one = find_published(name)
        place = out or Path("data") / one.name

        def told(record: dict) -> None:
            if record["event"] == "retry" and not quiet:
                show.note(f"{record['name']}: {record['why']}; again in {show.duration(record['wait'])}")

        with show.working(f"getting {one.name}"):
            done = get_published(one, place, source or SOURCE, tell=told)
            graph = load_graph(place)
    for file in (file for file, state in done.items() if state == "unverified"):
        show.warning(f"{place / file}: no checksum is known of it, so it was not checked")
    if as_json:
        show.document({"folder": str(place), "files": done, "dataset": graph.describe()})
    else:
        show.line(show.stdout(), show.dataset(graph.describe()))
        show.line(show.stdout(), f"next: tirgn train --data-path {place}")
