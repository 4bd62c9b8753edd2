"""What an evidence model has learnt, as rules that a person can read: after A did q to B, A does r to B.

The strongest rules are found by what the model makes of past events on valid, and are then judged by what happened, on
valid and on test; `rule_counts` says when a rule applies and when it is right.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import Field

from tirgn_eqx.data.graph import TemporalGraph
from tirgn_eqx.data.index.evidence import EvidenceIndex
from tirgn_eqx.data.index.occurrences import find
from tirgn_eqx.evaluate.compare import relation_name
from tirgn_eqx.evaluate.results import DatasetDescription, Document
from tirgn_eqx.evaluate.rule_codes import EVENT, NUM_BANDS, POPULAR_OBJECT, POPULAR_SUBJECT, RuleParts
from tirgn_eqx.evaluate.rule_counts import RuleCounts, count_rules, rule_coverage
from tirgn_eqx.evaluate.rule_words import age_bounds, describe_ages, describe_figures, describe_rule, step_name
from tirgn_eqx.models import Evidence, Mixture

LEAST_SUPPORT, ENOUGH_SUPPORT = 10, 100  # bounds of the support that is asked for by default


class RuleFigures(Document):
    """How often a rule was right in a split.

    - `support`: the (query, candidate) that it applies to.
    - `confidence`: the share of these whose candidate was an answer.
    - `base`: that share among all candidates of queries about its relation that have any evidence of the kind.
    - `lift`: `confidence` / `base`; None where no such candidate was an answer.
    """

    support: int
    confidence: float
    base: float
    lift: float | None = None


class AgeFigures(Document):
    """A rule where its evidence was last seen from `first` to `last` steps ago (None: or earlier), on valid; `learnt`:
    the mean probability that it gives a candidate."""

    first: int = Field(..., serialization_alias="from")
    last: int | None = Field(default=None, serialization_alias="to")
    learnt: float
    figures: RuleFigures


class Rule(Document):
    """One rule: what speaks for (A, `relation`, B), and how strongly.

    - `kind`: "event", a past triple of A and B; or "popularity", the relation itself with one of them.
    - `after`: what happened before, as (who, relation, whom); who and whom are "A", "B" or "anyone".
    - `first`, `last`: the ages at which the rule is strongest, in steps, last one included; None: or earlier.
    - `learnt`: at these ages, the mean probability that the model gives a candidate by this evidence.
    - `carried`: the share of the probability of all forecasts that this gives.
    - `valid`, `test`: how often it was right at these ages; None where it never applies.
    - `ages`: all ages at which it applies on valid.
    - `words`: the rule as a clause; `statement`: as a sentence with its figures on valid.
    - `code`: its number, see `RuleCodes`; not in the JSON.
    """

    kind: Literal["event", "popularity"]
    after: tuple[str, str, str]
    relation: str
    first: int = Field(..., serialization_alias="from")
    last: int | None = Field(default=None, serialization_alias="to")
    learnt: float
    carried: float
    valid: RuleFigures
    test: RuleFigures | None = None
    ages: list[AgeFigures]
    words: str
    statement: str
    code: int = Field(..., exclude=True)


class CoverageFigures(Document):
    """What the rules say together of the test split.

    - `queries`, `answers`: of both directions; `candidates`: how many a query has on average that a rule applies to.
    - `coverage`: the share of the answers that a rule applies to.
    - `lift`: how often the rules were right, divided by how often candidates with any evidence of their kinds would
      have been; None where that is never.
    """

    queries: int
    answers: int
    candidates: float
    coverage: float
    lift: float | None = None


class RuleReport(Document):
    """The strongest rules of a model; the document of `tirgn explain --rules`.

    - `unit`: what one step of the clock is called; `min_support`: fewer applications on valid are left out.
    - `only`: the relation that was asked for; `repeats`: whether a relation may speak for itself.
    - `found`: how many rules there are to choose from; `events`, `popularity`: the shares of the probability of all
      forecasts on valid that past triples of the pair, and popularity, carry.
    """

    dataset: DatasetDescription
    unit: str
    min_support: int
    only: str | None = None
    repeats: bool
    found: int
    events: float
    popularity: float
    rules: list[Rule]
    test: CoverageFigures | None = None


@dataclass(frozen=True)
class LearntRules:
    """The rules of one model on one graph, counted: `valid` with what the model makes of them, `test` without; None
    where nothing of the test split has a past."""

    graph: TemporalGraph
    index: EvidenceIndex
    max_partners: int
    valid: RuleCounts
    test: RuleCounts | None

    def report(
        self, *, top: int = 10, min_support: int | None = None, relation: int | None = None, repeats: bool = True
    ) -> RuleReport:
        """The strongest rules: those whose evidence gives a candidate the most probability on average.

        Of one rule at several ages, the strongest counts. Nothing of the test split takes part in the choice.

        **Arguments:** `top`: how many; `min_support`: applications on valid, at least (None: a hundredth of the
        queries, within 10 and 100); `relation`: only rules for this one; `repeats`: False leaves out rules by which a
        relation speaks for itself.
        """
        valid, parts = self.valid, self.valid.codes.parts(self.valid.code)
        if min_support is None:
            min_support = min(ENOUGH_SUPPORT, max(LEAST_SUPPORT, int(valid.queries.sum()) // 100))
        wanted = valid.support >= min_support
        if relation is not None:
            wanted &= parts.relation == relation
        if not repeats:
            wanted &= (parts.kind == EVENT) & (parts.past != parts.relation)
        rows = np.flatnonzero(wanted)
        learnt = valid.mass[rows] / valid.support[rows]
        # The last key decides first. Equal ones are in order of their codes, so that runs agree.
        rows = rows[np.lexsort((valid.code[rows], -learnt))]
        # The first row of each evidence and relation, whatever the age, is its strongest.
        _, first = np.unique(valid.code[rows] // NUM_BANDS, return_index=True)
        chosen = rows[np.sort(first)][:top]
        unit, queries = step_name(self.graph), valid.queries if relation is None else valid.queries[[relation]]
        rules = [self._rule(int(row), parts, unit, int(queries.sum())) for row in chosen]
        of_relation = np.full(len(valid.code), True) if relation is None else parts.relation == relation
        events = of_relation & (parts.kind == EVENT)
        return RuleReport(
            dataset=DatasetDescription.of(self.graph),
            unit=unit,
            min_support=min_support,
            only=None if relation is None else relation_name(self.graph, relation),
            repeats=repeats,
            found=len(first),
            events=float(valid.mass[events].sum() / max(queries.sum(), 1)),
            popularity=float(valid.mass[of_relation & ~events].sum() / max(queries.sum(), 1)),
            rules=rules,
            test=self._coverage(rules, relation) if rules else None,
        )

    def _rule(self, row: int, parts: RuleParts, unit: str, queries: int) -> Rule:
        valid, relation = self.valid, int(parts.relation[row])
        bands = NUM_BANDS * (int(valid.code[row]) // NUM_BANDS) + np.arange(NUM_BANDS)
        ages: list[AgeFigures] = []
        for place in find(valid.code, bands).tolist():
            if place >= 0:
                first, last = age_bounds(int(parts.band[place]))
                learnt = float(valid.mass[place] / valid.support[place])
                figures = _figures(valid, int(valid.code[place]))
                assert figures is not None  # it is a row of `valid`
                ages.append(AgeFigures(first=first, last=last, learnt=learnt, figures=figures))
        after = self._after(relation, int(parts.past[row]), int(parts.kind[row]))
        first, last = age_bounds(int(parts.band[row]))
        words = describe_rule(after, relation_name(self.graph, relation), describe_ages(first, last, unit))
        found, code = _figures(valid, int(valid.code[row])), int(valid.code[row])
        assert found is not None
        return Rule(
            kind="event" if parts.kind[row] == EVENT else "popularity",
            after=after,
            relation=relation_name(self.graph, relation),
            first=first,
            last=last,
            learnt=float(valid.mass[row] / valid.support[row]),
            carried=float(valid.mass[row] / max(queries, 1)),
            valid=found,
            test=None if self.test is None else _figures(self.test, code),
            ages=ages,
            words=words,
            statement=f"{words}: {describe_figures(found.support, found.confidence, found.lift)}",
            code=code,
        )

    def _after(self, relation: int, past: int, kind: int) -> tuple[str, str, str]:
        """Who did what to whom before."""
        number = self.graph.num_relations
        if kind == POPULAR_OBJECT:
            return "anyone", relation_name(self.graph, relation), "B"
        if kind == POPULAR_SUBJECT:
            return "A", relation_name(self.graph, relation), "anyone"
        who, whom = ("A", "B") if past < number else ("B", "A")
        return who, relation_name(self.graph, past % number), whom

    def _coverage(self, rules: list[Rule], relation: int | None) -> CoverageFigures | None:
        if self.test is None:
            return None
        codes = np.array([rule.code for rule in rules], np.int64)
        found = rule_coverage(self.graph, "test", codes, self.index, max_partners=self.max_partners, relation=relation)
        applied = [rule.test for rule in rules if rule.test is not None]
        expected = sum(one.support * one.base for one in applied)
        came = sum(one.support * one.confidence for one in applied)
        return CoverageFigures(
            queries=found.queries,
            answers=found.answers,
            candidates=found.named / max(found.queries, 1),
            coverage=found.covered / max(found.answers, 1),
            lift=came / expected if expected else None,
        )


def learn_rules(
    model: Evidence | Mixture, graph: TemporalGraph, index: EvidenceIndex | None = None, *, history_len: int = 0
) -> LearntRules:
    """Count the rules of valid and test, with what `model` makes of them on valid.

    **Arguments:** `index`: of the same graph, built here unless given; `history_len`: of the structure in a mixture, as
    trained.

    **Raises:** DataError where no snapshot of the valid split has a past.

    **Example:**

        learnt = learn_rules(model, graph, history_len=config.history_len)
        print(learnt.report(top=3).rules[0].statement)
    """
    index = index or EvidenceIndex(graph)
    partners = (model.evidence if isinstance(model, Mixture) else model).max_partners
    valid = count_rules(graph, "valid", index, max_partners=partners, model=model, history_len=history_len)
    later = graph.split_snapshots("test")
    test = count_rules(graph, "test", index, max_partners=partners) if (later > 0).any() else None
    return LearntRules(graph, index, partners, valid, test)


def _figures(counts: RuleCounts, code: int) -> RuleFigures | None:
    """Of the rule with this code; None where it never applies."""
    row = int(find(counts.code, np.array([code]))[0])
    if row < 0:
        return None
    parts = counts.codes.parts(np.array([code]))
    place = int(parts.relation[0]), int(parts.kind[0])
    # What the rule applies to is among what the base counts, so that no divisor is 0 but that of the lift.
    confidence = counts.came[row] / counts.support[row]
    base = counts.base_came[place] / counts.base_support[place]
    lift = float(confidence / base) if base else None
    return RuleFigures(support=int(counts.support[row]), confidence=float(confidence), base=float(base), lift=lift)
