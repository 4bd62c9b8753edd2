"""Graphs written as folders and as event tables: what is read again is what was written, or it is refused."""

import dataclasses
import json
import os

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.helpers import assert_same_graph, facts_of_a_graph, make_graph
from tirgn_eqx.data import StaticGraph, load_graph, map_graph, simulate
from tirgn_eqx.data.writers import options_to_read_back, write_events, write_folder
from tirgn_eqx.errors import ConfigError, DataError, DataWarning

NAMES = st.lists(st.text(st.characters(codec="utf-8"), max_size=8), min_size=5, max_size=5)


@st.composite
def graphs(draw):
    """A graph with all three splits, its times in any unit, with or without names."""
    facts = draw(facts_of_a_graph())
    rows = np.array(facts.pop("facts"))
    step, first = draw(st.sampled_from([1, 15, 24, 3600])), draw(st.integers(-50, 17_000))
    rows[:, 3] = step * (rows[:, 3] + first)
    assume(len(rows) > 2)
    valid = draw(st.integers(1, len(rows) - 2))
    bounds = {"valid": valid, "test": draw(st.integers(valid + 1, len(rows) - 1))}
    sizes = {key: facts[key] for key in ("num_entities", "num_relations")}
    times = {"time_unit": draw(st.sampled_from([None, 1, 60, 3600, 86_400]))}
    times["time_interval"] = draw(st.sampled_from([None, step, 2 * step]))
    times["clock_origin"] = draw(st.sampled_from([None, 0, step * first]))
    names = {}
    if draw(st.booleans()):
        names = {"entity_names": tuple(draw(NAMES)[: sizes["num_entities"]])}
    return rows, bounds | sizes, times | names


@settings(max_examples=150, deadline=None)
@given(graphs())
def test_a_folder_is_read_as_it_was_written_or_not_written(tmp_path_factory, given_):
    rows, bounds, fields = given_
    graph = make_graph(rows, **bounds, **fields)
    out = tmp_path_factory.mktemp("made") / "folder"
    try:
        write_folder(graph, out)
    except DataError as error:
        assert "cannot stand in entity2id.txt" in str(error) or "is the name of" in str(error)
        names = graph.entity_names or ()
        assert len(set(names)) < len(names) or any(
            n != n.strip() or not n or set(n) & set("\t\n\r\0\x1a") for n in names
        )
        assert os.listdir(out.parent) == []
        return
    with pytest.warns(DataWarning) if np.any((graph.split_counts > 0).sum(0) > 1) else _quiet():
        assert_same_graph(graph, load_graph(out))
    assert sorted(os.listdir(out.parent)) == ["folder"]


class _quiet:
    def __enter__(self): ...

    def __exit__(self, *_): ...


def dated(unit: int, interval: int, **fields):
    """Twenty snapshots with holes, from 2021 on, with names."""
    rng = np.random.default_rng(0)
    times = 1_609_459_200 // unit + interval * np.delete(np.arange(24), [3, 7, 8, 20])
    rows = [
        (*rng.integers(0, 6, 1), *rng.integers(0, 2, 1), *rng.integers(0, 6, 1), t) for t in times for _ in range(5)
    ]
    names = {"entity_names": ("北京", "Côte d'Ivoire", "A;B,C", '"q"', "0", "x y"), "relation_names": ("r", "s")}
    clock = {"time_unit": unit, "time_interval": interval, "clock_origin": int(times[0])}
    sizes = {"num_entities": 6, "num_relations": 2, "valid": 80, "test": 90}
    return make_graph(np.array(rows), **sizes, **(names | clock | fields))


@pytest.mark.parametrize(
    ("unit", "interval", "granularity"), [(86_400, 1, "day"), (3600, 1, "hour"), (60, 15, "15min")]
)
def test_an_event_table_gives_the_same_facts_by_name(tmp_path, unit, interval, granularity):
    graph = dated(unit, interval)
    write_events(graph, tmp_path / "a.parquet")
    assert pl.read_parquet(tmp_path / "a.parquet").columns == ["entity1", "relation", "entity2", "timestamp"]
    options = options_to_read_back(graph).given()
    assert options == {"num_days": 0, "granularity": granularity}
    again = load_graph(tmp_path / "a.parquet", **options)
    assert named(again) == named(graph)
    for field in ("time_unit", "time_interval", "clock_origin"):
        assert getattr(again, field) == getattr(graph, field)
    np.testing.assert_array_equal(again.split, graph.split)
    # And from there to a folder, whose numbers keep their meaning.
    write_folder(again, tmp_path / "folder")
    assert_same_graph(again, load_graph(tmp_path / "folder"))


def named(graph):
    entities = graph.entity_names or tuple(map(str, range(graph.num_entities)))
    relations = graph.relation_names or tuple(map(str, range(graph.num_relations)))
    rows = zip(graph.subject, graph.relation, graph.object, graph.times[graph.snapshot])
    return sorted((entities[s], relations[r], entities[o], int(t)) for s, r, o, t in rows)


@pytest.mark.parametrize("scale", [1, 24, 10**8, 20_200_101])
def test_step_numbers_of_data_without_names_stay_what_they_are(tmp_path, scale):
    rows = np.array([(i % 4, i % 2, (i + 1) % 4, i // 3 * scale) for i in range(36)])
    graph = make_graph(rows, num_entities=4, num_relations=2, valid=24, test=30)
    write_events(graph, tmp_path / "a.parquet")
    again = load_graph(tmp_path / "a.parquet", **options_to_read_back(graph).given())
    assert named(again) == named(graph) and again.time_unit is None and again.entity_names is not None
    assert (again.time_interval, options_to_read_back(graph).given()) == (scale, {"time_format": "steps"})


def test_seconds_are_written_whole_though_reading_tells_quarter_hours_apart(tmp_path):
    graph = dated(1, 900)
    assert options_to_read_back(graph).granularity == "15min"
    odd = dataclasses.replace(graph, times=graph.times + np.arange(20))
    with pytest.warns(DataWarning, match="no whole quarters of an hour"):
        options_to_read_back(odd)
    write_events(odd, tmp_path / "a.parquet")
    written = pl.read_parquet(tmp_path / "a.parquet")["timestamp"].dt.epoch("s").to_numpy()
    np.testing.assert_array_equal(written, odd.times[odd.snapshot])


def test_a_folder_of_plain_numbers_holds_what_other_programs_expect(tmp_path):
    static = StaticGraph(*(np.array(x, np.int32) for x in ([0, 3], [0, 1], [2, 0])), 2, 3)
    rows = np.array([(i % 4, i % 2, (i + 1) % 4, 24 * (i // 3)) for i in range(18)])
    graph = make_graph(rows, num_entities=4, num_relations=2, valid=12, test=15, static=static)
    write_folder(graph, tmp_path / "a")
    assert sorted(os.listdir(tmp_path / "a")) == ["e-w-graph.txt", "stat.txt", "test.txt", "train.txt", "valid.txt"]
    assert (tmp_path / "a" / "test.txt").read_bytes() == b"3\t1\t0\t120\n0\t0\t1\t120\n1\t1\t2\t120\n"
    assert (tmp_path / "a" / "e-w-graph.txt").read_bytes() == b"0\t0\t2\n3\t1\t0\n"
    assert (tmp_path / "a" / "stat.txt").read_bytes() == b"4\t2\n"
    assert_same_graph(graph, load_graph(tmp_path / "a"))


def test_other_forms_and_a_mapped_graph_are_written_alike(tmp_path):
    graph = simulate(num_entities=12, num_relations=4, num_days=12, facts_per_day=9, static_graph=True, seed=1).graph
    write_folder(graph, tmp_path / "a")
    write_folder(map_graph(graph, tmp_path / "mapped"), tmp_path / "b")
    assert_same_graph(graph, load_graph(tmp_path / "a"))
    for name in os.listdir(tmp_path / "a"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_what_times_json_says_is_what_the_numbers_mean(tmp_path):
    graph = dated(3600, 1)
    write_folder(graph, tmp_path / "a")
    said = json.loads((tmp_path / "a" / "times.json").read_text())
    assert said == {"unit_seconds": 3600, "interval": 1, "origin": 447_072}
    for change, word in (
        ({"unit_seconds": "hour"}, "unit_seconds is 'hour', expected one of 1, 60, 3600, 86400"),
        ({"unit_seconds": 7}, "unit_seconds is 7, expected one of"),
        ({"interval": 0}, "interval is 0, expected a whole number from 1"),
        ({"origin": None}, "origin is None, expected"),
        ({"interval": True}, "interval is True, expected"),
    ):
        (tmp_path / "a" / "times.json").write_text(json.dumps(said | change))
        with pytest.raises(DataError, match=word):
            load_graph(tmp_path / "a")
    for text in ("{", "[]", "1"):
        (tmp_path / "a" / "times.json").write_text(text)
        with pytest.raises(DataError, match="times.json: (cannot be read|unit_seconds is None|interval is None)"):
            load_graph(tmp_path / "a")


def test_what_is_there_is_replaced_only_if_asked_and_only_if_it_is_such_data(tmp_path):
    graph, other = dated(86_400, 1), dated(3600, 1)
    folder, table = tmp_path / "a", tmp_path / "a.parquet"
    folder.mkdir()
    write_folder(graph, folder)
    write_events(graph, table)
    for write, place, word in ((write_folder, folder, "holds a data set"), (write_events, table, "exists")):
        with pytest.raises(ConfigError, match=f"{word}; --force replaces it"):
            write(other, place)
        write(other, place, force=True)
    assert_same_graph(other, load_graph(folder))
    (folder / "notes.md").write_text("mine")
    for force in (False, True):
        with pytest.raises(ConfigError, match="a folder that holds 'notes.md'; name another place, nothing of it is"):
            write_folder(graph, folder, force=force)
        with pytest.raises(ConfigError, match="is a file, not a folder"):
            write_folder(graph, table, force=force)
        with pytest.raises(ConfigError, match="is a folder"):
            write_events(graph, folder, force=force)
        with pytest.raises(ConfigError, match="a table is written as .parquet, and a folder has no such ending"):
            write_folder(graph, tmp_path / "events.csv", force=force)
    assert sorted(os.listdir(tmp_path)) == ["a", "a.parquet"] and (folder / "notes.md").read_text() == "mine"


@pytest.mark.parametrize("broken", ["tirgn_eqx.data.writers._write_rows", "tirgn_eqx.data.writers.os.rename"])
def test_what_breaks_off_leaves_what_was_there(tmp_path, monkeypatch, broken):
    graph, other = dated(86_400, 1), dated(3600, 1)
    write_folder(graph, tmp_path / "a")
    calls, rename = [], os.rename

    def fail(*args):
        calls.append(args)
        # Of renames, the one that would put the new folder in its place.
        if broken.endswith("rename") and len(calls) != 2:
            return rename(*args)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(broken, fail)
    with pytest.raises(OSError, match="No space left"):
        write_folder(other, tmp_path / "a", force=True)
    monkeypatch.undo()
    assert os.listdir(tmp_path) == ["a"]
    assert_same_graph(graph, load_graph(tmp_path / "a"))


def test_an_empty_split_and_two_ids_of_one_name_are_refused(tmp_path):
    graph = dated(86_400, 1)
    with pytest.raises(DataError, match="no facts in valid; cut it by time first"):
        write_folder(
            dataclasses.replace(graph, split=np.where(graph.split == 1, 0, graph.split).astype(np.int8)), tmp_path / "a"
        )
    twice = dated(86_400, 1, relation_names=("r", "r"))
    for write, place in ((write_folder, "a"), (write_events, "a.parquet")):
        with pytest.raises(DataError, match="relation 'r' is the name of 0 and of 1; give each a name of its own"):
            write(twice, tmp_path / place)
    assert os.listdir(tmp_path) == []
