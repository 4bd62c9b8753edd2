r"""Evidence: forecasts as sums over named past events.

The intensity of candidate o for the query (s, r, ?) at time t is

    lambda(o) = m(s, r, o) * [ sum over past triples (s, q, o) of  sum_k a[r, k] exp(g_k(q, x))
                               + exp(e(r, x))  where q = r ]
                + exp(p(r, x'))  where (?, r, o) is in the past  +  exp(b(s, r, o))  +  a small constant.

Here x are ages and counts of the triple, of the pair (s, o), and of both entities, and x' those of (r, o). The small
networks g, e and p have parameters of their own for every relation; the heads k are kinds of evidence that relations
share. The background b compares entities by embeddings and by their neighbours. The lift m raises candidates that the
background finds likely, or that others had the relation with. p(o) is lambda(o) divided by the sum over all candidates,
so the share of every past event in it is exact.

Relations are forecast in the same way: the past triples (s, q, o) of the pair contribute to every relation r.
"""

import math
from typing import NamedTuple, TypedDict

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray

from tirgn_eqx.config import EvidenceTrainingConfig
from tirgn_eqx.data.graph import StaticGraph
from tirgn_eqx.data.index.evidence import CONTEXT_FEATURES, ENTRY_FEATURES, PAIR_FEATURES, PLAIN_FEATURES
from tirgn_eqx.models.background import Background, WordEmbeddings
from tirgn_eqx.models.entries import EntryFactors
from tirgn_eqx.models.intensity import LOG_CENTRE, LOG_CLIP, FactoredLogits, LogIntensity, bounded_exp, capped_exp
from tirgn_eqx.nn.segments import add_rows, segment_sum, take_rows
from tirgn_eqx.nn.static_graph import StaticEdges
from tirgn_eqx.types import Answers, EntityCache, EvidenceBatch, EvidenceEntityQueries, GlobalGraph, Neighbours

HEAD_WEIGHT_SCALE = 3  # learning-rate scale of the head weights: Adam moves all parameters alike
DEMAND_CLIP = 4.0  # limit of the exponent by which the events of others change a candidate's evidence
MIN_INTENSITY = 1e-6  # of every candidate, so that none is impossible


class EvidenceLoaderOptions(TypedDict):
    """The settings of an evidence model that shape its batches."""

    context: bool
    background: bool
    max_partners: int


class BackgroundLogits(NamedTuple):
    """Logits of the background for a batch: of entity queries, and of relation queries."""

    entity: FactoredLogits
    relation: Float[Array, "relation_query rel2"]


class EntityIntensities(NamedTuple):
    """Intensities of entity queries: of cells and of popular objects, and the sums of these and of the background over
    all candidates of every query. `popular_sum` includes the small constant of every candidate."""

    cell: Float[Array, " cell"]
    popular: Float[Array, " popular"]
    cell_sum: Float[Array, " query"]
    popular_sum: Float[Array, " query"]
    background_sum: Float[Array, " query"]

    @property
    def total(self) -> Float[Array, " query"]:
        return self.cell_sum + self.popular_sum + self.background_sum


class Evidence(eqx.Module):
    """The evidence model; every leaf is trained except for the edges of a static graph.

    ```python
    import jax.random as jr
    from tirgn_eqx import Evidence, preset, simulate
    from tirgn_eqx.data.batches.evidence_loader import EvidenceLoader, EvidenceOptions
    from tirgn_eqx.data.index.evidence import EvidenceIndex

    graph = simulate(num_days=10).graph
    config = preset("evidence").replace(embedding_dim=4, evidence_heads=2, evidence_hidden=2)
    model = Evidence(graph.num_entities, graph.num_relations, config, key=jr.key(0))
    loader = EvidenceLoader(graph, EvidenceIndex(graph), "train", EvidenceOptions(**model.loader_options))
    entity, relation = model.answer_log_probabilities(loader.build(0).batch)
    assert (entity <= 0).all() and (relation <= 0).all()
    ```
    """

    entry: LogIntensity
    exact: LogIntensity
    popular: LogIntensity
    demand: LogIntensity
    head_weight: Float[Array, "rel2 head"]
    relation_head_weight: Float[Array, "rel2 head"]
    same_relation: LogIntensity
    relation_level: Float[Array, " rel2"]
    background: Background | None
    num_entities: int = eqx.field(static=True)
    num_relations: int = eqx.field(static=True)
    context: bool = eqx.field(static=True)
    max_partners: int = eqx.field(static=True)
    loss_filter: bool = eqx.field(static=True)
    task_weight: float = eqx.field(static=True)
    dropout: float = eqx.field(static=True)

    def __init__(
        self,
        num_entities: int,
        num_relations: int,
        config: EvidenceTrainingConfig,
        static: StaticGraph | None = None,
        *,
        key: PRNGKeyArray,
    ):
        """**Arguments:** sizes of the vocabulary; `config`; `static`: the static graph, used by the background when
        `config.static_graph`; `key`: of the initialisation."""
        rel2, heads, hidden = 2 * num_relations, config.evidence_heads, config.evidence_hidden
        features = ENTRY_FEATURES + PAIR_FEATURES + (CONTEXT_FEATURES if config.evidence_context else 0)
        keys = jr.split(key, 8)
        # The heads are summed, so each begins at 1 / heads and a past triple at about 1. A triple with the query's own
        # relation begins at e more, popularity and relations without evidence at e^-3.
        level = -math.log(heads)
        self.entry = LogIntensity(features, hidden, heads, rel2, level=level, spread=0.1, key=keys[0])
        self.exact = LogIntensity(features, hidden, 1, rel2, level=1.0, spread=0.0, key=keys[1])
        self.popular = LogIntensity(PLAIN_FEATURES, hidden, 1, rel2, level=-3.0, spread=0.0, key=keys[2])
        # The events of others begin as a factor of about 1, which changes nothing.
        self.demand = LogIntensity(PLAIN_FEATURES, hidden, 1, rel2, level=0.0, spread=0.0, key=keys[7])
        self.head_weight = 0.1 * jr.normal(keys[3], (rel2, heads))
        self.relation_head_weight = 0.1 * jr.normal(keys[4], (rel2, heads))
        self.same_relation = LogIntensity(features, hidden, 1, rel2, level=1.0, spread=0.0, key=keys[5])
        self.relation_level = jnp.full(rel2, -3.0)
        self.background = None
        if config.has_background:
            words = static if config.static_graph else None
            self.background = Background(num_entities, rel2, config.embedding_dim, hidden, words, key=keys[6])
        self.num_entities, self.num_relations = num_entities, num_relations
        self.context, self.max_partners = config.evidence_context, config.max_partners
        self.loss_filter = config.filters_loss
        self.task_weight, self.dropout = config.task_weight, config.dropout

    @property
    def _words(self) -> WordEmbeddings | None:
        return None if self.background is None else self.background.words

    @property
    def static_edges(self) -> StaticEdges | None:
        """The edges from words to entities; None without a static graph."""
        return None if self._words is None else self._words.static_edges

    @property
    def word_embedding(self) -> Float[Array, "word dim3"] | None:
        """The word vectors; None without a static graph."""
        return None if self._words is None else self._words.vectors

    @property
    def loader_options(self) -> EvidenceLoaderOptions:
        """Options that the loader of its batches takes."""
        background = self.background is not None
        return {"context": self.context, "background": background, "max_partners": self.max_partners}

    # --- intensities ---------------------------------------------------------------------------------------------

    def _features(self, neighbours: Neighbours) -> Float[Array, "entry feature"]:
        """Features of every entry: of the triple, then of its pair."""
        pair = take_rows(neighbours.features, neighbours.entry_neighbour)
        return jnp.concatenate([neighbours.entry_features, pair], 1)

    def _heads(self, neighbours: Neighbours, x: Float[Array, "entry feature"]) -> Float[Array, "entry head"]:
        return bounded_exp(self.entry(x, neighbours.entry_relation))

    def _neighbour_heads(
        self, neighbours: Neighbours, x: Float[Array, "entry feature"]
    ) -> Float[Array, "neighbour head"]:
        """The intensities of the heads, summed over the entries of every neighbour."""
        heads, size = self._heads(neighbours, x), len(neighbours.object)
        return segment_sum(heads, neighbours.entry_neighbour, size, is_sorted=True)

    def cache_entities(self, graph: GlobalGraph | EntityCache) -> EntityCache:
        """The background's vectors of all entities, computed once for all queries about a target."""
        if isinstance(graph, EntityCache):
            return graph
        assert self.background is not None
        return self.background.entities(graph)

    def background_logits(self, batch: EvidenceBatch, key: PRNGKeyArray | None = None) -> BackgroundLogits | None:
        """The logits of the background for a batch, or None without a background; `key`: of the dropout."""
        background = self.background
        if background is None:
            return None
        assert batch.global_graph is not None
        cache = self.cache_entities(batch.global_graph)
        subjects, objects, queries = cache.subject, cache.object, batch.entity
        subject = take_rows(subjects, queries.subject, padded=False)
        pair = batch.relation.subject, batch.relation.object
        both = jnp.concatenate([take_rows(x, ids, padded=False) for x, ids in zip((subjects, objects), pair)], 1)
        if key is not None and self.dropout:
            subject_key, object_key, both_key = jr.split(key, 3)
            subject = self._drop(subject_key, subject, subject.shape)
            # One mask for all candidates, which are compared with each other.
            objects = self._drop(object_key, objects, (1, objects.shape[1]))
            both = self._drop(both_key, both, both.shape)
        relation = queries.relation
        vectors = background.query(subject, relation)
        # Activity and level are further columns of the inner product, so neither needs an array [query, entity].
        activity = take_rows(background.activity, relation, padded=False)
        activity = activity + queries.activity @ background.subject_activity
        level = jnp.broadcast_to(background.level, (len(vectors), 1))
        one = jnp.ones((len(objects), 1), objects.dtype)
        entity = FactoredLogits(
            jnp.concatenate([vectors, activity, level], 1), jnp.concatenate([objects, cache.activity, one], 1)
        )
        return BackgroundLogits(entity, both @ background.relation_weight.T + background.relation_bias)

    def _drop(self, key: PRNGKeyArray, x: Float[Array, "n dim"], shape: tuple[int, ...]) -> Float[Array, "n dim"]:
        return x * jr.bernoulli(key, 1 - self.dropout, shape) / (1 - self.dropout)

    def intensities(self, batch: EvidenceBatch, background: BackgroundLogits | None) -> EntityIntensities:
        """The intensities of the entity queries that are not 0, and their sums."""
        neighbours, queries = batch.neighbours, batch.entity
        size, relation = len(queries.subject), queries.relation
        x = self._features(neighbours)
        by_neighbour = self._neighbour_heads(neighbours, x)
        head_weight = take_rows(bounded_exp(HEAD_WEIGHT_SCALE * self.head_weight), relation, padded=False)
        # Padded cells have a query one past the end, hence weights of 0.
        cell_weight = take_rows(head_weight, queries.cell_query)
        cell = jnp.sum(cell_weight * take_rows(by_neighbour, queries.cell_neighbour, padded=False), 1)
        # Padding points past the cells and is dropped.
        cell = add_rows(cell, self._exact(queries, x), queries.exact_cell)
        cell = cell * self._lift(queries, neighbours, background)
        popular = self.popular_intensities(batch)
        by_group = segment_sum(popular, queries.popular_group, len(queries.group), is_sorted=True)
        cell_sum = segment_sum(cell, queries.cell_query, size, is_sorted=True)
        # The small constant belongs to every entity, so its sum is known without listing any.
        popular_sum = take_rows(by_group, queries.query_group, padded=False) + MIN_INTENSITY * self.num_entities
        background_sum = jnp.zeros_like(cell_sum) if background is None else background.entity.sum_exp()
        return EntityIntensities(cell, popular, cell_sum, popular_sum, background_sum)

    def popular_intensities(self, batch: EvidenceBatch) -> Float[Array, " popular"]:
        """The intensity of every past object of a relation, whatever the subject."""
        queries = batch.entity
        relation = take_rows(queries.group, queries.popular_group)
        return bounded_exp(self.popular(queries.popular_features, relation)[:, 0])

    def _exact(self, queries: EvidenceEntityQueries, x: Float[Array, "entry feature"]) -> Float[Array, " exact"]:
        # From a cell to its query to the relation. Padding ends at relation 0, which is real, but its result is dropped
        # by the callers.
        relation = take_rows(queries.relation, take_rows(queries.cell_query, queries.exact_cell))
        return bounded_exp(self.exact(x[queries.exact_entry], relation)[:, 0])

    def _lift(
        self, queries: EvidenceEntityQueries, neighbours: Neighbours, background: BackgroundLogits | None
    ) -> Float[Array, " cell"]:
        """The factor m of every cell, from the popular objects of the relation and from the background."""
        relation = take_rows(queries.group, queries.popular_group)
        demand = self.demand(queries.popular_features, relation)[:, 0]
        # A candidate that is not popular reads 0 and has a factor of 1.
        lift = bounded_exp(take_rows(demand, queries.cell_popular), DEMAND_CLIP)
        if background is None:
            return lift
        assert self.background is not None
        logit = background.entity.at(queries.cell_query, neighbours.object[queries.cell_neighbour])
        strength = take_rows(self.background.lift_strength, queries.relation, padded=False)
        strength = take_rows(strength, queries.cell_query)
        return lift * bounded_exp(strength * jnp.clip(logit + LOG_CENTRE, -LOG_CLIP, LOG_CLIP))

    def relation_intensities(
        self, batch: EvidenceBatch, background: BackgroundLogits | None
    ) -> Float[Array, "relation_query rel2"]:
        """The intensity of every relation for every relation query."""
        neighbours, queries = batch.neighbours, batch.relation
        x, size = self._features(neighbours), len(queries.subject)
        by_neighbour = self._neighbour_heads(neighbours, x)
        head_weight = bounded_exp(HEAD_WEIGHT_SCALE * self.relation_head_weight)
        # The neighbour of two entities that never met lies past the end and reads zeros.
        out = take_rows(by_neighbour, queries.neighbour) @ head_weight.T
        relation = neighbours.entry_relation[queries.evidence_entry]
        same = bounded_exp(self.same_relation(x[queries.evidence_entry], relation)[:, 0])
        out = add_rows(out, same, queries.evidence_query, relation)
        level = jnp.broadcast_to(self.relation_level, (size, len(self.relation_level)))
        return out + bounded_exp(level if background is None else level + background.relation) + MIN_INTENSITY

    def entry_factors(self, batch: EvidenceBatch) -> EntryFactors:
        """What every past event and popular object adds to the candidates of the entity queries, as factors."""
        background = self.background_logits(batch)
        neighbours, queries = batch.neighbours, batch.entity
        x, total = self._features(neighbours), self.intensities(batch, background).total
        return EntryFactors(
            head=self._heads(neighbours, x),
            head_weight=take_rows(bounded_exp(HEAD_WEIGHT_SCALE * self.head_weight), queries.relation, padded=False),
            exact=self._exact(queries, x),
            factor=self._lift(queries, neighbours, background),
            popular=self.popular_intensities(batch),
            scale=jnp.ones_like(total),
            total=total,
        )

    def entity_intensities(self, batch: EvidenceBatch) -> Float[Array, "query entity"]:
        """lambda of every candidate of every entity query."""
        background = self.background_logits(batch)
        found, queries = self.intensities(batch, background), batch.entity
        # Queries with the same relation share their popular objects: one row for each relation, gathered by query.
        by_group = jnp.zeros((len(queries.group), self.num_entities), found.cell.dtype)
        by_group = add_rows(by_group, found.popular, queries.popular_group, queries.popular_object)
        out = by_group[queries.query_group] + MIN_INTENSITY
        if background is not None:
            out = out + capped_exp(background.entity.matrix())
        candidate = batch.neighbours.object[queries.cell_neighbour]
        return add_rows(out, found.cell, queries.cell_query, candidate)

    # --- probabilities -------------------------------------------------------------------------------------------

    def answer_log_probabilities(
        self, batch: EvidenceBatch, key: PRNGKeyArray | None = None
    ) -> tuple[Float[Array, " answer"], Float[Array, " answer"]]:
        """log p of the answers, without an array of [query, entity].

        With `loss_filter`, an entity answer competes only with candidates that are not true.

        **Arguments:** `key`: of the dropout; None in inference.

        **Returns:** the log probabilities of the entity answers and of the relation answers.
        """
        background = self.background_logits(batch, key)
        found, queries = self.intensities(batch, background), batch.entity
        query, answer = queries.answers.answer_query, queries.answers.answer
        own = take_rows(found.cell, queries.answer_cell) + take_rows(found.popular, queries.answer_popular)
        own = own + MIN_INTENSITY
        if background is not None:
            own = own + capped_exp(background.entity.at(query, answer))
        entity = jnp.log(own) - jnp.log(self.loss_normalizer(found.total, own, queries.answers))
        intensity = self.relation_intensities(batch, background)
        return entity, relation_answer_log_probabilities(intensity, batch.relation.answers)

    def loss_normalizer(
        self, total: Float[Array, " query"], own: Float[Array, " answer"], answers: Answers
    ) -> Float[Array, " answer"]:
        """The intensity that every answer is divided by in the loss, its own included.

        **Arguments:** `total`: over all candidates of every query; `own`: of every answer.
        """
        query = answers.answer_query
        if not self.loss_filter:
            return take_rows(total, query, padded=False)
        # The other true candidates leave the denominator; the answer's own intensity is added again.
        real = answers.answer_weight > 0
        true = segment_sum(jnp.where(real, own, 0), query, len(total))
        # Where nearly all candidates are true, rounding can make the difference negative.
        return take_rows(jnp.maximum(total - true, MIN_INTENSITY), query, padded=False) + own


def relation_answer_log_probabilities(
    intensity: Float[Array, "relation_query rel2"], answers: Answers
) -> Float[Array, " answer"]:
    """log p of the answers of relation queries, from the intensities of all relations."""
    query = answers.answer_query
    # MIN_INTENSITY is part of every intensity, so the logarithms are finite.
    own = jnp.log(take_rows(intensity, query, answers.answer, padded=False))
    return own - take_rows(jnp.log(jnp.sum(intensity, 1)), query, padded=False)
