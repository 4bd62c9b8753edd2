"""Mapped graphs: what is read is what was written, whatever it was made of; and what is damaged is told in one line."""

import dataclasses
import json
import shutil
import warnings

import numpy as np
import pytest

from tests.data.readers.mapped_helpers import rich_graph, same
from tests.helpers import random_graph
from tirgn_eqx.data import (
    load_graph,
    map_data,
    map_graph,
    read_folder,
)
from tirgn_eqx.data.index.snapshots import SnapshotStore, build_snapshot
from tirgn_eqx.data.readers.load import READERS
from tirgn_eqx.errors import DataError, DataWarning
from tirgn_eqx.storage.npy_columns import Column


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


def test_a_device_is_no_column(sound, tmp_path):
    place = tmp_path / "graph"
    shutil.copytree(sound, place)
    (path,) = place.glob("facts-*/split.npy")
    path.unlink()
    path.symlink_to("/dev/zero")
    with pytest.raises(DataError, match="a device or a pipe"):
        load_graph(place)


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
