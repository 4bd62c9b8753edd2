"""The questions about one snapshot, and their arrays in padded micro-batches."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tirgn_eqx.data.graph import TemporalGraph, both_directions
from tirgn_eqx.data.index.history import HistoryIndex, HistoryVocabulary

# Of a snapshot: int64 (subject, relation, object), relations of both directions.
Candidates = Callable[[int], tuple[np.ndarray, np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Questions:
    """Questions of one kind about snapshot `time`, both directions, before padding.

    What happened before snapshot `known` is known. Unit u asks about (`subject[u]`, `condition[u]`); `key` is the pair
    as one integer. Answer i says that `answer[i]` answers unit `answer_query[i]`; the answers of a unit are adjacent.
    (`true_query`, `true_answer`): every candidate that is true at this time, for the time-aware filter, other splits'
    facts included.
    """

    time: int
    known: int
    subject: np.ndarray
    condition: np.ndarray
    key: np.ndarray
    answer_query: np.ndarray
    answer: np.ndarray
    true_query: np.ndarray
    true_answer: np.ndarray
    row: np.ndarray  # int64 (answer,): position among [facts, inverse facts] of the split

    @property
    def num_units(self) -> int:
        return len(self.subject)


def ask(
    graph: TemporalGraph,
    vocabulary: HistoryVocabulary,
    time: int,
    split: int,
    kind: str,
    *,
    unique: bool,
    known: int | None = None,
    candidates: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None,
) -> Questions:
    """The questions that the facts of `split` at snapshot `time` ask.

    **Arguments:** `kind`: "entity" or "relation"; `unique`: ask a question once however many facts ask it;
    otherwise one unit per fact and direction, as the released code decodes; `known`: the snapshot before which the past
    is known, `time` unless given; `candidates`: (subject, relation, object) that take the place of what is true, for
    entity questions.
    """
    present = np.arange(graph.offsets[time], graph.offsets[time + 1])
    chosen = present[graph.split[present] == split]

    def columns(facts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        subject, relation, object_ = both_directions(graph, facts)
        if kind == "entity":
            return subject, relation, object_, vocabulary.entity_keys(subject, relation)
        return subject, object_, relation, vocabulary.relation_keys(subject, object_)

    subject, given, answer, key = columns(chosen)
    if unique:
        unit_key, first, answer_query = np.unique(key, return_index=True, return_inverse=True)
        order = np.argsort(answer_query, kind="stable")
        subject, given = subject[first], given[first]
    else:
        unit_key, answer_query = key, np.arange(len(key))
        order = answer_query
    _, _, all_answer, all_key = columns(present)
    if candidates is not None and kind == "entity":
        all_answer, all_key = candidates[2], vocabulary.entity_keys(*candidates[:2])
    # Distinct true (key, answer) pairs, then one row per unit that asks the key.
    span = 2 * graph.num_relations if kind == "relation" else graph.num_entities
    code = np.unique(all_key * span + all_answer)
    low, high = np.searchsorted(code, unit_key * span), np.searchsorted(code, (unit_key + 1) * span)
    length = high - low
    true_query = np.repeat(np.arange(len(unit_key)), length)
    pick = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length - low, length)
    return Questions(
        time=time,
        known=time if known is None else known,
        subject=subject,
        condition=given,
        key=unit_key,
        answer_query=answer_query[order],
        answer=answer[order],
        true_query=true_query,
        true_answer=(code[pick] % span).astype(np.int32),
        row=order,
    )


@dataclass(frozen=True)
class Division:
    """Units dealt to micro-batches: unit `order[bounds[m]:bounds[m + 1]]` form micro-batch m."""

    order: np.ndarray
    bounds: np.ndarray


def divide(num_units: int, num_micro: int, seed: int | None = None) -> Division:
    """Deal units evenly to `num_micro` micro-batches.

    With `seed` they are shuffled first, so that a micro-batch's BatchNorm sees both directions.
    """
    shuffle = seed is not None and num_micro > 1
    order = np.random.default_rng(seed).permutation(num_units) if shuffle else np.arange(num_units)
    return Division(order, np.linspace(0, num_units, num_micro + 1).astype(np.int64))


@dataclass(frozen=True)
class Parts:
    """Equal parts of every micro-batch's units, one for each slice of devices; `mine`: those that this process fills.

    The units' places are the same however many parts there are; answers and known pairs go with their units.
    """

    count: int = 1
    mine: tuple[int, ...] = (0,)


ONE_PART = Parts()


def division_sizes(
    questions: Questions, division: Division, index: HistoryIndex, unit: int | None = None, parts: Parts = ONE_PART
) -> np.ndarray:
    """int64 `(4,)`: the largest (units, answers, seen pairs, true pairs) of a micro-batch.

    **Arguments:** `unit`, `parts`: padded units of a micro-batch, in so many parts; then all but the units are of the
    largest part times the number of parts, and of seen pairs those of this process's own parts alone count.
    """
    lengths = np.diff(division.bounds)
    bounds = division.bounds
    mine = np.ones(questions.num_units, bool)
    if parts.count > 1:
        assert unit is not None
        cuts = np.minimum(np.arange(parts.count) * (unit // parts.count), lengths[:, None])
        bounds = np.append((division.bounds[:-1, None] + cuts).ravel(), division.bounds[-1])
        part = np.repeat(np.tile(np.arange(parts.count), len(lengths)), np.diff(bounds))
        mine[division.order] = np.isin(part, parts.mine)
    known = np.zeros(questions.num_units, np.int64)
    known[mine] = index.count(questions.key[mine], questions.known)
    per_unit = np.stack(
        [
            np.ones(questions.num_units, np.int64),
            np.bincount(questions.answer_query, minlength=questions.num_units),
            known,
            np.bincount(questions.true_query, minlength=questions.num_units),
        ]
    )[:, division.order]
    total = np.concatenate([np.zeros((4, 1), np.int64), np.cumsum(per_unit, 1)], 1)
    sizes = parts.count * np.diff(total[:, bounds], axis=1).max(1, initial=0)
    sizes[0] = lengths.max(initial=0)
    return sizes


def blank(fields: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Fields as `pack` gives them, of the same shapes, that ask nothing."""
    empty = {name: np.zeros_like(values) for name, values in fields.items()}
    units = fields["subject"].shape[1]
    empty["history_query"][:] = units
    empty["row"][:] = -1
    if "true_query" in fields:
        empty["true_query"][:] = units
    return empty


def pack(
    questions: Questions,
    division: Division,
    index: HistoryIndex,
    history_window: int,
    num_micro: int,
    sizes: np.ndarray,
    num_candidates: int,
    parts: Parts = ONE_PART,
) -> dict[str, np.ndarray]:
    """The fields of a `tirgn_eqx.types.Queries` with a leading micro axis, padded to `sizes`.

    With several `parts`, each of them has an equal share of `sizes`, and what is known of the units of others is left
    out: looked up by the process whose parts they are.

    `true_query` and `true_candidate` (the filter) come along, and `row` says which query each answer is.
    Padding: candidates `num_candidates`, units the unit size (dropped by scatters), rows -1.
    """
    unit, answer, seen, true = (int(size) for size in sizes)
    full = lambda width, value, dtype="int32": np.full((num_micro, width), value, dtype)
    out = {
        "subject": full(unit, 0),
        "condition": full(unit, 0),
        "weight": full(unit, 0, "float32"),
        "answer_query": full(answer, 0),
        "answer": full(answer, 0),
        "answer_weight": full(answer, 0, "float32"),
        "answer_in_history": full(answer, False, "bool"),
        "history_query": full(seen, unit),
        "history_candidate": full(seen, num_candidates),
        "true_query": full(true, unit),
        "true_candidate": full(true, num_candidates),
        "row": full(answer, -1, "int64"),
    }
    # Where each unit went: its micro-batch and its place there.
    count = questions.num_units
    micro_of = np.empty(count, np.int64)
    place_of = np.empty(count, np.int64)
    lengths = np.diff(division.bounds)
    micro_of[division.order] = np.repeat(np.arange(len(lengths)), lengths)
    place_of[division.order] = np.arange(count) - np.repeat(division.bounds[:-1], lengths)
    out["subject"][micro_of, place_of] = questions.subject
    out["condition"][micro_of, place_of] = questions.condition
    weight = np.bincount(questions.answer_query, minlength=count).astype(np.float32)
    out["weight"][micro_of, place_of] = weight

    part_of = place_of // max(1, unit // parts.count)
    group_of = micro_of * parts.count + part_of

    def scatter(owner: np.ndarray, **columns: np.ndarray) -> None:
        """Deal rows to their owner unit's part of its micro-batch, in the order of the units there."""
        order = np.argsort(micro_of[owner] * count + place_of[owner], kind="stable")
        group = group_of[owner][order]
        starts = np.searchsorted(group, np.arange(num_micro * parts.count))
        place = np.arange(len(owner)) - starts[group]
        for name, values in columns.items():
            out[name].reshape(num_micro * parts.count, -1)[group, place] = values[order]

    mine = np.flatnonzero(np.isin(part_of, parts.mine))
    owner, candidate = index.lookup(questions.key[mine], questions.known, history_window)
    owner = mine[owner]
    code = lambda unit, candidate: unit.astype(np.int64) * num_candidates + candidate
    is_seen = np.isin(code(questions.answer_query, questions.answer), code(owner, candidate))
    ones = np.ones(len(questions.answer), np.float32)
    local = place_of[questions.answer_query]
    scatter(
        questions.answer_query,
        answer_query=local,
        answer=questions.answer,
        answer_weight=ones,
        answer_in_history=is_seen,
        row=questions.row,
    )
    scatter(owner, history_query=place_of[owner], history_candidate=candidate)
    true = questions.true_query
    scatter(true, true_query=place_of[true], true_candidate=questions.true_answer)
    return out
