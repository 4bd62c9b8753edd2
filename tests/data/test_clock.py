"""The model's clock: from where it counts, and that data take over the clock of a checkpoint."""

import dataclasses
import json
import warnings

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers import make_graph
from tirgn_eqx.data import load_graph, map_data, map_graph, read_folder, simulate
from tirgn_eqx.data.clock import apply_clock, describe_clock
from tirgn_eqx.data.forecast_target import make_forecast_target
from tirgn_eqx.data.readers.events import GRANULARITIES, ReadingOptions, read_events
from tirgn_eqx.errors import DataError, DataWarning

DAY = 86_400
NAMES = ["RUSSIA", "UKRAINE", "CHINA", "FRANCE"]


def write_events(path, seconds, seed=0):
    """A table of one event at each of the times, in seconds since 1970."""
    rng = np.random.default_rng(seed)
    names = rng.choice(NAMES, (len(seconds), 2))
    table = {"entity1": names[:, 0], "relation": rng.choice(["042", "190"], len(seconds)), "entity2": names[:, 1]}
    pl.DataFrame(table | {"timestamp": pl.from_epoch(pl.Series(seconds, dtype=pl.Int64))}).write_parquet(path)
    return path


def at_times(times, **fields):
    """A graph of one fact at each time, the last two held out."""
    facts = [(number % 3, 0, (number + 1) % 3, time) for number, time in enumerate(times)]
    sizes = {"num_entities": 3, "num_relations": 1, "valid": len(facts) - 2, "test": len(facts) - 1}
    return make_graph(facts, **sizes | fields)


def described(graph, family="tirgn", **config):
    """The metadata of a checkpoint that was trained on `graph`."""
    data = graph.describe() | {"provenance": graph.provenance} | describe_clock(graph)
    return json.loads(json.dumps({"config": {"family": family, **config}, "data": data}))


@pytest.mark.parametrize(
    ("times", "origin", "index"),
    [
        ([0, 24, 48, 120], 0, [0, 1, 2, 5]),
        ([1, 2, 3, 4], 0, [1, 2, 3, 4]),
        ([24, 48, 72, 96], 0, [1, 2, 3, 4]),
        ([48, 72, 96, 144], 48, [0, 1, 2, 4]),
        ([-24, 0, 24, 48], -24, [0, 1, 2, 3]),
        ([1_514_764_800 + 900 * step for step in (0, 1, 2, 9)], 1_514_764_800, [0, 1, 2, 9]),
        ([20_180_101, 20_180_102, 20_180_103, 20_180_104], 20_180_101, [0, 1, 2, 3]),
    ],
)
def test_facts_from_far_away_count_from_their_first_time(times, origin, index):
    graph = at_times(times)
    assert graph.clock_origin == origin and graph.time_index.tolist() == index
    assert graph.time_index.dtype == np.float64


@settings(max_examples=60)
@given(
    steps=st.lists(st.integers(1, 50), min_size=3, max_size=8),
    interval=st.integers(1, 1000),
    shift=st.integers(-(2**45), 2**45).filter(lambda number: number not in (0, 1)),
)
def test_a_folders_clock_does_not_know_from_where_its_times_count(steps, interval, shift):
    times = np.cumsum([0, *steps]) * interval
    plain = at_times(times, time_interval=interval)
    moved = at_times(times + shift * interval, time_interval=interval)
    assert plain.clock_origin == 0 and moved.time_index.tolist() == plain.time_index.tolist()


def test_the_simulated_world_counts_from_its_first_day():
    graph = simulate(num_days=12, num_entities=6, facts_per_day=5).graph
    assert graph.clock_origin == 0 and graph.time_index.tolist() == graph.times.tolist()


@settings(max_examples=8, deadline=None)
@given(
    granularity=st.sampled_from(sorted(GRANULARITIES)),
    days=st.integers(10 * 366, 20_000),
    steps=st.integers(0, 95),
    num_days=st.sampled_from([0, 9]),
    max_events=st.sampled_from([0, 25]),
    seed=st.integers(0, 2**16),
)
def test_a_tables_facts_do_not_know_from_where_its_times_count(
    tmp_path_factory, granularity, days, steps, num_days, max_events, seed
):
    folder = tmp_path_factory.mktemp("shifted")
    seconds = np.sort(np.random.default_rng(seed).integers(0, 12 * DAY, 60))
    unit, interval = GRANULARITIES[granularity]
    # Days are cut out and thinned by the calendar; without that, any number of snapshots will do.
    shift = days * DAY + (0 if num_days or max_events else steps * unit * interval)
    options = {"granularity": granularity, "num_days": num_days, "max_events": max_events}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)  # of dates so long ago
        plain = read_events(write_events(folder / "plain.parquet", seconds, seed), ReadingOptions(**options))
    moved = read_events(write_events(folder / "moved.parquet", seconds + shift, seed), ReadingOptions(**options))
    for name in ("subject", "relation", "object", "snapshot", "split", "time_index"):
        assert getattr(plain, name).tobytes() == getattr(moved, name).tobytes(), name
    assert (plain.entity_names, plain.relation_names) == (moved.entity_names, moved.relation_names)
    assert (moved.times - plain.times == shift // unit).all()
    assert plain.time_index[0] == 0 and np.diff(plain.time_index).min() >= 1


def test_a_moved_window_keeps_the_clock_of_the_checkpoint(tmp_path):
    path = write_events(tmp_path / "events.parquet", (17_500 + np.arange(40)) * DAY)
    trained_on = read_events(path, ReadingOptions(num_days=30))
    for days in (5, 30, 0):
        graph = apply_clock(read_events(path, ReadingOptions(num_days=days)), described(trained_on))
        # Day 10 of the table is where the training began, and number 0 of its clock.
        assert graph.time_index.tolist() == list(range(-10 if days == 0 else 30 - days, 30))
        assert graph.times[-1] == 17_539
    ahead = make_forecast_target(graph, 17_539 + 365)
    assert ahead.graph.time_index[ahead.target] == 29 + 365


def test_a_checkpoint_without_an_origin_counts_from_0(tmp_path):
    graph = read_events(
        write_events(tmp_path / "events.parquet", (17_500 + np.arange(400)) * DAY), ReadingOptions(num_days=0)
    )
    for data in ({}, None, {"time_interval": 1}):
        assert apply_clock(graph, {"data": data}).time_index.tolist() == graph.times.tolist()


@pytest.mark.parametrize("granularity", ["15min", "hour"])
def test_a_table_with_another_step_is_refused(tmp_path, granularity):
    path = write_events(tmp_path / "events.parquet", 17_500 * DAY + np.arange(900) * 900)
    fine, days = read_events(path, ReadingOptions(granularity=granularity)), read_events(path)
    with pytest.raises(DataError, match=rf"one step is 'day', but '{granularity}' in the training of the checkpoint"):
        apply_clock(days, described(fine))
    with pytest.raises(DataError, match=rf"one step is '{granularity}', but 'day' in the training of the checkpoint"):
        apply_clock(fine, described(days))


def test_numbers_with_another_step_are_refused_unless_gaps_explain_it():
    daily = described(at_times(range(0, 240, 24)))
    for times, words in ((range(10), "one step is 1 in its"), (range(0, 480, 48), "one step is 48 in its")):
        with pytest.raises(DataError, match=f"{words} unit of time, but 24 in the training of the checkpoint"):
            apply_clock(at_times(times), daily)
    # A few snapshots with gaps have no interval of their own, or that of the gaps: the checkpoint's fits them.
    for few in (at_times([240, 288, 336]), at_times([240, 288, 336], time_interval=48)):
        assert few.time_interval != 24
        assert apply_clock(few, daily).time_index.tolist() == [10, 12, 14]
    # An interval that was declared is the same, whatever the gaps.
    weekly = at_times(range(0, 70, 7), time_interval=1)
    assert apply_clock(weekly, described(at_times(range(10)), "evidence")).time_index.tolist() == list(range(0, 70, 7))


def test_an_event_model_has_the_clock_of_its_base_and_counts_steps_itself():
    hours, days = at_times(range(10)), at_times(range(0, 240, 24))
    bases = ({}, {"base": {"family": "regcn"}}, {"base": {"family": "mixture", "structure": {"family": "regcn"}}})
    for config in bases:
        with pytest.raises(DataError, match="one step is 24"):
            apply_clock(days, described(hours, "events", **config))
    far, trained_on = at_times(range(17_500, 17_520)), described(at_times(range(20)), "events")
    apply_clock(far, trained_on)  # rates know ages, and not the time itself
    for config in ({"family": "tirgn"}, {"family": "mixture", "structure": {"family": "tirgn"}}):
        with pytest.warns(DataWarning, match="TiRGN forecasts worse"):
            apply_clock(far, described(at_times(range(20)), "events", base=config))


def test_regcn_alone_does_without_the_clock():
    hours, days = at_times(range(10)), at_times(range(0, 240, 24))
    assert apply_clock(days, described(hours, "regcn")) is days
    mixture = {"family": "mixture", "structure": {"family": "regcn"}}
    for config in (mixture, {"family": "evidence"}, {"family": "tirgn"}):
        with pytest.raises(DataError, match="one step is 24"):
            apply_clock(days, described(hours, **config))


def test_data_far_from_those_of_the_training_are_warned_of():
    ours = described(at_times(range(17_500, 17_520)))
    apply_clock(at_times(range(17_520, 17_540)), ours)  # as far away as the training lasted: nothing is said
    with pytest.warns(
        DataWarning, match="ends 21 steps after the last that the checkpoint was.* last 20; .*retrain it"
    ):
        apply_clock(at_times(range(17_520, 17_541)), ours)
    with pytest.warns(DataWarning, match="ends 17,481 steps before the first that .*count time from another moment"):
        graph = apply_clock(at_times(range(20)), ours)
    assert graph.time_index.tolist() == list(range(-17_500, -17_480))
    # Models that do not know the time itself, and those that are to learn it, are not concerned.
    for model in ("evidence", "regcn"):
        apply_clock(at_times(range(20)), described(at_times(range(17_500, 17_520)), model))
    apply_clock(at_times(range(20)), ours, learning=True)
    assert "first_time" in ours["data"]
    apply_clock(at_times(range(20)), {"config": ours["config"], "data": {"clock_origin": 5}})  # as of an imported model


def test_a_mapped_graph_keeps_its_clock_and_its_folder(tmp_path):
    path = write_events(tmp_path / "events.parquet", (17_500 + np.arange(20)) * DAY)
    table = read_events(path)
    mapped = map_data(path, tmp_path / "mapped")
    assert describe_clock(mapped) == describe_clock(table)
    assert describe_clock(table) == {
        "time_interval": 1,
        "clock_origin": 17_500,
        "first_time": 17_500,
        "last_time": 17_519,
    }
    other = apply_clock(mapped, described(dataclasses.replace(table, clock_origin=17_490)))
    assert other.time_index[0] == 10 and other.mapped_folder == mapped.mapped_folder
    assert other.__dict__["checksum"] == mapped.checksum == table.checksum
    # Mapped again, it is as it was.
    assert map_graph(other, tmp_path / "again").clock_origin == 17_490
    record = tmp_path / "mapped" / "graph.json"
    record.write_text(
        json.dumps({key: v for key, v in json.loads(record.read_text()).items() if key != "clock_origin"})
    )
    with pytest.raises(DataError, match="clock_origin is None, expected"):
        load_graph(tmp_path / "mapped")


def test_a_mapped_folder_begins_where_the_folder_does(tmp_path):
    for first, origin in ((0, 0), (900, 0), (1_514_764_800, 1_514_764_800)):
        place = tmp_path / str(first)
        place.mkdir()
        for split, steps in (("train", range(6)), ("valid", [6]), ("test", [7])):
            rows = [f"{step % 3}\t0\t{(step + 1) % 3}\t{first + 900 * step}\n" for step in steps]
            (place / f"{split}.txt").write_text("".join(rows))
        (place / "stat.txt").write_text("3\t1\n")
        read, mapped = read_folder(place), map_data(place, tmp_path / f"mapped-{first}")
        assert describe_clock(read) == describe_clock(mapped)
        assert (read.time_interval, read.clock_origin) == (900, origin)
