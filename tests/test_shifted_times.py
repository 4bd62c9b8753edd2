"""Training and forecasts are the same, bit for bit, whatever constant is added to all times of a table."""

import functools
import warnings

import jax
import numpy as np
import polars as pl
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.helpers import tiny_config
from tirgn_eqx.checkpoint.files import load_checkpoint
from tirgn_eqx.checkpoint.models import save_model
from tirgn_eqx.config import preset
from tirgn_eqx.data import load_graph, simulate
from tirgn_eqx.data.batches.windows import WindowLoader
from tirgn_eqx.data.forecast_target import make_forecast_target
from tirgn_eqx.data.index.evidence import Cutoff
from tirgn_eqx.data.index.recurrence import build_recurrence_index
from tirgn_eqx.data.readers.events import GRANULARITIES
from tirgn_eqx.data.statistics import graph_statistics
from tirgn_eqx.errors import DataWarning
from tirgn_eqx.evaluate.recurrency import RecurrencyEvaluator, search_recurrency
from tirgn_eqx.forecast import Forecaster
from tirgn_eqx.forecast.facts import pair_rates
from tirgn_eqx.forecast.states import RecurrentState
from tirgn_eqx.models import build_model
from tirgn_eqx.train.api import train_tirgn
from tirgn_eqx.train.families import training_family

KINDS = ("tirgn", "regcn", "evidence")
# The same snapshots from 1970 on, and as days, hours and quarter hours from the beginning of 2018.
NEW_YEAR = 1_514_764_800
OFFSETS = (("day", 0), ("day", NEW_YEAR), ("hour", NEW_YEAR), ("15min", NEW_YEAR))


def config_of(kind, **changes):
    if kind == "evidence":
        small = {"embedding_dim": 4, "evidence_heads": 2, "evidence_hidden": 3, "precision": "f32", "max_buckets": 1}
        return preset("evidence").replace(**small | changes)
    return tiny_config(kind, embedding_dim=4, batch_size=0, max_buckets=1, history_len=2, **changes)


@functools.cache
def world():
    return simulate(num_entities=8, num_relations=3, num_days=10, facts_per_day=8, seed=3).graph


def moved(path, granularity, start):
    """The simulated world as an event table at `path`, one snapshot for each of its days, and its graph."""
    graph = world()
    unit, interval = GRANULARITIES[granularity]

    def name(ids):
        return np.array(graph.entity_names)[ids]

    table = {"entity1": name(graph.subject), "relation": np.array(graph.relation_names)[graph.relation]}
    seconds = pl.Series(start + graph.times[graph.snapshot] * unit * interval)
    table |= {"entity2": name(graph.object), "timestamp": pl.from_epoch(seconds)}
    pl.DataFrame(table).write_parquet(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)  # of dates before computers
        return load_graph(path, granularity=granularity, num_days=0)


@pytest.fixture(scope="module")
def graphs(tmp_path_factory):
    """The world at each of the offsets."""
    folder = tmp_path_factory.mktemp("moved")
    return [moved(folder / f"{number}.parquet", *offset) for number, offset in enumerate(OFFSETS)]


def bits(tree):
    """All numbers of a pytree."""
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(tree)]


def inputs(graph, kind):
    """All that a training and its evaluation see of a graph."""
    config = config_of(kind)
    data = training_family(config).data(graph, config, None)
    batches = [prepared.batch for prepared in data.loader(config).epoch(1, 0)]
    if kind == "evidence":
        return bits([batches, data.index.clock])
    windows = WindowLoader(graph, None, history_len=2)
    return bits([batches, [windows.build(target).time_index for target in range(2, graph.num_snapshots)]])


@pytest.mark.parametrize("kind", KINDS)
def test_a_training_is_fed_the_same_at_the_four_offsets(graphs, kind):
    first, *others = [inputs(graph, kind) for graph in graphs]
    assert len(first) > 20 and all(other == first for other in others)


@settings(max_examples=4, deadline=None, phases=[Phase.generate])
@given(steps=st.integers(4_000, 19_000), granularity=st.sampled_from(sorted(GRANULARITIES)))
def test_a_training_is_fed_the_same_whatever_is_added(tmp_path_factory, graphs, steps, granularity):
    start = 10 * 366 * 86_400 + steps * np.prod(GRANULARITIES[granularity])
    graph = moved(tmp_path_factory.mktemp("moved") / "moved.parquet", granularity, int(start))
    assert graph.times[0] * GRANULARITIES[granularity][0] == start
    assert inputs(graph, "tirgn") == inputs(graphs[0], "tirgn")


def test_nothing_else_depends_on_when_the_times_begin(graphs):
    """The baseline, rates of facts, forecasts ahead, and the statistics but for the times that they show."""
    told = []
    for graph in graphs:
        index = build_recurrence_index(graph)
        model = search_recurrency(graph, index=index)
        figures = RecurrencyEvaluator(graph, "test", index=index)(model).to_dict()["entity"]
        ahead = make_forecast_target(graph, int(graph.times[-1]) + 3 * graph.time_interval)
        counted = graph_statistics(graph)
        time = {key: value for key, value in counted.pop("time").items() if key in ("gaps", "missing")}
        known = Cutoff(graph.num_snapshots, 10.0)
        numbers = [bits([model.decay, model.share, ahead.time_index, *pair_rates(graph, known)]), figures, time]
        told.append((numbers, {key: counted[key] for key in counted if key not in ("name", "sha256", "read")}))
    assert all(other == told[0] for other in told[1:])


@pytest.mark.parametrize("kind", ["tirgn", *(pytest.param(kind, marks=pytest.mark.ci) for kind in KINDS[1:])])
def test_forecasts_are_the_same_at_the_four_offsets(graphs, kind):
    first, *others = [forecast(graph, kind) for graph in (graphs[0], graphs[3])]
    assert all(other == first for other in others)


@functools.cache
def begun(kind):
    """A model with random weights."""
    graph = world()
    return jax.jit(lambda key: build_model(graph.num_entities, graph.num_relations, config_of(kind), key=key))(
        jax.random.key(0)
    )


def forecast(graph, kind, model=None):
    """What a model says at some later moment: probabilities by name, and the bits of all."""
    at = int(graph.times[-1]) + 2 * graph.time_interval
    forecaster = Forecaster(begun(kind) if model is None else model, config_of(kind), graph, at=at)
    found = forecaster.objects(np.arange(8).repeat(6), np.tile(np.arange(6), 8))
    named = forecaster.forecast(forecaster.names.entities[0], forecaster.names.relations[0])
    return bits(found), [(one.name, one.probability) for one in named.candidates]


@pytest.mark.ci
@pytest.mark.parametrize("kind", KINDS)
def test_whole_trainings_end_the_same_at_the_four_offsets(graphs, kind, tmp_path):
    ends = []
    for number, graph in enumerate(graphs):
        folder = tmp_path / str(number)
        config = config_of(kind, epochs=2, eval_interval=1, logdir=str(folder / "logs"))
        result = train_tirgn(graph, config, model_dir=folder)
        arrays = load_checkpoint(folder / "tirgn_trained").arrays
        figures = [result[split]["entity"] for split in ("validation", "test")]
        ends.append(({name: array.tobytes() for name, array in arrays.items()}, figures))
    assert all(end == ends[0] for end in ends[1:])
    # Where time counts at all, the constant did: the same training with the clock from 1970 ends elsewhere.
    if kind == "tirgn":
        old = moved(tmp_path / "old.parquet", *OFFSETS[3])
        object.__setattr__(old, "clock_origin", 0)
        folder = tmp_path / "old"
        train_tirgn(old, config_of(kind, epochs=2, logdir=str(folder / "logs")), model_dir=folder)
        found = load_checkpoint(folder / "tirgn_trained").arrays
        assert {name: array.tobytes() for name, array in found.items()} != ends[0][0]


@pytest.mark.parametrize("ahead", [1, 1_000_000, 2**45])
@pytest.mark.parametrize("origin", [0, 1_000_000, -1_000_000])
def test_times_far_from_the_origin_give_probabilities(graphs, origin, ahead, tmp_path):
    graph = graphs[1]
    object.__setattr__(graph, "clock_origin", int(graph.times[0]) + origin)
    graph.__dict__.pop("time_index", None)
    try:
        forecaster = Forecaster(begun("tirgn"), config_of("tirgn"), graph, at=int(graph.times[-1]) + ahead)
        for found in (
            forecaster.objects(np.arange(8), np.arange(8) % 6),
            forecaster.relations(np.arange(8), np.arange(8)[::-1]),
        ):
            assert np.isfinite(found).all() and (found >= 0).all()
            np.testing.assert_allclose(found.sum(1), 1, rtol=1e-5)
    finally:
        object.__setattr__(graph, "clock_origin", int(graph.times[0]))
        graph.__dict__.pop("time_index", None)


def test_a_checkpoint_forecasts_the_same_from_another_window(tmp_path):
    """By its file: what is known is read with other days, but the time is the one that the weights know."""
    path = tmp_path / "events.parquet"
    graph = moved(path, "day", NEW_YEAR)
    save_model(tmp_path / "model", begun("tirgn"), config_of("tirgn"), graph)
    known = Forecaster.load(tmp_path / "model", at="2018-01-12")
    fewer = Forecaster.load(tmp_path / "model", at="2018-01-12", num_days=8)
    assert fewer.graph.times[0] > known.graph.times[0]
    assert float(fewer.target.time_index) == float(known.target.time_index) == 11
    assert isinstance(fewer.state, RecurrentState) and float(fewer.state.time_index) == 11
