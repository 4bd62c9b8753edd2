"""One way in for every form of data: folder, event table, or simulated world."""

import dataclasses
import inspect
import os
import warnings
from pathlib import Path
from typing import Any

from tirgn_eqx.data.benchmark import Unsorted, read_folder, stream_folder
from tirgn_eqx.data.events import read_events
from tirgn_eqx.data.graph import TemporalGraph
from tirgn_eqx.data.mapped import in_order, map_graph, write_mapped
from tirgn_eqx.data.mapped_read import is_mapped, read_mapped
from tirgn_eqx.data.synthetic import simulate
from tirgn_eqx.data.tgb import read_tgb, tgb_name
from tirgn_eqx.errors import ConfigError, DataError, DataWarning, nearest, shown
from tirgn_eqx.foreign import parse_toml

KINDS = ("folder", "tgb", "parquet", "sim", "mapped")
_DEFAULT_DAYS = 30
_ACCEPTED = "a folder in the RE-GCN text format or of TGB, a mapped graph, an event table *.parquet, or sim"


def load_graph(
    path: str | Path = "sim",
    *,
    kind: str | None = None,
    name: str | None = None,
    num_days: int | None = None,
    max_events: int = 0,
    granularity: str = "day",
    **options: Any,
) -> TemporalGraph:
    """The temporal graph at `path`, whatever form it has; `load_graph(**graph.provenance)` loads it again.

    **Arguments:**

    - `path`: a folder (`read_folder`; of TGB 2.0: `read_tgb`), a folder that `map_data` made (`read_mapped`), a
      `*.parquet` file (`read_events`), or the simulated world: `sim`, or with settings `sim:seed=3,num_entities=50`
      (`simulate`). `./sim` is a folder of that name.
    - `kind`: `folder`, `tgb`, `mapped`, `parquet` or `sim`; None decides from `path`.
    - `name`: shown with every result; None takes the name of the folder or file.
    - `num_days`: days of an event table (None = 30, 0 = all) or of the simulated world (None = its default).
    - `max_events`, `granularity`: of an event table, see `read_events`.
    - `options`: of the simulated world, see `simulate`.

    **Raises:** DataError for data that cannot be read, ConfigError for an option that does not exist. An
    option without meaning for this kind of data raises a DataWarning.
    """
    text = os.fspath(path)
    if kind is None:
        kind = _kind_of(text)
    unused = {"max_events": max_events, "granularity": granularity != "day" and granularity}
    if kind == "sim":
        days = {} if num_days is None else {"num_days": num_days}
        graph = simulate(**_sim_options(text, _settings(text) | options | days)).graph
    elif kind not in KINDS:
        raise ConfigError(f"kind {kind!r} does not exist{nearest(kind, KINDS)}; known: {', '.join(KINDS)}")
    elif options:
        raise ConfigError(f"{text}: option {next(iter(options))!r} belongs to sim, not to a {kind}; leave it out")
    elif kind in ("folder", "tgb"):
        unused["num_days"] = num_days or 0
        graph = read_folder(text) if kind == "folder" else read_tgb(text)
    elif kind == "mapped":
        unused["num_days"] = num_days or 0
        graph, name = read_mapped(text, name), None
    else:
        unused = {}
        days = _DEFAULT_DAYS if num_days is None else num_days
        graph = read_events(text, num_days=days, max_events=max_events, granularity=granularity)
    for option, value in unused.items():
        if value:
            warnings.warn(
                f"{text}: {option} = {value} is ignored; it applies to an event parquet only",
                DataWarning,
                stacklevel=2,
            )
    if name is not None:
        graph = dataclasses.replace(graph, name=name, provenance=graph.provenance | {"name": name})
    return graph


def map_data(path: str | Path, out: str | Path, *, name: str | None = None, **options: Any) -> TemporalGraph:
    """The data at `path`, whatever form it has, made into a mapped graph in the folder `out`, and mapped from there.

    A folder in the RE-GCN text format whose files are each in order of time is never in memory as a whole; any other
    data are read first.

    **Arguments:** `out`: made where needed; a mapped graph in it is replaced; the others as of `load_graph`.

    **Raises:** as `load_graph` and `write_mapped`.
    """
    if not options and _kind_of(os.fspath(path)) == "folder":
        found: dict[str, Any] = {}

        def finish() -> dict[str, Any]:
            return found | {"source": found.pop("provenance")} | ({} if name is None else {"name": name})

        try:
            facts = in_order(stream_folder(path, found))
            return write_mapped(out, facts, name=os.fspath(path), finish=finish)
        except Unsorted:
            pass
    return map_graph(load_graph(path, name=name, **options), out)


def _kind_of(path: str) -> str:
    if path == "sim" or path.startswith("sim:"):
        return "sim"
    place = Path(os.path.expanduser(path))
    if os.path.isdir(place):
        if is_mapped(place):
            return "mapped"
        return "folder" if tgb_name(place) is None else "tgb"
    if place.suffix.lower() in (".parquet", ".pq"):
        return "parquet"
    state = "is neither a folder nor a parquet file" if os.path.exists(place) else "does not exist"
    raise DataError(f"{path}: {state}; expected {_ACCEPTED}")


def _settings(path: str) -> dict[str, Any]:
    """`sim:seed=3,num_days=90` as `{"seed": 3, "num_days": 90}`."""
    world, _, text = path.partition(":")
    if world != "sim":
        raise ConfigError(f"{path}: is not the simulated world; write sim, or leave out kind")
    settings = {}
    for part in filter(None, text.split(",")):
        key, equals, raw = (word.strip() for word in part.partition("="))
        try:
            settings[key] = parse_toml(f"value = {raw}")["value"]
        except ValueError as error:
            raise ConfigError(f"{path}: {shown(part)} is not name=value; write it like sim:seed=3") from error
    return settings


def _sim_options(path: str, options: dict[str, Any]) -> dict[str, Any]:
    """`options` as `simulate` takes them, or a ConfigError that names the first one it does not take."""
    known = inspect.signature(simulate).parameters
    for key, value in options.items():
        if key not in known:
            raise ConfigError(f"{path}: option {key!r} does not exist{nearest(key, known)}; known: {', '.join(known)}")
        kind = type(known[key].default)
        if kind is float and type(value) is int:
            value = options[key] = float(value) if abs(value) < 2**1000 else float("inf")
        if type(value) is not kind:
            raise ConfigError(f"{path}: {key} = {shown(value)}: must be {kind.__name__}, not {type(value).__name__}")
    return options
