"""The audit itself: what is asked, asked again with what must make no difference changed, and compared."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int64

from tirgn_eqx.data.graph import TemporalGraph
from tirgn_eqx.errors import ConfigError
from tirgn_eqx.evaluate.audit import perturbations as change_to
from tirgn_eqx.evaluate.audit.contract import (
    Facts,
    ForecastRequest,
    Ids,
    Measure,
    Measured,
    Pairs,
    RankFunction,
    Scores,
)
from tirgn_eqx.evaluate.audit.measures import ranked
from tirgn_eqx.evaluate.audit.report import AuditReport, CheckResult, Looked
from tirgn_eqx.evaluate.audit.tally import Key, Query, Tally, conclude
from tirgn_eqx.evaluate.results import DatasetDescription, evaluated_snapshots
from tirgn_eqx.evaluate.strata import split_queries

MAX_SCORES = 2**23  # [query, entity] scores of a snapshot that are kept for comparison
ALONE = 8  # queries of a snapshot that are asked alone
WITHHELD = "facts at and after the target were withheld, so that they cannot be looked at"
Place = Int64[np.ndarray, " compared"]


class Changed(NamedTuple):
    """A changed request with its answers; query `rows[i]` of it is the compared query `compared[i]` of the target."""

    check: str
    change: str
    request: ForecastRequest
    answers: Ids
    rows: Place
    compared: Place


@dataclass(frozen=True)
class Target:
    """A snapshot of the audit.

    **Arguments:** `request`, `answers`: its queries in both directions; `table`: all facts; `rows`: the queries that
    are compared, of which `alone` (places in `rows`) are asked alone; `others`: by compared query, the other true
    answers at the same time.
    """

    request: ForecastRequest
    answers: Ids
    table: Facts
    rows: Place
    alone: Int64[np.ndarray, " alone"]
    others: Bool[np.ndarray, "compared entity"]
    rng: np.random.Generator

    @property
    def mine(self) -> Ids:
        """The answers of the compared queries."""
        return self.answers[self.rows]


def audit(
    graph: TemporalGraph,
    scores: Measure | None = None,
    *,
    ranks: RankFunction | None = None,
    figures: Measure | None = None,
    model: str,
    split: Literal["train", "valid", "test"] = "test",
    snapshots: int = 3,
    queries: int | None = None,
    alone: int = ALONE,
    facts: Literal["all", "past"] = "all",
    fixed_ids: bool = False,
    tolerance: float | None = None,
    seed: int = 0,
) -> AuditReport:
    """Whether a forecaster looks at what it must not: facts at and after the target, the other queries, ids.

    **Arguments:**

    - `scores`: the forecaster, as a `ScoreMeasure` of its function; `ranks`: its ranking protocol, if it has one of its
      own; `figures`: its evaluation as a whole, see `EvaluationMeasure`. What is None is not looked at.
    - `model`: its name in the report.
    - `snapshots`: how many of the split are forecast; `queries`: of how many facts of each the two queries are asked,
      None for all of them; `alone`: queries of each that are asked alone.
    - `facts`: "all" hands over the whole table, "past" only what is before the target.
    - `fixed_ids`: the forecaster cannot take its tables in another order, so that entities are not renumbered.
    - `tolerance`: how far a value may move, times its size where that is above 1. None: not at all where the
      computation has the same shapes, and 1e-6 where products are batched differently (other queries, other ids, padded
      batches).
    - `seed`: of the choice of snapshots and queries and of the random facts; the same seed makes the same audit.

    **Raises:** DataError for a split without a snapshot to forecast, and where `scores` or `ranks` fails or returns
    numbers of a wrong shape; ConfigError for a number below 1.
    """
    for name, number in (("snapshots", snapshots), ("queries", queries), ("alone", alone)):
        if number is not None and number < 1:
            raise ConfigError(f"{name} = {number}: must be at least 1")
    numbers = evaluated_snapshots(graph, split)
    chosen = np.sort(np.random.default_rng(seed).permutation(numbers)[:snapshots])
    targets = [_target(graph, split, int(number), seed, (queries, alone), facts) for number in chosen]
    tally = Tally(graph, tolerance)
    looked: dict[Looked, Measure] = {}
    looked |= {} if scores is None else {"scores": scores}
    looked |= {} if figures is None else {"figures": figures}
    for of, measure in looked.items():
        first: list[Measured] = []
        for target in targets:
            before = _measured(measure, target)
            first.append(before)
            for changed in _changes(of, target, graph.time_interval, facts, fixed_ids):
                found = measure(changed.request, changed.answers, changed.rows)
                _compare(tally, of, changed, target, before, found)
            if of == "scores" and ranks is not None:
                _audit_ranks(tally, ranks, target, before.values)
        # Last, and from the last snapshot to the first, so that what was kept of later ones would show.
        for target, before in zip(targets[::-1], first[::-1]):
            again = Changed("repeat", "asked again", target.request, target.answers, *_all(target))
            _compare(tally, of, again, target, before, _measured(measure, target))
    checks = conclude(tally.results(), _not_checked(scores, ranks, facts, fixed_ids))
    return AuditReport(
        dataset=DatasetDescription.of(graph),
        split=split,
        model=model,
        facts=facts,
        seed=seed,
        times=[int(graph.times[number]) for number in chosen],
        clean=all(one.status in ("clean", "not checked") for one in checks),
        checks=checks,
    )


def _target(
    graph: TemporalGraph, split: str, number: int, seed: int, sizes: tuple[int | None, int], facts: str
) -> Target:
    rng, time, (queries, alone) = np.random.default_rng([seed, number]), int(graph.times[number]), sizes
    s, r, answers, _ = split_queries(graph, split, np.array([number]))
    half = len(answers) // 2  # facts, then their inverses
    asked = np.sort(rng.permutation(half)[:queries])
    s, r, answers = (column[np.concatenate([asked, asked + half])] for column in (s, r, answers))
    table = change_to.table_of(graph)
    known = table if facts == "all" else table[table[:, 3] < time]
    for one in (table, known):  # a function that writes into what it is given would change what others get
        one.setflags(write=False)
    request = ForecastRequest(
        facts=known,
        queries=np.stack([s, r], 1),
        time=time,
        num_entities=graph.num_entities,
        num_relations=graph.num_relations,
        entities=np.arange(graph.num_entities),
        entity_names=graph.entity_names,
        relation_names=graph.relation_names,
    )
    most = max(alone, MAX_SCORES // graph.num_entities)
    rows = np.sort(rng.permutation(len(answers))[:most])
    chosen = np.sort(rng.permutation(len(rows))[:alone])
    others = others_true(table[table[:, 3] == time], request, request.queries[rows], answers[rows])
    return Target(request, answers, table, rows, chosen, others, rng)


def others_true(
    present: Facts, request: ForecastRequest, queries: Pairs, answers: Ids
) -> Bool[np.ndarray, "query entity"]:
    """By query, the other entities that answer it in the facts `present`, which the time-aware filter leaves out."""
    s, r, o, _ = present.T
    ends = np.concatenate([s, o]), np.concatenate([r, r + request.num_relations]), np.concatenate([o, s])
    keys, true = ends[0] * 2 * request.num_relations + ends[1], ends[2]
    order = np.argsort(keys, kind="stable")
    keys, true = keys[order], true[order]
    wanted = queries[:, 0] * 2 * request.num_relations + queries[:, 1]
    found = np.zeros((len(queries), request.num_entities), bool)
    for row, (first, last) in enumerate(zip(np.searchsorted(keys, wanted), np.searchsorted(keys, wanted, "right"))):
        found[row, true[first:last]] = True
    found[np.arange(len(queries)), answers] = False
    return found


def mean_ranks(scores: Scores, answers: Ids, others: Bool[np.ndarray, "query entity"]) -> Float[np.ndarray, " query"]:
    """Ranks with the time-aware filter, ties at the mean of their places, as `answer_ranks`.

    In NumPy, because the scores of others may be float64, and ties of theirs must not be made by rounding.
    """
    own = np.take_along_axis(scores, answers[:, None], 1)
    better, equal = ((compared & ~others).sum(1) for compared in (scores > own, scores == own))
    return 1 + better + (equal - 1) / 2


def _measured(measure: Measure, target: Target) -> Measured:
    return measure(target.request, target.answers, target.rows)


def _all(target: Target) -> tuple[Place, Place]:
    return target.rows, np.arange(len(target.rows))


def _changes(of: Looked, target: Target, step: int, facts: str, fixed_ids: bool) -> Iterator[Changed]:
    """The changed requests of a target; an evaluation as a whole takes its queries from the facts of the snapshot."""
    request, answers, rng, (rows, every) = target.request, target.answers, target.rng, _all(target)
    if facts == "all":
        future = {
            "random": change_to.with_random_future(request, rng, step),
            "none": change_to.without_future(request),
        }
        present = {
            "other answers": change_to.with_other_answers(request, rng),
            "random": change_to.with_random_present(request, rng),
            "none": change_to.without_present(request),
        }
        for change, changed in future.items():
            yield Changed("facts after t", change, changed, answers, rows, every)
        for change, changed in present.items() if of == "scores" else ():
            yield Changed("facts at t", change, changed, answers, rows, every)

    def asked(change: str, chosen: Ids, rows: Place, compared: Place) -> Changed:
        queries = change_to.with_queries(request, request.queries[chosen])
        return Changed("queries", change, queries, answers[chosen], rows, compared)

    for place in target.alone:
        yield asked("alone", rows[[place]], np.zeros(1, int), every[[place]])
    order = rng.permutation(len(answers))
    yield asked("permuted", order, np.argsort(order)[rows], every)
    if of == "scores":
        half = len(answers) // 2  # facts, then their inverses
        for own in (np.arange(half), np.arange(half, len(answers))):
            mine = every[np.isin(rows, own)]
            yield asked("one direction", own, rows[mine] - own[0], mine)
    false, wrong = change_to.false_queries(request, 1 + len(answers) // 4, rng)
    joined = change_to.with_queries(request, np.concatenate([request.queries, false]))
    yield Changed("queries", "false ones added", joined, np.concatenate([answers, wrong]), rows, every)
    if of == "scores" and not fixed_ids:
        entities = rng.permutation(request.num_entities)
        changed = change_to.with_entities_renumbered(request, entities)
        yield Changed("ids", "renumbered", changed, np.argsort(entities)[answers], rows, every)


def _compare(tally: Tally, of: Looked, changed: Changed, target: Target, before: Measured, after: Measured) -> None:
    place = changed.compared
    if len(place) == 0:  # a direction of which no query was chosen
        return
    answers, others = target.mine[place], target.others[place]
    old, new = before.values[place], after.values
    ranks = [
        found.ranks if found.ranks is not None else mean_ranks(values, answers, others)
        for found, values in ((Measured(old, None if before.ranks is None else before.ranks[place]), old), (after, new))
    ]
    asked = Query(target.request.time, target.request.queries[target.rows[place]], answers)
    # Where another shape of arrays is summed in another order, the last digits differ.
    shapes = of == "figures" or changed.check in ("queries", "ids")
    tally.add(Key(of, changed.check, changed.change), asked, (old, new), (ranks[0], ranks[1]), exact=not shapes)


def _audit_ranks(tally: Tally, rank: RankFunction, target: Target, scores: Scores) -> None:
    """What a ranking protocol must not look at: facts of other times, and the ids of candidates."""
    whole = dataclasses.replace(target.request, facts=target.table)
    request = change_to.with_queries(whole, whole.queries[target.rows])
    answers = target.mine
    before = ranked(rank, request, scores, answers)
    order = target.rng.permutation(request.num_entities)
    new_answers = np.argsort(order)[answers]
    renumbered = change_to.with_entities_renumbered(request, order)
    other_times = change_to.with_random_other_times(request, target.rng)
    # The middle of a tie of all that the protocol ranks: halfway between the answer above all others and below them.
    # Only a better place than that is one in favour of the truth.
    level, own = np.zeros_like(scores), np.zeros_like(scores)
    own[np.arange(len(answers)), answers] = 1
    middle = (ranked(rank, request, own, answers) + ranked(rank, request, -own, answers)) / 2
    found = {
        ("ties", "equal scores"): (middle, np.minimum(middle, ranked(rank, request, level, answers))),
        ("ids", "renumbered"): (before, ranked(rank, renumbered, scores[:, order], new_answers)),
        ("facts not at t", "random"): (before, ranked(rank, other_times, scores, answers)),
        ("repeat", "ranked again"): (before, ranked(rank, request, scores, answers)),
    }
    asked = Query(request.time, request.queries, answers)
    for (check, change), (old, new) in found.items():
        tally.add(Key("ranks", check, change), asked, (old[:, None], new[:, None]), (old, new), exact=True)


def _not_checked(scores: Measure | None, ranks: RankFunction | None, facts: str, fixed_ids: bool) -> list[CheckResult]:
    """What an audit left out, each with its reason."""
    left: list[tuple[Looked, str, str, str]] = []
    if scores is not None and facts == "past":
        left.append(("scores", "facts after t", "any", WITHHELD))
        left.append(("scores", "facts at t", "any", WITHHELD))
    if scores is not None and fixed_ids:
        left.append(("scores", "ids", "renumbered", "the forecaster has fixed ids"))
    if ranks is None:
        left.append(("ranks", "ties, ids", "any", "no ranking protocol was given"))
    return [CheckResult(of=of, check=c, change=change, status="not checked", reason=why) for of, c, change, why in left]
