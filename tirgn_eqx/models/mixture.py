"""A recurrent graph model mixed with evidence, under a gate that weighs them for every query.

For the query (s, r, ?), let log p be the log probability of the structure (its raw mode; evidence replaces the history
mode), and c, v and b the intensities of evidence from past events, popularity and background:

    lambda(o) = [c(o) lift(o) + v(o) + b(o) lift(o)] / Lambda + exp(g log p(o) + l)
    lift(o) = exp(h (log p(o) + 6) + n(o))

Lambda is the sum of all c, v and b. The gate computes g, l and h from the amount of evidence and the relation, so that
the structure counts most where evidence is thin. n, for candidates with past events alone, is a small network that sees
how both forecasts rank a candidate and what its events are. Relations are forecast in the same way, with one g, l and h
for all queries and without n.
"""

from typing import Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from tirgn_eqx.models.encoder import Encoding
from tirgn_eqx.models.entries import EntryFactors
from tirgn_eqx.models.evidence import (
    MIN_INTENSITY,
    BackgroundLogits,
    EntityIntensities,
    Evidence,
    relation_answer_log_probabilities,
)
from tirgn_eqx.models.gate import Gate
from tirgn_eqx.models.intensity import LOG_CENTRE, LOG_CLIP, FactoredLogits, bounded_exp, capped_exp
from tirgn_eqx.models.recurrent import RecurrentGraphModel
from tirgn_eqx.nn.segments import add_rows, segment_sum, take_rows
from tirgn_eqx.nn.static_graph import StaticEdges
from tirgn_eqx.types import EvidenceBatch, Queries


class MixtureIntensities(NamedTuple):
    """Entity queries under the gate.

    The intensities are `cell` (with `lift` applied), `popular` times the query's `scale`, and the exponentials of
    `background` and `structure`. They add up to `total`.
    """

    cell: Float[Array, " cell"]
    lift: Float[Array, " cell"]
    popular: Float[Array, " popular"]
    scale: Float[Array, " query"]
    background: FactoredLogits | None
    structure: FactoredLogits
    total: Float[Array, " query"]


class Mixture(eqx.Module):
    """Structure, evidence and gate. It forecasts through `at`."""

    structure: RecurrentGraphModel
    evidence: Evidence
    gate: Gate

    @property
    def num_entities(self) -> int:
        """Entities of the vocabulary."""
        return self.evidence.num_entities

    @property
    def num_relations(self) -> int:
        """Relations without their inverses."""
        return self.evidence.num_relations

    @property
    def static_edges(self) -> StaticEdges | None:
        """The edges from words to entities, the same in both parts; None without a static graph."""
        edges = self.structure.static_edges
        return self.evidence.static_edges if edges is None else edges

    @property
    def word_embedding(self) -> Float[Array, "word wide"] | None:
        """A vector of every word: of the structure, or of the evidence where the structure has none."""
        words = self.structure.word_embedding
        return self.evidence.word_embedding if words is None else words

    def at(self, encoding: Encoding, time_index: Float[Array, ""]) -> "MixtureAtTarget":
        """The model at a target, from the structure's `encoding` of the window before it and the target's time."""
        return MixtureAtTarget(self, encoding, time_index)


class MixtureAtTarget(eqx.Module):
    """A `Mixture` at one target, with the interface of `Evidence`."""

    model: Mixture
    encoding: Encoding
    time_index: Float[Array, ""]

    def background_logits(self, batch: EvidenceBatch) -> BackgroundLogits | None:
        """The logits of the background of the evidence."""
        return self.model.evidence.background_logits(batch)

    def _structure_logits(self, batch: EvidenceBatch, kind: Literal["entity", "relation"]) -> FactoredLogits:
        if kind == "entity":
            subject, condition = batch.entity.subject, batch.entity.relation
        else:
            subject, condition = batch.relation.subject, batch.relation.object
        # Evidence replaces the history mode, so the queries carry no history.
        none = jnp.zeros(0, jnp.int32)
        queries = Queries.without_answers(subject, condition, none, none)
        structure = self.model.structure
        vectors, _, candidates, _ = structure.decode(
            self.encoding, queries, self.time_index, structure.buffers, kind=kind
        )
        # Evidence sums intensities in f32, and so does the mixture, whatever the compute type of the structure.
        return FactoredLogits(vectors.astype(jnp.float32), candidates.astype(jnp.float32))

    def _query_features(self, batch: EvidenceBatch, found: EntityIntensities) -> Float[Array, "query feature"]:
        """Features of a query for the gate: the amount of evidence, the share of past events in it, the numbers of
        candidates and of exact repeats, and the activity of the subject."""
        queries, size = batch.entity, len(batch.entity.subject)
        # `take_rows` fills with 0, a real query, so padding is sent one past the end.
        inside = queries.exact_cell < len(queries.cell_query)
        exact_query = jnp.where(inside, take_rows(queries.cell_query, queries.exact_cell), size)
        cells = segment_sum(jnp.ones(len(queries.cell_query)), queries.cell_query, size)
        exact = segment_sum(jnp.ones(len(exact_query)), exact_query, size)
        # 0.3 brings logarithms near to 1, as `SCALE` does in the features of evidence.
        columns = [
            0.3 * jnp.log(found.total),
            found.cell_sum / found.total,
            0.3 * jnp.log1p(cells),
            0.3 * jnp.log1p(exact),
        ]
        return jnp.concatenate([jnp.stack(columns, 1), queries.activity], 1)

    def _cell_features(
        self, batch: EvidenceBatch, share: Float[Array, " cell"], log_p: Float[Array, " cell"]
    ) -> Float[Array, "cell feature"]:
        """Features of a candidate for the reranker: both forecasts, as such and relative to the candidates with past
        events, then the features of its pair and, where there is one, of the same triple in the past."""
        queries, neighbours, size = batch.entity, batch.neighbours, len(batch.entity.subject)

        def max_over_query(x: Float[Array, " cell"]) -> Float[Array, " cell"]:
            top = jax.ops.segment_max(x, queries.cell_query, size, indices_are_sorted=True)
            return take_rows(top, queries.cell_query)

        # Padded cells have share 0.
        log_share = jnp.log(share + 1e-9)
        # The third is log p among the candidates with past events; the last two are distances to the best of these.
        columns = [
            log_p,
            log_share,
            log_p
            - jnp.log(take_rows(_segment_sum(jnp.exp(log_p), queries.cell_query, size), queries.cell_query) + 1e-9),
            log_share - max_over_query(log_share),
            log_p - max_over_query(log_p),
        ]
        entry = take_rows(neighbours.entry_features, queries.exact_entry)
        # A column of ones marks the candidates that have such a triple.
        entry = jnp.concatenate([jnp.ones((len(entry), 1)), entry], 1)
        exact = jnp.zeros((len(share), entry.shape[1])).at[queries.exact_cell].set(entry, mode="drop")
        pair = take_rows(neighbours.features, queries.cell_neighbour)
        # The clip bounds the logarithms of shares and probabilities near 0.
        return jnp.clip(jnp.concatenate([jnp.stack(columns, 1) / 4, pair, exact], 1), -LOG_CLIP, LOG_CLIP)

    def mix(self, batch: EvidenceBatch) -> MixtureIntensities:
        """Both forecasts of the entity queries, weighed by the gate."""
        evidence, gate, queries = self.model.evidence, self.model.gate, batch.entity
        logits = evidence.background_logits(batch)
        found = evidence.intensities(batch, logits)
        exponent, level, lift = gate(self._query_features(batch, found), queries.relation)
        log_p = self._structure_logits(batch, "entity")
        # The normaliser is a constant of the query, so log probabilities stay inner products.
        log_p = log_p.shift(-log_p.logsumexp())
        # The evidence of every query sums to 1 before the lift, so the level compares the structure with that.
        scale = 1 / found.total
        own = log_p.at(queries.cell_query, batch.neighbours.object[queries.cell_neighbour])
        clipped = jnp.clip(own + LOG_CENTRE, -LOG_CLIP, LOG_CLIP)
        lifts = bounded_exp(take_rows(lift, queries.cell_query) * clipped)
        share = found.cell * take_rows(scale, queries.cell_query)
        lifts = lifts * bounded_exp(gate.reranker(self._cell_features(batch, share, own)))
        cell = share * lifts
        structure = log_p.scale(exponent).shift(level)
        total = _segment_sum(cell, queries.cell_query, len(scale))
        total = total + found.popular_sum * scale + structure.sum_exp()
        background = None
        if logits is not None:
            # The lift of the background is not clipped, so that its exponents stay inner products.
            background = logits.entity.add(log_p.scale(lift)).shift(lift * LOG_CENTRE + jnp.log(scale))
            total = total + background.sum_exp()
        return MixtureIntensities(cell, lifts, found.popular, scale, background, structure, total)

    def relation_intensities(
        self, batch: EvidenceBatch, background: BackgroundLogits | None
    ) -> Float[Array, "relation_query rel2"]:
        """The intensity of every relation for every relation query."""
        found = self.model.evidence.relation_intensities(batch, background)
        share = found / jnp.sum(found, 1, keepdims=True)
        log_p = jax.nn.log_softmax(self._structure_logits(batch, "relation").matrix(), 1)
        exponent, level, lift = self.model.gate.relation_base
        lifts = bounded_exp(lift * jnp.clip(log_p + LOG_CENTRE, -LOG_CLIP, LOG_CLIP))
        return share * lifts + bounded_exp(jax.nn.relu(exponent) * log_p + level)

    def entry_factors(self, batch: EvidenceBatch) -> EntryFactors:
        """What every past event and popular object adds to the candidates of the entity queries, as in `Evidence`."""
        found = self.mix(batch)
        # These hold the evidence model's own lift already; the gate's lift multiplies it.
        own = self.model.evidence.entry_factors(batch)
        factor = own.factor * found.lift * take_rows(found.scale, batch.entity.cell_query)
        return own._replace(factor=factor, scale=found.scale, total=found.total)

    def structure_intensities(self, batch: EvidenceBatch) -> Float[Array, "query entity"]:
        """The intensity that the structure adds to every candidate, not counting its lift of evidence."""
        return capped_exp(self.mix(batch).structure.matrix())

    def entity_intensities(self, batch: EvidenceBatch) -> Float[Array, "query entity"]:
        """lambda of every candidate of every entity query."""
        found, queries = self.mix(batch), batch.entity
        by_group = jnp.zeros((len(queries.group), self.model.num_entities), found.cell.dtype)
        by_group = add_rows(by_group, found.popular, queries.popular_group, queries.popular_object)
        out = (by_group[queries.query_group] + MIN_INTENSITY) * found.scale[:, None]
        for part in (found.structure, found.background):
            if part is not None:
                out = out + capped_exp(part.matrix())
        candidate = batch.neighbours.object[queries.cell_neighbour]
        return add_rows(out, found.cell, queries.cell_query, candidate)

    def answer_log_probabilities(self, batch: EvidenceBatch) -> tuple[Float[Array, " answer"], Float[Array, " answer"]]:
        """log p of the entity answers and of the relation answers, without an array of [query, entity]."""
        found, queries = self.mix(batch), batch.entity
        query, answer = queries.answers.answer_query, queries.answers.answer
        own = (take_rows(found.popular, queries.answer_popular) + MIN_INTENSITY) * take_rows(found.scale, query)
        own = own + take_rows(found.cell, queries.answer_cell) + capped_exp(found.structure.at(query, answer))
        if found.background is not None:
            own = own + capped_exp(found.background.at(query, answer))
        normalizer = self.model.evidence.loss_normalizer(found.total, own, queries.answers)
        intensity = self.relation_intensities(batch, self.background_logits(batch))
        relation = relation_answer_log_probabilities(intensity, batch.relation.answers)
        return jnp.log(own) - jnp.log(normalizer), relation


def _segment_sum(x: Float[Array, " cell"], query: Int[Array, " cell"], size: int) -> Float[Array, " query"]:
    return segment_sum(x, query, size, is_sorted=True)
