"""Windows without questions hold the snapshots before what is known, and the clock of the target."""

import numpy as np
import pytest

from tests.helpers import random_graph
from tirgn_eqx.data.batches.windows import WindowLoader
from tirgn_eqx.data.index.snapshots import SnapshotStore

HISTORY_LEN = 3


@pytest.fixture(scope="module")
def graph():
    return random_graph(6, num_times=9)


@pytest.mark.parametrize("known", [None, 4])
@pytest.mark.parametrize("known_now", [None, 2, 5])
def test_a_window_ends_before_whatever_is_not_known(graph, known, known_now):
    loader, store = WindowLoader(graph, None, history_len=HISTORY_LEN, known=known), SnapshotStore(graph)
    for target in range(1, graph.num_snapshots):
        found = loader.build(target, known_now)
        end = min(x for x in (target, known, known_now) if x is not None)
        numbers = range(max(0, end - HISTORY_LEN), end)
        assert found.length == len(numbers) and float(found.time_index) == graph.time_index[target]
        valid = np.asarray(found.window.valid)
        assert valid.tolist() == [False] * (HISTORY_LEN - len(numbers)) + [True] * len(numbers)
        index, weight = np.asarray(found.rows.index), np.asarray(found.rows.weight)
        rows = np.append(index, graph.num_entities)
        active = sorted({entity for number in numbers for entity in store[number].active.tolist()})
        assert index[weight > 0].tolist() == active and (index[weight == 0] == graph.num_entities).all()
        for row, number in zip(range(HISTORY_LEN - len(numbers), HISTORY_LEN), numbers):
            named = rows[np.asarray(found.window.active[row])]
            assert named[named < graph.num_entities].tolist() == store[number].active.tolist()
            assert np.asarray(found.window.degree[row]).sum() == len(store[number].source)
