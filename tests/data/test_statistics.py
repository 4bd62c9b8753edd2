import json

import numpy as np
import pytest

from tests.helpers import dataset
from tirgn_eqx.data import from_facts, graph_statistics, load_graph, map_data
from tirgn_eqx.data.graph import ReadReport

# name: answer in history (train, valid, test), test facts with an entity unseen in train, duplicates.
# The shares of ICEWS14s and YAGO are published; those of WIKI are counted here.
KNOWN = {
    "ICEWS14s": ((0.429, 0.525, 0.524), 416, (0, 0, 0)),
    "YAGO": ((0.896, 0.886, 0.927), 1609, (0, 0, 0)),
    "WIKI": ((0.972, 0.853, 0.870), None, (5381, 1045, 1226)),
}


@pytest.mark.parametrize("name", KNOWN)
def test_known_shares(name):
    share, unseen, duplicates = KNOWN[name]
    statistics = graph_statistics(load_graph(dataset(name)))
    answers = statistics["answer_in_history"]
    assert tuple(round(answers[split], 3) for split in ("train", "valid", "test")) == share
    assert unseen in (None, statistics["unseen_entity_facts"]["test"])
    assert tuple(statistics["duplicates"][split] for split in ("train", "valid", "test")) == duplicates


@pytest.mark.parametrize(
    "name, occurring, spread", [("YAGO", 10585, (1, 1064, 4072)), ("ICEWS18", 23033, (665, 1541, 2371))]
)
def test_known_counts(name, occurring, spread):
    statistics = graph_statistics(load_graph(dataset(name)))
    per_snapshot = statistics["facts_per_snapshot"]
    assert statistics["entities"]["occurring"] == occurring
    assert (per_snapshot["min"], round(per_snapshot["mean"]), per_snapshot["max"]) == spread


def test_gaps_of_quarter_hours():
    time = graph_statistics(load_graph(dataset("GDELT-resplit")))["time"]
    counted = {"first": 0, "last": 4305, "step": 15, "interval": 15, "gaps": 18, "missing": 23}
    assert time == counted | {"unit": None, "dates": None}


def small_graph():
    train = [(0, 0, 1, 10), (0, 0, 1, 10), (2, 0, 1, 10), (1, 1, 0, 12), (0, 0, 1, 12), (0, 0, 2, 20)]
    valid = [(1, 1, 0, 20), (0, 0, 2, 20), (3, 1, 0, 20)]
    test = [(2, 0, 1, 26), (2, 1, 4, 26), (3, 1, 0, 26), (3, 1, 0, 26)]
    split = np.repeat([0, 1, 2], [len(train), len(valid), len(test)])
    return from_facts("small", np.array(train + valid + test), split, 9, 3)


def test_small_graph_by_hand():
    assert graph_statistics(small_graph()) == {
        "name": "small",
        "sha256": small_graph().checksum,
        "facts": {"total": 13, "train": 6, "valid": 3, "test": 4},
        "entities": {"vocabulary": 9, "occurring": 5},
        "relations": {"vocabulary": 3, "occurring": 2},
        "snapshots": {"total": 4, "train": 3, "valid": 1, "test": 1},
        "time": {
            **{"first": 10, "last": 26, "step": 2, "interval": 2, "gaps": 2, "missing": 5},
            **{"unit": None, "dates": None},
        },
        "read": None,
        "duplicates": {"total": 2, "train": 1, "valid": 0, "test": 1},
        "facts_per_snapshot": {"min": 2, "mean": 3.25, "max": 4},
        "static_edges": 0,
        # (0, 0, 2) at time 20 is in train and in valid, and is history for neither.
        "answer_in_history": {"train": 1 / 6, "valid": 1 / 3, "test": 3 / 4},
        # Of the train facts at 12, (0, 0, 1) held at 10; of those at 20 none held at 12, and (1, 1, 0) is not one.
        "lasting_share": 1 / 4,
        "unseen_entity_facts": {"valid": 1, "test": 3},
    }


def test_share_equals_a_plain_count_over_both_directions():
    rng = np.random.default_rng(0)
    facts = np.stack([rng.integers(0, high, 400) for high in (6, 3, 6, 30)], 1)
    split = np.digitize(facts[:, 3], [20, 25])
    graph = from_facts("random", facts, split, 6, 3)
    seen, hits, total = set(), np.zeros(3), np.zeros(3)
    for time in range(30):
        now = [(s, r, o, split) for (s, r, o, t), split in zip(facts.tolist(), split) if t == time]
        both = [fact for s, r, o, part in now for fact in ((s, r, o, part), (o, r + 3, s, part))]
        for s, r, o, part in both:
            hits[part] += (s, r, o) in seen
            total[part] += 1
        seen |= {fact[:3] for fact in both}
    shares = graph_statistics(graph)["answer_in_history"]
    np.testing.assert_allclose([shares[split] for split in ("train", "valid", "test")], hits / total)


def test_single_snapshot_and_json():
    graph = from_facts("one", np.array([(0, 0, 1, 7)]), np.array([0]), 2, 1)
    statistics = graph_statistics(graph)
    counted = {"first": 7, "last": 7, "step": None, "interval": 1, "gaps": 0, "missing": 0}
    assert statistics["time"] == counted | {"unit": None, "dates": None}
    assert statistics["answer_in_history"] == {"train": 0.0, "valid": None, "test": None}
    assert json.loads(json.dumps(graph_statistics(small_graph()))) == graph_statistics(small_graph())


def write_folder(place, time):
    place.mkdir()
    for split, days in (("train", range(8)), ("valid", (8,)), ("test", (9,))):
        (place / f"{split}.txt").write_text("\n".join(f"{day % 3}\t0\t1\t{time(day)}\n" for day in days))
    (place / "stat.txt").write_text("3\t1")
    return place


@pytest.mark.parametrize(
    ("time", "unit", "step", "dates"),
    [
        (str, None, 1, None),
        (lambda day: f"2014-02-{20 + day // 3}", "day", 1, ["2014-02-20", "2014-02-23"]),
        (lambda day: f"2014-01-01T0{day}:30", "second", 3600, ["2014-01-01T00:30", "2014-01-01T09:30"]),
        (lambda day: f"2014-01-01T06:00:0{day}", "second", 1, ["2014-01-01T06:00:00", "2014-01-01T06:00:09"]),
    ],
)
@pytest.mark.filterwarnings("ignore:.*share the timestamp")
def test_lines_are_accounted_for_and_dates_are_shown(tmp_path, time, unit, step, dates):
    folder = write_folder(tmp_path / "d", time)
    for graph in (load_graph(folder), map_data(folder, tmp_path / "mapped"), load_graph(tmp_path / "mapped")):
        found = graph_statistics(graph)
        # Seven blank lines between the facts of train; the last line of each file ends.
        read = {"lines": 17, "facts": 10, "blank": 7, "bad": 0, "outside": 0, "thinned": 0}
        assert {key: found["read"][key] for key in read} == read
        assert (found["time"]["unit"], found["time"]["step"], found["time"]["dates"]) == (unit, step, dates)
        assert (found["read"]["times"] is None) == (unit is None)
        assert json.loads(json.dumps(found)) == found


def test_a_report_that_does_not_sum_up_is_refused():
    ReadReport(lines=9, facts=2, blank=1, bad=1, outside=2, thinned=3)
    with pytest.raises(ValueError, match="9 lines were read, but 8 are accounted for"):
        ReadReport(lines=9, facts=2, blank=1, bad=1, outside=2, thinned=2)


@pytest.mark.parametrize("name", ["ICEWS14s", "YAGO", "GDELT-resplit"])
def test_every_line_of_a_published_set_is_a_fact(name):
    folder = dataset(name)
    lines = sum((folder / f"{split}.txt").read_bytes().count(b"\n") for split in ("train", "valid", "test"))
    graph = load_graph(folder)
    assert graph.read == ReadReport(lines, facts=lines) and graph.num_facts == lines
