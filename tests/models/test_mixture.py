"""The mixture of a recurrent graph model and evidence: probabilities, no leak, explanations, training in stages."""

import dataclasses
import functools
import shutil

import equinox as eqx
import jax
import numpy as np
import pytest

from tests.helpers import make_graph, random_graph, same_bits
from tests.models.evidence_helpers import (
    answer_log_probabilities,
    batch_at,
    entity_intensities,
    query_facts_at,
    random_facts,
    real_answers,
    rough,
    small,
)
from tirgn_eqx.checkpoint.files import load_checkpoint, save_checkpoint
from tirgn_eqx.checkpoint.models import load_model, save_model
from tirgn_eqx.config import FAMILIES, EvidenceTrainingConfig, GivenSettings, MixtureTrainingConfig
from tirgn_eqx.data import simulate
from tirgn_eqx.data.batches.windows import WindowLoader
from tirgn_eqx.errors import CheckpointError, ConfigError
from tirgn_eqx.evaluate import evaluate_model
from tirgn_eqx.evaluate.encoding import Encoder
from tirgn_eqx.evaluate.evaluators import MixtureEvaluator
from tirgn_eqx.evaluate.explain import Explainer
from tirgn_eqx.models import build_model
from tirgn_eqx.train import staged
from tirgn_eqx.train.api import train_tirgn
from tirgn_eqx.train.events import StageRecord
from tirgn_eqx.train.gate import GateFitter

HISTORY_LEN = 2
SLOW = pytest.mark.slow


TINY = {"embedding_dim": 4, "evidence_heads": 2, "evidence_hidden": 3, "epochs": 1, "max_buckets": 1}


def structure_settings(family="tirgn", **changes):
    fixed = {"embedding_dim": 6, "history_len": HISTORY_LEN, "num_layers": 1, "conv_channels": 3, "precision": "f32"}
    fixed |= {"remat": "none", "epochs": 2, "eval_interval": 1, "max_buckets": 1}
    return FAMILIES[family](**fixed | changes)


def settings(family="tirgn", evidence=None, **changes):
    return MixtureTrainingConfig.of(structure_settings(family, **changes), evidence or EvidenceTrainingConfig(**TINY))


@functools.cache
def built(entities, relations, model="tirgn", background=True):
    config = settings(model, small(evidence_background=background))

    def make(key):
        return build_model(entities, relations, config, key=key)

    made = eqx.filter_jit(make)(jax.random.key(1))
    # Running statistics stay as they are: variances below 0 would mean nothing.
    return eqx.tree_at(lambda m: (m.evidence, m.gate), made, (rough(made.evidence, 1), rough(made.gate, 2)))


def build(graph, **changes):
    return built(graph.num_entities, graph.num_relations, **changes)


@pytest.fixture(scope="module")
def graph():
    return random_graph(3, num_entities=14, facts=8)


def at_target(model, graph, target, known=None):
    encoder = Encoder(model.structure, WindowLoader(graph, None, history_len=HISTORY_LEN))
    return model.at(*encoder(target, known))


@pytest.mark.parametrize(
    "model, background",
    [("tirgn", True), pytest.param("tirgn", False, marks=SLOW), pytest.param("regcn", True, marks=SLOW)],
)
def test_answers_have_the_probabilities_of_the_whole_distribution(graph, model, background, monkeypatch):
    model, target = build(graph, model=model, background=background), graph.num_snapshots - 1
    batch, _ = batch_at(graph, model.evidence, target)
    at = at_target(model, graph, target)
    entity, relation = answer_log_probabilities(at, batch)
    relations = eqx.filter_jit(lambda m, b: m.relation_intensities(b, m.background_logits(b)))(at, batch)
    for found, intensity, asked in [
        (entity, entity_intensities(at, batch), batch.entity),
        (relation, relations, batch.relation),
    ]:
        intensity = np.asarray(intensity, np.float64)
        query, answer = real_answers(asked.answers)
        assert len(query) > 3 and np.isfinite(intensity).all() and (intensity[: query.max()] > 0).all()
        log_p = np.log(intensity / intensity.sum(1, keepdims=True))
        np.testing.assert_allclose(found, log_p[query, answer], rtol=1e-4, atol=1e-5)
    # A chunk at a time gives the same as one matrix.
    monkeypatch.setattr("tirgn_eqx.models.intensity.MAX_DENSE_LOGITS", 0)
    np.testing.assert_allclose(answer_log_probabilities(at, batch)[0], entity, rtol=1e-4, atol=1e-5)


@pytest.mark.ci
def test_intensities_are_those_of_the_definition(graph):
    """Without the reranker, from the two forecasts' own probabilities."""
    model, target = build(graph), graph.num_snapshots - 1
    model = eqx.tree_at(lambda m: m.gate.reranker.outer, model, replace_fn=np.zeros_like)
    batch, gathered = batch_at(graph, model.evidence, target)
    at = at_target(model, graph, target)
    ours = np.asarray(entity_intensities(at, batch), np.float64)
    evidence, asked = model.evidence, batch.entity
    found, features, logits = eqx.filter_jit(
        lambda at, b: (
            entity_intensities(at.model.evidence, b),
            at._query_features(b, at.model.evidence.intensities(b, at.background_logits(b))),
            at._structure_logits(b, "entity").dense,
        )
    )(at, batch)
    background = np.exp(np.asarray(evidence.background_logits(batch).entity.matrix(), np.float64))
    log_p = np.asarray(jax.nn.log_softmax(logits, 1), np.float64)
    exponent, level, lift = (np.asarray(x, np.float64) for x in model.gate(features, asked.relation))
    total = np.asarray(found, np.float64).sum(1)
    for query in range(len(gathered["subject"])):
        share = np.asarray(found, np.float64)[query] / total[query]
        own = background[query] / total[query]
        met = gathered["neighbour_object"][gathered["cell_neighbour"][gathered["cell_query"] == query]]
        popular = np.full(graph.num_entities, 1e-6)
        kind = gathered["query_group"][query]
        strength = np.asarray(evidence.popular_intensities(batch), np.float64)
        for place in np.flatnonzero(gathered["popular_group"] == kind):
            popular[gathered["popular_object"][place]] += strength[place]
        events = np.zeros(graph.num_entities)
        events[met] = (share - own - popular / total[query])[met]
        expected = events * np.exp(lift[query] * np.clip(log_p[query] + 6, -8, 8)) + popular / total[query]
        expected += own * np.exp(lift[query] * (log_p[query] + 6)) + np.exp(
            exponent[query] * log_p[query] + level[query]
        )
        np.testing.assert_allclose(ours[query], expected, rtol=5e-3)


def test_nothing_at_or_after_the_target_is_seen():
    rng = np.random.default_rng(0)
    past, now = random_facts(rng, np.arange(5)), random_facts(rng, np.array([5]))
    found = []
    for _ in range(2):
        rows = np.concatenate([past, now[:1], random_facts(rng, np.array([5])), random_facts(rng, np.arange(6, 9))])
        graph = make_graph(rows, num_entities=7, num_relations=2, test=len(past))
        explain = Explainer(built(7, 2), graph, history_len=HISTORY_LEN)
        found.append([explain(int(now[0, 0]), int(now[0, 1]), o, 5) for o in range(7)])
    assert found[0] == found[1]
    past[-6:, 2] = (past[-6:, 2] + 1) % 7
    changed = make_graph(np.concatenate([past, now]), num_entities=7, num_relations=2)
    explain = Explainer(built(7, 2), changed, history_len=HISTORY_LEN)
    assert [explain(int(now[0, 0]), int(now[0, 1]), o, 5) for o in range(7)] != found[0]


@pytest.mark.ci
def test_shares_add_up_to_the_forecast(graph):
    model, target = build(graph), graph.num_snapshots - 1
    explain = Explainer(model, graph, history_len=HISTORY_LEN)
    batch, gathered = batch_at(graph, model.evidence, target)
    intensity = np.asarray(entity_intensities(at_target(model, graph, target), batch), np.float64)
    kinds = set()
    for query in range(0, len(gathered["subject"]), 3):
        for o in range(0, graph.num_entities, 5):
            found = explain(int(gathered["subject"][query]), int(gathered["relation"][query]), o, target)
            shares = {share.kind: share.share for share in found.shares}
            kinds |= set(shares)
            assert all(share.share > 0 for share in found.shares)
            np.testing.assert_allclose(sum(share.share for share in found.shares), 1, rtol=1e-4)
            np.testing.assert_allclose(found.probability, intensity[query, o] / intensity[query].sum(), rtol=1e-4)
    assert kinds == {"event", "popularity", "structure", "background"}


@pytest.mark.ci
def test_multi_step_knows_nothing_after_the_cut(graph):
    model = build(graph)
    found = evaluate_model(model, graph, history_len=HISTORY_LEN, setting="multi-step")
    first = int(graph.split_snapshots("test")[0])
    explain = Explainer(model, graph, history_len=HISTORY_LEN)
    asked = query_facts_at(graph, graph.num_snapshots - 1)
    place = np.flatnonzero(found.snapshot == graph.num_snapshots - 1)[0]
    last = explain(*(int(x[0]) for x in (asked.subject, asked.relation, asked.object)), graph.num_snapshots - 1, first)
    np.testing.assert_allclose(found.nll["entity"][place], -np.log(last.probability), rtol=1e-3)
    single = evaluate_model(model, graph, history_len=HISTORY_LEN)
    assert not np.allclose(single.nll["entity"], found.nll["entity"])


# --- training ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def world():
    return simulate(num_days=20, num_entities=30, seed=1).graph


@pytest.fixture(autouse=True, scope="module")
def few_steps():
    """Few steps of the gate."""
    from tirgn_eqx.train import gate

    patch = pytest.MonkeyPatch()
    patch.setattr(gate, "MIN_STEPS", 6)
    yield
    patch.undo()


@pytest.fixture(scope="module")
def trained(world, tmp_path_factory):
    place, records = tmp_path_factory.mktemp("staged"), []
    config = settings(logdir=str(place / "log"))
    result = train_tirgn(world, config, model_dir=place / "models", on_record=records.append)
    return {"place": place, "result": result, "records": records, "config": config}


@pytest.mark.slow
def test_stages_leave_their_parts_as_they_were(trained, world):
    result, models = trained["result"], trained["place"] / "models"
    assert result["status"] == "complete" and result["model_type"] == "tirgn-evidence"
    assert [r.stage for r in trained["records"] if isinstance(r, StageRecord)] == ["evidence", "structure", "gate"]
    assert set(result["stages"]) == {"evidence", "structure"} and result["epochs_trained"] == 2
    model, config, described = load_model(result["checkpoint"], "tirgn-evidence")
    assert config.family == "mixture" and described.metrics["cross_fitted"]
    structure, _, _ = load_model(models / "structure" / "tirgn_best.npz", "tirgn")
    evidence, _, _ = load_model(models / "evidence" / "tirgn_best.npz", "evidence")
    assert same_bits(model.structure, structure) and same_bits(model.evidence, evidence)
    assert not np.allclose(model.gate.by_relation, 0) and np.isfinite(np.asarray(model.gate.base)).all()
    again = evaluate_model(model, world, history_len=config.structure.history_len)
    assert again.entity["mrr"] == result["test"]["entity"]["mrr"]
    with pytest.raises(CheckpointError, match="'tirgn-evidence', not 'tirgn'"):
        load_model(result["checkpoint"], "tirgn")


@pytest.mark.ci
def test_validation_is_of_gates_that_have_not_seen_it(trained, world, monkeypatch):
    model, config, _ = load_model(trained["result"]["checkpoint"])
    evaluator = MixtureEvaluator(
        world, "valid", history_len=config.structure.history_len, **model.evidence.loader_options
    )
    fitted_on, call = [], GateFitter.__call__

    def spy(self, chosen, stop):
        found = call(self, chosen, stop)
        fitted_on.append((found, set(chosen.tolist())))
        return found

    monkeypatch.setattr(GateFitter, "__call__", spy)
    final, whole = staged.fit_gate(model, evaluator, lambda record: None, lambda: False)
    assert [len(seen) for _, seen in fitted_on] == [1, 1, 2] and same_bits(final, fitted_on[2][0])
    for snapshot in np.unique(whole.snapshot).tolist():
        forecaster = next(fitted for fitted, seen in fitted_on if snapshot not in seen)
        here, expected = whole.snapshot == snapshot, evaluator(forecaster)
        np.testing.assert_array_equal(whole.nll["entity"][here], expected.nll["entity"][here])
        np.testing.assert_array_equal(whole.filtered["relation"][here], expected.filtered["relation"][here])


@SLOW
@pytest.mark.parametrize("steps", [3, 20, 38])
def test_a_training_that_was_stopped_in_any_stage_ends_as_it_would_have(trained, world, tmp_path, steps):
    config = trained["config"].replace(logdir=str(tmp_path / "log"))
    count = iter(range(1000))
    first = train_tirgn(world, config, model_dir=tmp_path, stop=lambda: next(count) >= steps)
    assert first["status"] == "interrupted" and not (tmp_path / "tirgn_best.npz").exists()
    again = train_tirgn(world, config, model_dir=tmp_path, resume=True)
    assert again["status"] == "complete"
    assert same_bits(load_model(again["checkpoint"])[0], load_model(trained["result"]["checkpoint"])[0])


@pytest.mark.slow
def test_a_training_begun_anew_and_broken_off_finds_no_stage_of_the_last_one(trained, world, tmp_path):
    config = trained["config"].replace(logdir=str(tmp_path / "log"))
    shutil.copytree(trained["place"] / "models", tmp_path / "models")
    stage = tmp_path / "models" / "evidence" / staged.STAGE_FILE
    assert stage.exists()
    found = train_tirgn(world, config, model_dir=tmp_path / "models", stop=lambda: True)
    assert found["status"] == "interrupted" and not stage.exists()


@pytest.mark.ci
@SLOW
def test_a_staged_training_resumed_at_its_end_logs_the_end_once(trained, world, tmp_path):
    config = trained["config"].replace(logdir=str(tmp_path / "log"))
    train_tirgn(world, config, model_dir=tmp_path)
    for _ in range(2):
        train_tirgn(world, config, model_dir=tmp_path, resume=True)
    assert (tmp_path / "log" / "metrics.jsonl").read_text().count("test/mrr") == 1


@pytest.mark.ci
def test_parts_that_are_given_are_taken(trained, world, tmp_path):
    models = trained["place"] / "models"
    given = {name: models / name / "tirgn_best.npz" for name in ("structure", "evidence")}
    config = settings(logdir=str(tmp_path / "log"))
    # The clock is that of the structure, whatever the data's own.
    result = train_tirgn(dataclasses.replace(world, clock_origin=-7), config, model_dir=tmp_path, **given)
    assert load_model(result["checkpoint"])[2].data.clock_origin == 0
    assert same_bits(load_model(result["checkpoint"])[0], load_model(trained["result"]["checkpoint"])[0])
    assert {found["status"] for found in result["stages"].values()} == {"given"}
    other = simulate(num_days=20, num_entities=30, seed=2).graph
    with pytest.raises(CheckpointError, match="trained on other data"):
        train_tirgn(other, config, model_dir=tmp_path / "other", **given)
    with pytest.raises(CheckpointError, match="'tirgn', not 'evidence'"):
        train_tirgn(world, config, model_dir=tmp_path / "other", evidence=given["structure"])
    with pytest.raises(ConfigError, match="--structure .*history = evidence"):
        train_tirgn(world, config.structure, model_dir=tmp_path / "other", structure=given["structure"])


def test_settings_that_mean_nothing_are_refused():
    with pytest.raises(ConfigError, match="for tirgn and regcn, not for evidence"):
        GivenSettings(options={"family": "evidence", "history": "evidence"}).config()


def test_a_checkpoint_without_the_settings_of_its_evidence_is_refused(graph, tmp_path):
    path = save_model(tmp_path / "m", build(graph), settings(), graph)
    found = load_checkpoint(path)
    config = {name: value for name, value in found.metadata["config"].items() if name != "evidence"}
    save_checkpoint(path, found.arrays, found.metadata | {"config": config})
    with pytest.raises(CheckpointError, match=r"its config is not usable \(evidence: expected settings by name"):
        load_model(path)


@SLOW
def test_fitting_the_gate_lowers_the_loss_and_touches_nothing_else(world):
    def make(key):
        return build_model(world.num_entities, world.num_relations, settings(evidence=small()), key=key)

    model = eqx.filter_jit(make)(jax.random.key(3))
    evaluator = MixtureEvaluator(world, "valid", history_len=HISTORY_LEN, **model.evidence.loader_options)
    fit = GateFitter(model, evaluator.loader, evaluator.model_at(model), lambda record: None)
    fitted = fit(evaluator.loader.snapshots, lambda: False)
    assert evaluator(fitted).entity["nll"] < evaluator(model).entity["nll"]
    assert same_bits((fitted.structure, fitted.evidence), (model.structure, model.evidence))


@pytest.mark.ci
def test_one_snapshot_to_fit_on_is_forecast_with_the_gate_as_it_begins(tmp_path):
    rng = np.random.default_rng(0)
    graph = make_graph(random_facts(rng, np.arange(8)), num_entities=7, num_relations=2, valid=36, test=42)
    model = built(7, 2)
    evaluator = MixtureEvaluator(graph, "valid", history_len=HISTORY_LEN, **model.evidence.loader_options)
    fitted, validation = staged.fit_gate(model, evaluator, lambda record: None, lambda: False)
    assert not same_bits(fitted.gate, model.gate)
    np.testing.assert_array_equal(validation.nll["entity"], evaluator(model).nll["entity"])
