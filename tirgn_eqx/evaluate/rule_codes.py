"""Numbers for rules: what is forecast, the evidence for it, and the age of that evidence."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64

AGE_BOUNDS = (1, 7, 30)  # last steps of the age bands; the last band has no end
NUM_BANDS = len(AGE_BOUNDS) + 1
EVENT, POPULAR_OBJECT, POPULAR_SUBJECT = range(3)  # kinds of evidence
NUM_KINDS = 3


class RuleParts(NamedTuple):
    """What rules are about, one row a rule.

    `relation`: r; `past`: q, inverse ones included (`num_relations` and up: o did q to s), of popularity meaningless;
    `kind`: `EVENT`, `POPULAR_OBJECT` (r was done to o by anyone) or `POPULAR_SUBJECT` (s did r to anyone); `band`: of
    the age.
    """

    relation: Int64[np.ndarray, " rule"]
    past: Int64[np.ndarray, " rule"]
    kind: Int64[np.ndarray, " rule"]
    band: Int64[np.ndarray, " rule"]


@dataclass(frozen=True)
class RuleCodes:
    """Numbers for the possible rules of a vocabulary with so many relations, in order of relation, evidence and age."""

    num_relations: int

    def of_events(
        self,
        relation: Int64[np.ndarray, " n"],
        past: Int64[np.ndarray, " n"],
        age: Int64[np.ndarray, " n"],
    ) -> Int64[np.ndarray, " n"]:
        """Of past triples with `past`, for queries with `relation`, both with inverse relations."""
        # A query about (?, r, o) is asked as (o, r^-1, ?), and the past (s, q, o) is (o, q^-1, s) for it. Both turned
        # round, the two directions of a fact share their rules.
        turned = np.where(relation >= self.num_relations, self.num_relations, 0)
        return self._code(relation - turned, (past + turned) % (2 * self.num_relations), age)

    def of_popular(self, relation: Int64[np.ndarray, " n"], age: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
        """Of the past objects of `relation`, inverse ones included."""
        inverse, rel2 = relation >= self.num_relations, 2 * self.num_relations
        return self._code(relation % self.num_relations, rel2 + inverse, age)

    def _code(self, relation: np.ndarray, evidence: np.ndarray, age: np.ndarray) -> np.ndarray:
        code = relation * (2 * self.num_relations + 2) + evidence
        return code * NUM_BANDS + np.searchsorted(AGE_BOUNDS, age)

    def parts(self, code: Int64[np.ndarray, " rule"]) -> RuleParts:
        """What the rules with these codes are about."""
        code, band = np.divmod(code, NUM_BANDS)
        relation, evidence = np.divmod(code, 2 * self.num_relations + 2)
        return RuleParts(relation, evidence, np.maximum(evidence - 2 * self.num_relations + 1, EVENT), band)
