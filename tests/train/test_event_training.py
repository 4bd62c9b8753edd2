"""Training of event rates: what it learns, what it keeps, and what it does not read."""

import dataclasses

import jax
import jax.random as jr
import numpy as np
import pytest

from tests.helpers import facts_of, make_graph, random_graph, with_facts
from tirgn_eqx import simulate
from tirgn_eqx.checkpoint.models import load_event_model, load_model, save_calibration, save_model
from tirgn_eqx.config import EventTrainingConfig, EvidenceTrainingConfig
from tirgn_eqx.data.index.activity import ActivityIndex
from tirgn_eqx.errors import CheckpointError, ConfigError, DataError, DivergedError
from tirgn_eqx.evaluate.event_rates import RatesForecaster
from tirgn_eqx.forecast import Forecaster
from tirgn_eqx.forecast.events import EventForecaster
from tirgn_eqx.models import build_model
from tirgn_eqx.runtime.meshes import MeshShape
from tirgn_eqx.train import event_training
from tirgn_eqx.train.api import train_tirgn
from tirgn_eqx.train.events import EndRecord, StartRecord
from tirgn_eqx.train.retrain import read_predecessor

pytestmark = pytest.mark.ci


@pytest.fixture(scope="module")
def graph():
    return simulate(num_days=200).graph


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
    save_calibration(result["checkpoint"], {"temperature": {"entity": 1.3}})
    forecaster = EventForecaster.load(result["checkpoint"])
    assert forecaster.shares.temperature == 1.3
    subject = forecaster.names.entities[0]
    found = forecaster.events(2000, horizon=7, subject=subject)
    assert {fact.kind for fact in found} == {"known", "novel", "unseen"}
    assert all(fact.subject == subject and 0 < fact.probability < 1 for fact in found)
    assert all((fact.lift is None) == (fact.kind != "known") for fact in found)


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


def test_data_without_a_split_to_select_or_to_judge_by_are_refused_before_anything_is_trained(graph, tmp_path):
    for split, number in (("valid", 1), ("test", 2)):
        kept = facts_of(graph)[graph.split != number]
        valid, test = (int(np.argmax(graph.split[graph.split != number] >= one)) for one in (1, 2))
        part = make_graph(
            kept,
            num_entities=graph.num_entities,
            num_relations=graph.num_relations,
            valid=valid if number == 2 else None,
            test=test if number == 1 else None,
        )
        if number == 1:
            part = dataclasses.replace(part, split=np.where(part.split > 0, 2, 0).astype(np.int8))
        with pytest.raises(DataError, match=f"the {split} split has no snapshot with a past"):
            train_tirgn(part, config_of(tmp_path), tmp_path / "models")
        assert not list((tmp_path / "models").glob("*.npz"))


def test_a_training_that_diverges_says_so_and_keeps_nothing(graph, tmp_path):
    with pytest.raises(DivergedError, match="smaller --lr"):
        train_tirgn(graph, config_of(tmp_path, learning_rate=1e30), tmp_path / "models")
    assert not list((tmp_path / "models").glob("*.npz"))


@pytest.fixture(scope="module")
def small_graph():
    return random_graph(5, num_entities=7, num_times=14, facts=6)


def small_config(tmp_path, **changes):
    small = {"rate_hidden": 4, "rows_per_step": 16, "epochs": 2, "snapshots_per_epoch": 3, "periods": "none"}
    return EventTrainingConfig(**{"logdir": str(tmp_path / "logs"), **small, **changes})


def save_base(graph, place, config, refit):
    """A checkpoint of random weights, with a calibration, and with what the training of its kind says of itself."""
    model = build_model(graph.num_entities, graph.num_relations, config, key=jr.key(1))
    metrics = {"refit": True, "epochs": {"evidence": 3}} if refit else {"epoch": 3, "validation": {"mrr": 0.25}}
    path = save_model(place / "tirgn_base", model, config, graph, metrics)
    save_calibration(path, {"temperature": {"entity": 1.7, "relation": 0.6}})
    return path


@pytest.mark.parametrize("refit", [False, True])
def test_what_a_base_says_of_itself_is_carried_over(small_graph, tmp_path, refit):
    base = save_base(small_graph, tmp_path / "base", small_evidence(tmp_path), refit)
    result = train_tirgn(small_graph, small_config(tmp_path), tmp_path / "models", base=base)
    one, two = load_model(base), load_model(result["checkpoint"])
    assert two[2].temperature == {"entity": 1.7, "relation": 0.6} and two[2].is_refit == refit
    ours, theirs = two[2].to_dict(), one[2].to_dict()
    assert ours["metrics"].pop("event_test")["horizons"]
    assert ours["metrics"].pop("events")["validation"]["nll"] == pytest.approx(result["events"]["valid_nll"])
    for name in ("model_type", "config", "metrics", "calibration", "entities", "num_entities"):
        assert ours[name] == theirs[name], name
    # The same probabilities, whichever of the two files is asked.
    query = np.array([0, 3]), np.array([1, 4])
    found = [
        Forecaster(model, config, small_graph, temperature=metadata.temperature, metadata=metadata).objects(*query)
        for model, config, metadata in (one, two)
    ]
    assert np.array_equal(*found)
    plain = Forecaster(one[0], one[1], small_graph).objects(*query)
    assert not np.allclose(found[0], plain)


def test_settings_of_a_base_need_its_checkpoint(small_graph, tmp_path):
    """What is trained without it could not be loaded again."""
    base = save_base(small_graph, tmp_path / "base", small_evidence(tmp_path), False)
    config, place = small_config(tmp_path, base=small_evidence(tmp_path)), tmp_path / "models"
    with pytest.raises(ConfigError, match="^base: settings of evidence, but no checkpoint of it; give that with"):
        train_tirgn(small_graph, config, place)
    other = config.replace(base=small_evidence(tmp_path).replace(evidence_heads=3))
    with pytest.raises(ConfigError, match="^base: other settings than .*tirgn_base.npz was trained with"):
        train_tirgn(small_graph, other, place, base=base)
    assert not place.exists()
    made = train_tirgn(small_graph, config, place, base=base)
    assert load_event_model(made["checkpoint"])[1].base == config.base
    again = tmp_path / "base" / ".." / "base"
    with pytest.raises(ConfigError, match="--model-dir .*: holds .*tirgn_base.npz, which would be written over"):
        train_tirgn(small_graph, small_config(tmp_path), again, base=base)


def test_an_interrupted_training_tells_its_end_and_keeps_nothing(small_graph, tmp_path):
    records, steps = [], []

    def stop():
        steps.append(1)
        return len(steps) == 5

    result = train_tirgn(small_graph, small_config(tmp_path), tmp_path / "models", on_record=records.append, stop=stop)
    assert result["status"] == "interrupted" and result["epochs_trained"] == 1 and result["checkpoint"] is None
    assert isinstance(records[-1], EndRecord) and records[-1].result == result
    assert not list((tmp_path / "models").glob("*.npz"))


def test_the_records_and_the_checkpoint_say_how_many_epochs_there_are(small_graph, tmp_path, monkeypatch):
    monkeypatch.setattr(event_training, "LEAST_STEPS", 20)
    records = []
    config = small_config(tmp_path, epochs=0)
    result = train_tirgn(small_graph, config, tmp_path / "models", on_record=records.append)
    start = next(one for one in records if isinstance(one, StartRecord))
    assert start.config.epochs == result["epochs_trained"] == 7
    assert load_event_model(result["checkpoint"])[1].epochs == 7


def test_what_events_do_not_take_is_refused(small_graph, tmp_path):
    for option, told in (
        ({"resume": True}, "--resume: not for the event model, which trains within minutes and keeps nothing"),
        ({"force": True}, "--force: not for the event model"),
        ({"refit": True}, "--refit: not for the event model"),
        ({"structure": "a.npz"}, "--structure a.npz: not for the event model, which takes a model that ranks by"),
        ({"evidence": "a.npz"}, "--evidence a.npz: not for the event model"),
        ({"mesh": MeshShape(1, 1)}, "--mesh data=1,entity=1: not for the event model, which trains on one device"),
    ):
        with pytest.raises(ConfigError, match=f"^{told}"):
            train_tirgn(small_graph, small_config(tmp_path), tmp_path / "models", **option)
    with pytest.raises(ConfigError, match="--events base.npz: adds the event model"):
        train_tirgn(small_graph, small_evidence(tmp_path), tmp_path / "models", base="base.npz")
    with pytest.raises(ConfigError, match="periods = 'week': must be auto"):
        EventTrainingConfig(periods="week")
    assert not (tmp_path / "models").exists()


def test_an_event_model_beside_one_that_ranks_is_not_retrained(small_graph, tmp_path):
    base = save_base(small_graph, tmp_path / "base", small_evidence(tmp_path), False)
    made = train_tirgn(small_graph, small_config(tmp_path, epochs=1), tmp_path / "models", base=base)
    with pytest.raises(
        ConfigError, match="holds an event model beside one that ranks, .*; retrain the checkpoint that"
    ):
        read_predecessor(made["checkpoint"])
