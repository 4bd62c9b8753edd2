"""One way in for every form of data: folder, event table, or simulated world."""

import dataclasses
import inspect
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tirgn_eqx.data.graph import TemporalGraph
from tirgn_eqx.data.readers.event_table import is_frame
from tirgn_eqx.data.readers.events import EVENT_KINDS, READING, read_events
from tirgn_eqx.data.readers.mapped_read import is_mapped, read_mapped
from tirgn_eqx.data.readers.mapped_write import in_order, map_graph, write_mapped
from tirgn_eqx.data.readers.regcn_text import Unsorted, read_folder, stream_folder
from tirgn_eqx.data.readers.table_files import ACCEPTED, form_of, is_table, table_form
from tirgn_eqx.data.readers.tgb import read_tgb, tgb_name
from tirgn_eqx.data.synthetic.world import simulate
from tirgn_eqx.errors import ConfigError, DataError, DataWarning, nearest, shown
from tirgn_eqx.storage.untrusted import is_utf8, parse_toml

KINDS = ("folder", "tgb", *EVENT_KINDS, "sim", "mapped")
_ACCEPTED = f"a folder in the RE-GCN text format or of TGB, a mapped graph, sim, or {ACCEPTED}"
# Any of these makes a folder one of facts, whatever tables lie beside them.
_FACTS = ("stat.txt", "train.txt", "valid.txt", "test.txt", "entity2id.txt", "relation2id.txt")


def load_graph(
    path: Any = "sim",
    *,
    kind: str | None = None,
    name: str | None = None,
    num_days: int | None = None,
    max_events: int = 0,
    granularity: str = "day",
    time_format: str | None = None,
    columns: str | Mapping[str, str] | None = None,
    skip_bad_rows: bool = False,
    **options: Any,
) -> TemporalGraph:
    """The temporal graph at `path`, whatever form it has; `load_graph(**graph.provenance)` loads it again.

    **Arguments:**

    - `path`: a folder (`read_folder`; of TGB 2.0: `read_tgb`), a folder that `map_data` made (`read_mapped`), an
      event table as a file, a folder of parts or a DataFrame of polars or pandas (`read_events`), or the simulated
      world: `sim`, or with settings `sim:seed=3,num_entities=50` (`simulate`). `./sim` is a folder of that name.
    - `kind`: `folder`, `tgb`, `mapped`, `sim`, or for event tables `parquet`, `table` (of another form) or `frame`;
      None decides from `path`.
    - `name`: shown with every result; None takes the name of the folder or file.
    - `num_days`: days of an event table (None = 30, 0 = all) or of the simulated world (None = its default).
    - `max_events`, `granularity`, `time_format`, `columns`, `skip_bad_rows`: of an event table, see `read_events`.
    - `options`: of the simulated world, see `simulate`.

    **Raises:** DataError for data that cannot be read, ConfigError for an option that does not exist. An
    option without meaning for this kind of data raises a DataWarning.
    """
    if is_frame(path):
        kind, text = "frame", "the table"
    else:
        text = _text_of(path)
        kind = _kind_of(text) if kind is None else kind
        if kind == "frame":
            raise DataError(
                "these data were a DataFrame in memory, which cannot be loaded again; write them as a parquet file, "
                "and give it with --data-path"
            )
    unused: dict[str, Any] = {"max_events": max_events, "granularity": granularity != "day" and granularity}
    unused |= {"time_format": time_format, "columns": columns, "skip_bad_rows": skip_bad_rows}
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
        how: dict[str, Any] = {"num_days": num_days, "max_events": max_events, "granularity": granularity}
        how |= {"time_format": time_format, "columns": columns, "skip_bad_rows": skip_bad_rows}
        graph = read_events(path if kind == "frame" else text, **how)
    for option, value in unused.items():
        if value:
            warnings.warn(
                f"{text}: {option} = {value} is ignored; it applies to an event table only",
                DataWarning,
                stacklevel=2,
            )
    if name is not None:
        graph = dataclasses.replace(graph, name=name, provenance=graph.provenance | {"name": name})
    return graph


def reading_of(provenance: dict[str, Any], path: Any) -> dict[str, Any]:
    """How an event table was read, for another one at `path` that is read in its place; nothing for other data."""
    if provenance.get("kind") not in EVENT_KINDS:
        return {}
    if not is_frame(path) and not is_event_table(os.fspath(path)):
        return {}
    return {key: provenance[key] for key in READING if key in provenance}


def is_event_table(path: str) -> bool:
    """Whether data at a path are an event table, as far as the path tells."""
    try:
        return _kind_of(path) in EVENT_KINDS
    except DataError:
        return form_of(path) is not None


def map_data(path: Any, out: str | Path, *, name: str | None = None, **options: Any) -> TemporalGraph:
    """The data at `path`, whatever form it has, made into a mapped graph in the folder `out`, and mapped from there.

    A folder in the RE-GCN text format whose files are each in order of time is never in memory as a whole; any other
    data are read first.

    **Arguments:** `out`: made where needed; a mapped graph in it is replaced; the others as of `load_graph`.

    **Raises:** as `load_graph` and `write_mapped`.
    """
    if not options and not is_frame(path) and _kind_of(_text_of(path)) == "folder":
        found: dict[str, Any] = {}

        def finish() -> dict[str, Any]:
            return found | {"source": found.pop("provenance")} | ({} if name is None else {"name": name})

        try:
            facts = in_order(stream_folder(path, found))
            return write_mapped(out, facts, name=os.fspath(path), finish=finish)
        except Unsorted:
            pass
    return map_graph(load_graph(path, name=name, **options), out)


def _text_of(path: Any) -> str:
    """A path as text. **Raises:** DataError for one that no record can hold."""
    text = os.fspath(path)
    if not is_utf8(text):
        raise DataError(
            f"{text}: the path is not UTF-8 text, by which results and checkpoints name their data; rename it"
        )
    return text


def _kind_of(path: str) -> str:
    if path == "sim" or path.startswith("sim:"):
        return "sim"
    place = Path(os.path.expanduser(path))
    if os.path.isdir(place):
        if is_mapped(place):
            return "mapped"
        if tgb_name(place) is not None:
            return "tgb"
        if any(os.path.exists(place / name) for name in _FACTS) or not is_table(place):
            return "folder"
        return "parquet" if table_form(place) == "parquet" else "table"
    if is_table(place):
        return "parquet" if table_form(place) == "parquet" else "table"
    state = "is neither a folder nor a table" if os.path.exists(place) else "does not exist"
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
