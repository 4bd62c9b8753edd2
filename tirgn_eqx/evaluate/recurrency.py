"""Evaluation of the recurrency baseline, and the choice of its parameters on valid.

No score of a candidate without history is ever computed: those share their order with all other questions about the
relation, so that their part of a rank is one look-up. The cost is that of the known candidates.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from tirgn_eqx.data.graph import SPLITS, TemporalGraph, both_directions
from tirgn_eqx.data.index.occurrences import find, ranges
from tirgn_eqx.data.index.recurrence import Pairs, RecurrenceIndex, build_recurrence_index
from tirgn_eqx.errors import ConfigError
from tirgn_eqx.evaluate.results import Evaluation, Setting, evaluated_snapshots
from tirgn_eqx.models.recurrency import DECAYS, SHARES, Recurrency, RelaxedPart, StrictPart


@dataclass(frozen=True)
class _Snapshot:
    """The questions of one snapshot with all that is known to answer them.

    Answers are the split's facts, then their inverses: `unit` names the question (a distinct (s, r)) of each, `row` its
    row in the `pairs`, or -1 when the answer was never seen. True candidates likewise, distinct ones of all
    splits; `expanded` pairs every answer with all known candidates of its question, `filtered` with all true ones.
    `xi`, `answer_xi`, `true_xi` are relaxed scores; `levels` says how many entities have which (`level_of_unit`: the
    row of the question's relation there).
    """

    number: int
    known: int
    now: float
    relation: np.ndarray  # of each unit
    pairs: Pairs
    unit: np.ndarray
    answer: np.ndarray
    row: np.ndarray
    true_query: np.ndarray
    true: np.ndarray
    true_row: np.ndarray
    expanded: tuple[np.ndarray, np.ndarray]
    filtered: tuple[np.ndarray, np.ndarray]
    xi: np.ndarray
    answer_xi: np.ndarray
    true_xi: np.ndarray
    levels: tuple[np.ndarray, np.ndarray, np.ndarray]
    level_of_unit: np.ndarray


class RecurrencyEvaluator:
    """Ranks every question of one split by the counts of the past.

    **Arguments:** `graph`; `split`; `setting`: "single-step" reveals each snapshot after it was forecast, "multi-step"
    nothing from the split's first snapshot on; `index`: of the same graph, when it is there.
    """

    def __init__(
        self,
        graph: TemporalGraph,
        split: Literal["valid", "test"],
        setting: Setting = "single-step",
        index: RecurrenceIndex | None = None,
    ):
        if setting == "multi-step, fed back":
            raise ConfigError("recurrency: there is no window to feed forecasts back to; ask for multi-step")
        self.graph, self.split, self.setting = graph, split, setting
        self.index = index or build_recurrence_index(graph)
        self.snapshots = evaluated_snapshots(graph, split)

    def __call__(self, model: Recurrency) -> Evaluation:
        """Rank every question with `model`."""
        begin = time.perf_counter()
        strict = StrictPart(self.index, model.decay)
        ranks, snapshots, inverse = [], [], []
        for snapshot in self._walk():
            psi = strict(snapshot.pairs, snapshot.now, snapshot.known)
            ranks.append(_ranks(snapshot, psi, model.share[snapshot.relation]))
            snapshots.append(np.full(len(snapshot.answer), snapshot.number))
            inverse.append(np.arange(len(snapshot.answer)) >= len(snapshot.answer) // 2)
        filtered, raw = (np.concatenate(column) for column in zip(*ranks))
        return Evaluation(
            graph=self.graph,
            split=self.split,
            setting=self.setting,
            snapshot=np.concatenate(snapshots),
            inverse=np.concatenate(inverse),
            filtered={"entity": filtered},
            raw={"entity": raw},
            nll={},
            seconds=time.perf_counter() - begin,
        )

    def reciprocal_ranks(
        self, choices: Sequence[Any], prepare: Callable[[Any], Any], rank: Callable[..., Any]
    ) -> tuple[np.ndarray, np.ndarray]:
        """float64 `(choice, rel2)`, `(rel2,)`: sums over the questions of each relation of 1 / filtered rank under each
        choice, and the number of questions; `prepare` is called once per choice, `rank` per choice and snapshot."""
        rel2 = self.index.rel2
        total, number = np.zeros((len(choices), rel2)), np.zeros(rel2)
        prepared = [prepare(choice) for choice in choices]
        for snapshot in self._walk():
            relation = snapshot.relation[snapshot.unit]
            number += np.bincount(relation, minlength=rel2)
            for place, choice in enumerate(prepared):
                filtered, _ = rank(choice, snapshot)
                total[place] += np.bincount(relation, 1 / filtered, minlength=rel2)
        return total, number

    def _walk(self) -> Iterator[_Snapshot]:
        """Every snapshot of the split with what is known when it is forecast."""
        graph = self.graph
        relaxed, learnt = RelaxedPart(self.index.rel2, graph.num_entities), 0
        for number in self.snapshots.tolist():
            known = number if self.setting == "single-step" else int(self.snapshots[0])
            _, relation, object_ = both_directions(graph, slice(graph.offsets[learnt], graph.offsets[known]))
            relaxed.update(relation, object_)
            learnt = known
            yield self._snapshot(number, known, relaxed)

    def _snapshot(self, number: int, known: int, relaxed: RelaxedPart) -> _Snapshot:
        graph, index = self.graph, self.index
        present = np.arange(*graph.offsets[number : number + 2].tolist())
        asked = present[graph.split[present] == SPLITS.index(self.split)]
        subject, relation, answer = both_directions(graph, asked)
        keys, unit = np.unique(index.keys(subject, relation), return_inverse=True)
        pairs = index.known(keys, known)
        # The pairs are in order of question and candidate.
        code = pairs.question * graph.num_entities + pairs.candidate

        row_of = lambda unit, candidate: find(code, unit * graph.num_entities + candidate)
        subject, relation, object_ = both_directions(graph, present)
        all_keys = index.keys(subject, relation)
        mine = np.isin(all_keys, keys)
        true_code = np.unique(np.searchsorted(keys, all_keys[mine]) * graph.num_entities + object_[mine])
        true_query, true = true_code // graph.num_entities, true_code % graph.num_entities
        unit_relation = keys % index.rel2
        relations, level_of_unit = np.unique(unit_relation, return_inverse=True)
        return _Snapshot(
            number=number,
            known=known,
            now=float(index.clock[number]),
            relation=unit_relation,
            pairs=pairs,
            unit=unit,
            answer=answer,
            row=row_of(unit, answer),
            true_query=true_query,
            true=true,
            true_row=row_of(true_query, true),
            expanded=_expand(unit, pairs.question, len(keys)),
            filtered=_expand(unit, true_query, len(keys)),
            xi=relaxed(unit_relation[pairs.question], pairs.candidate),
            answer_xi=relaxed(unit_relation[unit], answer),
            true_xi=relaxed(unit_relation[true_query], true),
            levels=relaxed.distribution(relations),
            level_of_unit=level_of_unit,
        )


def _expand(unit: np.ndarray, owner: np.ndarray, units: int) -> tuple[np.ndarray, np.ndarray]:
    """(answer, row): every answer with every row that its unit owns; `owner` is ascending."""
    bounds = np.searchsorted(owner, np.arange(units + 1))
    return ranges(bounds[unit], bounds[unit + 1])


def _ranks(snapshot: _Snapshot, psi: np.ndarray, share: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(filtered, raw) rank of every answer: 1 + better candidates + half of the equal ones.

    **Arguments:** `psi`: of the snapshot's pairs; `share`: of each unit.
    """
    pairs, unit = snapshot.pairs, snapshot.unit
    rest = 1 - share
    without = rest[pairs.question] * snapshot.xi
    score = np.append(share[pairs.question] * psi + without, 0.0)  # row -1: no pair
    value = lambda unit, row, xi: np.where(row >= 0, score[row], rest[unit] * xi)
    own = value(unit, snapshot.row, snapshot.answer_xi)
    places = lambda values, threshold: np.where(values > threshold, 1.0, np.where(values == threshold, 0.5, 0.0))
    per_answer = lambda rows, weights: np.bincount(rows, weights, minlength=len(own))

    # Everyone as if nobody had a history, then the known candidates moved from there to where they are.
    everyone = _places_without_history(snapshot, own, rest)
    answer, row = snapshot.expanded
    everyone += per_answer(answer, places(score[row], own[answer]) - places(without[row], own[answer]))
    true = value(snapshot.true_query, snapshot.true_row, snapshot.true_xi)
    answer, row = snapshot.filtered
    # The answer itself is among the true ones, and counted half.
    return 1 + everyone - per_answer(answer, places(true[row], own[answer])), 0.5 + everyone


def _places_without_history(snapshot: _Snapshot, own: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """Per answer: how many entities would be better than it by the relaxed part alone, equal ones counted half."""
    row, xi, number = snapshot.levels
    rest_of_row = np.empty(row[-1] + 1)
    rest_of_row[snapshot.level_of_unit] = rest
    up_to = np.concatenate([[0], np.cumsum(number)])
    # Complex numbers are ordered by their real part first: one search among the levels of all relations.
    mine = snapshot.level_of_unit[snapshot.unit]
    levels, wanted = row + 1j * (rest_of_row[row] * xi), mine + 1j * own
    below, at_most = up_to[np.searchsorted(levels, wanted)], up_to[np.searchsorted(levels, wanted, "right")]
    entities = up_to[-1] // len(rest_of_row)
    return (mine + 1) * entities - at_most + 0.5 * (at_most - below)


def search_recurrency(
    graph: TemporalGraph,
    *,
    per_relation: bool = True,
    setting: Setting = "single-step",
    decays: Sequence[float] = DECAYS,
    shares: Sequence[float] = SHARES,
    index: RecurrenceIndex | None = None,
) -> Recurrency:
    """The parameters with the best filtered MRR on valid: first the decay, by the strict part alone, then the share.

    **Arguments:** `per_relation`: a choice for every relation and direction, those that valid does not ask about taking
    the best one for all; else one choice for all.
    """
    evaluator = RecurrencyEvaluator(graph, "valid", setting, index)
    rel2 = evaluator.index.rel2

    def choose(values: Sequence[float], found: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        total, number = found
        for_all = int(total.sum(1).argmax())
        chosen = np.where(number > 0, total.argmax(0), for_all) if per_relation else np.full(rel2, for_all)
        return np.asarray(values, np.float64)[chosen]

    def by_decay(strict: StrictPart, snapshot: _Snapshot):
        psi = strict(snapshot.pairs, snapshot.now, snapshot.known)
        return _ranks(snapshot, psi, np.ones(len(snapshot.relation)))

    prepare = lambda decay: StrictPart(evaluator.index, np.full(rel2, decay, np.float64))
    decay = choose(decays, evaluator.reciprocal_ranks(decays, prepare, by_decay))
    strict = StrictPart(evaluator.index, decay)

    def by_share(share: float, snapshot: _Snapshot):
        psi = strict(snapshot.pairs, snapshot.now, snapshot.known)
        return _ranks(snapshot, psi, np.full(len(snapshot.relation), share))

    share = choose(shares, evaluator.reciprocal_ranks(shares, lambda share: share, by_share))
    return Recurrency(decay, share)
