"""Evidence gathered for queries of either kind."""

import numpy as np
import pytest

from tests.helpers import both_directions, random_graph
from tirgn_eqx.data.batches.evidence_queries import AXES, Gatherer, QueryFacts
from tirgn_eqx.data.batches.loader import KINDS
from tirgn_eqx.data.index.evidence import EvidenceIndex


@pytest.mark.parametrize("kind", KINDS)
def test_queries_of_one_kind_are_gathered_as_among_both(kind):
    graph = random_graph(1)
    index = EvidenceIndex(graph)
    target = graph.num_snapshots - 1
    s, r, o = (np.array(part) for part in zip(*[fact[:3] for fact in both_directions(graph) if fact[3] == target]))
    gatherer, cutoff = Gatherer(index), index.cutoff(target)
    both, one = (
        gatherer.gather(QueryFacts(s, r, o), cutoff),
        gatherer.gather(QueryFacts(s, r, o), cutoff, kinds=(kind,)),
    )
    subject_of = {"entity": "subject", "relation": "relation_subject"}

    def of(name):
        return "relation" if name.startswith(("relation_", "evidence_")) else "entity"

    own = {name for arrays in AXES.values() for name in arrays}
    own -= {name for name in own if name.startswith(("neighbour_", "entry_", "link_"))}
    assert {of(name) for name in own} == set(KINDS)
    for name in set(both) - {name for name in own if of(name) != kind}:
        np.testing.assert_array_equal(one[name], both[name], err_msg=name)
    assert all(len(one[name]) == 0 for name in own if of(name) != kind)
    assert len(one[subject_of[kind]]) > 0
