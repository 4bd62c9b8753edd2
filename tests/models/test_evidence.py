"""The evidence model: its intensities against the definition, no leak, explanations, training."""

import dataclasses

import equinox as eqx
import jax
import numpy as np
import pytest

from tests.helpers import make_graph, random_graph, same_bits
from tests.models.evidence_helpers import (
    FORMS,
    answer_log_probabilities,
    batch_at,
    build,
    entity_intensities,
    gelu,
    log_intensity,
    random_facts,
    real_answers,
    relation_intensities,
    small,
)
from tirgn_eqx.checkpoint.models import load_model, save_model
from tirgn_eqx.data.batches.evidence_loader import EvidenceLoader, EvidenceOptions
from tirgn_eqx.data.batches.evidence_queries import Gatherer, QueryFacts, build_batch, natural_bucket, rounded_bucket
from tirgn_eqx.data.index.evidence import EvidenceIndex
from tirgn_eqx.errors import CheckpointError
from tirgn_eqx.models import evidence as module
from tirgn_eqx.train.step import evidence_loss


@pytest.fixture(scope="module")
def graph():
    return random_graph(3, num_entities=14, facts=8)


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
    past, now = random_facts(rng, np.arange(5)), random_facts(rng, np.array([5]))
    worlds = []
    for _ in range(2):
        # The answers' own time too: only one fact of it, the one that is asked about, is the same.
        others, later = random_facts(rng, np.array([5])), random_facts(rng, np.arange(6, 9))
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


def test_a_checkpoint_without_one_of_its_arrays_is_refused(graph, tmp_path):
    model = build(graph, evidence_background=False)
    path = save_model(tmp_path / "m", model, small(), graph)
    with pytest.raises(CheckpointError, match="background.*is missing"):
        load_model(path)


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
