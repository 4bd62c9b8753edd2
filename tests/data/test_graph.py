"""What a graph's checksum sees, and the order of facts that it is made of."""

import dataclasses

import numpy as np
import pytest

from tirgn_eqx.data.graph import from_facts

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
