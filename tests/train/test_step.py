"""The bookkeeping of a step, around a model that is linear, so that its gradient is known by hand."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from tests.helpers import make_graph, random_graph, tiny_config
from tirgn_eqx.config import preset
from tirgn_eqx.data.batches.evidence_loader import EvidenceLoader, EvidenceOptions
from tirgn_eqx.data.batches.graph_loader import GraphLoader, GraphOptions
from tirgn_eqx.data.index.evidence import EvidenceIndex
from tirgn_eqx.data.index.history import build_history_vocabulary
from tirgn_eqx.models import Encoding, Evidence, RecurrentEncoder, TiRGN
from tirgn_eqx.nn import GRUCell
from tirgn_eqx.train.step import evidence_loss, loss_and_gradient

TASK, STATIC_LOSS = 0.75, 0.125
DRAWN = []  # the encoder's keys, as they are traced


class LinearEncoder(RecurrentEncoder):
    """States are the embeddings, times 1, 2, ... for the targets of a step."""

    def __call__(self, window, *, targets=1, key=None, **_):
        DRAWN.append(key)
        scale = jnp.arange(1.0, targets + 1)[:, None, None] if targets > 1 else 1.0
        loss = STATIC_LOSS * self.word_embedding[0, 0]
        return Encoding(scale * self.entity_embedding, scale * self.relation_embedding, loss), self.running


class Linear(TiRGN):
    """The loss of an answer is the first number of its state, times the clock, times a number drawn with the
    micro-batch's key."""

    def answer_losses(self, encoding, queries, time_index, buffers, *, kind, training, key, **_):
        table = encoding.entity if kind == "entity" else encoding.relation
        factor = 1.0 if key is None else jr.uniform(key)
        return jnp.sum(queries.answer_weight * table[queries.answer, 0]) * time_index * factor, buffers


gradient_of = eqx.filter_jit(loss_and_gradient)


@pytest.fixture(scope="module")
def model(graph):
    config = tiny_config(task_weight=TASK)
    sizes = graph.num_entities, graph.num_relations

    def build(key):
        update, keys = GRUCell(8, 8, key=key), jr.split(key, 6)
        encoder = LinearEncoder(*sizes, config, update=update, keys=keys)
        return eqx.tree_at(lambda m: m.encoder, Linear(*sizes, config, None, key=key), encoder)

    model = eqx.filter_jit(build)(jr.key(0))
    return eqx.tree_at(lambda m: m.encoder.word_embedding, model, jnp.ones((1, 8)), is_leaf=lambda x: x is None)


def batch_of(graph, target, key=None, **options):
    loader = GraphLoader(
        graph, build_history_vocabulary(graph), "train", GraphOptions(history_len=2, max_buckets=1, **options)
    )
    batch = loader.build(target).batch
    return batch if key is None else eqx.tree_at(lambda b: b.key, batch, key, is_leaf=lambda x: x is None)


@pytest.fixture(scope="module")
def graph():
    """At times 0 to 4 one, two, three, two and four facts."""
    rows = [
        (0, 0, 1, 0),
        (2, 1, 3, 1),
        (1, 0, 0, 1),
        (0, 1, 2, 2),
        (3, 0, 1, 2),
        (2, 1, 4, 2),
        (4, 0, 0, 3),
        (1, 1, 3, 3),
    ]
    rows += [(0, 0, 4, 4), (2, 1, 1, 4), (3, 0, 0, 4), (4, 1, 2, 4)]
    return make_graph(rows, num_entities=5, num_relations=2)


def by_hand(graph, targets, numbers):
    """(gradient of the first numbers of entities, of relations): `numbers`, the states' factors of the targets."""
    entity, relation = np.zeros(graph.num_entities), np.zeros(2 * graph.num_relations)
    for target, factor in zip(targets, numbers):
        here = graph.snapshot == target
        s, r, o = graph.subject[here], graph.relation[here], graph.object[here]
        share = factor * graph.time_index[target] / (2 * len(s) * len(targets))
        np.add.at(entity, np.concatenate([s, o]), TASK * share)
        np.add.at(relation, np.concatenate([r, r + graph.num_relations]), (1 - TASK) * share)
    return entity, relation


@pytest.mark.parametrize(("together", "batch_size", "target"), [(1, 2, 4), (3, 0, 4), (3, 2, 4), (3, 0, 1), (3, 2, 1)])
def test_the_gradient_is_the_mean_over_answers_and_over_targets(graph, model, together, batch_size, target):
    """Also where the first step of a split has fewer targets than the others: target 1."""
    batch = batch_of(graph, target, targets_per_step=together, batch_size=batch_size)
    found = gradient_of(model, batch)
    targets = range(max(1, target - together + 1), target + 1)
    numbers = [together - (target - t) for t in targets] if together > 1 else [1]
    entity, relation = by_hand(graph, targets, numbers)
    np.testing.assert_allclose(found.gradient.encoder.entity_embedding[:, 0], entity, rtol=1e-5)
    np.testing.assert_allclose(found.gradient.encoder.relation_embedding[:, 0], relation, rtol=1e-5)
    assert not np.asarray(found.gradient.encoder.entity_embedding[:, 1:]).any()
    assert float(found.gradient.word_embedding[0, 0]) == STATIC_LOSS == float(found.metrics["loss_static"])
    of_targets = zip(targets, numbers)
    parts = [by_hand(graph, [t], [n]) for t, n in of_targets]
    loss = np.mean(
        [model.encoder.entity_embedding[:, 0] @ e + model.encoder.relation_embedding[:, 0] @ r for e, r in parts]
    )
    assert float(found.metrics["loss"]) == pytest.approx(float(loss) + STATIC_LOSS, rel=1e-4)


def test_every_micro_batch_and_the_encoder_have_keys_of_their_own(graph, model):
    batch = batch_of(graph, 4, jr.key(3), batch_size=2)
    micros = batch.entity_queries.subject.shape[0]
    assert micros == 4
    # Every micro-batch names an entity of its own.
    answer = jnp.broadcast_to(jnp.arange(micros)[:, None], batch.entity_queries.answer.shape).astype(jnp.int32)
    batch = eqx.tree_at(lambda b: b.entity_queries.answer, batch, answer)
    DRAWN.clear()
    found = np.asarray(gradient_of(model, batch).gradient.encoder.entity_embedding[:micros, 0])
    assert DRAWN and all(key is not None for key in DRAWN)
    assert (found > 0).all() and len(set(found.tolist())) == micros
    DRAWN.clear()
    frozen = gradient_of(model, batch, training=False).gradient.encoder.entity_embedding[:micros, 0]
    np.testing.assert_allclose(frozen, np.full(micros, frozen[0]), rtol=1e-5)
    assert DRAWN and all(key is None for key in DRAWN)


def test_the_evidence_loss_weighs_entity_and_relation_questions():
    graph = random_graph(1)
    config = preset("evidence").replace(
        embedding_dim=4, evidence_heads=2, evidence_hidden=3, evidence_background=False, task_weight=TASK
    )
    model = eqx.filter_jit(lambda key: Evidence(graph.num_entities, graph.num_relations, config, key=key))(jr.key(0))
    loader = EvidenceLoader(graph, EvidenceIndex(graph), "train", EvidenceOptions(**model.loader_options))
    batch = loader.build(len(loader) - 1).batch

    @eqx.filter_jit
    def both(model, batch):
        return evidence_loss(model, batch), model.answer_log_probabilities(batch)

    (loss, metrics), logs = both(model, batch)
    weights = [np.asarray(kind.answers.answer_weight) for kind in (batch.entity, batch.relation)]
    entity, relation = (-float(np.asarray(log) @ weight / weight.sum()) for log, weight in zip(logs, weights))
    assert abs(entity - relation) > 0.1
    assert [float(metrics["loss_entity"]), float(metrics["loss_relation"])] == pytest.approx(
        [entity, relation], rel=1e-5
    )
    assert float(loss) == pytest.approx(TASK * entity + (1 - TASK) * relation, rel=1e-5)
    assert jax.tree.all(jax.tree.map(np.isfinite, metrics))
