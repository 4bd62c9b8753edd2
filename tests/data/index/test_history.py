"""The history vocabulary built part by part is the one that is built at once; kept, it is taken again, or made anew."""

import dataclasses
import json
import multiprocessing
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers import facts_of_a_graph, make_graph, random_graph
from tirgn_eqx.data import build_history_vocabulary, load_graph, map_graph
from tirgn_eqx.data.batches.loader import KINDS
from tirgn_eqx.data.index.history import mapped_vocabulary
from tirgn_eqx.data.index.history_external import FIELDS
from tirgn_eqx.data.index.history_index import build_history_index, check_sizes
from tirgn_eqx.errors import ConfigError, DataError


def same(a, b):
    for kind in KINDS:
        for field in FIELDS:
            ours, theirs = (getattr(getattr(vocabulary, kind), field) for vocabulary in (a, b))
            assert ours.dtype == theirs.dtype and np.array_equal(ours, theirs), (kind, field)
        assert getattr(a, kind).num_times == getattr(b, kind).num_times
    assert (a.num_entities, a.num_relations) == (b.num_entities, b.num_relations)


@settings(max_examples=40, deadline=None)
@given(facts=facts_of_a_graph(), count=st.integers(1, 4))
def test_a_part_knows_its_own_subjects_as_the_whole_does(facts, count):
    graph = make_graph(**facts)
    whole = build_history_vocabulary(graph)
    for number in range(count):
        part = build_history_vocabulary(graph, part=(number, count))
        subjects = np.arange(number, graph.num_entities, count)
        for kind, seconds in (("entity", 2 * graph.num_relations), ("relation", graph.num_entities)):
            keys = (subjects[:, None] * seconds + np.arange(seconds)).ravel()
            for time in range(graph.num_snapshots + 1):
                for window in (0, 2):
                    for ours, theirs in zip(*(getattr(v, kind).lookup(keys, time, window) for v in (part, whole))):
                        assert np.array_equal(ours, theirs)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3), st.integers(0, 5)), max_size=30),
    base=st.integers(0, 10**6),
)
def test_numbers_too_large_for_one_code_give_the_same_index(rows, base):
    key, candidate, time = np.array(rows, np.int64).reshape(-1, 3).T
    coded = build_history_index(key, candidate, time, 4, 6, base)
    sorted_ = build_history_index(key, candidate, time, 2**62, 6, base)
    for field in FIELDS:
        assert np.array_equal(getattr(coded, field), getattr(sorted_, field)), field


def test_a_million_entities_and_thousands_of_times_can_be_numbered():
    facts = [(10**6, 900, 3, 0), (10**6, 900, 1_100_000, 1), (3, 5, 10**6, 1), (10**6, 900, 3, 2)]
    graph = make_graph(facts, num_entities=1_200_000, num_relations=1000)
    graph = dataclasses.replace(graph, times=np.arange(4000))
    assert 1_200_000**2 * 2000 * 4000 >= 2**63
    vocabulary = build_history_vocabulary(graph)
    keys = vocabulary.entity_keys(np.array([10**6, 3]), np.array([900, 1900]))
    position, candidate = vocabulary.entity.lookup(keys, 3)
    assert position.tolist() == [0, 0, 1] and candidate.tolist() == [3, 1_100_000, 10**6]
    same(vocabulary, mapped_vocabulary(graph, rows=1))
    assert vocabulary.entity.lookup(keys, 3, window=1)[1].tolist() == [3, 10**6]


def test_too_many_to_number():
    check_sizes(make_graph([(0, 0, 1, 0)], num_entities=2**26, num_relations=2**9))
    for entities, relations, times in ((2**26, 2**10, 1), (2**30, 1, 8), (2**31 - 1, 1, 3)):
        graph = make_graph([(0, 0, 1, 0)], num_entities=entities, num_relations=relations)
        with pytest.raises(DataError, match="coarser granularity"):
            check_sizes(dataclasses.replace(graph, times=np.arange(times)))


# --- kept ------------------------------------------------------------------------------------------------------


def files(place):
    return {str(path): path.stat().st_mtime_ns for path in place.glob("history-*/*")}


def test_it_is_built_once_and_taken_again(tmp_path):
    graph = random_graph(3)
    mapped = map_graph(graph, tmp_path / "graph")
    same(mapped_vocabulary(mapped, rows=7), build_history_vocabulary(graph))
    before = files(tmp_path / "graph")
    assert len(before) == 7
    found = build_history_vocabulary(load_graph(tmp_path / "graph"))
    same(found, build_history_vocabulary(graph))
    assert isinstance(found.entity.first, np.memmap) and files(tmp_path / "graph") == before
    assert found.report() == build_history_vocabulary(graph).report()
    part = build_history_vocabulary(mapped, part=(1, 3))
    same(part, build_history_vocabulary(graph, part=(1, 3)))
    assert len(files(tmp_path / "graph")) == 14 and before.items() <= files(tmp_path / "graph").items()


def flip(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


DAMAGE = {
    "a flipped bit": lambda place: flip(place / "entity-occurrence.npy"),
    "a short file": lambda place: os.truncate(place / "relation-first.npy", 130),
    "no file": lambda place: (place / "relation-candidate.npy").unlink(),
    "no record": lambda place: (place / "index.json").unlink(),
    "a broken record": lambda place: (place / "index.json").write_text("[" * 10**5),
    "a record of nothing": lambda place: (place / "index.json").write_text("{}"),
    "columns of nothing": lambda place: rewrite(place, columns={"entity-first": {"length": "x"}}),
    "other sizes": lambda place: rewrite(place, num_entities=9),
    "other facts": lambda place: rewrite(place, sha256="0" * 64),
}


def rewrite(place, **changes):
    said = json.loads((place / "index.json").read_text())
    (place / "index.json").write_text(json.dumps(said | changes))


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_is_damaged_is_built_again(tmp_path, damage):
    graph = random_graph(4)
    mapped = map_graph(graph, tmp_path)
    build_history_vocabulary(mapped)
    (place,) = tmp_path.glob("history-*")
    DAMAGE[damage](place)
    same(build_history_vocabulary(mapped), build_history_vocabulary(graph))
    before = files(tmp_path)
    build_history_vocabulary(mapped)
    assert files(tmp_path) == before


def test_a_graph_made_of_a_mapped_one_has_its_own(tmp_path):
    mapped = map_graph(random_graph(5), tmp_path)
    wider = dataclasses.replace(mapped, num_entities=20)
    assert wider.mapped_folder is None and isinstance(wider.subject, np.memmap)
    plain = dataclasses.replace(random_graph(5), num_entities=20)
    same(build_history_vocabulary(wider), build_history_vocabulary(plain))
    assert not list(tmp_path.glob("history-*"))


def test_a_folder_that_takes_no_files_does_not_matter(tmp_path, monkeypatch):
    graph = random_graph(6)
    mapped = map_graph(graph, tmp_path)

    def closed(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tirgn_eqx.data.index.history.exclusive_lock", closed)
    same(build_history_vocabulary(mapped), build_history_vocabulary(graph))
    assert not list(tmp_path.glob("history-*"))


def test_a_full_disk_is_one_line(tmp_path, monkeypatch):
    mapped = map_graph(random_graph(6), tmp_path)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tirgn_eqx.data.index.history.index_in_parts", full)
    with pytest.raises(DataError, match=r"cannot be written \(No space left on device\); about 1 MB"):
        build_history_vocabulary(mapped)
    assert not list(tmp_path.glob("history-*")) and not list(tmp_path.glob(".history.*.tmp"))


def test_impossible_arguments(tmp_path):
    mapped = map_graph(random_graph(6), tmp_path)
    for part in ((1, 1), (-1, 2)):
        with pytest.raises(ConfigError, match="index < count"):
            mapped_vocabulary(mapped, part=part)
        with pytest.raises(ConfigError, match="index < count"):
            build_history_vocabulary(random_graph(6), part=part)
    with pytest.raises(ConfigError, match="memory_mb"):
        mapped_vocabulary(mapped, memory_mb=0)


def _build(place, started, told):
    started.wait(30)
    vocabulary = build_history_vocabulary(load_graph(place))
    told.put(vocabulary.report()["bytes"])


def test_two_processes_at_once_build_one(tmp_path):
    graph = random_graph(7, facts=200)
    map_graph(graph, tmp_path)
    context = multiprocessing.get_context("spawn")
    started, told = context.Event(), context.Queue()
    workers = [context.Process(target=_build, args=(tmp_path, started, told)) for _ in range(2)]
    for worker in workers:
        worker.start()
    started.set()
    sizes = [told.get(timeout=120) for _ in workers]
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    assert sizes == [build_history_vocabulary(graph).report()["bytes"]] * 2
    assert len(list(tmp_path.glob("history-*"))) == 1 and not list(tmp_path.glob(".history.*.tmp"))
