"""Training of event rates: what it learns, what it keeps, and what it does not read."""

import dataclasses

import jax
import numpy as np
import pytest

from tests.helpers import facts_of, with_facts
from tirgn_eqx import simulate
from tirgn_eqx.checkpoint.models import load_event_model, load_model
from tirgn_eqx.config import EventTrainingConfig, EvidenceTrainingConfig
from tirgn_eqx.data.index.activity import ActivityIndex
from tirgn_eqx.errors import CheckpointError, ConfigError
from tirgn_eqx.evaluate.event_rates import RatesForecaster
from tirgn_eqx.forecast.events import EventForecaster
from tirgn_eqx.train.api import train_tirgn

pytestmark = pytest.mark.ci


@pytest.fixture(scope="module")
def graph():
    return simulate(num_days=120).graph


def config_of(tmp_path, **changes):
    return EventTrainingConfig(logdir=str(tmp_path / "logs"), rate_hidden=16, rows_per_step=1024, epochs=4, **changes)


def small_evidence(tmp_path):
    small = {"embedding_dim": 4, "evidence_heads": 2, "evidence_hidden": 2, "epochs": 1}
    return EvidenceTrainingConfig(logdir=str(tmp_path / "logs"), **small)


@pytest.fixture(scope="module")
def trained(graph, tmp_path_factory):
    place = tmp_path_factory.mktemp("events")
    result = train_tirgn(graph, config_of(place), place / "models")
    return result, load_event_model(result["checkpoint"])


def test_it_beats_every_rule_on_the_simulated_world(trained):
    result, (model, config, metadata) = trained
    assert result["status"] == "complete" and result["model_type"] == "events" and model.base is None
    week = next(one for one in result["events"]["test"]["horizons"] if one["horizon"] == 7)
    assert week["skill_interval"][0] > 0
    assert 0.85 < week["totals"]["all"] < 1.15
    assert metadata.metrics["validation"]["nll"] == pytest.approx(result["events"]["valid_nll"])
    assert metadata.metrics["event_test"]["horizons"][1]["skill"] == week["skill"]


def test_the_same_seed_gives_the_same_rates(graph, trained, tmp_path):
    again = train_tirgn(graph, config_of(tmp_path), tmp_path / "models")
    other = load_event_model(again["checkpoint"])[0]
    leaves = zip(jax.tree.leaves(trained[1][0]), jax.tree.leaves(other))
    assert all(np.array_equal(one, two) for one, two in leaves)


def test_nothing_from_the_target_on_reaches_a_forecast(graph, trained):
    """All facts of the target and later become others; forecasts of what was known before stay bit for bit."""
    model = trained[1][0]
    target = int(graph.split_snapshots("test")[2])
    rows = facts_of(graph).copy()
    later = rows[:, 3] >= target
    rows[later, 0], rows[later, 2] = rows[later, 2], (rows[later, 0] + 1) % graph.num_entities
    found = []
    for one in (graph, with_facts(graph, rows)):
        index = ActivityIndex(one)
        forecaster = RatesForecaster(model.rates, index, (1, 7))
        facts, pairs = index.known_facts(target), index.known_pairs(target)
        facts, pairs = facts[np.argsort(index.fact.key[facts])], pairs[np.argsort(index.pair.key[pairs])]
        unseen = forecaster.unseen(target)
        found.append([*forecaster.known(facts, target), *forecaster.novel(pairs, target), unseen.subject, unseen.total])
    for one, other in zip(*found):
        assert np.array_equal(one, other)


def test_an_event_model_is_not_one_that_ranks(trained):
    with pytest.raises(CheckpointError, match="rank no answers"):
        load_model(trained[0]["checkpoint"])


def test_a_base_stays_as_it_was_and_divides_what_is_new(graph, tmp_path):
    ranking = train_tirgn(graph, small_evidence(tmp_path), tmp_path / "base")
    config = dataclasses.replace(config_of(tmp_path), epochs=1)
    result = train_tirgn(graph, config, tmp_path / "models", base=ranking["checkpoint"])
    assert result["model_type"] == "evidence-events"
    base, kept = load_model(ranking["checkpoint"])[0], load_model(result["checkpoint"])[0]
    assert all(np.array_equal(one, two) for one, two in zip(jax.tree.leaves(base), jax.tree.leaves(kept)))
    with pytest.raises(CheckpointError, match="says nothing of how often"):
        load_event_model(ranking["checkpoint"])
    forecaster = EventForecaster(*load_event_model(result["checkpoint"])[:2], graph)
    subject = forecaster.names.entities[0]
    new = [fact for fact in forecaster.events(2000, horizon=7, subject=subject) if fact.lift is None]
    assert new and all(fact.subject == subject and 0 < fact.probability < 1 for fact in new)


def test_facts_are_forecast_by_name(graph, trained):
    forecaster = EventForecaster(*trained[1][:2], graph)
    week, day = forecaster.events(50, horizon=7), forecaster.events(50)
    assert [fact.probability for fact in week] == sorted((fact.probability for fact in week), reverse=True)
    probability = {(fact.subject, fact.relation, fact.object): fact.probability for fact in day}
    both = [fact for fact in week if (fact.subject, fact.relation, fact.object) in probability]
    assert both and all(fact.probability > probability[fact.subject, fact.relation, fact.object] for fact in both)
    first = week[0]
    assert first.because[0].relation == first.relation and first.because[0].events > 0
    assert first.lift == pytest.approx(first.expected / first.usual)
    chosen = forecaster.events(5, horizon=7, subject=first.subject, object=first.object)
    assert chosen[0] == first and {fact.object for fact in chosen} == {first.object}
    lifts = [fact.lift for fact in forecaster.events(20, horizon=7, by="lift")]
    assert lifts == sorted(lifts, reverse=True) and lifts[0] > 1
    with pytest.raises(ConfigError, match="at least 1"):
        forecaster.events(horizon=0)


def test_what_events_do_not_take_is_refused(graph, tmp_path):
    with pytest.raises(ConfigError, match="--resume: not for the event model"):
        train_tirgn(graph, config_of(tmp_path), tmp_path / "models", resume=True)
    with pytest.raises(ConfigError, match="--events base.npz: adds the event model"):
        train_tirgn(graph, small_evidence(tmp_path), tmp_path / "models", base="base.npz")
    with pytest.raises(ConfigError, match="periods = 'week': must be auto"):
        EventTrainingConfig(periods="week")
