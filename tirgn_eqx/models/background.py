"""The background intensity of evidence: how likely any two entities are to meet, whether they ever met or not."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, Int, PRNGKeyArray

from tirgn_eqx.data.graph import StaticGraph
from tirgn_eqx.data.index.evidence import PLAIN_FEATURES
from tirgn_eqx.models.intensity import LogIntensity, bounded_exp
from tirgn_eqx.nn.segments import segment_sum, take_rows
from tirgn_eqx.nn.static_graph import StaticEdges
from tirgn_eqx.types import EntityCache, GlobalGraph


class NeighbourMean(eqx.Module):
    """One message-passing layer over all links: the mean of the neighbours of every entity, weighted by when and how
    often they met, and two projections of that mean for the entity as a subject and as an object."""

    weight: LogIntensity
    to_subject: Float[Array, "dim dim"]
    to_object: Float[Array, "dim dim"]

    def __init__(self, dim: int, hidden: int, *, key: PRNGKeyArray):
        keys = jr.split(key, 3)
        # One set of weights for all relations: links by triple, with the relation in the message, forecast no better
        # (docs/evidence.md).
        self.weight = LogIntensity(PLAIN_FEATURES, hidden, 1, 1, level=0.0, spread=0.0, key=keys[0])
        self.to_subject, self.to_object = 0.1 * jr.normal(keys[1], (dim, dim)), 0.1 * jr.normal(keys[2], (dim, dim))

    def __call__(self, vectors: Float[Array, "entity dim"], graph: GlobalGraph) -> Float[Array, "entity dim"]:
        """The mean of the neighbours' `vectors` `(entity, dim)`; zero for an entity that never met another."""
        weight = bounded_exp(self.weight(graph.link_features, jnp.zeros_like(graph.link_subject))[:, 0])
        message = weight[:, None] * take_rows(vectors, graph.link_object, padded=False)
        total = segment_sum(message, graph.link_subject, len(vectors), is_sorted=True)
        weights = segment_sum(weight, graph.link_subject, len(vectors), is_sorted=True)
        # The constant makes the mean of an entity without links 0 instead of 0 / 0.
        return total / (weights[:, None] + 1e-3)


class WordEmbeddings(eqx.Module):
    """Embeddings of the words of a static graph, summed over the words of every entity.

    Each word has three vectors side by side: for the entity as a subject, as an object, and as a neighbour of others.
    """

    vectors: Float[Array, "word dim3"]
    static_edges: StaticEdges

    def __init__(self, static: StaticGraph, num_entities: int, dim: int, *, key: PRNGKeyArray):
        # The spreads of `subject`, `object` and `neighbour` in `Background`, to which the words add.
        spread = jnp.repeat(jnp.array([0.1, 0.1, 0.3]), dim)
        self.vectors = spread * jr.normal(key, (static.num_words, 3 * dim))
        self.static_edges = StaticEdges(static, num_entities)

    def __call__(self) -> tuple[Float[Array, "entity dim"], Float[Array, "entity dim"], Float[Array, "entity dim"]]:
        """`(subject, object, neighbour)` vectors of every entity, zero without words. The sum is divided by the square
        root of the number of words, so that many words give the same variance as one."""
        edges = self.static_edges
        of_edges = take_rows(self.vectors, edges.word, padded=False)
        total = segment_sum(of_edges, edges.entity, len(edges.degree))
        subject, object, neighbour = jnp.split(total / jnp.sqrt(jnp.maximum(edges.degree, 1))[:, None], 3, 1)
        return subject, object, neighbour


class Background(eqx.Module):
    """exp(b(s, r, o)), where b is the inner product of a query vector and a candidate vector.

    The vector of an entity is the sum of its own embedding, the mean of its neighbours (`first_hop`) and the mean of
    theirs (`second_hop`), so that entities are compared with those they may meet through others. With a static graph,
    the words of an entity add to its embeddings, so that a rare entity resembles others of its kind.
    """

    subject: Float[Array, "entity dim"]
    object: Float[Array, "entity dim"]
    neighbour: Float[Array, "entity dim"]
    words: WordEmbeddings | None
    first_hop: NeighbourMean
    second_hop: NeighbourMean
    hop_self: Float[Array, "dim dim"]
    hop_neighbours: Float[Array, "dim dim"]
    relation: Float[Array, "rel2 dim"]
    gate: Float[Array, "rel2 dim"]
    inner: Float[Array, "dim2 dim2"]
    outer: Float[Array, "dim2 dim"]
    activity: Float[Array, "rel2 feature"]
    subject_activity: Float[Array, "feature feature"]
    level: Float[Array, ""]
    relation_weight: Float[Array, "rel2 dim2"]
    relation_bias: Float[Array, " rel2"]
    lift_strength: Float[Array, " rel2"]

    def __init__(
        self,
        num_entities: int,
        rel2: int,
        dim: int,
        hidden: int,
        static: StaticGraph | None = None,
        *,
        key: PRNGKeyArray,
    ):
        """**Arguments:** sizes; `static`: the words of the entities, where there are any; `key`."""
        keys = jr.split(key, 14)
        self.subject = 0.1 * jr.normal(keys[0], (num_entities, dim))
        self.object = 0.1 * jr.normal(keys[1], (num_entities, dim))
        self.neighbour = 0.3 * jr.normal(keys[2], (num_entities, dim))
        self.first_hop = NeighbourMean(dim, hidden, key=keys[3])
        self.second_hop = NeighbourMean(dim, hidden, key=keys[4])
        self.hop_self = 0.1 * jr.normal(keys[5], (dim, dim))
        self.hop_neighbours = 0.1 * jr.normal(keys[6], (dim, dim))
        self.relation = 0.5 * jr.normal(keys[7], (rel2, dim))
        self.gate = 0.1 * jr.normal(keys[8], (rel2, dim))
        self.inner = 0.1 * jr.normal(keys[9], (2 * dim, 2 * dim))
        self.outer = 0.05 * jr.normal(keys[10], (2 * dim, dim))
        self.activity = 0.01 * jr.normal(keys[11], (rel2, PLAIN_FEATURES))
        self.subject_activity = 0.01 * jr.normal(keys[12], (PLAIN_FEATURES, PLAIN_FEATURES))
        # The background begins at about e^-4 for a candidate, beside 1 for the evidence of a past triple.
        self.level = jnp.array(-4.0)
        self.relation_weight, self.relation_bias = 0.1 * jr.normal(keys[13], (rel2, 2 * dim)), jnp.zeros(rel2)
        self.lift_strength = jnp.full(rel2, 0.2)
        # A key of its own, so that a static graph changes no other initial weight.
        word_key = jr.fold_in(key, 1)
        self.words = None if static is None else WordEmbeddings(static, num_entities, dim, key=word_key)

    def entities(self, graph: GlobalGraph) -> EntityCache:
        """The vectors of every entity as a subject and as an object."""
        subject, object, neighbour = self.subject, self.object, self.neighbour
        if self.words is not None:
            of_words = self.words()
            subject, object, neighbour = subject + of_words[0], object + of_words[1], neighbour + of_words[2]
        first = self.first_hop(neighbour, graph)
        second = self.second_hop(jax.nn.gelu(neighbour @ self.hop_self + first @ self.hop_neighbours), graph)
        subject = subject + first @ self.first_hop.to_subject + second @ self.second_hop.to_subject
        object = object + first @ self.first_hop.to_object + second @ self.second_hop.to_object
        return EntityCache(graph.activity, subject, object)

    def query(self, subject: Float[Array, "query dim"], relation: Int[Array, " query"]) -> Float[Array, "query dim"]:
        """The vectors of (s, r, ?), from the subjects' vectors."""
        embedding = take_rows(self.relation, relation, padded=False)
        hidden = jax.nn.gelu(jnp.concatenate([subject, embedding], 1) @ self.inner)
        # The gate begins near 0, and the query as the sum of its relation and its subject.
        gate = take_rows(self.gate, relation, padded=False)
        return embedding + subject * (1 + gate) + hidden @ self.outer
