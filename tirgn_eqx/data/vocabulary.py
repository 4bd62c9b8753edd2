"""The ids of a checkpoint, given to the data that it is used with: entities and relations are matched by name."""

import dataclasses
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict, TypeVar, cast

import numpy as np

from tirgn_eqx.data.clock import Metadata, apply_clock, metadata_by_key
from tirgn_eqx.data.graph import SPLITS, StaticGraph, TemporalGraph
from tirgn_eqx.data.names import find_names, fold_name
from tirgn_eqx.errors import DataError, DataWarning, shown

VOCABULARIES = ("entities", "relations")
_SINGULAR = {"entities": "entity", "relations": "relation"}
_EXAMPLES = 3  # names that a message quotes
_MOST_LETTERS = 30  # of each
_Name = TypeVar("_Name", bound=str | Path)  # of a checkpoint; keys of a Mapping are invariant


class Vocabulary(TypedDict):
    """Numbers of ids, and the names by id, None where there are none."""

    num_entities: int
    num_relations: int
    entities: list[str] | None
    relations: list[str] | None


def describe_vocabulary(graph: TemporalGraph) -> Vocabulary:
    """What a checkpoint or training state keeps of the ids of `graph`, and `match_checkpoint` reads."""
    return {
        "num_entities": graph.num_entities,
        "num_relations": graph.num_relations,
        "entities": list(graph.entity_names) if graph.entity_names else None,
        "relations": list(graph.relation_names) if graph.relation_names else None,
    }


def match_checkpoint(
    graph: TemporalGraph,
    metadata: Metadata,
    checkpoint: str | Path = "the checkpoint",
    *,
    learning: bool = False,
) -> TemporalGraph:
    """`graph` with the ids and the clock of a checkpoint, so that the model knows its facts by name and time.

    Every command that takes a checkpoint and data calls this. Entities and relations are matched by name, so that the
    order of ids, the window that was read and further names of the checkpoint make no difference. Facts with a name
    that the checkpoint lacks can be neither encoded nor ranked: they are left out with one DataWarning, and counted in
    `left_out`, which every result carries. Where the data or the checkpoint have no names, ids are taken as they are,
    if both count as many entities and as many relations.

    Only names that are exactly equal match. A match without regard to case would depend on which other spellings the
    data hold, so that a later event could change what an earlier one means; the warning names close spellings instead.

    **Arguments:** `metadata`: of the checkpoint, the third value of `load_model`; `checkpoint`: its name in messages;
    `learning`: it is to be trained on these data, see `apply_clock`.

    **Returns:** `graph` itself where nothing differs. The order of the facts stays.

    **Raises:** DataError where no fact is left, where there are no names and the counts differ, for a name that stands
    for several ids which cannot be told apart, or for another step of the clock.
    """
    return match_checkpoints(graph, {checkpoint: metadata}, learning=learning)[0]


def match_checkpoints(
    graph: TemporalGraph, checkpoints: Mapping[_Name, Metadata], *, learning: bool = False
) -> list[TemporalGraph]:
    """`graph` with the ids of each of several checkpoints: see `match_checkpoint`.

    All have the same facts in the same order, those that every checkpoint knows, so that all answer the same queries
    from the same history.

    **Arguments:** `checkpoints`: the metadata of each, by its name in messages.
    """
    described = {checkpoint: metadata_by_key(metadata) for checkpoint, metadata in checkpoints.items()}
    matches = [_match(graph, metadata, checkpoint) for checkpoint, metadata in described.items()]
    incomplete = [match for match in matches if not match.kept.all()]
    kept, left_out = None, graph.left_out
    if incomplete:
        # A match that lacks a name has a mask over all facts, see `_match`.
        kept = np.logical_and.reduce([match.kept for match in incomplete])
        missing = np.bincount(graph.split[~kept], minlength=len(SPLITS))
        who, examples = " or ".join(str(match.checkpoint) for match in incomplete), _unknown_names(graph, incomplete)
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
    return [
        apply_clock(_with_ids(graph, match, kept, left_out), metadata, learning=learning)
        for match, metadata in zip(matches, described.values())
    ]


def reorder_ids(graph: TemporalGraph, metadata: Metadata) -> TemporalGraph:
    """`graph` with the ids of a checkpoint or training state that has the very same names, else as it is.

    Its clock stays.
    """
    described = metadata_by_key(metadata)
    for names, theirs in zip((graph.entity_names, graph.relation_names), _names_of(described)):
        if names is None or theirs is None or sorted(names) != sorted(theirs):
            return graph
    return _with_ids(graph, _match(graph, described, "the checkpoint"), None, graph.left_out)


def _names_of(metadata: Mapping[str, object]) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None]:
    """The names of entities and relations in metadata, which were validated when they were read."""
    entities, relations = (cast(list[str] | None, metadata.get(kind)) for kind in VOCABULARIES)
    return None if entities is None else tuple(entities), None if relations is None else tuple(relations)


@dataclass(frozen=True)
class _Match:
    """How the ids of a graph become those of a checkpoint; pairs are for entities and relations.

    **Arguments:** `new_ids`: the new id of every old one or -1, None where all stay what they are; `names`: by new id,
    or None; `sizes`: numbers of ids; `kept`: bool `(fact,)` or `(1,)`, whether all names of a fact are known.
    """

    checkpoint: str | Path
    new_ids: tuple[np.ndarray | None, np.ndarray | None]
    names: tuple[tuple[str, ...] | None, tuple[str, ...] | None]
    sizes: tuple[int, int]
    kept: np.ndarray


def _match(graph: TemporalGraph, metadata: Mapping[str, object], checkpoint: str | Path) -> _Match:
    own = graph.entity_names, graph.relation_names
    theirs = _names_of(metadata)
    own_sizes = graph.num_entities, graph.num_relations
    sizes = tuple(
        len(names) if names is not None else cast(int, metadata.get(f"num_{kind}", size))
        for kind, names, size in zip(VOCABULARIES, theirs, own_sizes)
    )
    nameless = [kind for kind, a, b in zip(VOCABULARIES, own, theirs) if a is None or b is None]
    # Without names, equal counts are the only sign that the ids mean the same.
    if nameless and own_sizes != sizes:
        what = f"{'the data have' if None in own else 'it has'} no names of {' and '.join(nameless)}"
        raise DataError(
            f"{graph.name}: has {_count_both(*own_sizes)}, but {checkpoint} was trained with {_count_both(*sizes)}, "
            f"and {what} to match them by; name the data that it was trained on with --data-path, or data with names"
        )
    new_ids: list[np.ndarray | None] = [None, None]
    # One value stands for all facts until a name is missing, so that the usual case allocates no mask.
    kept = np.ones(1, bool)
    columns = ((graph.subject, graph.object), (graph.relation,))
    for number, (kind, a, b) in enumerate(zip(VOCABULARIES, own, theirs)):
        if a is None or b is None or a == b:
            continue
        ids = _match_names(graph, kind, a, b, checkpoint)
        # Ids that stay what they are need no copy of the columns, which may be mapped from the disk.
        if not np.array_equal(ids, np.arange(len(ids))):
            new_ids[number] = ids
        if (ids < 0).any():
            for column in columns[number]:
                kept = kept & (ids >= 0)[column]
    names = tuple(a if b is None else b for a, b in zip(own, theirs))
    return _Match(checkpoint, (new_ids[0], new_ids[1]), (names[0], names[1]), (sizes[0], sizes[1]), kept)


def _match_names(
    graph: TemporalGraph, kind: str, own: tuple[str, ...], theirs: tuple[str, ...], checkpoint: str | Path
) -> np.ndarray:
    """int64 `(id,)`: the checkpoint's id of every name of the data, -1 for none."""
    ids = find_names(own, theirs)
    here, there = _ambiguous(own), _ambiguous(theirs)
    for name in here | there:
        # A name of the same several ids on both sides is no ambiguity: each of these ids stays as it is.
        if here.get(name) == there.get(name):
            ids[here[name]] = here[name]
        elif name in here or name in own:
            here_ids, there_ids = (
                ", ".join(map(str, names[name][:5])) if name in names else "one" for names in (here, there)
            )
            raise DataError(
                f"{graph.name}: the name {shown(name, 40)} stands for several {kind} (here id {here_ids}, in "
                f"{checkpoint} id {there_ids}), which cannot be told apart; give each its own name"
            )
    return ids


def _ambiguous(names: tuple[str, ...]) -> dict[str, list[int]]:
    """Names that stand for more than one id, with their ids."""
    if len(set(names)) == len(names):
        return {}
    ids: dict[str, list[int]] = {}
    for number, name in enumerate(names):
        ids.setdefault(name, []).append(number)
    return {name: found for name, found in ids.items() if len(found) > 1}


def _unknown_names(graph: TemporalGraph, matches: list[_Match]) -> str:
    """How many entities and relations with facts some checkpoint lacks, and a few of them with close spellings."""
    texts = []
    columns = ((graph.subject, graph.object), (graph.relation,))
    for number, (kind, own) in enumerate(zip(VOCABULARIES, (graph.entity_names, graph.relation_names))):
        missing = np.zeros(len(own or ()), bool)
        spellings: dict[str, str] = {}
        for match in matches:
            # None stands for ids that all stay, so that no name is missing.
            ids = match.new_ids[number]
            if ids is not None:
                missing |= ids < 0
                spellings |= {fold_name(name): name for name in match.names[number] or ()}
        if own is None or not missing.any():
            continue
        used = np.unique(np.concatenate([column[missing[column]] for column in columns[number]])).tolist()
        examples = []
        for name in (own[entry] for entry in used[:_EXAMPLES]):
            # A name that differs in case only does not match, but is a likely mistake.
            close = spellings.get(fold_name(name))
            hint = f" (known is {shown(close, _MOST_LETTERS)})" if close else ""
            examples.append(shown(name, _MOST_LETTERS) + hint)
        if used:
            texts.append(f"{_count(len(used), kind)}, such as {', '.join(examples)}")
    return "; ".join(texts)


def _count(count: int, kind: str) -> str:
    return f"{count:,} {kind if count != 1 else _SINGULAR[kind]}"


def _count_both(*sizes: int) -> str:
    return " and ".join(map(_count, sizes, VOCABULARIES))


def _with_ids(graph: TemporalGraph, match: _Match, kept: np.ndarray | None, left_out: tuple[int, ...]) -> TemporalGraph:
    """`graph` with the ids of a match, of the facts that are `kept` (None: all)."""
    entity, relation = match.new_ids
    own = (graph.entity_names, graph.relation_names), (graph.num_entities, graph.num_relations)
    # The graph itself keeps its checksum and the folder that it is mapped from.
    if kept is None and entity is None and relation is None and own == (match.names, match.sizes):
        return graph
    if kept is not None:
        # Snapshots that lose all their facts go, since a graph has none without facts.
        snapshots, snapshot = np.unique(graph.snapshot[kept], return_inverse=True)
        graph = dataclasses.replace(
            graph,
            subject=graph.subject[kept],
            relation=graph.relation[kept],
            object=graph.object[kept],
            snapshot=snapshot.astype(np.int32),
            split=graph.split[kept],
            times=graph.times[snapshots],
        )
    static = graph.static
    return dataclasses.replace(
        graph,
        subject=_renumber(graph.subject, entity),
        relation=_renumber(graph.relation, relation),
        object=_renumber(graph.object, entity),
        entity_names=match.names[0],
        relation_names=match.names[1],
        num_entities=match.sizes[0],
        num_relations=match.sizes[1],
        left_out=left_out,
        static=static if static is None or entity is None else _static_with_ids(static, entity),
    )


def _renumber(column: np.ndarray, new_ids: np.ndarray | None) -> np.ndarray:
    """A column of ids with the new id of each, None where all stay."""
    return column if new_ids is None else new_ids.astype(np.int32)[column]


def _static_with_ids(static: StaticGraph, new_ids: np.ndarray) -> StaticGraph:
    """The static facts of the entities that the checkpoint knows; words have no names and keep their ids."""
    entity = new_ids.astype(np.int32)[static.entity]
    known = entity >= 0
    return dataclasses.replace(static, entity=entity[known], relation=static.relation[known], word=static.word[known])
