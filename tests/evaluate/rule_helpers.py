"""Rules by brute force: which of them apply in a split, from the facts alone; a graph with evidence of every age."""

from collections import defaultdict

import numpy as np

from tests.helpers import both_directions, make_graph
from tests.models.evidence_helpers import build
from tirgn_eqx.evaluate.rule_codes import AGE_BOUNDS, EVENT, POPULAR_OBJECT, POPULAR_SUBJECT

RELATIONS, ENTITIES = 3, 7
# Gaps, so that every age band occurs: 1 step, 2 to 7, 8 to 30, and more.
TIMES = (0, 1, 2, 9, 10, 30, 45, 46, 48, 60, 61)


def made_graph(valid, test):
    rng = np.random.default_rng(4)
    rows = np.stack([rng.integers(0, n, 9 * len(TIMES)) for n in (ENTITIES, RELATIONS, ENTITIES)], 1)
    rows = np.column_stack([rows, np.repeat(TIMES, 9)])
    return make_graph(rows, num_entities=ENTITIES, num_relations=RELATIONS, valid=valid, test=test)


def turned(relation, number=RELATIONS):
    return (relation + number) % (2 * number)


def band(age):
    return sum(age > bound for bound in AGE_BOUNDS)


def applications(graph, split):
    """(rule, query, candidate, came) of every rule that applies, and the evidence base, from the facts alone. A rule is
    (relation, kind, past relation, age band), a query (snapshot, subject, relation)."""
    facts, number = both_directions(graph), graph.num_relations
    rows = np.flatnonzero(graph.split == split)
    asked = sorted({(t, s, r) for s, r, _, t in both_directions(graph, rows) if t > 0})
    rules, bases = [], []
    for t, s, r in asked:
        past, now = [fact for fact in facts if fact[3] < t], graph.time_index[t]
        inverse = r >= number
        for o in range(graph.num_entities):
            came = (s, r, o, t) in facts
            last = defaultdict(int)
            for s2, q, o2, when in past:
                if (s2, o2) == (s, o):
                    own = turned(q, number) if inverse else q
                    last[EVENT, own] = max(last[EVENT, own], when)
                if (q, o2) == (r, o):
                    kind = POPULAR_SUBJECT if inverse else POPULAR_OBJECT
                    last[kind, None] = max(last[kind, None], when)
            for (kind, q), when in last.items():
                age = int(now - graph.time_index[when])
                rules.append(((r % number, kind, q, band(age)), (t, s, r), o, came))
            bases += [((r % number, kind), came) for kind in {kind for kind, _ in last}]
    return rules, bases, asked


def named(counts):
    """The rules of `counts` as `applications` writes them."""
    parts = counts.codes.parts(counts.code)
    return [
        (int(r), int(kind), int(q) if kind == EVENT else None, int(b))
        for r, q, kind, b in zip(parts.relation, parts.past, parts.kind, parts.band)
    ]


def evidence_model(graph):
    return build(graph, evidence_context=True, evidence_background=True), 0


def plain_model(graph):
    return build(graph, evidence_context=False, evidence_background=False), 0
