"""TGB's folders: ids and splits as py-tgb has them, what is refused, and pickles that are read and never run."""

import os
import pickle
import pickletools
import re

import numpy as np
import pytest

from tests import tgb_files
from tirgn_eqx.data import load_graph, map_data
from tirgn_eqx.data.readers.pickled_arrays import read_entries
from tirgn_eqx.data.readers.tgb import DATASETS, read_tgb, tgb_name
from tirgn_eqx.data.readers.tgb_negatives import DrawnNegatives
from tirgn_eqx.errors import DataError, DataWarning
from tirgn_eqx.storage.untrusted import Unsound


def first_come(rows):
    """Entities numbered as they come, head before tail."""
    known = {}
    return [tuple(known.setdefault(end, len(known)) for end in row[1:3]) for row in rows.tolist()], known


@pytest.mark.parametrize("name", DATASETS)
def test_ids_splits_and_provenance(tmp_path, name):
    rows = tgb_files.facts()
    folder = tgb_files.write(tmp_path / name.replace("-", "_"), name, rows)
    graph = load_graph(folder)
    ends, known = first_come(rows)
    assert tgb_name(folder) == graph.name == name and graph.num_facts == len(rows)
    found = sorted(zip(graph.times[graph.snapshot], graph.subject, graph.object, graph.relation))
    assert found == sorted((t, s, o, r) for (t, _, _, r), (s, o) in zip(rows.tolist(), ends))
    expected = [f"Q{number + 40}" if name in tgb_files.NAMED else str(number) for number in known]
    assert graph.entity_names == tuple(expected)
    shares = [np.mean(graph.split == part) for part in range(3)]
    assert shares[0] == pytest.approx(0.7, abs=0.08) and shares[1] == pytest.approx(0.15, abs=0.08)
    assert len(np.unique(np.stack([graph.split, graph.snapshot]), axis=1).T) == graph.num_snapshots
    assert graph.provenance == {"kind": "tgb", "path": str(folder)}
    assert load_graph(**graph.provenance).checksum == graph.checksum
    if name in tgb_files.NAMED:
        assert graph.static is not None and graph.static.num_words == 3 and len(graph.static.entity) == 6
    else:
        assert graph.static is None


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("1000,0,1,0\n", ":1: a fact where the names of the columns are expected"),
        ("timestamp,head,tail,relation\n", "no facts"),
        ("timestamp,head,tail,relation\n1000,0,1,0\n", "no valid facts"),
        ("timestamp,head,tail,relation\n1000,0,,0\n", ":2: tail is ''"),
        ("timestamp,head,tail,relation\n1000,0,1\n", ":2: 3 columns"),
        ("timestamp,head,tail,relation\n1000,0,x,0\n", ":2: tail is 'x'"),
        ("timestamp,head,tail,relation\n1000,-1,1,0\n", ":2: head is '-1'"),
    ],
)
def test_what_is_no_edge_list_is_refused(tmp_path, content, match):
    (tmp_path / "tkgl-icews_edgelist.csv").write_text(content)
    with pytest.raises(DataError, match=match):
        load_graph(tmp_path)


@pytest.mark.parametrize(
    ("line", "match"),
    [
        ("soon,Q1,Q2,P1", ":3: time is 'soon'"),
        ("1000,Q1,,P1", ":3: '1000,Q1,,P1' is not timestamp,head,tail,relation"),
        ("1000,Q1,P1", ":3: "),
        ('1000,"Q1,Q2,P1', ":3: "),
        (f"{10**17},Q1,Q2,P1", "53 bits"),
    ],
)
def test_what_is_no_list_of_names_is_refused(tmp_path, line, match):
    text = f"timestamp,head,tail,relation\n1000,Q1,Q2,P1\n{line}\n"
    (tmp_path / "tkgl-smallpedia_edgelist.csv").write_text(text)
    with pytest.raises(DataError, match=match):
        load_graph(tmp_path)


def test_names_may_be_quoted_and_relations_may_have_gaps(tmp_path):
    rows = [f'{t},"Q1, the first",Q{t % 3 + 2},P1' for t in range(20)]
    (tmp_path / "tkgl-smallpedia_edgelist.csv").write_text("\n".join(["a,b,c,d", *rows]))
    assert "Q1, the first" in (read_tgb(tmp_path).entity_names or ())
    gaps = tgb_files.facts()
    gaps[:, 3] *= 2
    with pytest.warns(DataWarning, match="numbered up to 4, but there are 3"):
        load_graph(tgb_files.write(tmp_path / "gaps", "tkgl-icews", gaps))
    (tmp_path / "tkgl-icews_edgelist.csv").write_text("")
    with pytest.raises(DataError, match="holds tkgl-smallpedia and tkgl-icews"):
        load_graph(tmp_path)


HEADS = {
    "another order": ("tail,relation,head,timestamp", (2, 3, 1, 0), {}),
    "an index column": (",timestamp,head,tail,relation", (None, 0, 1, 2, 3), {}),
    "an index column with a name": ("index,ts,source,target,rel", (None, 0, 1, 2, 3), {}),
    "a column of text": ("timestamp,head,tail,relation,note", (0, 1, 2, 3, "text"), {}),
    "names of others": ("Time,Subject,Object,Predicate", (0, 1, 2, 3), {}),
    "names that are not known": ("a,b,c,d", (0, 1, 2, 3), {}),
    "names of which some are known": ("timestamp,head,tail,edge", (0, 1, 2, 3), {}),
    "every field quoted": ("timestamp,head,tail,relation", (0, 1, 2, 3), {"quote": '"{}"'}),
    "quoted, in another order": ("relation,timestamp,tail,head", (3, 0, 2, 1), {"quote": '"{}"'}),
    "spaces": ("timestamp, head, tail, relation", (0, 1, 2, 3), {"quote": "{}"}),
    "CR": ("timestamp,head,tail,relation", (0, 1, 2, 3), {"end": "\r"}),
    "CRLF": ("timestamp,head,tail,relation", (0, 1, 2, 3), {"end": "\r\n"}),
    "CR in another order": ("tail,head,timestamp,relation", (2, 1, 0, 3), {"end": "\r"}),
    "blank lines": ("timestamp,head,tail,relation", (0, 1, 2, 3), {"end": "\n\n"}),
    "blank lines in another order": ("tail,head,timestamp,relation", (2, 1, 0, 3), {"end": "\n \n"}),
    "no last end": ("timestamp,head,tail,relation", (0, 1, 2, 3), {"last": ""}),
    "no last end in another order": ("tail,head,timestamp,relation", (2, 1, 0, 3), {"last": ""}),
    "a byte order mark": ("\ufefftimestamp,head,tail,relation", (0, 1, 2, 3), {}),
    "whole floats": ("timestamp,head,tail,relation", (0, 1, 2, 3), {"time": "{}.0"}),
}


@pytest.mark.parametrize("name", ["tkgl-icews", "tkgl-smallpedia"])
@pytest.mark.parametrize("case", HEADS)
def test_columns_are_found_by_their_names(tmp_path, case, name):
    head, places, form = HEADS[case]
    sound = load_graph(tgb_files.write(tmp_path / "sound", name))
    (place,) = (tmp_path / "sound").glob("*[!c]_edgelist.csv")
    rows = [line.split(",") for line in place.read_text().splitlines()[1:]]
    for row in rows:
        row[0] = form.get("time", "{}").format(row[0])
    lines = [
        ",".join(
            form.get("quote", "{}").format(str(number) if at is None else row[at] if isinstance(at, int) else "a 1")
            for at in places
        )
        for number, row in enumerate(rows)
    ]
    (tmp_path / "other").mkdir()
    end = form.get("end", "\n")
    text = end.join([head, *lines]) + form.get("last", end)
    (tmp_path / "other" / place.name).write_bytes(text.encode())
    graph = load_graph(tmp_path / "other")
    assert graph.checksum == sound.checksum and graph.entity_names == sound.entity_names
    assert graph.relation_names == sound.relation_names and graph.time_interval == sound.time_interval
    mapped = map_data(tmp_path / "other", tmp_path / "mapped")
    assert graph.read is not None and graph.read == mapped.read and mapped.checksum == graph.checksum
    blank = len(rows) + 1 if end.count("\n") == 2 else 0
    assert (graph.read.lines, graph.read.blank, graph.read.facts) == (len(rows) + blank, blank, len(rows))


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("timestamp,tail,head,edge\n1,2,3,4\n", ":1: of the columns .* it is unclear which is relation"),
        ("head,tail,relation,when\n2,3,4,1\n", ":1: of the columns .* it is unclear which is time"),
        ("a,b,c,d,e\n1,2,3,4,5\n", ":1: of the columns .* it is unclear which is time and head and tail and relation"),
        ("timestamp,head,tail\n1,2,3\n", ":1: of the columns .* it is unclear which is relation"),
        ("timestamp,ts,head,tail,relation\n1,1,2,3,4\n", ":1: of the columns .* it is unclear which is time"),
        ("timestamp;head;tail;relation\n1;2;3;4\n", ":1: of the columns"),
        (",timestamp,head,tail,relation\n0,1000,1,2\n", ":2: '0,1000,1,2' is not ,timestamp,head,tail,relation"),
        ("timestamp,head,tail,relation\n1000,0,1,0,1000,0,1,0\n", ":2: 8 columns in .*expected 4"),
        ("timestamp,head,tail,relation\n1000,0,1,0,7\n", ":2: 5 columns in"),
        ("tail,head,timestamp,relation\n0,1,1000,0,1,1,1000,0\n", ":2: .* is not tail,head,timestamp,relation"),
        ("0,1000,0,1,0\n", ":1: a fact where the names"),
        ('"1000","0","1","0"\n', ":1: a fact where the names"),
        ("2014-01-01,0,1,0\n", ":1: a fact where the names"),
        ("timestamp,head,tail,relation\n1000,0,1,0\n2014-01-01,0,1,0\n", ":3: time is a date, but a number at"),
        ("timestamp,head,tail,relation\n1000,0,1,0\n\x1a", "ends in Ctrl-Z"),
        ("timestamp,head,tail,relation\n1000,0,1,0\n\0\0", ":3: a NUL byte"),
    ],
)
@pytest.mark.parametrize("name", ["tkgl-icews", "tkgl-smallpedia"])
def test_columns_that_cannot_be_found_are_refused(tmp_path, content, match, name):
    (tmp_path / f"{name}_edgelist.csv").write_text(content)
    with pytest.raises(DataError) as error:
        load_graph(tmp_path)
    if name == "tkgl-icews" or "columns in" not in match:
        assert re.search(match, str(error.value)), str(error.value)
    assert f"{name}_edgelist.csv" in str(error.value) and str(error.value).isprintable()


def test_dates_are_times_of_a_tgb_folder(tmp_path):
    for name in ("tkgl-polecat", "tkgl-wikidata"):
        rows = [f"2014-01-{day:02},{head},{head + 1},0" for day in range(1, 21) for head in range(3)]
        (tmp_path / name).mkdir()
        text = "\n".join(["timestamp,head,tail,relation", *rows])
        (tmp_path / name / f"{name}_edgelist.csv").write_text(text)
        graph = read_tgb(tmp_path / name)
        assert graph.time_unit == 86_400 and graph.times[0] == 16071 and graph.num_snapshots == 20
        assert graph.read is not None and graph.read.times == "dates, 2014-01-01 to 2014-01-20"


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_negatives_are_read_as_they_were_written(tmp_path, protocol):
    folder = tgb_files.write(tmp_path, "tkgl-wikidata", protocol=protocol)
    file = folder / "tkgl-wikidata_test_ns.pkl"
    written = pickle.loads(file.read_bytes())
    found = dict(read_entries(file))
    assert {key: value.tolist() for key, value in found.items()} == {k: v.tolist() for k, v in written.items()}
    graph = load_graph(folder)
    negatives = DrawnNegatives(graph, "test")
    for snapshot in graph.split_snapshots("test").tolist():
        asked = {}
        for subject, relation, candidate in zip(*negatives(snapshot)):
            asked.setdefault((int(graph.times[snapshot]), int(subject), int(relation)), []).append(candidate)
        here = {key: value.tolist() for key, value in written.items() if key[0] == graph.times[snapshot]}
        assert asked == here and here
    assert negatives.sizes == (6, 6)


@pytest.mark.parametrize("kind", ["<i2", ">i8", "<u4", "|u1", ">i4"])
@pytest.mark.parametrize("protocol", [3, 5])
def test_any_whole_numbers(tmp_path, kind, protocol):
    value = np.array([3, 1, 200 if "u" in kind else -2]).astype(kind)
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({(1, -5, 2**40): value}, protocol))
    ((key, found),) = read_entries(tmp_path / "x.pkl")
    assert key == (1, -5, 2**40) and found.tolist() == value.tolist() and found.dtype == np.int64


class Evil:
    def __reduce__(self):
        return os.system, ("touch ran",)


def hostile():
    array, key = np.arange(3), (1, 2, 3)
    yield "code", {key: Evil()}
    yield "code as a key", {(1, 2, Evil()): array}
    yield "a list", [array]
    yield "a dict in a dict", {key: {key: array}}
    yield "objects", {key: np.array([None, Evil()], object)}
    yield "text", {key: np.array(["a"])}
    yield "floats", {key: np.array([0.5])}
    yield "two dimensions", {key: np.zeros((2, 2), int)}
    yield "a key of text", {("a", 1, 2): array}
    yield "a number for an array", {key: 3}
    yield "one array twice", {(1, 2, n): a for a in [np.arange(99)] for n in range(2)}
    yield "a set", {key: {1, 2}}
    yield "a dtype of records", {key: np.zeros(2, [("a", int)])}


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("content", [pytest.param(content, id=name) for name, content in hostile()])
def test_nothing_else_is_read_and_nothing_is_run(tmp_path, monkeypatch, content, protocol):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(content, protocol))
    with pytest.raises(Unsound):
        list(read_entries(tmp_path / "x.pkl"))
    assert not (tmp_path / "ran").exists()


RAW = [
    b"",
    b".",
    b"\x80\x05}",
    b"\x80\x05}(.",
    b"\x80\x09}.",
    b"}r\xff\xff\xff\xff.",  # a place in the memo far beyond: no list of that length is made
    b"B\xff\xff\xff\xff",
    b"\x8e" + b"\xff" * 8,
    b"\x96" + b"\xff\xff\xff\xff\xff\xff\xff\x00abc",
    b"(" * 5000 + b".",
    b"h\x00.",
    b"R.",
    b"))R.",
    b"}))s.",
    b"}(K\x01u.",
    b"cos\nsystem\n.",
    b"\x8c\x02os\x8c\x06system\x93.",
    b"cnumpy\nload\n.",
    b"cnumpy\ndtype\n\x8c\x02O8\x85R.",
    b"cnumpy\ndtype\n\x8c\x02i8\x85R}b.",
    b"cnumpy.core.multiarray\nscalar\n)R.",
    b"\x85.",
    b"t.",
    b"u.",
    b"\x8a\xff.",
]


@pytest.mark.parametrize("content", RAW)
def test_hand_made_pickles_end_in_one_line(tmp_path, content):
    (tmp_path / "x.pkl").write_bytes(content)
    if content == b"}r\xff\xff\xff\xff.":
        assert list(read_entries(tmp_path / "x.pkl")) == []
        return
    with pytest.raises(Unsound):
        list(read_entries(tmp_path / "x.pkl"))


@pytest.mark.ci
def test_damage_anywhere_is_unsound_or_other_numbers(tmp_path):
    folder = tgb_files.write(tmp_path, "tkgl-wikidata")
    whole = (folder / "tkgl-wikidata_val_ns.pkl").read_bytes()
    assert any(op.name == "STACK_GLOBAL" for op, _, _ in pickletools.genops(whole))
    random, place = np.random.default_rng(0), tmp_path / "x.pkl"
    for _ in range(400):
        damaged = bytearray(whole[: random.integers(1, len(whole))] if random.random() < 0.3 else whole)
        for _ in range(random.integers(1, 4)):
            damaged[random.integers(len(damaged))] = random.integers(256)
        place.write_bytes(damaged)
        try:
            assert all(isinstance(part, int) for key, _ in read_entries(place) for part in key)
        except Unsound:
            pass


def test_negatives_of_other_facts_are_refused(tmp_path):
    folder = tgb_files.write(tmp_path, "tkgl-wikidata")
    graph, file = load_graph(folder), folder / "tkgl-wikidata_test_ns.pkl"
    drawn = pickle.loads(file.read_bytes())
    key = next(iter(drawn))

    def refused(match, content):
        file.write_bytes(pickle.dumps(content))
        with pytest.raises(DataError, match=match):
            negatives = DrawnNegatives(graph, "test")
            for snapshot in graph.split_snapshots("test").tolist():
                negatives(snapshot)

    refused("no candidates for the question", {k: v for k, v in drawn.items() if k != key})
    refused("no candidates for the question", {})
    refused(r"\(5, 0, 0\) is no question", drawn | {(5, 0, 0): drawn[key].copy()})
    refused(r"is no question", drawn | {(*map(int, key[:2]), 99): drawn[key].copy()})
    refused(r"is no question", drawn | {(2**80, 0, 0): drawn[key].copy()})
    refused(r"is no question", drawn | {(1, 2): drawn[key].copy()})
    refused("is none of the 9 entities", drawn | {key: np.array([1, 9])})
    refused("is none of the 9 entities", drawn | {key: np.array([-1])})
    refused("posix.system|nt.system", drawn | {key: Evil()})
    file.unlink()
    with pytest.raises(DataError, match="test_ns.pkl: file is missing; the negatives of tkgl-wikidata come with"):
        DrawnNegatives(graph, "test")
