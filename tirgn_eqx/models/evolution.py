"""What the recurrent graph models share: entity and relation states evolved over a window, then decoded.

A model says how an entity's state is updated after the graph layers, and how questions become vectors.
"""

import abc
import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from beartype import beartype
from jaxtyping import Array, Float, PRNGKeyArray, jaxtyped

from tirgn_eqx.models import scores
from tirgn_eqx.nn import GraphConvolution, GRUCell, RunningStatistics, StaticConvolution, StaticEdges
from tirgn_eqx.nn.numerics import l2_normalize, segment_mean, wide
from tirgn_eqx.runtime.meshes import split
from tirgn_eqx.types import Queries, Rows, Scalar, Window

Remat = Literal["none", "dots", "full"]
REMAT_POLICIES = {
    "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
    "full": jax.checkpoint_policies.nothing_saveable,
}


def remat(function: Callable[..., Any], policy: Remat) -> Callable[..., Any]:
    """`function` with the named rematerialisation policy; `none` keeps every intermediate."""
    if policy == "none":
        return function
    return jax.checkpoint(function, policy=REMAT_POLICIES[policy], prevent_cse=False)


class Encoding(eqx.Module):
    """Evolved state before the target. `static_loss` is already weighted; `ready`: `seen`, computed ahead."""

    entity: Float[Array, "*target entity dim"]
    relation: Float[Array, "*target rel2 dim"]
    static_loss: Scalar
    ready: Float[Array, "*target entity dim"] | None = None

    @property
    def seen(self) -> Float[Array, "*target entity dim"]:
        """What the decoders see of the entities."""
        return jnp.tanh(self.entity) if self.ready is None else self.ready

    def prepared(self) -> "Encoding":
        """The same, with `seen` computed once for all questions to come."""
        return Encoding(self.entity, self.relation, self.static_loss, self.seen)

    def of_target(self, number: Array) -> "Encoding":
        """The state before one of several targets."""
        return Encoding(self.entity[number], self.relation[number], self.static_loss)


class StepTrace(NamedTuple):
    """Intermediate values of one snapshot of the evolution, for inspection and tests."""

    relation_pool: Float[Array, "rel2 dim"]
    layers: list[Float[Array, "entity dim"]]
    update_input: Float[Array, "entity dim"]
    update_output: Float[Array, "entity dim"]


class RecurrentGraphModel(eqx.Module):
    """A model of evolving states as one immutable pytree; every leaf that is floating and not a buffer is trained.

    Call it for log probabilities; `encode` and `answer_losses` are what training uses.
    """

    entity_embedding: eqx.AbstractVar[Float[Array, "entity dim"]]
    relation_embedding: eqx.AbstractVar[Float[Array, "rel2 dim"]]
    word_embedding: eqx.AbstractVar[Float[Array, "word dim"] | None]
    static_conv: eqx.AbstractVar[StaticConvolution | None]
    static_edges: eqx.AbstractVar[StaticEdges | None]
    relation_gru: eqx.AbstractVar[GRUCell]
    layers: eqx.AbstractVar[tuple[GraphConvolution, ...]]
    l2_normalize: eqx.AbstractVar[bool]
    history_rate: eqx.AbstractVar[float]
    history_mask: eqx.AbstractVar[scores.HistoryMask]
    task_weight: eqx.AbstractVar[float]
    static_weight: eqx.AbstractVar[float]
    angle: eqx.AbstractVar[float]
    angle_grows: eqx.AbstractVar[bool]
    dropout: eqx.AbstractVar[float]

    @property
    @abc.abstractmethod
    def buffers(self) -> Any:
        """Every BatchNorm's running statistics: what training changes beside the parameters. `graph` holds those of
        the graph layers."""

    @abc.abstractmethod
    def with_buffers(self, buffers: Any) -> "RecurrentGraphModel":
        """The same model with other running statistics."""

    @abc.abstractmethod
    def updated(self, x: Float[Array, "entity dim"], state: Float[Array, "entity dim"]) -> Float[Array, "entity dim"]:
        """The entities' states after a snapshot, from what the graph layers made of them and those before it."""

    @abc.abstractmethod
    def after_update(self, state: Float[Array, "entity dim"]) -> Float[Array, "entity dim"]:
        """What is done to an updated state before it goes on."""

    @abc.abstractmethod
    def decode(
        self,
        encoding: Encoding,
        queries: Queries,
        time_index: Float[Array, ""],
        buffers: Any,
        *,
        kind: Literal["entity", "relation"],
        training: bool = False,
        key: PRNGKeyArray | None = None,
    ) -> tuple[Float[Array, "unit dim"], Float[Array, "unit dim"], Float[Array, "candidate dim"], Any]:
        """(raw vectors, history vectors, candidates, new buffers) of the questions of one kind."""

    @property
    def num_entities(self) -> int:
        return self.entity_embedding.shape[0]

    @property
    def num_relations(self) -> int:
        """Relations without their inverses."""
        return self.relation_embedding.shape[0] // 2

    def at_rows(self, rows: Rows) -> "RecurrentGraphModel":
        """The model of `rows` alone: its entity table holds their embeddings, zero for padding."""
        few = split(rows.of(self.entity_embedding), "entity")
        return eqx.tree_at(lambda model: model.entity_embedding, self, few)

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
        return split(self._normalized(self.entity_embedding) if static is None else static, "entity")

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
        """One snapshot: pool relations, relation GRU, graph layers, update of the entities (TiRGN, section 3.2; RE-GCN,
        section 3.2).

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
        evolved = self.updated(x, state)
        trace = StepTrace(pool, traces, x, evolved)
        return split(self.after_update(evolved), "entity"), relations, tuple(new_running), trace

    def encode(
        self,
        window: Window,
        buffers: Any = None,
        *,
        rows: Rows | None = None,
        targets: int = 1,
        training: bool = False,
        key: PRNGKeyArray | None = None,
        policy: Remat = "none",
        unroll: bool = False,
    ) -> tuple[Encoding, tuple[RunningStatistics, ...]]:
        """Evolve over the window, oldest snapshot first.

        **Arguments:** `window`; `buffers`: running statistics to start from (the model's own when None); `rows`:
        given when this is a model `at_rows`, and the window's entities are positions in them; `targets`: how many of
        the last states to give; `training`: batch statistics instead of running ones; `key`: dropout; `policy`:
        rematerialisation; `unroll`: no loop over the snapshots but their steps one after the other, which compiles more
        slowly and, on a CPU, runs faster.

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
        carry, _ = jax.lax.scan(silent, carry, part(0, before), unroll=unroll)
        state, relations, running, loss, _ = carry
        if targets > 1:
            carry, states = jax.lax.scan(body, carry, part(before, steps), unroll=unroll)
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
            return self.after_update(self.updated(self._normalized(x), state)), None

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

    # --- scores --------------------------------------------------------------------------------------------

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
        num_entities: int | None = None,
    ) -> tuple[Float[Array, "unit candidate"], Float[Array, " answer"]]:
        """(probability of every candidate for every question, log probability of the answers), in inference mode;
        `num_entities`: of the vocabulary, where the table has more rows, whose probability is then 0."""
        raw, history, candidates, _ = self.decode(encoding, queries, time_index, self.buffers, kind=kind)
        real = num_entities if kind == "entity" else None
        return scores.ranking_scores(raw, history, candidates, queries, self.history_rate, self.history_mask, real)

    def answer_losses(
        self,
        encoding: Encoding,
        queries: Queries,
        time_index: Float[Array, ""],
        buffers: Any,
        *,
        kind: Literal["entity", "relation"],
        training: bool,
        key: PRNGKeyArray | None,
        rows: Rows | None = None,
        num_entities: int | None = None,
    ) -> tuple[Scalar, Any]:
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
    ) -> tuple[Float[Array, "asked entity"], Float[Array, "asked_relations rel2"]]:
        """Log probabilities of all entities and of all relations (inverses included) for the questions."""
        encoding, _ = self.encode(window)
        entity = self.log_probabilities(encoding, entity_queries, time_index, kind="entity")
        return entity, self.log_probabilities(encoding, relation_queries, time_index, kind="relation")
