"""What a graph's checksum sees, and the order of facts that it is made of."""

import dataclasses
import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers import dataset, facts_of_a_graph, make_graph
from tirgn_eqx.data import load_graph
from tirgn_eqx.data.graph import SPLITS, from_facts

FACTS = np.array([(0, 0, 1, 10), (2, 1, 0, 10), (1, 0, 2, 10), (0, 1, 2, 20), (1, 1, 0, 40)])
SPLIT = np.array([2, 0, 1, 1, 2])


def made(facts=FACTS, split=SPLIT, entities=3, relations=2, **fields):
    return from_facts("made", facts, split, entities, relations, time_interval=10, **fields)


def test_facts_stand_by_time_and_then_by_split():
    graph = made()
    assert graph.times.tolist() == [10, 20, 40] and graph.snapshot.tolist() == [0, 0, 0, 1, 2]
    assert graph.split.tolist() == [0, 1, 2, 1, 2]
    assert list(zip(graph.subject, graph.relation, graph.object)) == [
        (2, 1, 0),
        (1, 0, 2),
        (0, 0, 1),
        (0, 1, 2),
        (1, 1, 0),
    ]
    assert [graph.split_snapshots(name).tolist() for name in ("train", "valid", "test")] == [[0], [0, 1], [0, 2]]
    assert graph.split_counts.tolist() == [[1, 0, 0], [1, 1, 0], [1, 0, 1]]


def test_order_names_and_origin_do_not_enter_the_checksum():
    order = [4, 1, 0, 3, 2]
    same = made(FACTS[order], SPLIT[order], entity_names=("A", "B", "C"), provenance={"path": "elsewhere"})
    assert same.checksum == made().checksum
    assert dataclasses.replace(made(), name="other").checksum == made().checksum


@pytest.mark.parametrize("column", range(4))
@pytest.mark.parametrize("row", range(5))
def test_every_number_of_every_fact_enters_the_checksum(row, column):
    changed = FACTS.copy()
    # The last time moves without another fact changing its place: 40 becomes 41.
    changed[row, column] = FACTS[row, column] + 1 if column == 3 else (FACTS[row, column] + 1) % (3, 2, 3)[column]
    assert made(changed).checksum != made().checksum


@pytest.mark.parametrize("row", range(5))
def test_the_split_of_every_fact_enters_the_checksum(row):
    changed = SPLIT.copy()
    changed[row] = (SPLIT[row] + 1) % 3
    assert made(split=changed).checksum != made().checksum


def test_sizes_and_repetitions_enter_the_checksum():
    twice = made(np.concatenate([FACTS, FACTS[:1]]), np.append(SPLIT, SPLIT[0]))
    found = {graph.checksum for graph in (made(), made(entities=4), made(relations=3), twice)}
    assert len(found) == 4
    # Two graphs with the same numbers in a row, cut otherwise, as sizes too large for one code per fact.
    wide = dataclasses.replace(made(), num_entities=2**31 - 1, num_relations=2**30)
    assert wide.checksum != dataclasses.replace(wide, num_relations=2**30 - 1).checksum


def old_checksum(graph):
    """The checksum as it was first defined, over all facts at once."""
    order = np.lexsort((graph.object, graph.relation, graph.subject, graph.split, graph.snapshot))
    rows = np.stack([graph.subject, graph.relation, graph.object, graph.split], 1).astype("<i8")[order]
    digest = hashlib.sha256(f"{graph.num_entities} {graph.num_relations}\n".encode())
    digest.update(np.ascontiguousarray(rows).tobytes())
    digest.update(graph.times[graph.snapshot][order].astype("<i8").tobytes())
    return digest.hexdigest()


@settings(max_examples=60, deadline=None)
@given(facts=facts_of_a_graph(), large=st.booleans(), block=st.integers(1, 40))
def test_what_goes_block_by_block_is_what_it_was_at_once(facts, large, block):
    graph = make_graph(**facts)
    if large:  # too many ids for one number per fact
        graph = dataclasses.replace(graph, num_entities=2**30, num_relations=2**20)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tirgn_eqx.data.graph.BLOCK_FACTS", block)
        assert graph.checksum == old_checksum(graph)
        for number, split in enumerate(SPLITS):
            mask = graph.split_mask(split)
            assert graph.split_snapshots(split).tolist() == np.unique(graph.snapshot[mask]).tolist()
            assert (
                graph.split_counts[number].tolist()
                == np.bincount(graph.snapshot[mask], minlength=graph.num_snapshots).tolist()
            )
        rows = [row for block in graph.blocks() for row in range(block.start, block.stop)]
    assert rows == list(range(graph.num_facts))
    assert graph.offsets.tolist() == np.searchsorted(graph.snapshot, np.arange(graph.num_snapshots + 1)).tolist()


def test_the_checksum_of_a_published_set_is_what_it_was():
    graph = load_graph(dataset("ICEWS14s"))
    assert graph.checksum == old_checksum(graph)
