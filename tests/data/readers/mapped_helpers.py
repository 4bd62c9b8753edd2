"""A graph with everything that a mapped one holds, and whether two graphs are the same."""

import dataclasses

import numpy as np

from tests.helpers import make_graph
from tirgn_eqx.data.graph import ReadReport, StaticGraph

FIELDS = ("num_entities", "num_relations", "time_interval", "clock_origin", "entity_names", "relation_names", "name")
FIELDS += ("time_unit", "read")
ARRAYS = ("subject", "relation", "object", "snapshot", "split", "times")


def same(a, b):
    for name in ARRAYS:
        ours, theirs = getattr(a, name), getattr(b, name)
        assert ours.dtype == theirs.dtype and np.array_equal(ours, theirs), name
    assert [getattr(a, name) for name in FIELDS] == [getattr(b, name) for name in FIELDS]
    assert (a.static is None) == (b.static is None)
    if a.static is not None and b.static is not None:
        for ours, theirs in zip(dataclasses.astuple(a.static), dataclasses.astuple(b.static)):
            assert np.array_equal(ours, theirs)
    assert a.checksum == b.checksum


def rich_graph():
    names = {"entity_names": ("a", "b\n", "ü \U0001f600", "", "e"), "relation_names": ("r", "s")}
    static = StaticGraph(*(np.array(x, np.int32) for x in ([0, 3], [0, 1], [1, 0])), num_relations=2, num_words=2)
    facts = [(0, 0, 1, -5), (1, 1, 2, -5), (0, 0, 1, -5), (3, 1, 4, 7), (2, 0, 2, 9)]
    more = {"time_unit": 3600, "read": ReadReport(9, 5, blank=1, bad=2, outside=1, times="hours, \u00fc")}
    return make_graph(facts, num_entities=5, num_relations=2, valid=3, test=4, static=static, **names, **more)
