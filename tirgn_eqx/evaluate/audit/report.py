"""What an audit returns: by check, whether anything moved, by how much, and an example by name."""

import math
from typing import Annotated, Literal

from pydantic import PlainSerializer

from tirgn_eqx.evaluate.results import DatasetDescription, Document

Status = Literal["clean", "moved", "unclear", "not checked"]
# What was looked at: scores of all entities, the ranks that a protocol gives them, or the figures of an evaluation.
Looked = Literal["scores", "ranks", "figures"]


def _spell_infinity(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)


# JSON has no infinities, and the null that stands for them elsewhere would hide a candidate that is ruled out.
Value = Annotated[float, PlainSerializer(_spell_infinity)]


class AuditExample(Document):
    """The query of a check whose forecast moved most.

    `relation` and the given end by name, None for the end that is asked; `answer`: what happened; `before`, `after`:
    the value that moved most, of `candidate` where it is the score of one, in JSON "-inf" for one that is ruled out;
    `rank_before`, `rank_after`: of the answer.
    """

    time: int | str
    subject: str | None = None
    relation: str
    object: str | None = None
    answer: str
    candidate: str | None = None
    before: Value
    after: Value
    rank_before: float
    rank_after: float


class CheckResult(Document):
    """One change, over all snapshots of the audit.

    - `of`: what was looked at; `check`, `change`: what was changed.
    - `status`: "clean"; "moved" beyond the tolerance; "unclear" where something moved, but so it did when the same was
      asked again; "not checked", with the `reason`.
    - `queries`: how many forecasts were compared; `moved`: how many of them moved beyond the tolerance.
    - `max_difference`: the largest absolute difference of two values, "inf" in JSON where one of them is infinite.
    - `ranks_changed`: how many answers have another rank; `mrr`, `mrr_changed`: of the compared queries, before and
      after the change, with the time-aware filter, or of an evaluation as a whole without one, because other queries
      are other facts to leave out.
    - `example`: the query that moved most; None where none moved.
    """

    of: Looked
    check: str
    change: str
    status: Status
    reason: str | None = None
    tolerance: float | None = None
    queries: int | None = None
    moved: int | None = None
    max_difference: Value | None = None
    ranks_changed: int | None = None
    mrr: float | None = None
    mrr_changed: float | None = None
    example: AuditExample | None = None


class AuditReport(Document):
    """The document of `tirgn audit`: `clean` where every check that was made is; `times` of the audited snapshots."""

    dataset: DatasetDescription
    split: str
    model: str
    facts: Literal["all", "past"]
    seed: int
    times: list[int]
    clean: bool
    checks: list[CheckResult]
