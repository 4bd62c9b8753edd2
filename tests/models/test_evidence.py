"""The evidence model: its intensities against the definition, no leak, explanations, training."""

import dataclasses
import functools
import json

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers import both_directions, make_graph, random_graph, same_bits
from tirgn_eqx.checkpoint.models import load_model, save_model
from tirgn_eqx.config import preset
from tirgn_eqx.data import simulate
from tirgn_eqx.data.batches.evidence_loader import EvidenceLoader, EvidenceOptions
from tirgn_eqx.data.batches.evidence_queries import Gatherer, QueryFacts, build_batch, natural_bucket, rounded_bucket
from tirgn_eqx.data.index.evidence import EvidenceIndex
from tirgn_eqx.errors import CheckpointError, ConfigError, DataError
from tirgn_eqx.evaluate import evaluate_model
from tirgn_eqx.evaluate.evaluators import EvidenceEvaluator
from tirgn_eqx.evaluate.explain import Explainer
from tirgn_eqx.models import build_model
from tirgn_eqx.models import evidence as module
from tirgn_eqx.train import trainer as training
from tirgn_eqx.train.api import train_tirgn
from tirgn_eqx.train.optimizer import parameter_count
from tirgn_eqx.train.step import evidence_loss

FORMS = [(True, True), (False, False), (True, False), (False, True)]


def small(**changes):
    settings = {"embedding_dim": 6, "evidence_heads": 3, "evidence_hidden": 4, "dropout": 0.0, "precision": "f32"}
    return preset("evidence").replace(**settings | changes)


def rough(model, seed=0):
    """The model with every parameter moved about, so that none is still where it begins."""
    leaves, tree = jax.tree.flatten(model)
    rng = np.random.default_rng(seed)

    def move(x):
        return x + jnp.asarray(0.3 * rng.normal(size=x.shape), x.dtype)

    return jax.tree.unflatten(tree, [move(x) for x in leaves])


@functools.cache
def made(entities, relations, changes):
    def make(key):
        return build_model(entities, relations, small(**dict(changes)), key=key)

    return rough(eqx.filter_jit(make)(jax.random.key(2)))


def build(graph, **changes):
    return made(graph.num_entities, graph.num_relations, tuple(changes.items()))


@pytest.fixture(scope="module")
def graph():
    return random_graph(3, num_entities=14, facts=8)


def asked_at(graph, target):
    here = slice(*graph.offsets[target : target + 2].tolist())
    return QueryFacts(*(np.array(column) for column in list(zip(*both_directions(graph, here)))[:3]))


def batch_at(graph, model, target, **options):
    index = EvidenceIndex(graph)
    gathered = Gatherer(index, **model.loader_options | options).gather(asked_at(graph, target), index.cutoff(target))
    return build_batch(gathered, rounded_bucket(gathered)), gathered


@eqx.filter_jit
def entity_intensities(model, batch):
    return model.entity_intensities(batch)


@eqx.filter_jit
def relation_intensities(model, batch):
    return model.relation_intensities(batch, model.background_logits(batch))


def answer_log_probabilities(model, batch):
    """Of the real answers."""
    found = eqx.filter_jit(lambda m, b: m.answer_log_probabilities(b))(model, batch)
    kinds = (batch.entity, batch.relation)
    return [np.asarray(values)[np.asarray(kind.answers.answer_weight) > 0] for values, kind in zip(found, kinds)]


def real_answers(answers):
    real = np.asarray(answers.answer_weight) > 0
    return np.asarray(answers.answer_query)[real], np.asarray(answers.answer)[real]


def gelu(z):
    return 0.5 * z * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3)))


def log_intensity(part, x, relation):
    """A `LogIntensity` in NumPy, f64."""
    w = {field.name: np.asarray(getattr(part, field.name), np.float64) for field in dataclasses.fields(part)}
    z = x @ w["inner"] + w["bias"][relation]
    return gelu(z) @ w["outer"] + w["slope"][relation] @ x + w["level"][relation]


def neighbour_mean(layer, vectors, gathered):
    """A `NeighbourMean` in NumPy, f64."""
    total, weights = np.zeros_like(vectors), np.zeros((len(vectors), 1))
    for a, b, x in zip(gathered["link_subject"], gathered["link_object"], gathered["link_features"]):
        weight = np.exp(log_intensity(layer.weight, np.asarray(x, np.float64), 0)[0])
        total[a] += weight * vectors[b]
        weights[a] += weight
    return total / (weights + 1e-3)


def intensities_by_loop(model, gathered, query):
    """lambda of every candidate of an entity question, straight from the definition."""
    s, r = int(gathered["subject"][query]), int(gathered["relation"][query])

    def f64(x):
        return np.asarray(x, np.float64)

    out = np.full(model.num_entities, module.MIN_INTENSITY)
    background = np.zeros(model.num_entities)
    if model.background is not None:
        part = model.background
        near = neighbour_mean(part.first_hop, f64(part.neighbour), gathered)
        inner = gelu(f64(part.neighbour) @ f64(part.hop_self) + near @ f64(part.hop_neighbours))
        far = neighbour_mean(part.second_hop, inner, gathered)

        def role(own, name):
            return f64(own) + near @ f64(getattr(part.first_hop, name)) + far @ f64(getattr(part.second_hop, name))

        subject, objects = role(part.subject, "to_subject")[s], role(part.object, "to_object")
        asked = f64(part.relation)[r]
        hidden = gelu(np.concatenate([subject, asked]) @ f64(part.inner))
        vector = asked + subject * (1 + f64(part.gate)[r]) + hidden @ f64(part.outer)
        activity = f64(part.activity)[r] + f64(gathered["activity"])[query] @ f64(part.subject_activity)
        background = objects @ vector + f64(gathered["global_activity"]) @ activity + float(part.level)
        out += np.exp(background)
    lift = np.ones(model.num_entities)
    for kind, o, x in zip(gathered["popular_group"], gathered["popular_object"], f64(gathered["popular_features"])):
        if gathered["group"][kind] == r:
            out[o] += np.exp(log_intensity(model.popular, x, r)[0])
            lift[o] = np.exp(np.clip(log_intensity(model.demand, x, r)[0], -module.DEMAND_CLIP, module.DEMAND_CLIP))
    owners = gathered["cell_neighbour"][gathered["cell_query"] == query]
    for pair, q, x in zip(gathered["entry_neighbour"], gathered["entry_relation"], f64(gathered["entry_features"])):
        if pair in owners:
            o = gathered["neighbour_object"][pair]
            x = np.concatenate([x, f64(gathered["neighbour_features"])[pair]])
            more = np.exp(module.HEAD_WEIGHT_SCALE * f64(model.head_weight)[r]) @ np.exp(
                log_intensity(model.entry, x, q)
            )
            more += np.exp(log_intensity(model.exact, x, r)[0]) if q == r else 0
            if model.background is not None:
                strength = f64(model.background.lift_strength)[r]
                more *= np.exp(strength * np.clip(background[o] + 6, -8, 8))
            out[o] += more * lift[o]
    return out


@pytest.mark.parametrize("context, background", FORMS)
def test_intensities_are_those_of_the_definition(graph, context, background):
    model = build(graph, evidence_context=context, evidence_background=background)
    batch, gathered = batch_at(graph, model, graph.num_snapshots - 1)
    found = np.asarray(entity_intensities(model, batch))[: len(gathered["subject"])]
    assert found.shape == (len(gathered["subject"]), graph.num_entities) and len(found) > 3
    for query in range(len(found)):
        np.testing.assert_allclose(found[query], intensities_by_loop(model, gathered, query), rtol=2e-3)


@pytest.mark.parametrize("context, background", FORMS[:2])
def test_answers_have_the_probabilities_of_the_whole_distribution(graph, context, background, monkeypatch):
    model = build(graph, evidence_context=context, evidence_background=background)
    batch, _ = batch_at(graph, model, graph.num_snapshots - 1)
    entity, relation = answer_log_probabilities(model, batch)
    cases = [(entity, entity_intensities, batch.entity), (relation, relation_intensities, batch.relation)]
    for found, intensities, asked in cases:
        intensity = np.asarray(intensities(model, batch), np.float64)
        query, answer = real_answers(asked.answers)
        log_p = np.log(intensity / intensity.sum(1, keepdims=True))
        assert len(query) > 3
        np.testing.assert_allclose(found, log_p[query, answer], rtol=1e-4, atol=1e-5)
    # A chunk at a time gives the same as one matrix.
    monkeypatch.setattr("tirgn_eqx.models.intensity.MAX_DENSE_LOGITS", 0)
    np.testing.assert_allclose(answer_log_probabilities(model, batch)[0], entity, rtol=1e-4, atol=1e-5)


def test_relations_are_carried_by_what_the_pair_did(graph):
    model = build(graph, evidence_background=False)
    batch, gathered = batch_at(graph, model, graph.num_snapshots - 1)
    found = np.asarray(relation_intensities(model, batch))[: len(gathered["relation_subject"])]

    def f64(x):
        return np.asarray(x, np.float64)

    for query in range(len(found)):
        expected = np.exp(f64(model.relation_level)) + module.MIN_INTENSITY
        for pair, q, x in zip(gathered["entry_neighbour"], gathered["entry_relation"], f64(gathered["entry_features"])):
            if pair == gathered["relation_neighbour"][query]:
                x = np.concatenate([x, f64(gathered["neighbour_features"])[pair]])
                expected = expected + np.exp(module.HEAD_WEIGHT_SCALE * f64(model.relation_head_weight)) @ np.exp(
                    log_intensity(model.entry, x, q)
                )
                expected[q] += np.exp(log_intensity(model.same_relation, x, q)[0])
        np.testing.assert_allclose(found[query], expected, rtol=2e-3)


@pytest.mark.ci
def test_the_filtered_loss_compares_with_what_is_not_true(graph):
    model = build(graph, loss_filter=True)
    batch, _ = batch_at(graph, model, graph.num_snapshots - 1)
    intensity = np.asarray(entity_intensities(model, batch), np.float64)
    query, answer = real_answers(batch.entity.answers)
    true = np.zeros_like(intensity, bool)
    true[query, answer] = True
    assert true.sum(1).max() > 1
    own, others = intensity[query, answer], np.where(true, 0, intensity).sum(1)[query]
    found = answer_log_probabilities(model, batch)[0]
    np.testing.assert_allclose(found, np.log(own / (own + others)), rtol=1e-3, atol=1e-5)


@pytest.mark.ci
def test_padding_changes_nothing(graph):
    model, target = build(graph), graph.num_snapshots - 1
    batch, gathered = batch_at(graph, model, target)
    bucket = natural_bucket(gathered)
    roomy = build_batch(gathered, dataclasses.replace(bucket, sizes=tuple(size + 5 for size in bucket.sizes)))
    step = eqx.filter_jit(eqx.filter_value_and_grad(evidence_loss, has_aux=True))
    (one, _), gradient = step(model, batch)
    (two, _), padded = step(model, roomy)
    np.testing.assert_allclose(one, two, rtol=1e-5)
    for a, b in zip(jax.tree.leaves(gradient), jax.tree.leaves(padded)):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_nothing_at_or_after_the_target_is_seen(seed):
    rng = np.random.default_rng(seed)

    def draw(times):
        return np.stack([rng.integers(0, n, 6 * len(times)) for n in (7, 2, 7)] + [np.repeat(times, 6)], 1)

    past, now = draw(np.arange(5)), draw(np.array([5]))
    worlds = []
    for _ in range(2):
        # The answers' own time too: only one fact of it, the one that is asked about, is the same.
        others, later = draw(np.array([5])), draw(np.arange(6, 9))
        rows = np.concatenate([past, now[:1], others, later])
        worlds.append(make_graph(rows, num_entities=7, num_relations=2, test=len(past)))
    model = build(worlds[0])
    s, r, o, _ = (np.array([int(x)]) for x in now[0])
    batches = []
    for graph in worlds:
        index = EvidenceIndex(graph)
        gathered = Gatherer(index, **model.loader_options).gather(QueryFacts(s, r, o), index.cutoff(5))
        batches.append(build_batch(gathered, rounded_bucket(gathered)))
    assert same_bits(batches[0], batches[1])
    assert same_bits(entity_intensities(model, batches[0]), entity_intensities(model, batches[1]))
    # Nor does a loader ship it, but for the filter of evaluation, which is not asked for here.
    shipped = []
    for graph in worlds:
        loader = EvidenceLoader(graph, EvidenceIndex(graph), "test", EvidenceOptions(**model.loader_options))
        number = next(n for n, (target, _) in enumerate(loader.parts) if target == 5)
        batch = loader.build(number).batch
        real = np.asarray(batch.neighbours.entry_neighbour) < len(batch.neighbours.object)
        features = np.asarray(batch.neighbours.entry_features)[real]
        around = batch.global_graph
        links = np.asarray(around.link_features)[np.asarray(around.link_subject) < graph.num_entities]
        shipped.append((np.asarray(around.activity), links, np.array(len(features) > 0)))
    assert same_bits(shipped[0], shipped[1])
    # A change in the past is seen.
    changed = past.copy()
    changed[:, 2] = (changed[:, 2] + 1) % 7
    index = EvidenceIndex(make_graph(np.concatenate([changed, now]), num_entities=7, num_relations=2))
    gathered = Gatherer(index, **model.loader_options).gather(QueryFacts(s, r, o), index.cutoff(5))
    assert not np.allclose(
        entity_intensities(model, build_batch(gathered, rounded_bucket(gathered))),
        entity_intensities(model, batches[0]),
    )


@pytest.mark.ci
def test_multi_step_sees_nothing_after_the_cut():
    rng = np.random.default_rng(0)
    rows = np.stack([rng.integers(0, n, 60) for n in (7, 2, 7)] + [np.repeat(np.arange(10), 6)], 1)
    graph = make_graph(rows, num_entities=7, num_relations=2, valid=30, test=42)
    model, number = build(graph), 8

    def evaluate(graph):
        return evaluate_model(model, graph, history_len=1, setting="multi-step")

    first = evaluate(graph)
    # Everything at the first test snapshot is changed, which later ones must not see.
    changed = rows.copy()
    changed[42:48, 0] = (changed[42:48, 0] + 1) % 7
    second = evaluate(make_graph(changed, num_entities=7, num_relations=2, valid=30, test=42))
    later = first.snapshot >= number
    assert later.any() and np.array_equal(first.filtered["entity"][later], second.filtered["entity"][later])
    single = [
        evaluate_model(model, g, history_len=1).nll["entity"]
        for g in (graph, make_graph(changed, num_entities=7, num_relations=2, valid=30, test=42))
    ]
    assert not np.array_equal(single[0][later], single[1][later])
    with pytest.raises(ConfigError, match="no window to feed"):
        evaluate_model(model, graph, history_len=1, setting="multi-step, fed back")


@pytest.mark.ci
def test_parts_and_partners_beyond_the_limit_change_no_rank(graph):
    model = build(graph)
    options = dict(context=True, background=True, max_partners=0)
    whole = EvidenceEvaluator(graph, "test", **options)(model)
    parts = EvidenceEvaluator(graph, "test", **options)
    parts.loader = EvidenceLoader(
        graph, EvidenceIndex(graph), "test", EvidenceOptions(batch_size=3, max_buckets=2, with_truth=True)
    )
    assert len(parts.loader) > len(whole.graph.split_snapshots("test"))
    divided = parts(model)
    many = EvidenceEvaluator(graph, "test", **options | {"max_partners": graph.num_entities})(model)
    one = EvidenceEvaluator(graph, "test", **options | {"max_partners": 1})(model)
    assert not np.array_equal(one.filtered["entity"], whole.filtered["entity"])
    for other in (divided, many):
        assert np.array_equal(whole.snapshot, other.snapshot) and np.array_equal(whole.inverse, other.inverse)
        for kind in ("entity", "relation"):
            np.testing.assert_array_equal(whole.filtered[kind], other.filtered[kind])
            np.testing.assert_allclose(whole.nll[kind], other.nll[kind], rtol=1e-4, atol=1e-5)


def test_ranks_are_in_the_order_of_the_facts(graph):
    model = build(graph)
    found = EvidenceEvaluator(graph, "test", context=True, background=True, max_partners=0)(model)
    target = graph.num_snapshots - 1
    batch, gathered = batch_at(graph, model, target)
    intensity = np.asarray(entity_intensities(model, batch))
    asked, here = asked_at(graph, target), found.snapshot == target
    split = np.tile(graph.split_mask("test")[slice(*graph.offsets[target : target + 2])], 2)
    expected = []
    for s, r, o in zip(asked.subject[split], asked.relation[split], asked.object[split]):
        query = np.flatnonzero((gathered["subject"] == s) & (gathered["relation"] == r))[0]
        true = asked.object[(asked.subject == s) & (asked.relation == r)]
        rivals = np.delete(intensity[query], np.unique(true))
        expected.append(1 + (rivals > intensity[query, o]).sum() + 0.5 * (rivals == intensity[query, o]).sum())
    assert found.filtered["entity"][here].tolist() == expected


@pytest.mark.parametrize("context, background", FORMS[:2])
def test_shares_add_up_to_the_forecast(graph, context, background):
    model = build(graph, evidence_context=context, evidence_background=background)
    explain, target = Explainer(model, graph), graph.num_snapshots - 1
    batch, gathered = batch_at(graph, model, target)
    intensity = np.asarray(entity_intensities(model, batch), np.float64)
    known = [fact for fact in both_directions(graph) if fact[3] < target]
    events = 0
    for query in range(0, len(gathered["subject"]), 2):
        s, r = int(gathered["subject"][query]), int(gathered["relation"][query])
        for o in range(0, graph.num_entities, 4):
            found = explain(s, r, o, target)
            np.testing.assert_allclose(sum(share.share for share in found.shares), 1, rtol=1e-4)
            np.testing.assert_allclose(found.probability, intensity[query, o] / intensity[query].sum(), rtol=1e-4)
            past = [fact for fact in known if (fact[0], fact[2]) == (s, o)]
            named = {share.relation_id: share for share in found.shares if share.kind == "event"}
            assert set(named) == {q for _, q, _, _ in past}
            for q, share in named.items():
                times = [t for _, p, _, t in past if p == q]
                assert (share.events, share.snapshot) == (len(times), max(times)) and share.share > 0
            events += len(named)
    assert events > 10
    best = explain(int(gathered["subject"][0]), int(gathered["relation"][0]), None, target)
    assert best.candidate == int(intensity[0].argmax())
    text = json.loads(json.dumps(best.to_dict()))
    assert text["probability"] == best.probability


def test_an_explanation_says_who_did_what_to_whom():
    names = {"entity_names": ("Anna", "Ben", "Cleo"), "relation_names": ("greets", "pays")}
    graph = make_graph([(0, 0, 1, 0), (1, 1, 0, 1), (0, 0, 2, 2)], num_entities=3, num_relations=2, **names)
    explain = Explainer(build(graph), graph)
    # Who greets Ben? In the ids of the model: what stands in the inverse of "greets" to Ben.
    found = explain(1, 2, 0, 2).to_dict()
    assert (found["subject"], found["relation"], found["object"]) == ("Anna", "greets", "Ben")
    assert found["predicted"] == "subject" and found["time"] == 2
    events = {
        (s["subject"], s["relation"], s["object"], s["events"], s["last"]) for s in found["shares"] if "relation" in s
    }
    assert events == {("Anna", "greets", "Ben", 1, 0), ("Ben", "pays", "Anna", 1, 1)}
    # Of Cleo nothing was known then.
    assert {share.kind for share in explain(0, 0, 2, 2).shares} == {"background"}


@pytest.mark.ci
def test_memory_that_runs_out_is_said_with_what_to_do(tmp_path, monkeypatch):
    def run_out(self, *arguments):
        raise MemoryError

    monkeypatch.setattr(training.CompiledStep, "__call__", run_out)
    graph = simulate(num_days=10, num_entities=12, seed=1).graph
    config = small(max_buckets=1, evidence_background=False, logdir=str(tmp_path / "log"))
    with pytest.raises(DataError, match="smaller --batch-size \\(now 2048\\)"):
        train_tirgn(graph, config, model_dir=tmp_path)


def test_half_precision_is_refused(graph, tmp_path):
    with pytest.raises(ConfigError, match="evidence sums intensities in f32"):
        train_tirgn(graph, small(precision="bf16", logdir=str(tmp_path)), model_dir=tmp_path)


def test_an_explanation_of_what_does_not_exist_is_refused(graph):
    explain = Explainer(build(graph), graph)
    for arguments in [(99, 0, 1, 1), (0, 99, 1, 1), (0, 0, 99, 1), (0, 0, 1, 99), (-1, 0, 1, 1)]:
        with pytest.raises(DataError, match="does not exist"):
            explain(*arguments)


@pytest.mark.ci
def test_trains_resumes_to_the_bit_and_comes_back_from_its_checkpoint(tmp_path):
    graph = simulate(num_days=20, num_entities=30, seed=1).graph
    config = small(epochs=3, batch_size=64, max_buckets=1, dropout=0.2, ema_decay=0.9, logdir=str(tmp_path / "log"))
    whole = train_tirgn(graph, config, model_dir=tmp_path / "whole")
    assert whole["model_type"] == "evidence" and whole["status"] == "complete"
    calls = iter([False] * 7 + [True] * 1000)
    part = train_tirgn(graph, config, model_dir=tmp_path / "part", stop=lambda: next(calls))
    assert part["status"] == "interrupted"
    train_tirgn(graph, config, model_dir=tmp_path / "part", resume=True)
    first, _, described = load_model(tmp_path / "whole" / "tirgn_trained.npz", "evidence")
    second, _, _ = load_model(tmp_path / "part" / "tirgn_trained.npz")
    assert same_bits(first, second) and described.model_type == "evidence"
    model, _, _ = load_model(whole["checkpoint"])
    again = evaluate_model(model, graph, history_len=1)
    assert again.entity["mrr"] == whole["test"]["entity"]["mrr"]
    with pytest.raises(CheckpointError, match="'evidence', not 'tirgn'"):
        load_model(whole["checkpoint"], "tirgn")


def test_a_checkpoint_without_one_of_its_arrays_is_refused(graph, tmp_path):
    model = build(graph, evidence_background=False)
    path = save_model(tmp_path / "m", model, small(), graph)
    with pytest.raises(CheckpointError, match="background.*is missing"):
        load_model(path)


@pytest.mark.slow
def test_it_learns_what_recurs(tmp_path):
    # Entity s greets s + 1 every day, but for a tenth of the days, when it is somebody else.
    rng = np.random.default_rng(0)
    rows = [
        (s, 0, (s + 1) % 12 if rng.random() > 0.1 else int(rng.integers(12)), t) for t in range(40) for s in range(12)
    ]
    graph = make_graph(rows, num_entities=12, num_relations=1, valid=360, test=420)
    config = small(epochs=6, learning_rate=0.02, max_buckets=1)
    model = build_model(12, 1, config, key=jax.random.key(0))
    before = evaluate_model(model, graph, history_len=1)

    result = train_tirgn(graph, config.replace(logdir=str(tmp_path / "log")), model_dir=tmp_path)
    assert result["test"]["entity"]["nll"] < min(1.2, before.entity["nll"] - 0.3)
    assert result["test"]["entity"]["hits_at_1"] > 0.8
    assert result["parameters"] == parameter_count(model)


def test_dropout_scales_what_it_keeps_and_has_one_mask_for_all_candidates(graph):
    """The background of all candidates: some numbers of their states 0, the others larger by 1 / (1 - rate)."""
    model, width = build(graph, dropout=0.5), 6
    batch, _ = batch_at(graph, model, graph.num_snapshots - 1)
    candidates = eqx.filter_jit(lambda model, batch, key: model.background_logits(batch, key).entity.candidate)
    plain, every = np.asarray(candidates(model, batch, None)), []
    for seed in range(4):
        found = np.asarray(candidates(model, batch, jax.random.key(seed)))
        every.append(kept := found[:, :width].any(0))
        np.testing.assert_allclose(found[:, :width], np.where(kept, 2 * plain[:, :width], 0), rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(found[:, width:], plain[:, width:])
    assert 0 < np.mean(every) < 1 and len(np.unique(every, axis=0)) > 1
