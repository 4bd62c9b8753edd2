"""What moved, counted by check over all snapshots of an audit."""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from tirgn_eqx.data.graph import TemporalGraph
from tirgn_eqx.data.times import format_snapshot_time
from tirgn_eqx.evaluate.audit.contract import Ids, Pairs
from tirgn_eqx.evaluate.audit.report import AuditExample, CheckResult, Looked

RESHAPED = 1e-6  # of a value, where products are batched differently
Values = Float[np.ndarray, "query value"]
Ranks = Float[np.ndarray, " query"]


class Key(NamedTuple):
    """What was looked at, and what was changed."""

    of: Looked
    check: str
    change: str


class Query(NamedTuple):
    """Queries of one snapshot that were compared, and their answers."""

    time: int
    queries: Pairs
    answers: Ids


@dataclass
class _Count:
    tolerance: float
    queries: int = 0
    moved: int = 0
    max_difference: float = 0.0
    ranks_changed: int = 0
    reciprocal: list[Ranks] = field(default_factory=list[np.ndarray])
    reciprocal_changed: list[Ranks] = field(default_factory=list[np.ndarray])
    example: AuditExample | None = None


class Tally:
    """Counts what moved.

    **Arguments:** `graph`: for names; `tolerance`: of every check, None for those of `audit`.
    """

    def __init__(self, graph: TemporalGraph, tolerance: float | None):
        self._graph, self._tolerance = graph, tolerance
        self._counts: dict[Key, _Count] = {}

    def add(
        self, key: Key, asked: Query, values: tuple[Values, Values], ranks: tuple[Ranks, Ranks], *, exact: bool
    ) -> None:
        """Compare values and ranks before and after a change; `exact`: not one bit may differ."""
        tolerance = self._tolerance if self._tolerance is not None else 0.0 if exact else RESHAPED
        count = self._counts.setdefault(key, _Count(tolerance))
        difference, beyond = differences(*values, tolerance)
        moved = np.asarray(beyond.any(1))
        count.queries += len(moved)
        count.moved += int(moved.sum())
        count.ranks_changed += int((ranks[0] != ranks[1]).sum())
        count.reciprocal.append(1 / ranks[0])
        count.reciprocal_changed.append(1 / ranks[1])
        largest = float(difference.max(initial=0.0))
        if moved.any() and (count.example is None or largest > count.max_difference):
            row, place = np.unravel_index(np.where(beyond, difference, -1).argmax(), difference.shape)
            count.example = self._example(asked, int(row), int(place), values, ranks)
        count.max_difference = max(count.max_difference, largest)

    def _example(
        self, asked: Query, row: int, place: int, values: tuple[Values, Values], ranks: tuple[Ranks, Ranks]
    ) -> AuditExample:
        graph = self._graph
        entities = graph.entity_names or tuple(map(str, range(graph.num_entities)))
        relations = graph.relation_names or tuple(map(str, range(graph.num_relations)))
        first, relation = int(asked.queries[row, 0]), int(asked.queries[row, 1])
        inverse = relation >= graph.num_relations
        of_candidates = values[0].shape[1] == graph.num_entities
        return AuditExample(
            time=format_snapshot_time(graph, int(np.searchsorted(graph.times, asked.time))),
            subject=None if inverse else entities[first],
            relation=relations[relation % graph.num_relations],
            object=entities[first] if inverse else None,
            answer=entities[int(asked.answers[row])],
            candidate=entities[place] if of_candidates else None,
            before=float(values[0][row, place]),
            after=float(values[1][row, place]),
            rank_before=float(ranks[0][row]),
            rank_after=float(ranks[1][row]),
        )

    def results(self) -> list[CheckResult]:
        """The result of every check, in the order in which they were first made."""
        found: list[CheckResult] = []
        for key, count in self._counts.items():
            found.append(
                CheckResult(
                    **key._asdict(),
                    status="moved" if count.moved else "clean",
                    tolerance=count.tolerance,
                    queries=count.queries,
                    moved=count.moved,
                    max_difference=count.max_difference,
                    ranks_changed=count.ranks_changed,
                    mrr=float(np.concatenate(count.reciprocal).mean()),
                    mrr_changed=float(np.concatenate(count.reciprocal_changed).mean()),
                    example=count.example,
                )
            )
        return found


def differences(before: Values, after: Values, tolerance: float) -> tuple[Values, Bool[np.ndarray, "query value"]]:
    """The absolute difference of every value, and whether it is beyond `tolerance` times max(1, |value|).

    Equal infinities do not differ.
    """
    before, after = before.astype(np.float64), after.astype(np.float64)
    with np.errstate(invalid="ignore"):
        difference = np.where(before == after, 0.0, np.abs(before - after))
    finite = np.where(np.isfinite(before), np.abs(before), 1.0)
    return difference, difference > tolerance * np.maximum(1.0, finite)


def conclude(found: list[CheckResult], left: list[CheckResult]) -> list[CheckResult]:
    """Results with what was not checked; where the same request gave something else, other changes are unclear."""
    random = {one.of for one in found if one.check == "repeat" and one.status == "moved"}
    # The repetition first: the others mean something only where it is clean.
    found = sorted(found, key=lambda one: one.check != "repeat")
    return [
        one.model_copy(update={"status": "unclear", "reason": "the same request gave other values as well"})
        if one.of in random and one.check != "repeat" and one.status == "moved"
        else one
        for one in found
    ] + left
