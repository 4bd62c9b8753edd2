"""What all loaders share, on a loader of numbers: the order of an epoch, equal shapes, and one batch of each."""

import numpy as np
import pytest

from tests.helpers import make_graph
from tirgn_eqx.data.batches.loader import Loader, LoaderOptions, Prepared

# Two facts at every time; the third of the four times is in the test split as to its second fact.
FACTS = [(0, 0, 1, 0), (1, 0, 2, 0), (0, 0, 2, 1), (1, 0, 0, 1), (2, 0, 1, 2), (0, 0, 1, 2), (2, 0, 0, 3), (1, 0, 2, 3)]


class NumberLoader(Loader[int, LoaderOptions, int]):
    """Every target is an item, its batch is its number, and its bucket the size of its shape."""

    def __init__(self, graph, split, shapes, group, **options):
        super().__init__(graph, split, LoaderOptions(**options))
        self.items = self.snapshots
        self.set_buckets(shapes, np.asarray(group))

    def build(self, item, epoch=0):
        return Prepared(item, self.bucket_of[item], 100 * epoch + item, 0, {})

    def padded_work(self, bucket):
        return bucket


@pytest.fixture(scope="module")
def graph():
    return make_graph(FACTS, num_entities=3, num_relations=1, valid=5, test=5)


def test_targets_are_those_with_a_past(graph):
    assert NumberLoader(graph, "train", [8], [0, 0]).snapshots.tolist() == [1, 2]
    assert NumberLoader(graph, "test", [8], [0, 0]).snapshots.tolist() == [2, 3]


def test_the_facts_of_a_split_leave_out_those_of_others_at_the_same_time(graph):
    by_split = {split: NumberLoader(graph, split, [8], [0, 0]) for split in ("train", "test")}
    assert by_split["train"].split_facts(2).tolist() == [4]
    assert by_split["test"].split_facts(2).tolist() == [5]
    assert by_split["test"].split_facts(3).tolist() == [6, 7]


def test_equal_shapes_become_one_bucket(graph):
    loader = NumberLoader(graph, "train", [16, 16], [0, 1])
    assert loader.buckets == [16] and loader.bucket_of == {1: 0, 2: 0}
    loader = NumberLoader(graph, "train", [8, 16], [1, 0])
    assert loader.buckets == [8, 16] and loader.bucket_of == {1: 1, 2: 0}


def test_one_of_each_begins_with_the_most_work(graph):
    loader = NumberLoader(graph, "train", [8, 16], [1, 0])
    assert [(one.target, one.bucket) for one in loader.one_of_each()] == [(1, 1), (2, 0)]


def test_an_epoch_has_every_item_once_in_an_order_of_its_own():
    facts = [(0, 0, 1, time) for time in range(40)]
    graph = make_graph(facts, num_entities=2, num_relations=1)
    loader, other = (NumberLoader(graph, "train", [8], [0] * 39, seed=seed) for seed in (3, 4))
    assert len(loader) == 39
    first, again, second = ([one.batch for one in loader.epoch(number)] for number in (1, 1, 2))
    assert first == again and sorted(first) == list(range(101, 140)) != first
    assert [x - 200 for x in second] != [x - 100 for x in first]
    assert other.order(1).tolist() != loader.order(1).tolist()
    # A resumed epoch goes on where it stopped.
    assert [one.batch for one in loader.epoch(1, start=30)] == first[30:]
    assert [one.batch for one in loader.in_order()] == list(range(1, 40))
