"""Data of any form converted: every fact is there again, by name and time, and splits are cut by time."""

import os
import random

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.test_writers import dated, named
from tests.helpers import assert_same_graph
from tirgn_eqx.data import convert_data, cut_by_time, graph_statistics, load_graph, map_data, write_events, write_folder
from tirgn_eqx.errors import ConfigError, DataError

TIMES = 20


def write_random_split(place, seed, missing=(), stat=True):
    """A folder whose facts were dealt out to its splits at random; its lines."""
    rng = random.Random(seed)
    lines = [
        f"{rng.randrange(6)}\t{rng.randrange(2)}\t{rng.randrange(6)}\t{24 * t}" for t in range(TIMES) for _ in range(4)
    ]
    dealt = {name: [] for name in ("train", "valid", "test") if name not in missing}
    for line in lines:
        rng.choice(list(dealt.values())).append(line)
    place.mkdir()
    for name, part in dealt.items():
        (place / f"{name}.txt").write_text("".join(f"{line}\n" for line in part))
    if stat:
        (place / "stat.txt").write_text("6\t2\n")
    return sorted(tuple(map(int, line.split("\t"))) for line in lines)


def facts(graph):
    return sorted(
        zip(*(x.tolist() for x in (graph.subject, graph.relation, graph.object, graph.times[graph.snapshot])))
    )


def by_time(graph):
    """Whether every snapshot is of one split, and the splits follow each other."""
    return bool((np.diff(graph.split) >= 0).all()) and bool(((graph.split_counts > 0).sum(0) == 1).all())


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    missing=st.sampled_from([(), ("valid",), ("valid", "test"), ("train",)]),
    stat=st.booleans(),
    to_table=st.booleans(),
)
def test_splits_that_cannot_be_used_are_cut_anew_and_no_fact_is_lost(tmp_path_factory, seed, missing, stat, to_table):
    place = tmp_path_factory.mktemp("random")
    lines = write_random_split(place / "in", seed, missing, stat)
    if to_table:
        convert_data(place / "in", place / "out.parquet")
        graph = load_graph(place / "out.parquet", time_format="steps")

        def number(names, ids):
            return [int(names[i]) for i in ids]

        columns = [number(graph.entity_names, x) for x in (graph.subject, graph.object)]
        found = zip(columns[0], number(graph.relation_names, graph.relation), columns[1], graph.times[graph.snapshot])
        assert sorted(tuple(map(int, row)) for row in found) == lines
        return
    convert_data(place / "in", place / "out")
    graph = load_graph(place / "out")
    assert facts(graph) == lines and by_time(graph)
    assert (graph.split_counts > 0).sum(1).tolist() == [16, 2, 2]
    assert graph.time_interval == 24


def test_sound_splits_and_all_else_of_a_folder_stay(tmp_path):
    write_folder(dated(3600, 1), tmp_path / "a")
    convert_data(tmp_path / "a", tmp_path / "b")
    assert sorted(os.listdir(tmp_path / "a")) == sorted(os.listdir(tmp_path / "b"))
    for name in os.listdir(tmp_path / "a"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_table_as_a_folder_is_the_same_graph(tmp_path):
    write_events(dated(3600, 1), tmp_path / "a.parquet")
    table = load_graph(tmp_path / "a.parquet", num_days=0, granularity="hour")
    convert_data(tmp_path / "a.parquet", tmp_path / "a", num_days=0, granularity="hour")
    folder = load_graph(tmp_path / "a")
    assert_same_graph(table, folder)
    one, other = graph_statistics(table), graph_statistics(folder)
    assert one["time"] == other["time"]
    assert {key: value for key, value in one.items() if key != "read"} == {
        k: v for k, v in other.items() if k != "read"
    }


def test_every_form_is_converted(tmp_path):
    graph = dated(86_400, 1)
    write_events(graph, tmp_path / "a.parquet")
    pl.read_parquet(tmp_path / "a.parquet").write_csv(tmp_path / "a.csv")
    (tmp_path / "parts").mkdir()
    for number in range(2):
        part = pl.read_parquet(tmp_path / "a.parquet").slice(50 * number, 50)
        part.write_parquet(tmp_path / "parts" / f"part-{number}.parquet")
    write_folder(graph, tmp_path / "folder")
    map_data(tmp_path / "folder", tmp_path / "mapped")
    for name in ("a.parquet", "a.csv", "parts", "folder", "mapped"):
        convert_data(tmp_path / name, tmp_path / f"out-{name.replace('.', '-')}", num_days=0)
        found = load_graph(tmp_path / f"out-{name.replace('.', '-')}")
        assert named(found) == named(graph) and found.split_counts.sum(1).tolist() == [80, 10, 10], name
    convert_data("sim:num_days=20", tmp_path / "sim")
    assert named(load_graph(tmp_path / "sim")) == named(load_graph("sim:num_days=20"))
    frame = pl.read_parquet(tmp_path / "a.parquet")
    convert_data(frame, tmp_path / "frame", num_days=0)
    assert named(load_graph(tmp_path / "frame")) == named(graph)


def test_one_file_of_facts_is_enough(tmp_path):
    lines = write_random_split(tmp_path / "in", 3, ("valid", "test"), stat=False)
    (tmp_path / "in" / "train.txt").rename(tmp_path / "all facts.txt")
    graph = convert_data(tmp_path / "all facts.txt", tmp_path / "out")
    assert facts(load_graph(tmp_path / "out")) == lines and graph.entity_names is None
    assert graph.name == "all facts"
    (tmp_path / "entity2id.txt").write_text("".join(f"N{i}\t{i}\n" for i in range(9)))
    graph = convert_data(tmp_path / "all facts.txt", tmp_path / "named")
    assert graph.num_entities == 9 and load_graph(tmp_path / "named").entity_names == graph.entity_names


@pytest.mark.parametrize(
    ("split", "snapshots"),
    [("60/20/20", [12, 4, 4]), ("98/1/1", [18, 1, 1]), ("1/1/98", [1, 1, 18]), ("33/33/34", [6, 7, 7])],
)
def test_shares_are_of_snapshots_and_none_is_empty(split, snapshots):
    graph = cut_by_time(dated(86_400, 1), split)
    assert by_time(graph) and (graph.split_counts > 0).sum(1).tolist() == snapshots
    assert graph.provenance == {}


@pytest.mark.parametrize("unit", [86_400, 3600])
def test_given_times_are_those_at_which_valid_and_test_begin(tmp_path, unit):
    graph = dated(unit, 1)
    at = {86_400: ("2021-01-13", "2021-01-20"), 3600: ("2021-01-01T12:00", "2021-01-01T19:00+00:00")}[unit]
    begins = [graph.times[0] + 12, graph.times[0] + 19]
    write_folder(graph, tmp_path / "a")
    convert_data(tmp_path / "a", tmp_path / "b", split="/".join(at))
    found = load_graph(tmp_path / "b")
    when = found.times[found.snapshot]
    np.testing.assert_array_equal(found.split, (when >= begins[0]).astype(int) + (when >= begins[1]))
    assert facts(found) == facts(graph)
    assert (found.time_unit, found.time_interval, found.clock_origin) == (unit, 1, graph.clock_origin)


def test_given_steps_cut_data_without_dates(tmp_path):
    lines = write_random_split(tmp_path / "in", 1)
    convert_data(tmp_path / "in", tmp_path / "out", split="240/456")
    graph = load_graph(tmp_path / "out")
    assert facts(graph) == lines and (graph.split_counts > 0).sum(1).tolist() == [10, 9, 1]


@pytest.mark.parametrize(
    ("split", "error", "words"),
    [
        ("80/10", DataError, "not a date or time"),
        ("80/10/20", ConfigError, "give the shares of train, valid and test in percent, like 80/10/10, or the times"),
        ("90/10/0", ConfigError, "give the shares"),
        ("random", ConfigError, "give the shares"),
        ("/", ConfigError, "give the shares"),
        ("2021-01-20/2021-01-13", ConfigError, "valid begins at 2021-01-20, but must begin before test, at 2021-01-13"),
        (
            "2021-01-13/2022-01-01",
            DataError,
            "no facts for test when valid begins at 2021-01-13 and test at 2022-01-01",
        ),
        ("2020-01-01/2021-01-13", DataError, "no facts for train"),
    ],
)
def test_a_split_that_cannot_be_is_refused_and_nothing_is_written(tmp_path, split, error, words):
    write_folder(dated(86_400, 1), tmp_path / "a")
    with pytest.raises(error, match=words):
        convert_data(tmp_path / "a", tmp_path / "b", split=split)
    assert os.listdir(tmp_path) == ["a"]


def test_what_cannot_be_converted_is_refused_before_anything_is_written(tmp_path):
    write_folder(dated(86_400, 1), tmp_path / "a")
    with pytest.raises(ConfigError, match="an event table has no splits"):
        convert_data(tmp_path / "a", tmp_path / "a.parquet", split="80/10/10")
    with pytest.raises(ConfigError, match="is what is converted; name another place"):
        convert_data(tmp_path / "a", tmp_path / ".." / tmp_path.name / "a", force=True)
    with pytest.raises(DataError, match="nowhere: does not exist"):
        convert_data(tmp_path / "nowhere", tmp_path / "b")
    # A fault that splits have nothing to do with is told as it is.
    with (tmp_path / "a" / "valid.txt").open("a") as file:
        file.write("1\tx\t2\t3\n")
    with pytest.raises(DataError, match="valid.txt:11: relation is 'x'"):
        convert_data(tmp_path / "a", tmp_path / "b")
    with pytest.raises(DataError, match="2 distinct times, but train, valid and test need at least 3"):
        (tmp_path / "two.txt").write_text("0 0 1 5\n0 0 1 6\n")
        convert_data(tmp_path / "two.txt", tmp_path / "b")
    assert sorted(os.listdir(tmp_path)) == ["a", "two.txt"]
