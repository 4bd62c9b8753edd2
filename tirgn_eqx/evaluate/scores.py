"""Evaluation of scores that another model gave, by the protocol of this package: filter, ties, directions and strata.

The queries are those of a split, as in every `Evaluation`. A file that lacks one of them is refused: a mean over fewer
queries is none over all.
"""

import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int64

from tirgn_eqx.data.graph import TemporalGraph
from tirgn_eqx.data.index.occurrences import find
from tirgn_eqx.data.times import format_snapshot_time
from tirgn_eqx.errors import DataError, DataWarning
from tirgn_eqx.evaluate.filters import Filter, TrueAnswers
from tirgn_eqx.evaluate.ranks import places, ranks_from_places
from tirgn_eqx.evaluate.results import Evaluation, Setting, evaluated_snapshots
from tirgn_eqx.evaluate.score_files import ScoreFile
from tirgn_eqx.evaluate.score_ids import describe_span, read_ids, read_row_queries, refuse_first
from tirgn_eqx.evaluate.strata import split_queries

BLOCK = 2**24  # scores that are held at once


def evaluate_scores(
    file: ScoreFile,
    graph: TemporalGraph,
    *,
    split: str = "test",
    setting: Setting = "single-step",
    filter: Filter = "time",
) -> Evaluation:
    """Rank the answers to every query of a split by the scores in a file.

    **Arguments:**

    - `file`: as `open_scores` returns it. Ranks in it are taken as they are.
    - `graph`: with the ids that the file means; `match_checkpoint(graph, file.metadata(graph))` makes it so.
    - `setting`: in which the scores were made; it decides what counts as recurrence.
    - `filter`: of the ranks, see `filters`; of a file of ranks, the one under which they were found.

    **Returns:** ranks and figures; without raw ranks where the file holds filtered ones.

    **Raises:** DataError for queries that are missing or named twice, unknown names, and scores that are no numbers.

    **Example:**

        file = open_scores("theirs.parquet")
        print(evaluate_scores(file, load_graph("data/ICEWS14s")).entity["mrr"])
    """
    begin = time.perf_counter()
    asked = _AskedQueries.of(graph, split, filter)
    rows = read_row_queries(file, graph)
    code = asked.encode(graph, rows.snapshot, rows.subject, rows.relation)
    query = np.where(rows.snapshot < 0, -1, find(asked.code, code))
    if (other := int((query < 0).sum())) == len(query):
        timeless = f"; none has the time of a fact, {describe_span(graph)}" if (rows.snapshot < 0).all() else ""
        raise DataError(
            f"{file.path}: holds no query of the {split} split of {graph.name}; give the scores of its own{timeless}"
        )
    if file.form == "ranks":
        filtered = _given_ranks(file, graph, asked, query)
        raw = filtered if filter == "none" else None
    else:
        filtered, raw = np.full((2, len(asked.answer)), np.nan)
        blocks = _listed_blocks if file.form == "candidates" else _dense_blocks
        for place, scores in blocks(file, graph, asked, query):
            for number, values in zip(place.tolist(), scores):
                asked.rank(number, values, filtered, raw)
        filtered = raw if filter == "none" else filtered
    if other:
        warnings.warn(
            f"{file.path}: {other:,} of {len(query):,} rows are of queries that the {split} split of {graph.name} does "
            "not ask; they are left out",
            DataWarning,
            stacklevel=2,
        )
    return Evaluation(
        graph=graph,
        split=split,
        setting=setting,
        snapshot=asked.snapshot,
        inverse=asked.inverse,
        filtered={"entity": filtered},
        raw={} if raw is None else {"entity": raw},
        nll={},
        seconds=time.perf_counter() - begin,
        filter=filter,
    )


Answers = Int64[np.ndarray, " answer"]
Places = Int64[np.ndarray, " row"]  # of the query of every row in `_AskedQueries.code`, -1 for none of them


@dataclass(frozen=True)
class _AskedQueries:
    """The distinct queries of a split, their answers, and what the filter leaves out.

    - `code`: int64 `(query,)`, ascending: snapshot, subject and relation as one integer.
    - `answer`, `snapshot`, `inverse`: by answer, in the order of `Evaluation`.
    - `answers[bounds[q]:bounds[q + 1]]`: the positions of the answers to query q; `true` and `true_bounds` likewise:
      the candidates that the filter leaves out.
    """

    code: Int64[np.ndarray, " query"]
    answer: Answers
    snapshot: Answers
    inverse: Bool[np.ndarray, " answer"]
    answer_query: Answers
    answers: Answers
    bounds: Int64[np.ndarray, " query1"]
    true: Int64[np.ndarray, " true"]
    true_bounds: Int64[np.ndarray, " query1"]

    @classmethod
    def of(cls, graph: TemporalGraph, split: str, filter: Filter) -> "_AskedQueries":
        snapshots = evaluated_snapshots(graph, split)
        subject, relation, answer, snapshot = split_queries(graph, split, snapshots)
        code, query = np.unique(cls.encode(graph, snapshot, subject, relation), return_inverse=True)
        rel2, size = 2 * graph.num_relations, graph.num_entities * 2 * graph.num_relations
        true_answers = TrueAnswers(graph, ever=filter == "all")
        true_query, true = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for number in snapshots.tolist() if filter != "none" else ():
            first, end = np.searchsorted(code, [number * size, (number + 1) * size])
            pair = code[first:end] - number * size
            place, candidates = true_answers.of_queries(number, pair // rel2, pair % rel2)
            true_query.append(first + place)
            true.append(candidates)
        every = np.arange(len(code) + 1)
        answers = np.argsort(query, kind="stable")
        return cls(
            code=code,
            answer=answer,
            snapshot=snapshot,
            inverse=relation >= graph.num_relations,
            answer_query=query,
            answers=answers,
            bounds=np.searchsorted(query[answers], every),
            true=np.concatenate(true),
            true_bounds=np.searchsorted(np.concatenate(true_query), every),
        )

    @staticmethod
    def encode(graph: TemporalGraph, snapshot: np.ndarray, subject: np.ndarray, relation: np.ndarray) -> np.ndarray:
        return (snapshot * graph.num_entities + subject) * (2 * graph.num_relations) + relation

    def rank(self, query: int, scores: np.ndarray, filtered: np.ndarray, raw: np.ndarray) -> None:
        """Write the ranks of the answers to a query by the scores `(entity,)` of all candidates."""
        mine = self.answers[self.bounds[query] : self.bounds[query + 1]]
        own = scores[self.answer[mine]][:, None]
        true = scores[self.true[self.true_bounds[query] : self.true_bounds[query + 1]]]
        filtered[mine], raw[mine] = ranks_from_places(places(scores, own).sum(1), places(true, own).sum(1))

    def describe(self, graph: TemporalGraph, query: int) -> str:
        """A query as messages name it."""
        rest, relation = divmod(int(self.code[query]), 2 * graph.num_relations)
        snapshot, entity = divmod(rest, graph.num_entities)
        name = graph.entity_names[entity] if graph.entity_names else str(entity)
        inverse, relation = divmod(relation, graph.num_relations)
        what = graph.relation_names[relation] if graph.relation_names else str(relation)
        parts = ("?", what, name) if inverse else (name, what, "?")
        return f"({', '.join(parts)}) at {format_snapshot_time(graph, snapshot)}"


def _check_complete(file: ScoreFile, graph: TemporalGraph, asked: _AskedQueries, found: Places) -> None:
    """**Raises:** DataError where a query of the split is missing among those that were `found`."""
    missing = np.setdiff1d(np.arange(len(asked.code)), found)
    if len(missing):
        raise DataError(
            f"{file.path}: {len(missing):,} of {len(asked.code):,} queries are missing, the first is "
            f"{asked.describe(graph, int(missing[0]))}; give all, in both directions"
        )


def _check_once(file: ScoreFile, key: np.ndarray, what: str) -> None:
    """**Raises:** DataError with the first row whose `key` an earlier row has; negative keys do not count."""
    first = np.zeros(len(key), bool)
    first[np.unique(key, return_index=True)[1]] = True
    refuse_first(file.path, ~first & (key >= 0), lambda row: f"repeats {what} of an earlier row; give each once")


def _dense_blocks(
    file: ScoreFile, graph: TemporalGraph, asked: _AskedQueries, query: Places
) -> Iterator[tuple[Places, Float[np.ndarray, "query entity"]]]:
    """(query, scores of all entities) of the rows of a file, some at a time."""
    assert file.read_scores is not None
    _check_once(file, query, "the query")
    _check_complete(file, graph, asked, query)
    step = max(1, BLOCK // graph.num_entities)
    for begin in range(0, len(query), step):
        wanted = query[begin : begin + step]
        scores = file.read_scores(begin, begin + len(wanted))
        if scores.shape[1] != graph.num_entities:
            raise DataError(
                f"{file.path}: row {begin + 1:,} has {scores.shape[1]:,} scores; {graph.name} has "
                f"{graph.num_entities:,} entities, give one for each, in the order of their ids"
            )
        _check_scores(file, scores, begin)
        yield wanted[wanted >= 0], scores[wanted >= 0]


def _listed_blocks(
    file: ScoreFile, graph: TemporalGraph, asked: _AskedQueries, query: Places
) -> Iterator[tuple[Places, Float[np.ndarray, "query entity"]]]:
    """As `_dense_blocks`; candidates that no row lists have -inf, which are all where a row has no candidate."""
    candidate = read_ids(file, "candidate", graph.entity_names, graph.num_entities)
    score = np.where(candidate < 0, 0, _numbers(file, "score"))
    _check_scores(file, score[:, None], 0)
    listed = (query >= 0) & (candidate >= 0)
    _check_once(file, np.where(listed, query * graph.num_entities + candidate, -1), "the query and candidate")
    _check_complete(file, graph, asked, query)
    query, candidate, score = query[listed], candidate[listed], score[listed]
    order = np.argsort(query, kind="stable")
    step = max(1, BLOCK // graph.num_entities)
    for begin in range(0, len(asked.code), step):
        block = np.arange(begin, min(begin + step, len(asked.code)))
        rows = order[slice(*np.searchsorted(query[order], [block[0], block[-1] + 1]))]
        scores = np.full((len(block), graph.num_entities), -np.inf)
        scores[query[rows] - begin, candidate[rows]] = score[rows]
        yield block, scores


def _given_ranks(
    file: ScoreFile, graph: TemporalGraph, asked: _AskedQueries, query: Places
) -> Float[np.ndarray, " answer"]:
    """The rank of every answer, as a file tells them."""
    answer = read_ids(file, "answer", graph.entity_names, graph.num_entities)
    refuse_first(file.path, answer < 0, lambda row: "has no answer")
    rank = _numbers(file, "rank")
    possible = (rank >= 1) & (rank <= graph.num_entities)  # NaN compares false
    refuse_first(file.path, ~possible, lambda row: f"rank {rank[row]:g} is not between 1 and {graph.num_entities:,}")
    key = np.where(query < 0, -1, query * graph.num_entities + answer)
    _check_once(file, key, "the query and answer")
    order = np.argsort(key)
    place = find(key[order], asked.answer_query * graph.num_entities + asked.answer)
    missing = np.flatnonzero(place < 0)
    if len(missing):
        first = int(missing[0])
        number = int(asked.answer[first])
        name = graph.entity_names[number] if graph.entity_names else str(number)
        raise DataError(
            f"{file.path}: {len(missing):,} of {len(place):,} answers have no rank, the first is {name} to "
            f"{asked.describe(graph, int(asked.answer_query[first]))}; give all, in both directions"
        )
    return rank[order][place]


def _numbers(file: ScoreFile, name: str) -> Float[np.ndarray, " row"]:
    column = file.columns[name]
    if not column.dtype.is_numeric():
        raise DataError(f"{file.path}: column {name} has type {str(column.dtype)[:80]}; give numbers")
    # Null becomes NaN.
    return column.to_numpy().astype(np.float64)


def _check_scores(file: ScoreFile, scores: np.ndarray, begin: int) -> None:
    """**Raises:** DataError for a score that is no number; `begin`: rows before these."""
    bad = np.concatenate([np.zeros(begin, bool), np.isnan(scores).any(1)])
    refuse_first(file.path, bad, lambda row: "a score is missing or NaN; give -inf to what cannot be")
