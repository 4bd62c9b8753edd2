"""Mapped graphs: what is read is what was written, whatever it was made of; and what is damaged is told in one line."""

import dataclasses
import hashlib
import json
import os
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers import assert_same_graph, dataset, facts_of_a_graph, make_graph, random_graph
from tirgn_eqx.data import (
    FactBlock,
    build_history_vocabulary,
    load_graph,
    map_data,
    map_graph,
    read_folder,
    write_mapped,
)
from tirgn_eqx.data.graph import SPLITS, ReadReport, StaticGraph
from tirgn_eqx.data.index.snapshots import SnapshotStore, build_snapshot
from tirgn_eqx.data.readers.load import READERS
from tirgn_eqx.errors import ConfigError, DataError, DataWarning
from tirgn_eqx.storage.locks import exclusive_lock
from tirgn_eqx.storage.npy_columns import Column, check_column, map_column


def same(a, b):
    assert_same_graph(a, b)
    assert (a.name, a.read) == (b.name, b.read)


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


def rich_graph():
    names = {"entity_names": ("a", "b\n", "ü \U0001f600", "", "e"), "relation_names": ("r", "s")}
    static = StaticGraph(*(np.array(x, np.int32) for x in ([0, 3], [0, 1], [1, 0])), num_relations=2, num_words=2)
    facts = [(0, 0, 1, -5), (1, 1, 2, -5), (0, 0, 1, -5), (3, 1, 4, 7), (2, 0, 2, 9)]
    more = {"time_unit": 3600, "read": ReadReport(9, 5, blank=1, bad=2, outside=1, times="hours, \u00fc")}
    return make_graph(facts, num_entities=5, num_relations=2, valid=3, test=4, static=static, **names, **more)


def test_what_is_mapped_is_what_it_was(tmp_path):
    graph = rich_graph()
    made = map_graph(graph, tmp_path / "a" / "graph")
    loaded = load_graph(tmp_path / "a" / "graph")
    for mapped in (made, loaded):
        same(graph, mapped)
        assert isinstance(mapped.subject, np.memmap) and not mapped.subject.flags.writeable
    same(graph, load_graph(**loaded.provenance))
    renamed = load_graph(tmp_path / "a" / "graph", name="other")
    assert (renamed.name, load_graph(**renamed.provenance).name) == ("other", "other")
    assert dataclasses.replace(loaded, num_entities=9).checksum != loaded.checksum
    with pytest.warns(DataWarning, match="num_days = 3 is ignored"):
        load_graph(tmp_path / "a" / "graph", num_days=3)


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


def write_folder(place, train):
    place.mkdir(exist_ok=True)
    for name, rows in (("train", train), ("valid", [(0, 1, 2, 8)]), ("test", [(2, 0, 1, 9), (1, 0, 1, 9)])):
        (place / f"{name}.txt").write_text("".join("\t".join(map(str, row)) + "\n" for row in rows))
    (place / "stat.txt").write_text("3\t2\n")
    (place / "entity2id.txt").write_text("a\t0\nb\t1\nc\t2\n")
    (place / "e-w-graph.txt").write_text("0 0 1\n1 0 0\n")


@pytest.mark.parametrize("times", [(1, 1, 3, 4), (4, 1, 3, 1), (8, 8, 8, 8)])
def test_a_folder_is_mapped_in_any_order(tmp_path, times, monkeypatch):
    write_folder(tmp_path / "data", [(number % 3, number % 2, 1, time) for number, time in enumerate(times)])
    in_memory = []
    monkeypatch.setitem(READERS, "folder", lambda path: (in_memory.append(path), read_folder(path))[1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)  # a time that two splits share
        made = map_data(tmp_path / "data", tmp_path / "graph")
        same(read_folder(tmp_path / "data"), made)
    assert bool(in_memory) == (sorted(times) != list(times))
    assert map_data(tmp_path / "graph", tmp_path / "again", name="x").name == "x"


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("train.txt", "0\t0\t1\t9\n", r"train.txt:1: time 9 is later than time 8 at valid.txt:1"),
        ("train.txt", "5\t0\t1\t1\n", r"train.txt:1: subject 5 is beyond"),
        ("valid.txt", "", "valid.txt: no facts"),
        ("stat.txt", "2000000000\t2\n", "2,000,000,000 entities, but"),
    ],
)
def test_a_folder_that_is_none_is_refused_as_it_is_read(tmp_path, name, text, words):
    write_folder(tmp_path / "data", [(0, 0, 1, 1)])
    (tmp_path / "data" / name).write_text(text)
    with pytest.raises(DataError, match=words) as streamed:
        map_data(tmp_path / "data", tmp_path / "graph")
    with pytest.raises(DataError) as at_once:
        read_folder(tmp_path / "data")
    assert str(streamed.value) == str(at_once.value)
    assert not (tmp_path / "graph" / "graph.json").exists()


# --- damage ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    place = tmp_path_factory.mktemp("sound") / "graph"
    map_graph(rich_graph(), place)
    return place


def edit(**changes):
    def change(place):
        said = json.loads((place / "graph.json").read_text())
        for path, value in changes.items():
            *keys, last = path.split("__")
            inner = said
            for key in keys:
                inner = inner[key]
            inner[last] = value
        (place / "graph.json").write_text(json.dumps(said))

    return change


def column(name, change):
    def apply(place):
        (path,) = place.glob(f"facts-*/{name}")
        content = change(path.read_bytes())
        path.unlink() if content is None else path.write_bytes(content)

    return apply


def resaved(name, values):
    """A column with other numbers, whose sha256 is told as it is."""

    def apply(place):
        (facts,) = place.glob("facts-*")
        with Column(facts / f"{name}.npy", np.asarray(values).dtype) as made:
            made.append(np.asarray(values))
        edit(**{f"columns__{name}__sha256": made.described["sha256"]})(place)

    return apply


def HEADER(old, new):
    return lambda raw: raw.replace(old.ljust(len(new)), new, 1)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (edit(facts=10**12), r"subject.npy: holds \[5\] of <i4, expected \[1000000000000\]"),
        (edit(facts=10**13), "facts is 10000000000000, expected"),
        (edit(facts=True), "facts is True"),
        (edit(snapshots=10**12), "snapshots is"),
        (edit(num_entities=2 * 10**9), "not a list of 2,000,000,000 names"),
        (edit(num_entities=2 * 10**9, names__entity=None), "2,000,000,000 entities, but 5 facts"),
        (edit(num_relations=2**31), "num_relations is"),
        (edit(time_interval=0), "time_interval is 0"),
        (edit(clock_origin=2**60), "clock_origin is 1152921504606846976, expected"),
        (edit(clock_origin=0.5), "clock_origin is 0.5, expected"),
        (edit(time_unit=0), "time_unit is 0, expected one of 1, 60, 3600, 86400"),
        (edit(time_unit="day"), "time_unit is 'day'"),
        (edit(read=[]), "read lines is None"),
        (edit(read__facts=4, read__bad=3), "read does not tell of these facts"),
        (edit(read__blank=-1), "read blank is -1"),
        (edit(read__blank=7), "read: 9 lines were read, but 15 are accounted for"),
        (edit(read__times=3), "read does not tell of these facts"),
        (edit(folder="../../etc"), "folder is '../../etc', no such name"),
        (edit(folder="/etc"), "folder is '/etc'"),
        (edit(folder="facts-0123456789abcdef-1"), "entity_names.json: cannot be read"),
        (edit(name=["x"]), "name is"),
        (edit(sha256="x"), "sha256 is 'x'"),
        (edit(name="\ud800"), "name is"),
        (edit(version=2), "version 2, expected 1"),
        (edit(format="x\x1b[31m"), "does not say that it is"),
        (edit(columns=[1]), "says no sha256|static_entity"),
        (edit(columns__split__sha256=None), "says no sha256 of split"),
        (edit(static__num_words=10**9), "static num_words is"),
        (edit(static__num_words=1), "static_word.npy: number 0 is 1, outside 0 to 0"),
        (edit(names__entity__bytes=10**11), "entity_names.json: 32 bytes, expected 100,000,000,000"),
        (edit(names__entity__sha256="0"), "entity_names.json: has another sha256"),
        (lambda place: (place / "graph.json").write_text("[" * 100_000), "graph.json: no JSON"),
        (lambda place: (place / "graph.json").write_text(" " * 3_000_000), "does not say that it is"),
        (column("object.npy", lambda raw: None), "object.npy: file is missing"),
        (column("object.npy", lambda raw: raw[:-1]), r"object.npy: has 147 bytes, but its header says 148"),
        (column("object.npy", lambda raw: raw + b"\0"), "object.npy: has 149 bytes"),
        (column("object.npy", lambda raw: raw[:40]), "object.npy: it has a header that says nothing"),
        (column("object.npy", lambda raw: b""), "object.npy: it is in no format of numpy"),
        (column("object.npy", HEADER(b"'<i4'", b"'|O'")), "object.npy: it is pickled|header"),
        (column("object.npy", HEADER(b"(5,), }", b"(1000000000000,), }")), "holds .1000000000000. of <i4|header"),
        (column("object.npy", HEADER(b"'<i4'", b"'<i8'")), r"object.npy: holds \[5\] of <i8"),
        (column("object.npy", HEADER(b"'<i4'", b"'>i4'")), r"object.npy: holds \[5\] of >i4"),
        (column("object.npy", lambda raw: raw[:-4] + b"\1\0\0\0"), "another sha256"),
        (column("object.npy", lambda raw: raw[:-4] + b"\xff\xff\xff\xff"), "number 4 is -1, outside 0 to 4"),
        (resaved("subject", np.array([0, 1, 9, 0, 0], np.int32)), "number 2 is 9, outside 0 to 4"),
        (resaved("snapshot", np.array([0, 0, 0, 2, 1], np.int32)), "fact 3 is not in order|fact 4 is not in order"),
        (resaved("snapshot", np.array([0, 0, 0, 2, 2], np.int32)), "fact 3 is not in order"),
        (resaved("snapshot", np.array([1, 1, 1, 1, 2], np.int32)), "fact 0 is not in order"),
        (resaved("snapshot", np.array([0, 0, 0, 1, 1], np.int32)), "3 times, but facts of 2"),
        (resaved("split", np.array([1, 0, 0, 1, 2], np.int8)), "fact 1 is not in order"),
        (resaved("times", np.array([1, 3, 2], np.int64)), "times do not rise"),
        (resaved("times", np.array([1, 2, 2**60], np.int64)), "number 2 is 1152921504606846976"),
    ],
)
def test_damage_is_one_line(sound, tmp_path, damage, words):
    place = tmp_path / "graph"
    shutil.copytree(sound, place)
    damage(place)
    with pytest.raises(DataError, match=words) as error:
        load_graph(place)
    assert str(error.value).isprintable() and "tirgn data map" in str(error.value)


def test_a_graph_may_say_nothing_of_its_reading(sound, tmp_path):
    shutil.copytree(sound, tmp_path / "graph")
    said = json.loads((tmp_path / "graph" / "graph.json").read_text())
    del said["read"], said["time_unit"]
    (tmp_path / "graph" / "graph.json").write_text(json.dumps(said))
    graph = load_graph(tmp_path / "graph")
    assert graph.read is None and graph.time_unit is None and graph.checksum == rich_graph().checksum


def test_facts_that_are_lost_on_the_way_are_noticed(tmp_path):
    with pytest.raises(ValueError, match="3 facts were read, but 2 written"):
        sizes = {"num_entities": 3, "num_relations": 1}
        write_mapped(tmp_path / "graph", [block([0, 1], [1, 2])], name="x", read=ReadReport(3, 3), **sizes)


def test_a_device_is_no_column(sound, tmp_path):
    place = tmp_path / "graph"
    shutil.copytree(sound, place)
    (path,) = place.glob("facts-*/split.npy")
    path.unlink()
    path.symlink_to("/dev/zero")
    with pytest.raises(DataError, match="a device or a pipe"):
        load_graph(place)


def test_columns_are_what_numpy_reads(tmp_path):
    for values in (np.arange(10, dtype=np.int64), np.zeros(0, np.int32), np.array([1, 2], np.int8)):
        with Column(tmp_path / "a.npy", values.dtype) as made:
            made.append(values[:3])
            made.append(values[3:])
        np.testing.assert_array_equal(np.load(tmp_path / "a.npy", allow_pickle=False), values)
        mapped = map_column(tmp_path / "a.npy", values.dtype, len(values), "")
        assert mapped.dtype == values.dtype and np.array_equal(mapped, values)
        check_column(tmp_path / "a.npy", mapped, str(made.described["sha256"]), "")
        np.save(tmp_path / "b.npy", values)
        assert np.array_equal(map_column(tmp_path / "b.npy", values.dtype, len(values), ""), values)


def test_the_store_keeps_what_was_used_last():
    graph = random_graph(0)
    store = SnapshotStore(graph, max_facts=int(np.diff(graph.offsets)[:3].sum()))
    first = store[0]
    for index in (1, 2, 0):
        store[index]
    assert store[0] is first
    for index in range(graph.num_snapshots):
        for name, values in dataclasses.asdict(build_snapshot(graph, index)).items():
            assert np.array_equal(getattr(store[index], name), values)
    assert store[0] is not first
    built = store.sizes(5)
    assert built == build_snapshot(graph, 5).sizes and np.array_equal(store.window_sizes(6, 1), np.maximum(built, 1))


def test_what_a_killed_process_left_is_removed(tmp_path):
    place = tmp_path / "graph"
    map_graph(random_graph(0), place)
    from tirgn_eqx.storage.atomic_write import _system

    left = place / f".graph.{_system()}-{2**22 + 1}.tmp"
    (left / "inside").mkdir(parents=True)
    map_graph(random_graph(1), place)
    assert not left.exists() and isinstance(place, Path) and os.path.isdir(place)
