"""TiRGN: Time-Guided Recurrent Graph Network (Li, Sun, Zhao, IJCAI 2022), equal to the released model.

The encoder evolves entity and relation states over the window; four decoders (entity and relation, raw and
history mode) score the questions about the next snapshot from one evolved state.
"""

import math
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from beartype import beartype
from jaxtyping import Array, Float, PRNGKeyArray, jaxtyped

from tirgn_eqx.config import TiRGNTrainingConfig
from tirgn_eqx.data.graph import StaticGraph
from tirgn_eqx.models import scores
from tirgn_eqx.nn import (
    ConvDecoder,
    Dropouts,
    GraphConvolution,
    GRUCell,
    RunningStatistics,
    StaticConvolution,
    StaticEdges,
    TimeEncoding,
)
from tirgn_eqx.nn.conv_decoder import Running
from tirgn_eqx.nn.numerics import l2_normalize, segment_mean, wide
from tirgn_eqx.types import Queries, Rows, Scalar, Window

Remat = Literal["none", "dots", "full"]
REMAT_POLICIES = {
    "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
    "full": jax.checkpoint_policies.nothing_saveable,
}


def remat(function, policy: Remat):
    """`function` with the named rematerialisation policy; `none` keeps every intermediate."""
    if policy == "none":
        return function
    return jax.checkpoint(function, policy=REMAT_POLICIES[policy], prevent_cse=False)


class Buffers(eqx.Module):
    """Every BatchNorm's running statistics: what training changes beside the parameters."""

    graph: tuple[RunningStatistics, ...]
    entity_raw: Running
    entity_history: Running
    relation_raw: Running
    relation_history: Running


class Encoding(eqx.Module):
    """Evolved state before the target: what the decoders see. `static_loss` is already weighted."""

    entity: Float[Array, "*target entity dim"]
    relation: Float[Array, "*target rel2 dim"]
    static_loss: Scalar

    def of_target(self, number: Array) -> "Encoding":
        """The state before one of several targets."""
        return Encoding(self.entity[number], self.relation[number], self.static_loss)


class StepTrace(NamedTuple):
    """Intermediate values of one snapshot of the evolution, for inspection and tests."""

    relation_pool: Float[Array, "rel2 dim"]
    layers: list[Float[Array, "entity dim"]]
    gru_input: Float[Array, "entity dim"]
    gru_output: Float[Array, "entity dim"]


class TiRGN(eqx.Module):
    """The model as one immutable pytree; every leaf that is floating and not a buffer is trained.

    Call it for log probabilities; `encode` and `answer_losses` are what training uses.
    """

    entity_embedding: Float[Array, "entity dim"]
    relation_embedding: Float[Array, "rel2 dim"]
    word_embedding: Float[Array, "word dim"] | None
    static_conv: StaticConvolution | None
    static_edges: StaticEdges | None
    relation_gru: GRUCell
    entity_gru: GRUCell
    layers: tuple[GraphConvolution, ...]
    time: TimeEncoding
    entity_raw: ConvDecoder
    entity_history: ConvDecoder
    relation_raw: ConvDecoder
    relation_history: ConvDecoder
    l2_normalize: bool = eqx.field(static=True)
    history_rate: float = eqx.field(static=True)
    history_mask: scores.HistoryMask = eqx.field(static=True)
    task_weight: float = eqx.field(static=True)
    static_weight: float = eqx.field(static=True)
    angle: float = eqx.field(static=True)
    angle_grows: bool = eqx.field(static=True)
    dropout: float = eqx.field(static=True)
    decoder_dropouts: Dropouts = eqx.field(static=True)

    def __init__(
        self,
        num_entities: int,
        num_relations: int,
        config: TiRGNTrainingConfig,
        static: StaticGraph | None = None,
        *,
        key: PRNGKeyArray,
    ):
        """**Arguments:** sizes of the vocabulary; `config`; `static`: the static graph, used when
        `config.static_graph`; `key`: initialisation as in the released code (Xavier normal for relations
        and words, N(0, 1) for entities and time vectors, Xavier uniform for graph weights).
        """
        dim = config.embedding_dim
        keys = iter(jr.split(key, 12 + config.num_layers))
        xavier_normal = lambda key, rows: jr.normal(key, (rows, dim)) * math.sqrt(2 / (rows + dim))
        self.entity_embedding = jr.normal(next(keys), (num_entities, dim))
        self.relation_embedding = xavier_normal(next(keys), 2 * num_relations)
        self.relation_gru = GRUCell(2 * dim, dim, key=next(keys))
        self.entity_gru = GRUCell(dim, dim, key=next(keys))
        self.time = TimeEncoding(dim, key=next(keys))
        decoder = lambda: ConvDecoder(dim, config.conv_channels, config.conv_kernel, key=next(keys))
        self.entity_raw, self.entity_history = decoder(), decoder()
        self.relation_raw, self.relation_history = decoder(), decoder()
        self.layers = tuple(GraphConvolution(dim, key=next(keys)) for _ in range(config.num_layers))
        word_key, static_key = next(keys), next(keys)
        if static is not None and config.static_graph:
            self.word_embedding = xavier_normal(word_key, static.num_words)
            blocks = config.static_blocks
            self.static_conv = StaticConvolution(dim, static.num_relations, blocks, key=static_key)
            self.static_edges = StaticEdges(static, num_entities)
        else:
            self.word_embedding = self.static_conv = self.static_edges = None
        self.l2_normalize = config.l2_normalize
        self.history_rate, self.history_mask = config.history_rate, config.history_mask
        self.task_weight, self.static_weight = config.task_weight, config.static_weight
        self.angle, self.angle_grows = config.angle, config.angle_grows
        self.dropout = config.dropout
        self.decoder_dropouts = Dropouts(config.input_dropout, config.feature_dropout, config.hidden_dropout)

    @property
    def num_entities(self) -> int:
        return self.entity_embedding.shape[0]

    @property
    def num_relations(self) -> int:
        """Relations without their inverses."""
        return self.relation_embedding.shape[0] // 2

    @property
    def buffers(self) -> Buffers:
        return Buffers(
            tuple(layer.norm.running for layer in self.layers),
            self.entity_raw.running,
            self.entity_history.running,
            self.relation_raw.running,
            self.relation_history.running,
        )

    def with_buffers(self, buffers: Buffers) -> "TiRGN":
        """The same model with other running statistics."""

        def places(model):
            graph = [layer.norm.running for layer in model.layers]
            decoders = (model.entity_raw, model.entity_history, model.relation_raw, model.relation_history)
            return graph + [running for decoder in decoders for running in decoder.running]

        decoders = (
            buffers.entity_raw,
            buffers.entity_history,
            buffers.relation_raw,
            buffers.relation_history,
        )
        values = [*buffers.graph, *(running for decoder in decoders for running in decoder)]
        return eqx.tree_at(places, self, values)

    def at_rows(self, rows: Rows) -> "TiRGN":
        """The model of `rows` alone: its entity table holds their embeddings, zero for padding."""
        return eqx.tree_at(lambda model: model.entity_embedding, self, rows.of(self.entity_embedding))

    # --- encoder -------------------------------------------------------------------------------------------

    def static_embedding(self) -> Float[Array, "entity dim"] | None:
        """The words' view of every entity, or None without a static graph."""
        if self.static_conv is None or self.word_embedding is None or self.static_edges is None:
            return None
        embedding = self.static_conv(self.word_embedding, self.static_edges)
        return self._normalized(embedding)

    def _normalized(self, x: Float[Array, "*row dim"]) -> Float[Array, "*row dim"]:
        """Rows of length 1, where the model normalises its states."""
        return l2_normalize(x) if self.l2_normalize else x

    def initial_state(self, static: Float[Array, "entity dim"] | None) -> Float[Array, "entity dim"]:
        if static is not None:
            return static
        return self._normalized(self.entity_embedding)

    def evolve(
        self,
        state: Float[Array, "entity dim"],
        relations: Float[Array, "rel2 dim"],
        snapshot: Window,
        running: tuple[RunningStatistics, ...],
        *,
        training: bool,
        key: PRNGKeyArray | None,
    ) -> tuple[Float[Array, "entity dim"], Float[Array, "rel2 dim"], tuple[RunningStatistics, ...], StepTrace]:
        """One snapshot: pool relations, relation GRU, graph layers, entity GRU (TiRGN, section 3.2).

        **Arguments:** `state`, `relations`: before the snapshot; `snapshot`: one entry of a `Window` (no time
        axis); `running`: the graph layers' buffers.

        **Returns:** state and relations after it, new buffers, and the intermediate values.
        """
        active = state.at[snapshot.active].get(mode="fill", fill_value=0)
        count = jax.ops.segment_sum(jnp.ones(snapshot.pair_relation.shape), snapshot.pair_relation, self.num_relations)
        pool = segment_mean(active[snapshot.pair_entity], snapshot.pair_relation, count)
        # A relation and its inverse get the same subjects (released code).
        pool = jnp.concatenate([pool, pool]).astype(state.dtype)
        relations = self._normalized(self.relation_gru(jnp.concatenate([self.relation_embedding, pool], 1), relations))
        relation_mean = segment_mean(relations[snapshot.edge_relation], snapshot.edge_target, snapshot.degree)
        x, traces, new_running = state, [], []
        keys = [None] * len(self.layers) if key is None else jr.split(key, len(self.layers))
        for layer, buffer, layer_key in zip(self.layers, running, keys):
            x, buffer = layer(
                x,
                relations,
                relation_mean,
                snapshot,
                buffer,
                rate=self.dropout,
                training=training,
                key=layer_key,
            )
            traces.append(x)
            new_running.append(buffer)
        x = self._normalized(x)
        evolved = self.entity_gru(x, state)
        trace = StepTrace(pool, traces, x, evolved)
        return self._normalized(evolved), relations, tuple(new_running), trace

    def encode(
        self,
        window: Window,
        buffers: Buffers | None = None,
        *,
        rows: Rows | None = None,
        targets: int = 1,
        training: bool = False,
        key: PRNGKeyArray | None = None,
        policy: Remat = "none",
    ) -> tuple[Encoding, tuple[RunningStatistics, ...]]:
        """Evolve over the window, oldest snapshot first.

        **Arguments:** `window`; `buffers`: running statistics to start from (the model's own when None); `rows`:
        given when this is a model `at_rows`, and the window's entities are positions in them; `targets`: how many of
        the last states to give; `training`: batch statistics instead of running ones; `key`: dropout; `policy`:
        rematerialisation.

        **Returns:** the `Encoding` (with a leading target axis for `targets` > 1, oldest first, the static loss
        being that of a window of one target) and the graph layers' new buffers.
        """
        static = self.static_embedding()
        if static is not None and rows is not None:
            static = rows.of(static)
        weight = None if rows is None else rows.weight
        running = (buffers or self.buffers).graph
        keys = None if key is None else jr.split(key, len(window.valid))

        def body(carry, step):
            state, relations, running, loss, position = carry
            snapshot, step_key = step
            new_state, new_relations, new_running, _ = self.evolve(
                state, relations, snapshot, running, training=training, key=step_key
            )
            if static is not None:
                loss = loss + jnp.where(snapshot.valid, self._static_loss(static, new_state, position, weight), 0)
            keep = lambda new, old: jnp.where(snapshot.valid, new, old)
            carry = jax.tree.map(keep, (new_state, new_relations, new_running), (state, relations, running))
            carry = (*carry, loss, position + snapshot.valid.astype(position.dtype))
            return carry, carry[:2] if targets > 1 else None

        state = self.initial_state(static)
        zero = jnp.zeros((), jnp.promote_types(state.dtype, jnp.float32))
        carry = (state, self.relation_embedding, running, zero, jnp.zeros((), jnp.int32))
        body, steps = remat(body, policy), len(window.valid)
        # Of the first snapshots no state is kept.
        part = lambda begin, end: jax.tree.map(lambda x: x[begin:end], (window, keys))
        silent = lambda carry, step: (body(carry, step)[0], None)
        before = steps - targets if targets > 1 else steps
        carry, _ = jax.lax.scan(silent, carry, part(0, before))
        state, relations, running, loss, _ = carry
        if targets > 1:
            carry, states = jax.lax.scan(body, carry, part(before, steps))
            assert states is not None
            (*_, running, loss, _), (state, relations) = carry, states
            loss = loss * ((before + 1) / steps)
        return Encoding(self._normalized(state), relations, self.static_weight * loss), running

    def idle(self, length: int) -> Float[Array, "entity dim"]:
        """What `encode` makes of every entity that has no edge in a window of `length` snapshots.

        Such an entity sees neither relations nor neighbours, so its state is the same for every window of that
        length: computed once, it serves all targets of an evaluation.
        """

        def body(state, _):
            x = state
            for layer in self.layers:
                x = layer.isolated(x)
            return self._normalized(self.entity_gru(self._normalized(x), state)), None

        state, _ = jax.lax.scan(body, self.initial_state(self.static_embedding()), length=length)
        return self._normalized(state)

    def _static_loss(self, static, state, position, weight) -> Scalar:
        """Sum over entities of max(0, cos(allowed angle) - cosine), position 0 for the oldest snapshot; each
        counted `weight` times, where given."""
        steps = (position + 1).astype(wide(state).dtype) if self.angle_grows else 1.0
        cosine = jnp.sum(wide(static) * wide(l2_normalize(state)), 1)
        if not self.l2_normalize:
            norm = jnp.sqrt(jnp.maximum(jnp.sum(wide(static) ** 2, 1), 1e-24))
            cosine = cosine / norm
        excess = jnp.maximum(jnp.cos(math.radians(self.angle) * steps) - cosine, 0)
        return jnp.sum(excess if weight is None else excess * weight.astype(excess.dtype))

    # --- decoders ------------------------------------------------------------------------------------------

    def decode(
        self,
        encoding: Encoding,
        queries: Queries,
        time_index: Float[Array, ""],
        buffers: Buffers,
        *,
        kind: Literal["entity", "relation"],
        training: bool = False,
        key: PRNGKeyArray | None = None,
    ) -> tuple[Float[Array, "unit dim"], Float[Array, "unit dim"], Float[Array, "candidate dim"], Buffers]:
        """(raw vectors, history vectors, candidates, new buffers) of the questions of one kind.

        Entity questions see tanh of the subject beside the relation and score tanh of every entity; relation
        questions see tanh of subject and object and score the evolved relations.
        """
        entities = jnp.tanh(encoding.entity)
        times = self.time(time_index)
        subject = entities[queries.subject]
        if kind == "entity":
            given, candidates = encoding.relation[queries.given], entities
            raw, history = self.entity_raw, self.entity_history
            raw_running, history_running = buffers.entity_raw, buffers.entity_history
        else:
            given, candidates = entities[queries.given], encoding.relation
            raw, history = self.relation_raw, self.relation_history
            raw_running, history_running = buffers.relation_raw, buffers.relation_history
        raw_key, history_key = (None, None) if key is None else jr.split(key)
        options = {"rates": self.decoder_dropouts, "training": training}
        raw_vectors, raw_running = raw(subject, given, times, queries.weight, raw_running, key=raw_key, **options)
        history_vectors, history_running = history(
            subject, given, times, queries.weight, history_running, key=history_key, **options
        )
        where = lambda b: (getattr(b, f"{kind}_raw"), getattr(b, f"{kind}_history"))
        buffers = eqx.tree_at(where, buffers, (raw_running, history_running))
        return raw_vectors, history_vectors, candidates, buffers

    def log_probabilities(
        self,
        encoding: Encoding,
        queries: Queries,
        time_index: Float[Array, ""],
        *,
        kind: Literal["entity", "relation"],
    ) -> Float[Array, "unit candidate"]:
        """Log probability of every candidate for every question, in inference mode."""
        raw, history, candidates, _ = self.decode(encoding, queries, time_index, self.buffers, kind=kind)
        seen = scores.seen_mask(queries, len(candidates))
        return scores.log_probabilities(raw, history, candidates, seen, self.history_rate, self.history_mask)

    def ranking_scores(
        self,
        encoding: Encoding,
        queries: Queries,
        time_index: Float[Array, ""],
        *,
        kind: Literal["entity", "relation"],
    ) -> tuple[Float[Array, "unit candidate"], Float[Array, " answer"]]:
        """(probability of every candidate for every question, log probability of the answers), in inference mode."""
        raw, history, candidates, _ = self.decode(encoding, queries, time_index, self.buffers, kind=kind)
        return scores.ranking_scores(raw, history, candidates, queries, self.history_rate, self.history_mask)

    def answer_losses(
        self,
        encoding: Encoding,
        queries: Queries,
        time_index: Float[Array, ""],
        buffers: Buffers,
        *,
        kind: Literal["entity", "relation"],
        training: bool,
        key: PRNGKeyArray | None,
        rows: Rows | None = None,
        num_entities: int | None = None,
    ) -> tuple[Scalar, Buffers]:
        """Weighted **sum** of the answers' negative log probabilities, and the new buffers.

        Questions that carry `negatives` are scored against those alone (the sampled loss). `rows` and
        `num_entities` (of the whole vocabulary) are given when the encoding is of those rows.
        """
        raw, history, candidates, buffers = self.decode(
            encoding, queries, time_index, buffers, kind=kind, training=training, key=key
        )
        vectors = (raw, history, candidates)
        if queries.negatives is not None:
            log_probability = scores.sampled_log_probabilities(*vectors, queries, self.history_rate, self.history_mask)
        else:
            few: Any = {"rows": rows, "num_entities": num_entities} if kind == "entity" else {}
            log_probability = scores.answer_log_probabilities(
                *vectors, queries, self.history_rate, self.history_mask, **few
            )
        weight = queries.answer_weight.astype(log_probability.dtype)
        # A padded answer may have any score, even -inf: choose before multiplying.
        return -jnp.sum(jnp.where(weight > 0, log_probability, 0) * weight), buffers

    @jaxtyped(typechecker=beartype)
    def __call__(
        self, window: Window, entity_queries: Queries, relation_queries: Queries, time_index: Float[Array, ""]
    ) -> tuple[Float[Array, "unit entity"], Float[Array, "unit rel2"]]:
        """Log probabilities of all entities and of all relations (inverses included) for the questions."""
        encoding, _ = self.encode(window)
        entity = self.log_probabilities(encoding, entity_queries, time_index, kind="entity")
        return entity, self.log_probabilities(encoding, relation_queries, time_index, kind="relation")
