"""`load_graph` and `map_data`: one entry for every form of data."""

import inspect
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, cast

from tirgn_eqx.data.graph import LoadOptions, TemporalGraph
from tirgn_eqx.data.readers.event_table import is_frame
from tirgn_eqx.data.readers.events import EVENT_KINDS, READING_OPTIONS, ReadingOptions, read_events
from tirgn_eqx.data.readers.mapped import is_mapped, read_mapped
from tirgn_eqx.data.readers.mapped_writer import MappedFields, map_graph, write_mapped
from tirgn_eqx.data.readers.regcn_text import FolderStream, StreamingError, is_folder, read_folder
from tirgn_eqx.data.readers.table_files import ACCEPTED_TABLES, form_of, is_table, table_form
from tirgn_eqx.data.readers.tgb import read_tgb, tgb_name
from tirgn_eqx.data.synthetic.world import simulate
from tirgn_eqx.errors import ConfigError, DataError, DataWarning, nearest, shown
from tirgn_eqx.storage.untrusted import is_utf8, parse_toml

_ACCEPTED = f"a folder in the RE-GCN text format or of TGB, a mapped graph, sim, or {ACCEPTED_TABLES}"


class Form(NamedTuple):
    """A form of data.

    **Arguments:** `kind`: its name, in a graph's provenance; `matches`: whether data at a path have it; `read`: gives
    their graph, from a path, and for event tables from `ReadingOptions` too.
    """

    kind: str
    matches: Callable[[str], bool]
    read: Callable[..., TemporalGraph]


def _simulate(path: str, **options: object) -> TemporalGraph:
    """The simulated world with the settings in a path such as `sim:seed=3`, and with `options`."""
    return simulate(**_check_simulation(path, _parse_simulation(path) | options)).graph


def simulated(path: str) -> bool:
    """Whether a path stands for the simulated world."""
    return path == "sim" or path.startswith("sim:")


# The first form that matches a path is taken. Tables may lie in a folder of facts, but not the other way round.
FORMS = (
    Form("sim", simulated, _simulate),
    Form("mapped", is_mapped, read_mapped),
    Form("tgb", lambda path: tgb_name(path) is not None, read_tgb),
    Form("folder", lambda path: is_folder(path) or (os.path.isdir(path) and not is_table(path)), read_folder),
    Form("parquet", lambda path: table_form(path) == "parquet", read_events),
    Form("table", is_table, read_events),
    # A DataFrame has no path to match; `load_graph` finds it by its type.
    Form("frame", lambda path: False, read_events),
)
READERS = {form.kind: form.read for form in FORMS}


# `options` are `LoadOptions`, whose types each form of data checks.
def load_graph(
    path: object = "sim", *, kind: str | None = None, name: str | None = None, **options: Any
) -> TemporalGraph:
    """The temporal graph at `path`, whatever form it has; `load_graph(**graph.provenance)` loads it again.

    **Arguments:**

    - `path`: a folder (`read_folder`; of TGB 2.0: `read_tgb`), a folder that `map_data` made, an event table as a
      file, a folder of parts or a DataFrame of polars or pandas (`read_events`), or the simulated world: `sim`, or
      with settings `sim:seed=3,num_entities=50` (`simulate`). `./sim` is a folder of that name.
    - `kind`: `folder`, `tgb`, `mapped`, `sim`, or for event tables `parquet`, `table` (of another form) or `frame`;
      None decides from `path`.
    - `name`: shown with every result; None takes the name of the folder or file.
    - `options`: of an event table those of `ReadingOptions`, of the simulated world those of `simulate`.

    **Raises:** DataError for data that cannot be read, ConfigError for an option that does not exist. DataWarning for
    one of `ReadingOptions` that has no meaning for this kind of data.
    """
    text = "the table" if is_frame(path) else _to_text(path)
    if is_frame(path):
        kind = "frame"
    elif kind == "frame":
        raise DataError(
            "these data were a DataFrame in memory, which cannot be loaded again; write them as a parquet file, "
            "and give it with --data-path"
        )
    elif kind is None:
        kind = _find_kind(text)
    if kind not in READERS:
        raise ConfigError(f"kind {kind!r} does not exist{nearest(kind, READERS)}; known: {', '.join(READERS)}")
    reading = {option: options.pop(option) for option in READING_OPTIONS if option in options}
    if kind == "sim":
        # An option of event tables and of the simulated world alike.
        days = reading.pop("num_days", None)
        graph = _simulate(text, **options | ({} if days is None else {"num_days": days}))
    elif options:
        raise ConfigError(f"{text}: option {next(iter(options))!r} belongs to sim, not to a {kind}; leave it out")
    elif kind in EVENT_KINDS:
        graph = read_events(path if kind == "frame" else text, ReadingOptions(**reading))
        reading = {}  # all have a meaning, so that none is warned of below
    else:
        graph = READERS[kind](text)
    for option, value in reading.items():
        if value and (option, value) != ("granularity", "day"):
            warnings.warn(
                f"{text}: {option} = {value} is ignored; it applies to an event table only", DataWarning, stacklevel=2
            )
    return graph if name is None else graph.relabel(name=name, provenance=graph.provenance | {"name": name})


def reading_of(provenance: LoadOptions, path: object) -> LoadOptions:
    """The reading options of an event table with `provenance`, for another at `path`; nothing for other data."""
    if provenance.get("kind") not in EVENT_KINDS:
        return {}
    if not is_frame(path):
        try:
            is_events = _find_kind(_fspath(path)) in EVENT_KINDS
        except DataError:
            # Nothing is there, or nothing known: the name decides, and reading reports what is wrong.
            is_events = form_of(_fspath(path)) is not None
        if not is_events:
            return {}
    return {option: provenance[option] for option in READING_OPTIONS if option in provenance}


def map_data(path: object, out: str | Path, *, name: str | None = None, **options: Any) -> TemporalGraph:
    """Make the data at `path` a mapped graph in the folder `out`, and load it from there.

    A folder in the RE-GCN text format whose files are each in order of time is never in memory as a whole; any other
    data are read first.

    **Arguments:** `out`: made where needed; a mapped graph in it is replaced; the others as of `load_graph`.

    **Raises:** as `load_graph` and `write_mapped`.
    """
    # A folder has no options, so that any option is refused or warned of by `load_graph`.
    if not options and not is_frame(path) and _find_kind(_to_text(path)) == "folder":
        facts = FolderStream(_fspath(path))
        names = MappedFields() if name is None else MappedFields(name=name)
        try:
            return write_mapped(out, facts, name=_fspath(path), finish=lambda: facts.fields | names)
        except StreamingError:
            # The facts have to be sorted first, and so be in memory.
            pass
    return map_graph(load_graph(path, name=name, **options), out)


def _fspath(path: object) -> str:
    """What is no DataFrame must be a path. **Raises:** TypeError."""
    return os.fspath(cast("str | os.PathLike[str]", path))


def _to_text(path: object) -> str:
    """A path as text. **Raises:** DataError for one that no JSON document can hold."""
    text = _fspath(path)
    if not is_utf8(text):
        raise DataError(
            f"{text}: the path is not UTF-8 text, by which results and checkpoints name their data; rename it"
        )
    return text


def _find_kind(path: str) -> str:
    """The kind of the data at a path. **Raises:** DataError for none that is known."""
    place = os.path.expanduser(path)
    for form in FORMS:
        if form.matches(place):
            return form.kind
    state = "is neither a folder nor a table" if os.path.exists(place) else "does not exist"
    raise DataError(f"{path}: {state}; expected {_ACCEPTED}")


def _parse_simulation(path: str) -> dict[str, object]:
    """`sim:seed=3,num_days=90` as `{"seed": 3, "num_days": 90}`."""
    world, _, text = path.partition(":")
    if world != "sim":
        raise ConfigError(f"{path}: is not the simulated world; write sim, or leave out kind")
    settings = {}
    for part in filter(None, text.split(",")):
        key, equals, raw = (word.strip() for word in part.partition("="))
        try:
            # A value of TOML has the type that it is written as: 3 is an int, 0.5 a float, true a bool.
            settings[key] = parse_toml(f"value = {raw}")["value"]
        except ValueError as error:
            raise ConfigError(f"{path}: {shown(part)} is not name=value; write it like sim:seed=3") from error
    return settings


def _check_simulation(path: str, options: LoadOptions) -> LoadOptions:
    """`options` as `simulate` takes them. **Raises:** ConfigError for the first one that it does not take."""
    known = inspect.signature(simulate).parameters
    for key, value in options.items():
        if key not in known:
            raise ConfigError(f"{path}: option {key!r} does not exist{nearest(key, known)}; known: {', '.join(known)}")
        kind = type(known[key].default)
        # A float cannot hold larger numbers. `simulate` refuses infinity in a line of its own.
        if kind is float and type(value) is int:
            value = options[key] = float(value) if abs(value) < 2**1000 else float("inf")
        # Not `isinstance`, by which True would be a whole number.
        if type(value) is not kind:
            raise ConfigError(f"{path}: {key} = {shown(value)}: must be {kind.__name__}, not {type(value).__name__}")
    return options
