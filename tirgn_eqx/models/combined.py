"""A recurrent graph model with evidence: two forecasters that see different things, and a gate that weighs them.

Of the question (s, r, ?), with log p the structure's log probability (its raw mode; evidence takes the place of the
history mode) and c, v, b the intensities that evidence gives by past events, by popularity and by its background:

    lambda(o) = [c(o) lift(o) + v(o) + b(o) lift(o)] / Lambda + exp(g log p(o) + l)
    lift(o) = exp(h (log p(o) + 6) + n(o))

where Lambda is the sum of all of c, v and b. The gate makes g, l and h for every question from how much evidence there
is, and from the relation; so the structure counts most where evidence is thin. n, for candidates with past events
alone, is a small network that sees how both forecasts rank them and what their events are like. Relations are forecast
alike, with one g, l and h for all, and without n.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, Int, PRNGKeyArray

from tirgn_eqx.data.index.evidence import CONTEXT_FEATURES, ENTRY_FEATURES, PAIR_FEATURES, PLAIN_FEATURES
from tirgn_eqx.models.evidence import LEAST, Evidence, Intensities, State, bounded_exp
from tirgn_eqx.models.evolution import Encoding, RecurrentGraphModel
from tirgn_eqx.models.products import Products, capped_exp, rows_of
from tirgn_eqx.nn.static_graph import StaticEdges
from tirgn_eqx.types import EvidenceBatch, Queries

QUERY_FEATURES = 4 + PLAIN_FEATURES
CELL_FEATURES = 6 + ENTRY_FEATURES  # beside those of the pair
HIDDEN = 16
USUAL = 6.0  # the middle of log probabilities: about -6
REACH = 8.0  # a lift sees log probabilities within this much of the middle
PACES = (0.1, 1.0, 0.1)  # how fast exponent, level and lift move with the features, against Adam's step


class Second(eqx.Module):
    """n(o), a second look at candidates with past events: a hidden layer over what both forecasts say of them."""

    inner: Float[Array, "feature hidden"]
    bias: Float[Array, " hidden"]
    outer: Float[Array, " hidden"]

    def __init__(self, features: int, hidden: int, key: PRNGKeyArray):
        self.inner = 0.3 * jr.normal(key, (features, hidden))
        self.bias, self.outer = jnp.zeros(hidden), jnp.zeros(hidden)

    def __call__(self, x: Float[Array, "cell feature"]) -> Float[Array, " cell"]:
        return jax.nn.gelu(x @ self.inner + self.bias) @ self.outer


class Gate(eqx.Module):
    """Exponent g, level l and lift h, each a sum of a constant, of parts for features and a part for the relation; and
    the second look n."""

    base: Float[Array, "3"]
    by_feature: Float[Array, "feature 3"]
    by_relation: Float[Array, "rel2 3"]
    for_relation: Float[Array, "3"]
    second: Second

    def __init__(self, evidence: Evidence, key: PRNGKeyArray):
        """**Arguments:** `evidence`: what is weighed. It begins as what was found to suit event data, without n."""
        rel2 = 2 * evidence.num_relations
        self.base = jnp.array([0.8, -1.0, 0.14])
        self.by_feature, self.by_relation = jnp.zeros((QUERY_FEATURES, 3)), jnp.zeros((rel2, 3))
        self.for_relation = jnp.array([0.8, -1.0, 0.14])
        features = CELL_FEATURES + PAIR_FEATURES + (CONTEXT_FEATURES if evidence.context else 0)
        self.second = Second(features, HIDDEN, key)

    def __call__(
        self, features: Float[Array, "unit feature"], relation: Int[Array, " unit"]
    ) -> tuple[Float[Array, " unit"], Float[Array, " unit"], Float[Array, " unit"]]:
        """(exponent, level, lift) of entity questions."""
        paces = jnp.array(PACES)
        out = self.base + paces * (features @ self.by_feature) + 0.3 * paces * self.by_relation[relation]
        # Below 0 the structure would be turned upside down.
        return jax.nn.relu(out[:, 0]), out[:, 1], out[:, 2]

    def strays(self) -> Float[Array, ""]:
        """How far the parts of features and relations are from none: what training keeps small."""
        return jnp.mean(self.by_feature**2) + jnp.mean(self.by_relation**2)


class Mixed(NamedTuple):
    """Entity questions: what the gate makes of both forecasts. `cell`, `popular` (times the unit's `scale`) and the
    exponentials of `background` and `structure` are intensities that sum up to `total`; `lift` is in `cell` already."""

    cell: Float[Array, " cell"]
    lift: Float[Array, " cell"]
    popular: Float[Array, " popular"]
    scale: Float[Array, " unit"]
    background: Products | None
    structure: Products
    total: Float[Array, " unit"]


class Combined(eqx.Module):
    """Structure, evidence and gate as one immutable pytree. It forecasts through `at`."""

    structure: RecurrentGraphModel
    evidence: Evidence
    gate: Gate

    @property
    def num_entities(self) -> int:
        return self.evidence.num_entities

    @property
    def num_relations(self) -> int:
        return self.evidence.num_relations

    @property
    def static_edges(self) -> StaticEdges | None:
        """From the entities to their words, which both parts share; None without a static graph."""
        found = self.structure.static_edges
        return self.evidence.static_edges if found is None else found

    @property
    def word_embedding(self) -> Float[Array, "word wide"] | None:
        """A vector for every word: the structure's, or the evidence's where the structure has none."""
        found = self.structure.word_embedding
        return self.evidence.word_embedding if found is None else found

    def at(self, encoding: Encoding, time_index: Float[Array, ""]) -> "Informed":
        """The model at a target, from what the structure's `encode` made of the window before it."""
        return Informed(self, encoding, time_index)


class Informed(eqx.Module):
    """A `Combined` model at one target: it answers as `Evidence` does."""

    model: Combined
    encoding: Encoding
    time_index: Float[Array, ""]

    def state(self, batch: EvidenceBatch) -> State | None:
        """What the background of the evidence gives."""
        return self.model.evidence.state(batch)

    def _structure(self, batch: EvidenceBatch, kind: str) -> Products:
        """The structure's logits of the questions of one kind."""
        asked: Any = batch.entity if kind == "entity" else batch.relation
        given, none = asked.relation if kind == "entity" else asked.object, jnp.zeros(0, jnp.int32)
        queries = Queries.without_answers(asked.subject, given, none, none)
        structure = self.model.structure
        vectors, _, candidates, _ = structure.decode(
            self.encoding,
            queries,
            self.time_index,
            structure.buffers,
            kind=kind,  # pyright: ignore
        )
        return Products(vectors.astype(jnp.float32), candidates.astype(jnp.float32))

    def _features(self, batch: EvidenceBatch, found: Intensities) -> Float[Array, "unit feature"]:
        """What the gate knows of a question: how much evidence there is, what share of it is of past events, of how
        many candidates and triples, and the subject's activity."""
        asked, units = batch.entity, len(batch.entity.subject)
        count = lambda unit: jax.ops.segment_sum(jnp.ones(len(unit)), unit, units)
        inside = asked.exact_cell < len(asked.cell_unit)
        exact_unit = jnp.where(inside, rows_of(asked.cell_unit, asked.exact_cell), units)
        columns = [
            0.3 * jnp.log(found.total),
            found.cell_sum / found.total,
            0.3 * jnp.log1p(count(asked.cell_unit)),
            0.3 * jnp.log1p(count(exact_unit)),
        ]
        return jnp.concatenate([jnp.stack(columns, 1), asked.activity], 1)

    def _cell_features(
        self, batch: EvidenceBatch, share: Float[Array, " cell"], log_p: Float[Array, " cell"]
    ) -> Float[Array, "cell feature"]:
        """What the second look knows of a candidate: both forecasts, by themselves and against the candidate that
        leads among those with past events; the features of its pair and, where it has one, of its very triple."""
        asked, partners, units = batch.entity, batch.partners, len(batch.entity.subject)
        options: dict[str, Any] = {"num_segments": units, "indices_are_sorted": True}
        of_unit = lambda reduce, x: rows_of(reduce(x, asked.cell_unit, **options), asked.cell_unit)
        log_share = jnp.log(share + 1e-9)
        columns = [
            log_p,
            log_share,
            log_p - jnp.log(of_unit(jax.ops.segment_sum, jnp.exp(log_p)) + 1e-9),
            log_share - of_unit(jax.ops.segment_max, log_share),
            log_p - of_unit(jax.ops.segment_max, log_p),
        ]
        entry = rows_of(partners.entry_features, asked.exact_entry)
        # A one beside the features says that there is such a triple.
        entry = jnp.concatenate([jnp.ones((len(entry), 1)), entry], 1)
        exact = jnp.zeros((len(share), entry.shape[1])).at[asked.exact_cell].set(entry, mode="drop")
        pair = rows_of(partners.features, asked.cell_partner)
        return jnp.clip(jnp.concatenate([jnp.stack(columns, 1) / 4, pair, exact], 1), -REACH, REACH)

    def mixed(self, batch: EvidenceBatch) -> Mixed:
        """Both forecasts of the entity questions, weighed."""
        evidence, gate, asked = self.model.evidence, self.model.gate, batch.entity
        state = evidence.state(batch)
        background = None if state is None else Products(state.unit, state.candidate)
        found = evidence.intensities(batch, background)
        exponent, level, lift = gate(self._features(batch, found), asked.relation)
        logits = self._structure(batch, "entity")
        log_p = logits.shifted(-logits.log_total())
        scale = 1 / found.total
        own = log_p.at(asked.cell_unit, batch.partners.object[asked.cell_partner])
        lifted = bounded_exp(rows_of(lift, asked.cell_unit) * jnp.clip(own + USUAL, -REACH, REACH))
        share = found.cell * rows_of(scale, asked.cell_unit)
        lifted = lifted * bounded_exp(gate.second(self._cell_features(batch, share, own)))
        cell = share * lifted
        structure = log_p.times(exponent).shifted(level)
        total = jax.ops.segment_sum(cell, asked.cell_unit, len(scale), indices_are_sorted=True)
        total = total + found.popular_sum * scale + structure.total()
        if background is not None:
            # The same lift, but without bounds, so that the exponents stay products of vectors.
            background = background.plus(log_p.times(lift)).shifted(lift * USUAL + jnp.log(scale))
            total = total + background.total()
        return Mixed(cell, lifted, found.popular, scale, background, structure, total)

    def relation_intensities(self, batch: EvidenceBatch, state: State | None) -> Float[Array, "pair_unit rel2"]:
        """The intensity of every relation for every relation question."""
        found = self.model.evidence.relation_intensities(batch, state)
        share = found / jnp.sum(found, 1, keepdims=True)
        log_p = self._structure(batch, "relation")
        log_p = jax.nn.log_softmax(log_p.matrix(), 1)
        exponent, level, lift = self.model.gate.for_relation
        lifted = bounded_exp(lift * jnp.clip(log_p + USUAL, -REACH, REACH))
        return share * lifted + bounded_exp(jax.nn.relu(exponent) * log_p + level)

    def popular_intensities(self, batch: EvidenceBatch) -> Float[Array, " popular"]:
        """What being seen with the relation gives to every popular object, as `entity_intensities` counts it. For one
        unit: others have another scale."""
        mixed = self.mixed(batch)
        return mixed.popular * mixed.scale[0]

    def entry_intensities(self, batch: EvidenceBatch) -> Float[Array, "unit entry"]:
        """What every entry gives to its candidate for every unit, as in `Evidence`."""
        mixed, asked, partners = self.mixed(batch), batch.entity, batch.partners
        cells = jnp.zeros((len(asked.subject), len(partners.object)))
        lift = mixed.lift * rows_of(mixed.scale, asked.cell_unit)
        cells = cells.at[asked.cell_unit, asked.cell_partner].set(lift, mode="drop")
        out = self.model.evidence.entry_intensities(batch)
        return out * cells.at[:, partners.entry_pair].get(mode="fill", fill_value=0)

    def structure_intensities(self, batch: EvidenceBatch) -> Float[Array, "unit entity"]:
        """What the structure gives to every candidate by itself, its lift of evidence not counted."""
        structure = self.mixed(batch).structure
        return capped_exp(structure.matrix())

    def entity_intensities(self, batch: EvidenceBatch) -> Float[Array, "unit entity"]:
        """lambda of every candidate."""
        mixed, asked = self.mixed(batch), batch.entity
        by_kind = jnp.zeros((len(asked.kind), self.model.num_entities), mixed.cell.dtype)
        by_kind = by_kind.at[asked.popular_kind, asked.popular_object].add(mixed.popular, mode="drop")
        out = (by_kind[asked.unit_kind] + LEAST) * mixed.scale[:, None]
        for part in (mixed.structure, mixed.background):
            if part is not None:
                out = out + capped_exp(part.matrix())
        return out.at[asked.cell_unit, batch.partners.object[asked.cell_partner]].add(mixed.cell, mode="drop")

    def answer_log_probabilities(self, batch: EvidenceBatch) -> tuple[Float[Array, " answer"], Float[Array, " answer"]]:
        """log p of the answers of the entity and of the relation questions, as `Evidence` gives them; no [unit, entity]
        array is needed."""
        mixed, asked = self.mixed(batch), batch.entity
        unit, answer = asked.answers.answer_unit, asked.answers.answer
        own = (rows_of(mixed.popular, asked.answer_popular) + LEAST) * rows_of(mixed.scale, unit)
        own = own + rows_of(mixed.cell, asked.answer_cell) + capped_exp(mixed.structure.at(unit, answer))
        if mixed.background is not None:
            own = own + capped_exp(mixed.background.at(unit, answer))
        entity = jnp.log(own) - jnp.log(self.model.evidence.rivals(mixed.total, own, asked.answers))
        intensity = self.relation_intensities(batch, self.state(batch))
        answers = batch.relation.answers
        relation = jnp.log(intensity[answers.answer_unit, answers.answer])
        return entity, relation - jnp.log(jnp.sum(intensity, 1))[answers.answer_unit]
