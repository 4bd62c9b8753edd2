import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers import dataset, sorted_facts
from tirgn_eqx.data import load_graph
from tirgn_eqx.data.readers.integer_text import Layout, _read_clean, _read_lines, read_integers
from tirgn_eqx.data.readers.regcn_text import read_folder
from tirgn_eqx.errors import DataError, DataWarning

FILES = {
    "train.txt": "0\t0\t1\t0\n1\t1\t2\t0\n2\t0\t0\t1\n",
    "valid.txt": "0\t0\t1\t2\n",
    "test.txt": "1\t0\t2\t3\n0\t1\t1\t4\n",
    "stat.txt": "3\t2",
}


def write(folder: Path, **changes: str | bytes | None) -> Path:
    """A small valid folder with some files changed (keys without .txt, `_` for `-`) or left out (None)."""
    folder.mkdir(exist_ok=True)
    files = FILES | {f"{name.replace('_', '-')}.txt": text for name, text in changes.items()}
    for name, text in files.items():
        if text is not None:
            (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


# name: facts, (entities, relations), distinct times, first and last time, clock, static edges, some names
REAL = {
    "ICEWS14s": (
        (74845, 8514, 7371),
        (7128, 230),
        (304, 30, 31),
        (1, 365),
        1,
        11349,
        {0: "China", 1: "Iran"},
    ),
    "ICEWS18": (
        (373018, 45995, 49545),
        (23033, 256),
        (240, 30, 34),
        (0, 7272),
        24,
        37920,
        {1: "North Korea", 23032: "Secretariat of Public Security"},
    ),
    "ICEWS05-15": (
        (368868, 46302, 46159),
        (10488, 251),
        (3243, 404, 370),
        (0, 4016),
        1,
        16684,
        {10487: "Época"},
    ),
    "YAGO": (
        (161540, 19523, 20026),
        (10623, 10),
        (178, 5, 6),
        (0, 188),
        1,
        0,
        {7269: "<Athletic_Park_(Vancouver)>"},
    ),
    "WIKI": ((539286, 67538, 63110), (12554, 24), (211, 11, 10), (0, 231), 1, 0, {2454: "Q202735"}),
    "GDELT-resplit": (
        (211214, 15170, 12381),
        (7691, 240),
        (212, 26, 27),
        (0, 4305),
        15,
        0,
        {1: "IMAM (@ MIL)", 7690: "MARINA SILVA (BRA@GOV)"},
    ),
}


@pytest.mark.parametrize("name", REAL)
def test_real_folder_has_the_published_counts(name):
    facts, sizes, snapshots, ends, interval, static_edges, names = REAL[name]
    graph = read_folder(dataset(name))
    assert graph.name == name
    assert tuple(np.bincount(graph.split)) == facts
    assert (graph.num_entities, graph.num_relations) == sizes
    assert tuple(len(graph.split_snapshots(split)) for split in ("train", "valid", "test")) == snapshots
    assert (graph.times[0], graph.times[-1]) == ends
    assert (graph.time_interval, graph.clock_origin) == (interval, 0)
    assert (graph.time_index == graph.times // interval).all()
    assert (0 if graph.static is None else len(graph.static.entity)) == static_edges
    assert graph.entity_names is not None and len(graph.entity_names) == sizes[0]
    assert graph.relation_names is not None and len(graph.relation_names) == sizes[1]
    assert {entry: graph.entity_names[entry] for entry in names} == names


def test_static_graph_of_icews14s():
    static = read_folder(dataset("ICEWS14s")).static
    assert static is not None
    assert (static.num_relations, static.num_words) == (3, 3499)
    assert (static.entity[0], static.relation[0], static.word[0]) == (0, 2, 1040)


def test_padding_and_fifth_column_read_the_same_at_once_and_line_by_line(tmp_path):
    raw = (dataset("ICEWS18") / "valid.txt").read_bytes()
    (tmp_path / "at-once.txt").write_bytes(raw)
    (tmp_path / "by-line.txt").write_bytes(raw + b"1\t2\t3\t4\ta fifth column of words\n")
    layout = Layout(("subject", "relation", "object", "time"), "", most=5)
    fast = read_integers(tmp_path / "at-once.txt", layout)
    slow = read_integers(tmp_path / "by-line.txt", layout)
    np.testing.assert_array_equal(slow.values, np.append(fast.values, [[1, 2, 3, 4]], 0))
    np.testing.assert_array_equal(slow.numbers, np.append(fast.numbers, len(fast.values) + 1))
    assert (fast.lines, fast.blank, slow.lines, slow.blank) == (len(fast.values), 0, len(fast.values) + 1, 0)


@settings(max_examples=500, deadline=None)
@given(
    st.lists(
        st.sampled_from(["0", "12", "-3", " ", "\t", "\n", "\n\n", "-", "1 2\n", "1\t2\n", "1 2 3\n"]), max_size=12
    ),
    st.sampled_from([None, 2, 3]),
)
def test_what_is_read_at_once_is_what_is_read_line_by_line(parts, most):
    raw = "".join(parts).encode()
    layout = Layout(("id", "time"), "", most)
    at_once = _read_clean(raw, layout)
    if at_once is not None:
        by_line = _read_lines(Path("table.txt"), raw, layout, 1)
        np.testing.assert_array_equal(at_once.values, by_line.values)
        np.testing.assert_array_equal(at_once.numbers, by_line.numbers)
        assert at_once[2:] == by_line[2:] and at_once.lines == at_once.blank + len(at_once.values)


ids = st.integers(0, 4)
fact = st.tuples(ids, st.integers(0, 2), ids)
part = st.lists(st.tuples(fact, st.integers(0, 3)), min_size=1, max_size=8)


@settings(max_examples=60, deadline=None)
@given(
    parts=st.tuples(part, part, part),
    start=st.integers(-(10**9), 10**9),
    step=st.integers(1, 10**6),
    space=st.sampled_from(["\t", " ", "  \t", "\t "]),
    end=st.sampled_from(["\n", "\r\n", "\t0\n", " \n", "\n\n"]),
    trailer=st.sampled_from(["", "\n", "\r\n \n"]),
    words=st.booleans(),
)
def test_facts_survive_the_round_trip(tmp_path_factory, parts, start, step, space, end, trailer, words):
    folder = tmp_path_factory.mktemp("facts")
    expected = []
    files = {}
    for split, (name, facts) in enumerate(zip(("train", "valid", "test"), parts)):
        times = [(time + 4 * split) * step + start for _, time in facts]
        expected += [(split, *ids, time) for (ids, _), time in zip(facts, times)]
        lines = [space.join(map(str, (*ids, time))) for (ids, _), time in zip(facts, times)]
        files[name] = "".join(line + end for line in lines) + trailer
    # Words behind the facts force the slow pass.
    files["train"] += f"0 0 0 {start} word\n" if words else ""
    expected += [(0, 0, 0, 0, start)] if words else []
    graph = read_folder(write(folder, **files, stat=f"5{space}3 17"))
    assert sorted_facts(graph) == sorted(expected)
    assert np.all(np.diff(graph.times) > 0) and np.all(np.diff(graph.snapshot) >= 0)
    assert graph.entity_names is None and graph.static is None
    assert load_graph(**graph.provenance).checksum == graph.checksum


def test_unsorted_facts_gaps_duplicates_and_negative_times(tmp_path):
    train = "0 0 1 -5\n2 1 0 -100\n0 0 1 -5\n1 1 1 -90\n"
    graph = read_folder(write(tmp_path / "d", train=train))
    assert graph.times.tolist() == [-100, -90, -5, 2, 3, 4]
    assert graph.time_interval == 5
    assert sorted_facts(graph).count((0, 0, 0, 1, -5)) == 2


def test_byte_order_mark_and_old_spellings(tmp_path):
    folder = write(
        tmp_path / "d",
        train=b"\xef\xbb\xbf+0 0 1 0\n1 1 2 1",
        entity2id=b"\xef\xbb\xbf3\nNew York\t0\tx\ty\n Paris, France 2\r\n",
        relation2id="020\t1\n",
    )
    graph = read_folder(folder)
    assert graph.entity_names == ("New York", "entity 1", "Paris, France")
    assert graph.relation_names == ("relation 0", "020")


def test_static_graph_counts_come_from_the_file(tmp_path):
    static = read_folder(write(tmp_path / "d", e_w_graph="0\t2\t7\n2\t0\t3\n")).static
    assert static is not None
    assert (static.num_relations, static.num_words) == (3, 8)
    assert static.entity.tolist() == [0, 2] and static.word.tolist() == [7, 3]


def test_shared_boundary_timestamp_warns_and_keeps_every_fact_in_its_split(tmp_path):
    folder = write(tmp_path / "d", valid="0 0 1 1\n1 1 1 2\n")
    with pytest.warns(DataWarning, match=r"train.txt and valid.txt share the timestamp 1"):
        graph = read_folder(folder)
    assert sorted_facts(graph) == [
        (0, 0, 0, 1, 0), (0, 1, 1, 2, 0), (0, 2, 0, 0, 1),
        (1, 0, 0, 1, 1), (1, 1, 1, 1, 2),
        (2, 0, 1, 1, 4), (2, 1, 0, 2, 3),
    ]  # fmt: skip
    assert graph.split_snapshots("train")[-1] == graph.split_snapshots("valid")[0] == 1


BAD = {
    "letter": ({"train": "0 0 1 0\n0 0 China 1\n"}, "train.txt:2: object is 'China', not a whole number"),
    "float id": ({"train": "0 1.0 1 0\n"}, "train.txt:1: relation is '1.0', not a whole number"),
    "negative id": (
        {"valid": "0 0 1 2\n-3 0 1 2\n"},
        "valid.txt:2: subject is '-3', outside 0 to 2147483647",
    ),
    "lone minus": ({"train": "0 0 - 1 0\n"}, "train.txt:1: object is '-', not a whole number"),
    "range": ({"train": "0 0 1-2 0\n"}, "train.txt:1: object is '1-2', not a whole number"),
    "minus last": ({"train": "0 0 1 0\n0 0 1 -"}, "train.txt:2: time is '-', not a whole number"),
    "entity": (
        {"test": "\n1 0 2 3\n0 1 3 4\n"},
        "test.txt:3: object 3 is beyond stat.txt, which counts 3 entities",
    ),
    "relation": (
        {"test": "0 2 1 4\n"},
        "test.txt:1: relation 2 is beyond stat.txt, which counts 2 relations",
    ),
    "id overflow": (
        {"train": "0 0 1 0\n99999999999 0 1 0\n"},
        "train.txt:2: subject is '99999999999', outside",
    ),
    "64-bit overflow": ({"train": f"0 0 {2**63} 0\n"}, f"train.txt:1: object is '{2**63}', outside"),
    "endless digits": ({"train": "0 0 1 " + "9" * 9999}, "train.txt:1: time is '9999"),
    "time": ({"train": "0 0 1 2014-13-01\n"}, "train.txt:1: time is '2014-13-01', not a whole number"),
    "time float": ({"train": "0 0 1 0\n0 0 1 1.5\n"}, "train.txt:2: time is '1.5', not a whole number"),
    "time too large": ({"test": f"0 0 1 {2**60}\n"}, f"test.txt:1: time is '{2**60}', outside"),
    "columns": ({"train": "0 0 1 0\n0 0 1\n"}, "train.txt:2: 3 columns in '0 0 1', expected 4 or 5"),
    "empty field": (
        {"train": "0\t0\t1\t0\n0\t \t1\t2\t0\n"},
        "train.txt:2: relation is '', not a whole number",
    ),
    "first field": ({"train": "\t0\t1\t0\t0\n"}, "train.txt:1: subject is '', not a whole number"),
    "binary": ({"train": b"\x1f\x8b\x08\x03 1 2 3\n"}, "train.txt:1: subject is "),
    "train late": (
        {"train": "0 0 1 0\n0 0 1 9\n1 1 1 1\n"},
        "train.txt:2: time 9 is later than time 2 at valid.txt:1",
    ),
    "valid late": ({"valid": "0 0 1 2\n0 0 1 4\n"}, "valid.txt:2: time 4 is later than time 3 at test.txt:1"),
    "empty split": ({"valid": "\n \n"}, "valid.txt: no facts; every split needs at least one"),
    "empty file": ({"train": ""}, "train.txt: no facts"),
    "no test": ({"test": None}, "test.txt: file is missing; a dataset folder holds"),
    "no stat": ({"stat": None}, "stat.txt: file is missing"),
    "stat empty": ({"stat": ""}, "stat.txt: 0 lines, expected one: entities relations"),
    "stat lines": ({"stat": "3 2\n3 2"}, "stat.txt: 2 lines, expected one"),
    "stat short": ({"stat": "3"}, "stat.txt:1: 1 columns in '3', expected at least 2"),
    "stat word": ({"stat": "three 2"}, "stat.txt:1: entities is 'three', not a whole number"),
    "stat zero": ({"stat": "3 0"}, "stat.txt:1: 0 relations, outside 1 to"),
    "stat large": ({"stat": "3 2000000000"}, "stat.txt:1: 2000000000 relations, outside 1 to 1073741823"),
    "stat huge": ({"stat": "3000000000 2"}, "stat.txt:1: entities is '3000000000', outside"),
    "name id": ({"entity2id": "a\t0\nb\tc\n"}, "entity2id.txt:2: entity id is 'c', expected name<TAB>id"),
    "name alone": ({"relation2id": "a 0\nb\n"}, "relation2id.txt:2: relation id is '', expected name<TAB>id"),
    "name beyond": ({"entity2id": "a\t3\n"}, "entity2id.txt:1: entity 3 is beyond stat.txt, which counts 3"),
    "two names": ({"entity2id": "a\t0\nb\t0\n"}, "entity2id.txt:2: entity 0 is called 'b', but 'a' before"),
    "encoding": ({"entity2id": b"caf\xe9\t0\n"}, "entity2id.txt:1: not UTF-8 text"),
    "static entity": ({"e_w_graph": "3 0 0\n"}, "e-w-graph.txt:1: entity 3 is beyond stat.txt"),
    "static word": ({"e_w_graph": "0 0 a\n"}, "e-w-graph.txt:1: word is 'a', not a whole number"),
    "static empty": ({"e_w_graph": "\n"}, "e-w-graph.txt: no static facts"),
    "static huge": (
        {"e_w_graph": f"0 0 {2**31 - 2}\n"},
        "e-w-graph.txt: 1 static relations and 2147483647 words",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_folder_is_one_clear_line(tmp_path, case):
    changes, message = BAD[case]
    folder = write(tmp_path / "d", **changes)
    with pytest.raises(DataError) as error:
        read_folder(folder)
    text = str(error.value)
    assert f"{folder}/{message}" in text
    assert "\n" not in text and len(text) < 400


def test_missing_folder_and_file_instead_of_folder(tmp_path):
    with pytest.raises(DataError, match=r"nowhere: folder is missing; a dataset folder holds train.txt"):
        read_folder(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"file: is a file, not a folder"):
        read_folder(tmp_path / "file")
    with pytest.raises(DataError, match=r"train.txt: cannot be read \(a folder, not a file\)"):
        (write(tmp_path / "d", train=None) / "train.txt").mkdir()
        read_folder(tmp_path / "d")


def test_published_folder_without_train_is_named():
    with pytest.raises(DataError, match=r"train.txt: file is missing"):
        read_folder(dataset("GDELT"))


def test_name_is_the_folder_as_written(tmp_path, monkeypatch):
    folder = write(tmp_path / "facts")
    (tmp_path / "link").symlink_to(folder)
    assert read_folder(tmp_path / "link").name == "link"
    monkeypatch.chdir(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_folder(".").name == "facts"
