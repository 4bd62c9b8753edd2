"""Data and checkpoints: a graph gets the ids of a checkpoint, matched by name, and its clock."""

import dataclasses
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tirgn_eqx.data.clock import with_clock
from tirgn_eqx.data.graph import SPLITS, StaticGraph, TemporalGraph
from tirgn_eqx.data.names import folded, places
from tirgn_eqx.errors import DataError, DataWarning, shown

KINDS = ("entities", "relations")
_ONE = {"entities": "entity", "relations": "relation"}
_EXAMPLES = 3  # names that a message quotes
_LONGEST = 30  # letters of each


def vocabulary(graph: TemporalGraph) -> dict[str, Any]:
    """What a checkpoint and a training state say of the ids of `graph`; JSON-compatible, and what `for_checkpoint`
    reads: `num_entities`, `num_relations`, and `entities` and `relations`, the names by id or None."""
    return {
        "num_entities": graph.num_entities,
        "num_relations": graph.num_relations,
        "entities": list(graph.entity_names) if graph.entity_names else None,
        "relations": list(graph.relation_names) if graph.relation_names else None,
    }


def for_checkpoint(
    graph: TemporalGraph,
    metadata: Mapping[str, Any],
    checkpoint: str | Path = "the checkpoint",
    *,
    learning: bool = False,
) -> TemporalGraph:
    """`graph` with the ids and the clock of a checkpoint, so that every fact means to the model what its names and its
    time say.

    Every command that takes a checkpoint and data pairs the two here and nowhere else. Entities and relations are
    matched by name: the order of their ids, the window that was read and names that the checkpoint has in addition
    make no difference. Facts with a name that the checkpoint does not know cannot be ranked or encoded. They are left
    out with one DataWarning, and counted in `left_out`, which every result carries.

    Names match only when they are exactly equal. A match without regard to case would depend on which other spellings
    the data hold, so that a later event could change what an earlier one means; the warning names spellings that are
    close instead. Where the data or the checkpoint have no names, ids are taken as they are, but only if both count
    as many entities and as many relations.

    **Arguments:** `metadata`: of the checkpoint, the third value of `load_model`; `checkpoint`: what messages call it;
    `learning`: it is to be trained on these data, see `with_clock`.

    **Returns:** `graph` itself where nothing differs. The order of the facts stays.

    **Raises:** DataError where no fact is left, where there are no names and the counts differ, for a name that stands
    for several ids which cannot be told apart, or for another step of the clock (`with_clock`).
    """
    return for_checkpoints(graph, {checkpoint: metadata}, learning=learning)[0]


def for_checkpoints(
    graph: TemporalGraph, checkpoints: Mapping[Any, Mapping[str, Any]], *, learning: bool = False
) -> list[TemporalGraph]:
    """`graph` with the ids of each of several checkpoints, all with the same facts in the same order: those that every
    one of them knows, so that all answer the same queries from the same history. See `for_checkpoint`.

    **Arguments:** `checkpoints`: the metadata of each by the name that messages call it.
    """
    matches = [_match(graph, metadata, checkpoint) for checkpoint, metadata in checkpoints.items()]
    lacking = [match for match in matches if not match.kept.all()]
    kept = np.logical_and.reduce([match.kept for match in lacking]) if lacking else None
    left_out = graph.left_out
    if kept is not None:
        missing = np.bincount(graph.split[~kept], minlength=len(SPLITS))
        who, examples = " or ".join(str(match.checkpoint) for match in lacking), _unknown(graph, lacking)
        if not kept.any():
            raise DataError(
                f"{graph.name}: no fact is left, each has a name that {who} does not know ({examples}); give data of "
                "the kind that it was trained on, or train on these"
            )
        by_split = ", ".join(f"{count:,} in {split}" for split, count in zip(SPLITS, missing.tolist()) if count)
        warnings.warn(
            f"{graph.name}: {(~kept).sum():,} of {len(kept):,} facts ({100 * (1 - kept.mean()):.1f} %; {by_split}) "
            f"have names that {who} does not know and are left out ({examples}); `tirgn retrain` learns them",
            DataWarning,
            stacklevel=3,
        )
        left_out = tuple((np.array(left_out) + missing).tolist())
    graphs = (_in_ids_of(graph, match, kept, left_out) for match in matches)
    both = zip(graphs, checkpoints.values())
    return [with_clock(found, dict(metadata), learning=learning) for found, metadata in both]


def reordered(graph: TemporalGraph, metadata: Mapping[str, Any]) -> TemporalGraph:
    """`graph` with the ids of a checkpoint or training state where both have the very same names; else as it is.
    Its clock stays."""
    names = [metadata.get(kind) for kind in KINDS]
    own = [graph.entity_names, graph.relation_names]
    same = all(a is not None and b is not None and sorted(a) == sorted(b) for a, b in zip(names, own))
    return _in_ids_of(graph, _match(graph, metadata, "the checkpoint"), None, graph.left_out) if same else graph


@dataclass(frozen=True)
class _Match:
    """How the ids of a graph become those of a checkpoint.

    **Arguments:** `places`: by kind, the new id of every old one or -1, None where all stay what they are; `names`:
    by kind, or None; `sizes`; `kept`: bool `(fact,)` or of one element, whether all names of a fact are known.
    """

    checkpoint: str | Path
    places: tuple[np.ndarray | None, np.ndarray | None]
    names: tuple[tuple[str, ...] | None, tuple[str, ...] | None]
    sizes: tuple[int, int]
    kept: np.ndarray


def _match(graph: TemporalGraph, metadata: Mapping[str, Any], checkpoint: str | Path) -> _Match:
    own = graph.entity_names, graph.relation_names
    known = tuple(None if (names := metadata.get(kind)) is None else tuple(names) for kind in KINDS)
    found = graph.num_entities, graph.num_relations
    sizes = tuple(
        len(names) if names is not None else int(metadata.get(f"num_{kind}", number))
        for kind, names, number in zip(KINDS, known, found)
    )
    nameless = [kind for kind, a, b in zip(KINDS, own, known) if a is None or b is None]
    if nameless:
        what = f"{'the data have' if None in own else 'it has'} no names of {' and '.join(nameless)}"
        if found != sizes:
            raise DataError(
                f"{graph.name}: has {_counted(*found)}, but {checkpoint} was trained with {_counted(*sizes)}, and "
                f"{what} to match them by; name the data that it was trained on with --data-path, or data with names"
            )
    new: list[np.ndarray | None] = [None, None]
    for number, (kind, a, b) in enumerate(zip(KINDS, own, known)):
        if a is not None and b is not None and a != b:
            place = _matched(graph, kind, a, b, checkpoint)
            new[number] = None if np.array_equal(place, np.arange(len(place))) else place
    kept = np.ones(1, bool)
    for place, columns in ((new[0], (graph.subject, graph.object)), (new[1], (graph.relation,))):
        if place is not None and (place < 0).any():
            for column in columns:
                kept = kept & (place >= 0)[column]
    names = tuple(a if b is None else b for a, b in zip(own, known))
    return _Match(checkpoint, (new[0], new[1]), (names[0], names[1]), (sizes[0], sizes[1]), kept)


def _matched(
    graph: TemporalGraph, kind: str, own: tuple[str, ...], known: tuple[str, ...], checkpoint: str | Path
) -> np.ndarray:
    """int64 `(id,)`: the checkpoint's id of every name of the data, -1 for none."""
    place = places(own, known)
    here, there = _of_several(own), _of_several(known)
    for name in here | there:
        if here.get(name) == there.get(name):
            place[here[name]] = here[name]
        elif name in here or name in own:
            said = lambda ids: ", ".join(map(str, ids[:5])) if ids else "one"
            raise DataError(
                f"{graph.name}: the name {shown(name, 40)} stands for several {kind} (here id {said(here.get(name))}, "
                f"in {checkpoint} id {said(there.get(name))}), which cannot be told apart; give each its own name"
            )
    return place


def _of_several(names: tuple[str, ...]) -> dict[str, list[int]]:
    """Names that stand for more than one id, with their ids."""
    if len(set(names)) == len(names):
        return {}
    ids: dict[str, list[int]] = {}
    for number, name in enumerate(names):
        ids.setdefault(name, []).append(number)
    return {name: found for name, found in ids.items() if len(found) > 1}


def _unknown(graph: TemporalGraph, lacking: list[_Match]) -> str:
    """How many entities and relations with facts are not known, and some of them."""
    told = []
    columns = {"entities": (graph.subject, graph.object), "relations": (graph.relation,)}
    for number, (kind, own) in enumerate(zip(KINDS, (graph.entity_names, graph.relation_names))):
        missing = np.zeros(len(own or ()), bool)
        spellings: dict[str, str] = {}
        for match in lacking:
            place = match.places[number]
            if place is not None:
                missing |= place < 0
                spellings |= {folded(name): name for name in match.names[number] or ()}
        if own is None or not missing.any():
            continue
        used = np.unique(np.concatenate([column[missing[column]] for column in columns[kind]])).tolist()
        said = []
        for name in (own[entry] for entry in used[:_EXAMPLES]):
            near = spellings.get(folded(name))
            said.append(shown(name, _LONGEST) + (f" (known is {shown(near, _LONGEST)})" if near else ""))
        if used:
            told.append(f"{_number(len(used), kind)}, such as {', '.join(said)}")
    return "; ".join(told)


def _number(count: int, kind: str) -> str:
    return f"{count:,} {kind if count != 1 else _ONE[kind]}"


def _counted(*sizes: int) -> str:
    return " and ".join(map(_number, sizes, KINDS))


def _in_ids_of(
    graph: TemporalGraph, match: _Match, kept: np.ndarray | None, left_out: tuple[int, ...]
) -> TemporalGraph:
    entity, relation = match.places
    own = (graph.entity_names, graph.relation_names), (graph.num_entities, graph.num_relations)
    if kept is None and entity is None and relation is None and own == (match.names, match.sizes):
        return graph
    changes: dict[str, Any] = {"entity_names": match.names[0], "relation_names": match.names[1]}
    changes |= {"num_entities": match.sizes[0], "num_relations": match.sizes[1], "left_out": left_out}
    for name, place in (("subject", entity), ("relation", relation), ("object", entity)):
        column = getattr(graph, name)
        column = column if kept is None else column[kept]
        changes[name] = column if place is None else place.astype(np.int32)[column]
    if kept is not None:
        snapshots, snapshot = np.unique(graph.snapshot[kept], return_inverse=True)
        changes |= {"snapshot": snapshot.astype(np.int32), "times": graph.times[snapshots], "split": graph.split[kept]}
    if graph.static is not None and entity is not None:
        changes["static"] = _static_in_ids_of(graph.static, entity)
    return dataclasses.replace(graph, **changes)


def _static_in_ids_of(static: StaticGraph, entity: np.ndarray) -> StaticGraph:
    """The static facts of the entities that are known; words have no names and keep their ids."""
    place = entity.astype(np.int32)[static.entity]
    known = place >= 0
    columns = {"relation": static.relation[known], "word": static.word[known]}
    return dataclasses.replace(static, entity=place[known], **columns)
