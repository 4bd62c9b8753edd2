"""Evaluation of the recurrency baseline, and the search for its parameters on the valid split.

The score of a candidate without history depends on the relation alone, so how many of those stand above an answer is
one look-up in a table of the relation. The cost is that of the candidates with history.
"""

import time
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float

from tirgn_eqx.data.graph import TemporalGraph, both_directions
from tirgn_eqx.data.index.occurrences import find, ranges
from tirgn_eqx.data.index.recurrence import RecurrenceIndex, build_recurrence_index
from tirgn_eqx.errors import ConfigError
from tirgn_eqx.evaluate.filters import Filter, TrueAnswers
from tirgn_eqx.evaluate.ranks import places, ranks_from_places
from tirgn_eqx.evaluate.results import Evaluation, Setting, evaluated_snapshots
from tirgn_eqx.evaluate.strata import split_queries
from tirgn_eqx.models.recurrency import DECAYS, SHARES, Recurrency, RelaxedPart, StrictPart

Choice = tuple[StrictPart, Float[np.ndarray, " rel2"]]  # a strict part, and its share by relation


class _SnapshotQueries:
    """The queries of snapshot `number` with all that is known before snapshot `history_end` to answer them.

    Answers are the split's facts, then their inverses. `answer_query` is the query (a distinct (s, r)) of each; `row`
    is its row in `pairs`, or -1 for an answer without history. The true candidates of all splits have the same columns,
    each listed once. `expanded` pairs every answer with all candidates of its query that have history, `filtered` with
    all true ones. `xi`, `answer_xi`, `true_xi` are relaxed scores; `levels` says how many entities have which score,
    for each relation (`level_of_query`: the row of the query's relation there).
    """

    def __init__(self, evaluator: "RecurrencyEvaluator", number: int, history_end: int, relaxed: RelaxedPart):
        graph, index, entities = evaluator.graph, evaluator.index, evaluator.graph.num_entities
        subject, relation, self.answer, _ = split_queries(graph, evaluator.split, np.array([number]))
        keys, self.answer_query = np.unique(index.keys(subject, relation), return_inverse=True)
        self.number, self.history_end, self.now = number, history_end, float(index.clock[number])
        self.relation, self.pairs = keys % index.rel2, index.history(keys, history_end)
        # The pairs are in order of query and candidate.
        pair_code = self.pairs.query * entities + self.pairs.candidate
        self.true_query, true = evaluator.true_answers.of_queries(number, keys // index.rel2, keys % index.rel2)
        true_code = self.true_query * entities + true
        self.row, self.true_row = (
            find(pair_code, self.answer_query * entities + self.answer),
            find(pair_code, true_code),
        )
        self.expanded = _expand(self.answer_query, self.pairs.query, len(keys))
        self.filtered = _expand(self.answer_query, self.true_query, len(keys))
        self.xi = relaxed(self.relation[self.pairs.query], self.pairs.candidate)
        self.answer_xi = relaxed(self.relation[self.answer_query], self.answer)
        self.true_xi = relaxed(self.relation[self.true_query], true)
        relations, self.level_of_query = np.unique(self.relation, return_inverse=True)
        self.levels = relaxed.distribution(relations)


class RecurrencyEvaluator:
    """Ranks every query of one split by counts of past facts.

    **Arguments:** `setting`: "single-step" reveals each snapshot after it was forecast, "multi-step" nothing from the
    split's first snapshot on; `index`: of the same graph, built here unless given; `filter`: of the ranks.

    **Raises:** ConfigError for the setting "multi-step, fed back"; DataError for a split without a snapshot.

    **Example:**

        evaluate = RecurrencyEvaluator(graph, "test")
        print(evaluate(search_recurrency(graph)).entity["mrr"])
    """

    def __init__(
        self,
        graph: TemporalGraph,
        split: str,
        setting: Setting = "single-step",
        index: RecurrenceIndex | None = None,
        filter: Filter = "time",
    ):
        if setting == "multi-step, fed back":
            raise ConfigError("recurrency: there is no window to feed forecasts back to; ask for multi-step")
        self.graph, self.split, self.setting = graph, split, setting
        self.index = index or build_recurrence_index(graph)
        self.snapshots = evaluated_snapshots(graph, split)
        self.filter: Filter = filter
        self.true_answers = TrueAnswers(graph, ever=filter == "all")

    def __call__(self, model: Recurrency) -> Evaluation:
        """Rank every query with `model`."""
        begin = time.perf_counter()
        choice = StrictPart(self.index, model.decay), model.share
        parts: list[tuple[np.ndarray, ...]] = []
        for queries in self._walk():
            number = len(queries.answer)
            inverse = np.arange(number) >= number // 2
            parts.append((*_ranks(queries, choice), np.full(number, queries.number), inverse))
        filtered, raw, snapshot, inverse = (np.concatenate(column) for column in zip(*parts))
        filtered = raw if self.filter == "none" else filtered
        return Evaluation(
            graph=self.graph,
            split=self.split,
            setting=self.setting,
            snapshot=snapshot,
            inverse=inverse,
            filtered={"entity": filtered},
            raw={"entity": raw},
            nll={},
            seconds=time.perf_counter() - begin,
            filter=self.filter,
        )

    def reciprocal_ranks(
        self, choices: Sequence[Choice]
    ) -> tuple[Float[np.ndarray, "choice rel2"], Float[np.ndarray, " rel2"]]:
        """Sums of 1 / filtered rank over the queries of each relation, under each choice, and the number of queries."""
        rel2 = self.index.rel2
        total, number = np.zeros((len(choices), rel2)), np.zeros(rel2)
        for queries in self._walk():
            relation = queries.relation[queries.answer_query]
            number += np.bincount(relation, minlength=rel2)
            for place, choice in enumerate(choices):
                filtered, _ = _ranks(queries, choice)
                total[place] += np.bincount(relation, 1 / filtered, minlength=rel2)
        return total, number

    def _walk(self) -> Iterator[_SnapshotQueries]:
        """The queries of every snapshot of the split with what is known when it is forecast."""
        graph = self.graph
        relaxed, learnt = RelaxedPart(self.index.rel2, graph.num_entities), 0
        for number in self.snapshots.tolist():
            end = number if self.setting == "single-step" else int(self.snapshots[0])
            # What became known since the last target; in multi-step `end` stays, so that the slice is soon empty.
            _, relation, object_ = both_directions(graph, slice(graph.offsets[learnt], graph.offsets[end]))
            relaxed.update(relation, object_)
            learnt = end
            yield _SnapshotQueries(self, number, end, relaxed)


def _expand(answer_query: np.ndarray, owner: np.ndarray, num_queries: int) -> tuple[np.ndarray, np.ndarray]:
    """(answer, row): every answer with every row that its query owns; `owner` is ascending."""
    bounds = np.searchsorted(owner, np.arange(num_queries + 1))
    return ranges(bounds[answer_query], bounds[answer_query + 1])


def _ranks(queries: _SnapshotQueries, choice: Choice) -> tuple[np.ndarray, np.ndarray]:
    """(filtered, raw) rank of every answer: 1 + better candidates + half of the equal ones."""
    pairs, (strict, share_by_relation) = queries.pairs, choice
    psi, share = strict(pairs, queries.now, queries.history_end), share_by_relation[queries.relation]
    rest = 1 - share
    # `_places_without_history` computes the same product, so that equal scores are equal bit for bit and tie.
    without = rest[pairs.query] * queries.xi
    score = np.append(share[pairs.query] * psi + without, 0.0)  # row -1: no pair
    own = np.where(queries.row >= 0, score[queries.row], rest[queries.answer_query] * queries.answer_xi)

    # All entities are counted as if none had a history, then those that have one are moved to where they stand.
    better = _places_without_history(queries, own, rest)
    answer, row = queries.expanded
    moved = places(score[row], own[answer]) - places(without[row], own[answer])
    better += np.bincount(answer, moved, minlength=len(own))
    true = np.where(queries.true_row >= 0, score[queries.true_row], rest[queries.true_query] * queries.true_xi)
    answer, row = queries.filtered
    # The answer itself is among the true candidates, and counted half.
    better_true = np.bincount(answer, places(true[row], own[answer]), minlength=len(own))
    return ranks_from_places(better, better_true)


def _places_without_history(queries: _SnapshotQueries, own: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """For each answer, how many entities the relaxed part alone puts above its score, equal ones counted half."""
    row, xi, number = queries.levels
    rest_of_row = np.empty(row[-1] + 1)
    rest_of_row[queries.level_of_query] = rest
    up_to = np.concatenate([[0], np.cumsum(number)])
    own_row = queries.level_of_query[queries.answer_query]
    # Integers in the order of (relation, score), so that one search serves all relations.
    distinct, place = np.unique(np.concatenate([rest_of_row[row] * xi, own]), return_inverse=True)
    codes = np.concatenate([row, own_row]) * len(distinct) + place
    levels, wanted = codes[: len(row)], codes[len(row) :]
    below, at_most = up_to[np.searchsorted(levels, wanted)], up_to[np.searchsorted(levels, wanted, "right")]
    # Every relation lists all entities once, so relations 0 .. own_row hold (own_row + 1) * entities of them.
    entities = up_to[-1] // len(rest_of_row)
    return (own_row + 1) * entities - at_most + 0.5 * (at_most - below)


def search_recurrency(
    graph: TemporalGraph,
    *,
    per_relation: bool = True,
    setting: Setting = "single-step",
    decays: Sequence[float] = DECAYS,
    shares: Sequence[float] = SHARES,
    index: RecurrenceIndex | None = None,
) -> Recurrency:
    """Find the parameters with the best filtered MRR on valid: first the decay, by the strict part alone, then the
    share.

    **Arguments:** `per_relation`: choose for every relation and direction, and for those without a query on valid what
    is best for all; otherwise one choice for all; `decays`, `shares`: what is chosen from; `index`: of the same graph,
    built here unless given.
    """
    evaluator = RecurrencyEvaluator(graph, "valid", setting, index)
    rel2 = evaluator.index.rel2

    def best(values: Sequence[float], choices: Sequence[Choice]) -> Float[np.ndarray, " rel2"]:
        total, number = evaluator.reciprocal_ranks(choices)
        for_all = int(total.sum(1).argmax())
        chosen = np.where(number > 0, total.argmax(0), for_all) if per_relation else np.full(rel2, for_all)
        return np.asarray(values, np.float64)[chosen]

    # A share of 1 leaves the strict part alone.
    strict_only = np.ones(rel2)
    decay = best(decays, [(StrictPart(evaluator.index, np.full(rel2, value)), strict_only) for value in decays])
    strict = StrictPart(evaluator.index, decay)
    return Recurrency(decay, best(shares, [(strict, np.full(rel2, value)) for value in shares]))
