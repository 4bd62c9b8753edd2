"""The background of evidence: how likely any two entities are, whether they ever met or not."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, Int, PRNGKeyArray

from tirgn_eqx.data.graph import StaticGraph
from tirgn_eqx.data.index.evidence import PLAIN_FEATURES
from tirgn_eqx.models.kernel import Kernel, bounded_exp
from tirgn_eqx.nn.static_graph import StaticEdges
from tirgn_eqx.types import Surroundings


class Links(eqx.Module):
    """A layer of messages over all links: the mean of an entity's partners, weighted by when and how often they met,
    and what that mean says of the entity as a subject and as an object."""

    weight: Kernel
    to_subject: Float[Array, "dim dim"]
    to_object: Float[Array, "dim dim"]

    def __init__(self, dim: int, hidden: int, key: PRNGKeyArray):
        keys = jr.split(key, 3)
        self.weight = Kernel(PLAIN_FEATURES, hidden, 1, 1, 0.0, 0.0, keys[0])
        self.to_subject, self.to_object = 0.1 * jr.normal(keys[1], (dim, dim)), 0.1 * jr.normal(keys[2], (dim, dim))

    def mean(self, vectors: Float[Array, "entity dim"], around: Surroundings) -> Float[Array, "entity dim"]:
        """The mean of every entity's partners; zero for an entity without any."""
        weight = bounded_exp(self.weight(around.link_features, jnp.zeros_like(around.link_subject))[:, 0])
        by_subject = lambda x: jax.ops.segment_sum(x, around.link_subject, len(vectors), indices_are_sorted=True)
        message = weight[:, None] * vectors[around.link_object]
        return by_subject(message) / (by_subject(weight)[:, None] + 1e-3)


class Words(eqx.Module):
    """What its words (of a static graph) say of an entity as a subject, as an object, and as a partner of others."""

    vectors: Float[Array, "word dim3"]
    static_edges: StaticEdges

    def __init__(self, static: StaticGraph, entities: int, dim: int, key: PRNGKeyArray):
        spread = jnp.repeat(jnp.array([0.1, 0.1, 0.3]), dim)
        self.vectors = spread * jr.normal(key, (static.num_words, 3 * dim))
        self.static_edges = StaticEdges(static, entities)

    def __call__(self) -> tuple[Float[Array, "entity dim"], Float[Array, "entity dim"], Float[Array, "entity dim"]]:
        """(as subject, as object, as partner), zero for an entity without words. Divided by the square root of how many
        words there are, so that the sum of many is as wide as one."""
        edges = self.static_edges
        total = jax.ops.segment_sum(self.vectors[edges.word], edges.entity, len(edges.degree))
        subject, object, partner = jnp.split(total / jnp.sqrt(jnp.maximum(edges.degree, 1))[:, None], 3, 1)
        return subject, object, partner


class Background(eqx.Module):
    """exp(b(s, r, o)), b a product of a question's vector and a candidate's.

    An entity is its own vector, what its partners are in the mean (`near`), and what they are with theirs (`far`): so
    it is compared with whom it may meet through others. Where the data has a static graph, its words add to all of it:
    so an entity that was hardly ever seen is taken for one of its kind.
    """

    subject: Float[Array, "entity dim"]
    object: Float[Array, "entity dim"]
    neighbour: Float[Array, "entity dim"]
    words: Words | None
    near: Links
    far: Links
    own: Float[Array, "dim dim"]
    partners: Float[Array, "dim dim"]
    relation: Float[Array, "rel2 dim"]
    gate: Float[Array, "rel2 dim"]
    inner: Float[Array, "dim2 dim2"]
    outer: Float[Array, "dim2 dim"]
    activity: Float[Array, "rel2 feature"]
    activity_of_subject: Float[Array, "feature feature"]
    level: Float[Array, ""]
    for_relation: Float[Array, "rel2 dim2"]
    for_relation_bias: Float[Array, " rel2"]
    modulation: Float[Array, " rel2"]

    def __init__(
        self, entities: int, rel2: int, dim: int, hidden: int, key: PRNGKeyArray, static: StaticGraph | None = None
    ):
        """**Arguments:** sizes; `static`: the words of the entities, if there are any."""
        keys = iter(jr.split(key, 14))
        normal = lambda spread, *shape: spread * jr.normal(next(keys), shape)
        self.subject, self.object = normal(0.1, entities, dim), normal(0.1, entities, dim)
        self.neighbour = normal(0.3, entities, dim)
        self.near, self.far = Links(dim, hidden, next(keys)), Links(dim, hidden, next(keys))
        self.own, self.partners = normal(0.1, dim, dim), normal(0.1, dim, dim)
        self.relation, self.gate = normal(0.5, rel2, dim), normal(0.1, rel2, dim)
        self.inner, self.outer = normal(0.1, 2 * dim, 2 * dim), normal(0.05, 2 * dim, dim)
        self.activity = normal(0.01, rel2, PLAIN_FEATURES)
        self.activity_of_subject = normal(0.01, PLAIN_FEATURES, PLAIN_FEATURES)
        self.level = jnp.array(-4.0)
        self.for_relation, self.for_relation_bias = normal(0.1, rel2, 2 * dim), jnp.zeros(rel2)
        self.modulation = jnp.full(rel2, 0.2)
        self.words = None if static is None else Words(static, entities, dim, jr.fold_in(key, 1))

    def states(self, around: Surroundings) -> tuple[Float[Array, "entity dim"], Float[Array, "entity dim"]]:
        """What every entity is as a subject and as an object."""
        subject, object, neighbour = self.subject, self.object, self.neighbour
        if self.words is not None:
            said = self.words()
            subject, object, neighbour = subject + said[0], object + said[1], neighbour + said[2]
        near = self.near.mean(neighbour, around)
        far = self.far.mean(jax.nn.gelu(neighbour @ self.own + near @ self.partners), around)
        subject = subject + near @ self.near.to_subject + far @ self.far.to_subject
        return subject, object + near @ self.near.to_object + far @ self.far.to_object

    def question(self, subject: Float[Array, "unit dim"], relation: Int[Array, " unit"]) -> Float[Array, "unit dim"]:
        """The vector of (s, r, ?), from the subject's state."""
        asked = self.relation[relation]
        hidden = jax.nn.gelu(jnp.concatenate([subject, asked], 1) @ self.inner)
        return asked + subject * (1 + self.gate[relation]) + hidden @ self.outer
