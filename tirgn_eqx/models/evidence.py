"""Evidence: what happens next, from what happened before, as a sum of named past events.

The intensity of candidate o for the question (s, r, ?) at time t is

    lambda(o) = m(s, r, o) * [ sum over known triples (s, q, o) of  sum_k a[r, k] exp(g_k(q, x))
                               + exp(e(r, x))  where q = r ]
                + exp(p(r, x'))  where (?, r, o) is known  +  exp(b(s, r, o))  +  a small constant,

x being ages and counts of the triple, of the pair (s, o), and of both entities; x' those of (r, o). g, e and p are
small networks with a part of their own for every relation, the heads k are kinds of evidence that relations share. b,
the background, compares entities by embeddings and by those that they are linked with; m lifts candidates that the
background finds likely, or that others have had the relation with. p(o) = lambda(o) / sum of all lambda, and every past
event's share in it is exact.

Relations are forecast alike: the triples (s, q, o) of the pair carry every relation r.
"""

import math
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray

from tirgn_eqx.config import EvidenceTrainingConfig
from tirgn_eqx.data.graph import StaticGraph
from tirgn_eqx.data.index.evidence import CONTEXT_FEATURES, ENTRY_FEATURES, PAIR_FEATURES, PLAIN_FEATURES
from tirgn_eqx.models.background import Background, Words
from tirgn_eqx.models.kernel import Kernel, bounded_exp
from tirgn_eqx.models.products import Products, capped_exp, rows_of
from tirgn_eqx.nn.static_graph import StaticEdges
from tirgn_eqx.types import Answers, EntityQuestions, EvidenceBatch, Partners, Settled, Surroundings

PACE = 3  # how much faster the heads' weights move than their parameters, which Adam moves all alike
MOST_DEMAND = 4.0  # exponent of what others' events may do to a candidate's evidence, either way
LEAST = 1e-6  # intensity of every candidate, so that none is impossible


class State(NamedTuple):
    """What the background gives for a batch: vectors of units and candidates, and relation questions' logits."""

    unit: Float[Array, "unit wide"]
    candidate: Float[Array, "entity wide"]
    relation: Float[Array, "pair_unit rel2"]


class Intensities(NamedTuple):
    """Entity questions: the intensity of cells and of popular objects, and what they and the background sum up to over
    all candidates of every unit; `popular_sum` holds the small constant of every candidate too."""

    cell: Float[Array, " cell"]
    popular: Float[Array, " popular"]
    cell_sum: Float[Array, " unit"]
    popular_sum: Float[Array, " unit"]
    background_sum: Float[Array, " unit"]

    @property
    def total(self) -> Float[Array, " unit"]:
        return self.cell_sum + self.popular_sum + self.background_sum


class Evidence(eqx.Module):
    """The model as one immutable pytree; every leaf is trained but the edges of a static graph."""

    entry: Kernel
    exact: Kernel
    popular: Kernel
    demand: Kernel
    asked: Float[Array, "rel2 head"]
    asked_relation: Float[Array, "rel2 head"]
    same_relation: Kernel
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
        """**Arguments:** sizes of the vocabulary; `config`; `static`: the entities' words, used by the background when
        `config.static_graph`; `key`: of the initialisation."""
        rel2, heads, hidden = 2 * num_relations, config.evidence_heads, config.evidence_hidden
        features = ENTRY_FEATURES + PAIR_FEATURES + (CONTEXT_FEATURES if config.evidence_context else 0)
        keys = jr.split(key, 8)
        self.entry = Kernel(features, hidden, heads, rel2, -math.log(heads), 0.1, keys[0])
        self.exact = Kernel(features, hidden, 1, rel2, 1.0, 0.0, keys[1])
        self.popular = Kernel(PLAIN_FEATURES, hidden, 1, rel2, -3.0, 0.0, keys[2])
        self.demand = Kernel(PLAIN_FEATURES, hidden, 1, rel2, 0.0, 0.0, keys[7])
        self.asked = 0.1 * jr.normal(keys[3], (rel2, heads))
        self.asked_relation = 0.1 * jr.normal(keys[4], (rel2, heads))
        self.same_relation = Kernel(features, hidden, 1, rel2, 1.0, 0.0, keys[5])
        self.relation_level = jnp.full(rel2, -3.0)
        self.background = None
        if config.evidence_background:
            words = static if config.static_graph else None
            self.background = Background(num_entities, rel2, config.embedding_dim, hidden, keys[6], words)
        self.num_entities, self.num_relations = num_entities, num_relations
        self.context, self.max_partners = config.evidence_context, config.max_partners
        self.loss_filter = config.loss_filter
        self.task_weight, self.dropout = config.task_weight, config.dropout

    @property
    def static_edges(self) -> StaticEdges | None:
        """From the entities to their words; None without a static graph."""
        words = self._words
        return None if words is None else words.static_edges

    @property
    def word_embedding(self) -> Float[Array, "word dim3"] | None:
        """What words say of an entity: as subject, object and partner."""
        words = self._words
        return None if words is None else words.vectors

    @property
    def _words(self) -> Words | None:
        return None if self.background is None else self.background.words

    @property
    def needs(self) -> dict[str, Any]:
        """What a loader of its batches must be told."""
        return {
            "context": self.context,
            "background": self.background is not None,
            "max_partners": self.max_partners,
        }

    # --- evidence ----------------------------------------------------------------------------------------------

    def _described(self, partners: Partners) -> Float[Array, "entry feature"]:
        """Features of every entry, those of its pair included."""
        return jnp.concatenate([partners.entry_features, rows_of(partners.features, partners.entry_pair)], 1)

    def _heads(self, partners: Partners, x: Float[Array, "entry feature"]) -> Float[Array, "entry head"]:
        return bounded_exp(self.entry(x, partners.entry_relation))

    def _by_partner(self, partners: Partners, x: Float[Array, "entry feature"]) -> Float[Array, "partner head"]:
        """The heads' intensities, summed over the entries of every partner."""
        heads = self._heads(partners, x)
        return jax.ops.segment_sum(heads, partners.entry_pair, len(partners.object), indices_are_sorted=True)

    def settled(self, around: Surroundings | Settled) -> Settled:
        """What the background makes of everybody."""
        if isinstance(around, Settled):
            return around
        assert self.background is not None
        return Settled(around.activity, *self.background.states(around))

    def state(self, batch: EvidenceBatch, key: PRNGKeyArray | None = None) -> State | None:
        """What the background gives; `key`: of its dropout."""
        part, around = self.background, batch.surroundings
        if part is None:
            return None
        assert around is not None
        around = self.settled(around)
        subjects, objects = around.subject, around.object
        asked = batch.entity
        subject = subjects[asked.subject]
        both = jnp.concatenate([subjects[batch.relation.subject], objects[batch.relation.object]], 1)
        if key is not None and self.dropout:
            keys = jr.split(key, 3)
            drop = lambda key, x, shape: x * jr.bernoulli(key, 1 - self.dropout, shape) / (1 - self.dropout)
            subject = drop(keys[0], subject, subject.shape)
            # One mask for all candidates, which are compared with each other.
            objects = drop(keys[1], objects, (1, objects.shape[1]))
            both = drop(keys[2], both, both.shape)
        relation = asked.relation
        unit = part.question(subject, relation)
        activity = part.activity[relation] + asked.activity @ part.activity_of_subject
        level = jnp.broadcast_to(part.level, (len(unit), 1))
        one = jnp.ones((len(objects), 1), objects.dtype)
        return State(
            jnp.concatenate([unit, activity, level], 1),
            jnp.concatenate([objects, around.activity, one], 1),
            both @ part.for_relation.T + part.for_relation_bias,
        )

    def intensities(self, batch: EvidenceBatch, background: Products | None) -> Intensities:
        """The intensities of the entity questions."""
        partners, asked = batch.partners, batch.entity
        units, relation = len(asked.subject), asked.relation
        x = self._described(partners)
        by_partner = self._by_partner(partners, x)
        of_unit = bounded_exp(PACE * self.asked)[relation]
        cell = jnp.sum(rows_of(of_unit, asked.cell_unit) * by_partner[asked.cell_partner], 1)
        cell = cell.at[asked.exact_cell].add(self._exact(asked, x), mode="drop")
        cell = cell * self._lift(asked, partners, background)
        popular = self.popular_intensities(batch)
        by_kind = jax.ops.segment_sum(popular, asked.popular_kind, len(asked.kind), indices_are_sorted=True)
        cell_sum = jax.ops.segment_sum(cell, asked.cell_unit, units, indices_are_sorted=True)
        popular_sum = by_kind[asked.unit_kind] + LEAST * self.num_entities
        background_sum = jnp.zeros_like(cell_sum) if background is None else background.total()
        return Intensities(cell, popular, cell_sum, popular_sum, background_sum)

    def popular_intensities(self, batch: EvidenceBatch) -> Float[Array, " popular"]:
        """What being seen with the relation gives to every popular object, whoever asks."""
        asked = batch.entity
        return bounded_exp(self.popular(asked.popular_features, rows_of(asked.kind, asked.popular_kind))[:, 0])

    def _exact(self, asked: EntityQuestions, x: Float[Array, "entry feature"]) -> Float[Array, " exact"]:
        relation = rows_of(asked.relation, rows_of(asked.cell_unit, asked.exact_cell))
        return bounded_exp(self.exact(x[asked.exact_entry], relation)[:, 0])

    def _lift(self, asked: EntityQuestions, partners: Partners, background: Products | None) -> Float[Array, " cell"]:
        """What the relation's popular objects and the background make of candidates that have evidence."""
        demand = self.demand(asked.popular_features, rows_of(asked.kind, asked.popular_kind))[:, 0]
        lift = bounded_exp(rows_of(demand, asked.cell_popular), MOST_DEMAND)
        if background is None:
            return lift
        assert self.background is not None
        product = background.at(asked.cell_unit, partners.object[asked.cell_partner])
        strength = rows_of(self.background.modulation[asked.relation], asked.cell_unit)
        return lift * bounded_exp(strength * jnp.clip(product + 6, -8, 8))

    def relation_intensities(self, batch: EvidenceBatch, state: State | None) -> Float[Array, "pair_unit rel2"]:
        """The intensity of every relation for every relation question."""
        partners, asked = batch.partners, batch.relation
        x, units = self._described(partners), len(asked.subject)
        by_partner = self._by_partner(partners, x)
        carried = rows_of(by_partner, asked.partner) @ bounded_exp(PACE * self.asked_relation).T
        mine = x[asked.asked_entry]
        relation = partners.entry_relation[asked.asked_entry]
        same = bounded_exp(self.same_relation(mine, relation)[:, 0])
        carried = carried.at[asked.asked_unit, relation].add(same, mode="drop")
        level = jnp.broadcast_to(self.relation_level, (units, len(self.relation_level)))
        return carried + bounded_exp(level if state is None else level + state.relation) + LEAST

    def entry_intensities(self, batch: EvidenceBatch) -> Float[Array, "unit entry"]:
        """What every entry gives to its candidate for every unit: the cells' intensities, taken apart. For a few units:
        the array holds all entries for each, 0 for those of other subjects."""
        state = self.state(batch)
        partners, asked = batch.partners, batch.entity
        x = self._described(partners)
        out = bounded_exp(PACE * self.asked)[asked.relation] @ self._heads(partners, x).T
        background = None if state is None else Products(state.unit, state.candidate)
        lift = self._lift(asked, partners, background)
        cells = jnp.zeros((len(asked.subject), len(partners.object)), lift.dtype)
        cells = cells.at[asked.cell_unit, asked.cell_partner].set(lift, mode="drop")
        unit = rows_of(asked.cell_unit, asked.exact_cell)
        inside = asked.exact_cell < len(asked.cell_unit)
        out = out.at[jnp.where(inside, unit, len(out)), asked.exact_entry].add(self._exact(asked, x), mode="drop")
        return out * cells.at[:, partners.entry_pair].get(mode="fill", fill_value=0)

    # --- probabilities -------------------------------------------------------------------------------------------

    def answer_log_probabilities(
        self, batch: EvidenceBatch, key: PRNGKeyArray | None = None
    ) -> tuple[Float[Array, " answer"], Float[Array, " answer"]]:
        """log p of the answers of the entity and of the relation questions; no [unit, entity] array is made. With
        `loss_filter`, that of an entity answer is among itself and all that is not true."""
        state = self.state(batch, key)
        background = None if state is None else Products(state.unit, state.candidate)
        found, asked = self.intensities(batch, background), batch.entity
        unit, answer = asked.answers.answer_unit, asked.answers.answer
        own = rows_of(found.cell, asked.answer_cell) + rows_of(found.popular, asked.answer_popular) + LEAST
        if background is not None:
            own = own + capped_exp(background.at(unit, answer))
        entity = jnp.log(own) - jnp.log(self.rivals(found.total, own, asked.answers))
        intensity = self.relation_intensities(batch, state)
        answers = batch.relation.answers
        relation = jnp.log(intensity[answers.answer_unit, answers.answer])
        return entity, relation - jnp.log(jnp.sum(intensity, 1))[answers.answer_unit]

    def rivals(
        self, total: Float[Array, " unit"], own: Float[Array, " answer"], answers: Answers
    ) -> Float[Array, " answer"]:
        """The intensity that each answer's is compared with in the loss, its own included."""
        unit = answers.answer_unit
        if not self.loss_filter:
            return total[unit]
        real = answers.answer_weight > 0
        true = jax.ops.segment_sum(jnp.where(real, own, 0), unit, len(total))
        # Rounding may leave less than nothing where nearly all is true.
        return jnp.maximum(total - true, LEAST)[unit] + own

    def entity_intensities(self, batch: EvidenceBatch) -> Float[Array, "unit entity"]:
        """lambda of every candidate."""
        state = self.state(batch)
        background = None if state is None else Products(state.unit, state.candidate)
        found, asked = self.intensities(batch, background), batch.entity
        by_kind = jnp.zeros((len(asked.kind), self.num_entities), found.cell.dtype)
        by_kind = by_kind.at[asked.popular_kind, asked.popular_object].add(found.popular, mode="drop")
        out = by_kind[asked.unit_kind] + LEAST
        if state is not None:
            out = out + capped_exp(state.unit @ state.candidate.T)
        return out.at[asked.cell_unit, batch.partners.object[asked.cell_partner]].add(found.cell, mode="drop")
