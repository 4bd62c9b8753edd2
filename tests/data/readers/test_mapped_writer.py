"""Mapped graphs as they are written: in order, whole, by one process, in place of the one before."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.readers.mapped_helpers import same
from tests.helpers import facts_of_a_graph, make_graph, random_graph
from tirgn_eqx.data import (
    FactBlock,
    build_history_vocabulary,
    load_graph,
    map_graph,
    write_mapped,
)
from tirgn_eqx.data.graph import ReadReport
from tirgn_eqx.errors import ConfigError, DataError
from tirgn_eqx.storage.locks import exclusive_lock


@settings(max_examples=30, deadline=None)
@given(facts=facts_of_a_graph(), size=st.integers(1, 7))
def test_facts_are_written_as_they_come(tmp_path_factory, facts, size):
    graph = make_graph(**facts)
    columns = (graph.subject, graph.relation, graph.object, graph.times[graph.snapshot], graph.split)
    blocks = (FactBlock(*(column[n : n + size] for column in columns)) for n in range(0, graph.num_facts + size, size))
    place = tmp_path_factory.mktemp("graph")
    sizes = {"num_entities": graph.num_entities, "num_relations": graph.num_relations}
    same(graph, write_mapped(place, blocks, name="made", **sizes))


def block(subject, time, split=0):
    def fill(value):
        return np.full(len(time), value, np.int64)

    return FactBlock(np.array(subject), fill(0), fill(0), np.array(time), fill(split))


@pytest.mark.parametrize(
    ("blocks", "words"),
    [
        ([block([0, 1], [1, 0])], "fact 1: at time 0 .* sort the facts"),
        ([block([0], [1]), block([0], [0])], "fact 1: at time 0"),
        ([block([0], [1], 1), block([0], [1], 0)], "fact 1: at time 1 and of split train"),
        ([block([-1], [1])], "fact 0: subject is -1, outside"),
        ([block([0], [2**60])], "time is 1152921504606846976, outside"),
        ([block([0], [1], 3)], "split is 3, outside 0 to 2"),
        ([block([7], [1])], "subject 7 is beyond the 3"),
        ([block([0.5], [1])], "numbers of float64"),
        ([block([0, 1], [1])], "give one for each fact"),
        ([], "no facts"),
    ],
)
def test_facts_that_no_graph_can_hold(tmp_path, blocks, words):
    map_graph(random_graph(0), tmp_path / "graph")
    before = load_graph(tmp_path / "graph").checksum
    with pytest.raises(DataError, match=words):
        write_mapped(tmp_path / "graph", blocks, name="new", num_entities=3, num_relations=1)
    assert load_graph(tmp_path / "graph").checksum == before
    assert not list((tmp_path / "graph").glob(".graph.*.tmp"))


def test_a_graph_takes_the_place_of_the_one_before(tmp_path):
    place = tmp_path / "graph"
    old = map_graph(random_graph(0), place)
    build_history_vocabulary(old)
    new = map_graph(random_graph(1), place)
    same(new, load_graph(place))
    assert len(list(place.glob("facts-*"))) == 1 and not list(place.glob("history-*"))
    build_history_vocabulary(new)
    same(new, map_graph(load_graph(place), place))  # of itself
    assert len(list(place.glob("facts-*"))) == 1 and len(list(place.glob("history-*"))) == 1
    assert len(old.subject) and old.subject[0] >= 0  # what was mapped before is still there


def test_only_one_writes_and_nothing_else_is_overwritten(tmp_path):
    place = tmp_path / "graph"
    with exclusive_lock(place / ".graph.lock", RuntimeError()):
        with pytest.raises(DataError, match="another process is writing"):
            map_graph(random_graph(0), place)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("x")
    (tmp_path / "file").write_text("x")
    for name in ("other", "file"):
        with pytest.raises(ConfigError, match="something else than a mapped graph"):
            map_graph(random_graph(0), tmp_path / name)


def test_facts_that_are_lost_on_the_way_are_noticed(tmp_path):
    with pytest.raises(ValueError, match="3 facts were read, but 2 written"):
        sizes = {"num_entities": 3, "num_relations": 1}
        write_mapped(tmp_path / "graph", [block([0, 1], [1, 2])], name="x", read=ReadReport(3, 3), **sizes)


def test_what_a_killed_process_left_is_removed(tmp_path):
    place = tmp_path / "graph"
    map_graph(random_graph(0), place)
    from tirgn_eqx.storage.atomic_write import _system

    left = place / f".graph.{_system()}-{2**22 + 1}.tmp"
    (left / "inside").mkdir(parents=True)
    map_graph(random_graph(1), place)
    assert not left.exists() and isinstance(place, Path) and os.path.isdir(place)
