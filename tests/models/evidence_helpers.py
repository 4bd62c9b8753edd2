"""What the tests of evidence models and of mixtures share: small models, their batches, and parts of the definition."""

import dataclasses
import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from tests.helpers import both_directions
from tirgn_eqx.config import preset
from tirgn_eqx.data.batches.evidence_queries import Gatherer, QueryFacts, build_batch, rounded_bucket
from tirgn_eqx.data.index.evidence import EvidenceIndex
from tirgn_eqx.models import build_model

FORMS = [(True, True), (False, False), (True, False), (False, True)]


def random_facts(rng, times):
    """Six facts (subject, relation, object, time) at each of `times`, among 7 entities and 2 relations."""
    return np.stack([rng.integers(0, n, 6 * len(times)) for n in (7, 2, 7)] + [np.repeat(times, 6)], 1)


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


def query_facts_at(graph, target):
    here = slice(*graph.offsets[target : target + 2].tolist())
    return QueryFacts(*(np.array(column) for column in list(zip(*both_directions(graph, here)))[:3]))


def batch_at(graph, model, target, **options):
    index = EvidenceIndex(graph)
    gathered = Gatherer(index, **model.loader_options | options).gather(
        query_facts_at(graph, target), index.cutoff(target)
    )
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
