"""What the recurrent graph models share: an encoder, decoders that turn queries into vectors, scores and losses."""

import abc

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
from beartype import beartype
from jaxtyping import Array, Float, PRNGKeyArray, jaxtyped  # pyright: ignore[reportUnknownVariableType]

from tirgn_eqx.data.batches.loader import KINDS
from tirgn_eqx.data.batches.loader import Kind as Kind
from tirgn_eqx.models import logits
from tirgn_eqx.models.encoder import Encoding, GraphStatistics, RecurrentEncoder
from tirgn_eqx.nn import ConvDecoder, DropoutRates, RunningStatistics, StaticEdges
from tirgn_eqx.nn.conv_decoder import DecoderStatistics
from tirgn_eqx.nn.segments import take_rows
from tirgn_eqx.types import EntityRows, Queries, Scalar, Window


class Buffers(eqx.Module):
    """The running statistics of every BatchNorm, which training changes beside the parameters: of the graph layers, and
    of the decoders of entity and of relation queries."""

    graph: GraphStatistics
    entity: tuple[DecoderStatistics, ...]
    relation: tuple[DecoderStatistics, ...]

    def of(self, kind: Kind) -> tuple[DecoderStatistics, ...]:
        """Those of the decoders of one kind of queries."""
        return self.entity if kind == "entity" else self.relation

    def replace(self, kind: Kind, new: tuple[DecoderStatistics, ...]) -> "Buffers":
        """With other ones for the decoders of one kind of queries."""
        entity, relation = (new, self.relation) if kind == "entity" else (self.entity, new)
        return Buffers(self.graph, entity, relation)


Decoded = tuple[Float[Array, "query dim"], Float[Array, "query dim"], Float[Array, "candidate dim"], Buffers]


class RecurrentGraphModel(eqx.Module):
    """A model that decodes queries from evolved states; every floating leaf that is no buffer is trained.

    A subclass has an encoder and says how queries become vectors (`decode`). Call the model for log probabilities;
    training uses `encoder` and `answer_losses`.
    """

    encoder: eqx.AbstractVar[RecurrentEncoder]
    history_rate: eqx.AbstractVar[float]
    history_mask: eqx.AbstractVar[logits.HistoryMask]
    task_weight: eqx.AbstractVar[float]

    @abc.abstractmethod
    def decoders(self, kind: Kind) -> tuple[ConvDecoder, ...]:
        """The decoders of the queries of one kind."""

    @abc.abstractmethod
    def decode(
        self,
        encoding: Encoding,
        queries: Queries,
        time_index: Float[Array, ""],
        buffers: Buffers,
        *,
        kind: Kind,
        training: bool = False,
        key: PRNGKeyArray | None = None,
    ) -> Decoded:
        """Decode the queries of one kind.

        **Arguments:** `encoding`: of one target; `queries`: `(query,)` arrays, without micro axis; `time_index`: scalar
        clock of the target; `buffers`: running statistics; `training`, `key`: batch statistics, dropout.

        **Returns:** vectors of raw mode and of history mode, `(query, dim)` each; the candidates `(candidate, dim)`;
        the new buffers.
        """

    @property
    def num_entities(self) -> int:
        """Rows of the entity table."""
        return self.encoder.entity_embedding.shape[0]

    @property
    def num_relations(self) -> int:
        """Relations without their inverses."""
        return self.encoder.num_relations

    @property
    def static_edges(self) -> StaticEdges | None:
        """The edges from words to entities; None without a static graph."""
        return self.encoder.static_edges

    @property
    def word_embedding(self) -> Float[Array, "word dim"] | None:
        """The embeddings of the words; None without a static graph."""
        return self.encoder.word_embedding

    @property
    def buffers(self) -> Buffers:
        """The model's own buffers."""
        entity, relation = (tuple(decoder.running for decoder in self.decoders(kind)) for kind in KINDS)
        return Buffers(self.encoder.running, entity, relation)

    def with_buffers(self, buffers: Buffers) -> "RecurrentGraphModel":
        """The same model with other buffers."""
        return eqx.tree_at(_statistics, self, _flat(buffers))  # pyright: ignore[reportUnknownMemberType]

    def at_rows(self, rows: EntityRows) -> "RecurrentGraphModel":
        """The model of `rows` alone: its entity table holds their embeddings, zero for padding."""
        return eqx.tree_at(_encoder, self, self.encoder.at_rows(rows))  # pyright: ignore[reportUnknownMemberType]

    def log_probabilities(
        self, encoding: Encoding, queries: Queries, time_index: Float[Array, ""], *, kind: Kind
    ) -> Float[Array, "query candidate"]:
        """Log probability of every candidate for every query, in inference."""
        raw, history, candidates, _ = self.decode(encoding, queries, time_index, self.buffers, kind=kind)
        in_history = logits.in_history(queries, len(candidates))
        return logits.log_probabilities(raw, history, candidates, in_history, self.history_rate, self.history_mask)

    def ranking_scores(
        self,
        encoding: Encoding,
        queries: Queries,
        time_index: Float[Array, ""],
        *,
        kind: Kind,
        num_entities: int | None = None,
    ) -> tuple[Float[Array, "query candidate"], Float[Array, " answer"]]:
        """Probability of every candidate and log probability of the answers, in inference.

        **Arguments:** `num_entities`: of the vocabulary, where the entity table has more rows; these get probability 0.
        """
        raw, history, candidates, _ = self.decode(encoding, queries, time_index, self.buffers, kind=kind)
        # Only the entity table is padded on several devices; the table of relations is whole.
        real = num_entities if kind == "entity" else None
        return logits.ranking_scores(raw, history, candidates, queries, self.history_rate, self.history_mask, real)

    def answer_losses(
        self,
        encoding: Encoding,
        queries: Queries,
        time_index: Float[Array, ""],
        buffers: Buffers,
        *,
        kind: Kind,
        training: bool,
        key: PRNGKeyArray | None,
        rows: EntityRows | None = None,
        num_entities: int | None = None,
    ) -> tuple[Scalar, Buffers]:
        """The weighted **sum** of the negative log probabilities of the answers, and the new buffers.

        Queries with `negatives` are scored against these alone (the sampled loss).

        **Arguments:** as of `decode`; `rows`, `num_entities` (of the vocabulary): given when the encoding is of rows.
        """
        raw, history, candidates, buffers = self.decode(
            encoding, queries, time_index, buffers, kind=kind, training=training, key=key
        )
        mixture = (self.history_rate, self.history_mask)
        if queries.negatives is not None:
            log_p = logits.sampled_log_probabilities(raw, history, candidates, queries, *mixture)
        else:
            # The candidates of relation queries are all relations, whatever rows of entities there are.
            rows, num_entities = (rows, num_entities) if kind == "entity" else (None, None)
            log_p = logits.answer_log_probabilities(raw, history, candidates, queries, *mixture, rows, num_entities)
        weight = queries.answer_weight.astype(log_p.dtype)
        # A padded answer may have log probability -inf, and -inf times weight 0 is NaN.
        return -jnp.sum(jnp.where(weight > 0, log_p, 0) * weight), buffers

    # Shapes are checked here, where arrays of a caller come in; the inner functions are called by the library alone.
    @jaxtyped(typechecker=beartype)
    def __call__(
        self, window: Window, entity_queries: Queries, relation_queries: Queries, time_index: Float[Array, ""]
    ) -> tuple[Float[Array, "entity_query entity"], Float[Array, "relation_query rel2"]]:
        """Log probabilities of all entities and of all relations (inverses included) for the queries."""
        encoding, _ = self.encoder(window)
        entity = self.log_probabilities(encoding, entity_queries, time_index, kind="entity")
        return entity, self.log_probabilities(encoding, relation_queries, time_index, kind="relation")


def _encoder(model: RecurrentGraphModel) -> RecurrentEncoder:
    return model.encoder


def _statistics(model: RecurrentGraphModel) -> list[RunningStatistics]:
    return _flat(model.buffers)


def _flat(buffers: Buffers) -> list[RunningStatistics]:
    # `with_buffers` pairs the new statistics with those of the model by their places in this list.
    decoders = (*buffers.entity, *buffers.relation)
    return [*buffers.graph, *(running for decoder in decoders for running in decoder)]


def decode_queries(
    decoders: tuple[ConvDecoder, ...],
    encoding: Encoding,
    queries: Queries,
    times: tuple[Float[Array, " dim"], ...],
    buffers: Buffers,
    *,
    kind: Kind,
    rates: DropoutRates,
    training: bool,
    key: PRNGKeyArray | None,
) -> tuple[list[Float[Array, "query dim"]], Float[Array, "candidate dim"], Buffers]:
    """Decode queries from an encoding with one or more decoders, each with dropout of its own.

    Entity queries decode tanh of the subject beside the relation and score tanh of every entity. Relation queries
    decode tanh of subject and object and score the evolved relations.

    **Arguments:** `times`: time vectors of the target, if the decoders take them; `rates`: of dropout; the others as of
    `RecurrentGraphModel.decode`.

    **Returns:** the vectors of every decoder, the candidates, and the new buffers.
    """
    entities = encoding.tanh_entity
    subject = take_rows(entities, queries.subject, padded=False)
    if kind == "entity":
        condition, candidates = take_rows(encoding.relation, queries.condition, padded=False), entities
    else:
        condition, candidates = take_rows(entities, queries.condition, padded=False), encoding.relation
    count = len(decoders)
    keys = [key] * count if key is None or count == 1 else jr.split(key, count)
    vectors, statistics = list[Array](), list[DecoderStatistics]()
    for decoder, running, decoder_key in zip(decoders, buffers.of(kind), keys):
        decoded, running = decoder(
            subject, condition, times, queries.weight, running, rates=rates, training=training, key=decoder_key
        )
        vectors.append(decoded)
        statistics.append(running)
    return vectors, candidates, buffers.replace(kind, tuple(statistics))
