"""Random graphs of given sizes."""

import numpy as np

from benchmarks import graphs


def test_random_graph_has_the_sizes_asked_for():
    graph = graphs.random_graph(entities=30, relations=4, snapshots=20, facts=500, last_facts=60)
    per_snapshot = np.diff(graph.offsets)
    last = graph.split_snapshots("train")[-1]
    assert per_snapshot[last] == 60
    assert set(np.delete(per_snapshot, last)) == {25}
    assert graph.num_facts == 500 - 25 + 60
    assert [len(graph.split_snapshots(split)) for split in ("train", "valid", "test")] == [16, 2, 2]
