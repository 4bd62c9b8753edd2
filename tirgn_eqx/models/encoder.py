"""The recurrent graph encoder of TiRGN and RE-GCN: entity and relation states evolved over a window."""

import math
from collections.abc import Callable
from typing import Literal, NamedTuple, TypeVar, cast

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, Int, PRNGKeyArray, Shaped

from tirgn_eqx.config import RecurrentTrainingConfig
from tirgn_eqx.data.graph import StaticGraph
from tirgn_eqx.nn import GraphConvolution, GRUCell, RunningStatistics, StaticConvolution, StaticEdges, TimeGate
from tirgn_eqx.nn.numerics import at_least_f32, l2_normalize
from tirgn_eqx.nn.segments import segment_mean, segment_sum, take_rows
from tirgn_eqx.runtime.meshes import split
from tirgn_eqx.types import EntityRows, Scalar, Window

F = TypeVar("F", bound=Callable[..., object])
Remat = Literal["none", "dots", "full"]
REMAT_POLICIES = {
    # Products of states with weight matrices have no batch dimensions: these are kept, all else is computed again.
    "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
    "full": jax.checkpoint_policies.nothing_saveable,
}
GraphStatistics = tuple[RunningStatistics, ...]
# The scan over a window carries entities, relations, buffers, static loss and position; a step has snapshot and key.
_Carry = tuple[Array, Array, GraphStatistics, Array, Array]
_Step = tuple[Window, Array | None]


def remat(function: F, policy: Remat) -> F:
    """`function` with the named rematerialisation policy; `none` keeps every intermediate."""
    if policy == "none":
        return function
    # Inside a loop XLA cannot merge the second computation with the first. In an unrolled window it can, and
    # rematerialisation then has no effect.
    checkpoint = cast(Callable[..., F], jax.checkpoint)  # pyright: ignore[reportUnknownMemberType]
    return checkpoint(function, policy=REMAT_POLICIES[policy], prevent_cse=False)


class Encoding(eqx.Module):
    """The evolved states before a target, or with a leading axis before several, and the weighted static loss.

    The decoders read tanh of the entity states; `cached_tanh` holds it where it was computed ahead.
    """

    entity: Float[Array, "*target entity dim"]
    relation: Float[Array, "*target rel2 dim"]
    static_loss: Scalar
    cached_tanh: Float[Array, "*target entity dim"] | None = None

    @property
    def tanh_entity(self) -> Float[Array, "*target entity dim"]:
        """tanh of the entity states."""
        return jnp.tanh(self.entity) if self.cached_tanh is None else self.cached_tanh

    def with_cache(self) -> "Encoding":
        """The same encoding with `tanh_entity` computed once, for many calls of a decoder."""
        return Encoding(self.entity, self.relation, self.static_loss, self.tanh_entity)

    def at_target(self, target: Int[Array, ""]) -> "Encoding":
        """The states before one of several targets."""
        return Encoding(self.entity[target], self.relation[target], self.static_loss)


class StepTrace(NamedTuple):
    """Intermediate values of one step of the encoder, for inspection and tests."""

    relation_pool: Float[Array, "rel2 dim"]
    layers: list[Float[Array, "entity dim"]]
    update_input: Float[Array, "entity dim"]
    update_output: Float[Array, "entity dim"]


class RecurrentEncoder(eqx.Module):
    """Evolves the states of all entities and relations over the snapshots of a window, oldest first.

    In each snapshot, relations pool the states of their subjects into a GRU, graph layers pass messages along the
    edges, and `entity_update` merges the result with the states before (TiRGN, section 3.2; RE-GCN, section 3.2).

    ```python
    import jax.random as jr
    from tirgn_eqx import TiRGNTrainingConfig, build_history_vocabulary, make_loader, simulate
    from tirgn_eqx.models import RecurrentEncoder
    from tirgn_eqx.nn import GRUCell

    config = TiRGNTrainingConfig(embedding_dim=8, num_layers=1, history_len=2)
    graph, keys = simulate(num_days=10).graph, jr.split(jr.key(0), 6)
    update = GRUCell(8, 8, key=keys[0])
    encoder = RecurrentEncoder(graph.num_entities, graph.num_relations, config, update=update, keys=keys[1:])
    batch = next(iter(make_loader(graph, config).epoch(0))).batch
    encoding, _ = encoder(batch.window)
    assert encoding.entity.shape == (graph.num_entities, 8)
    ```
    """

    entity_embedding: Float[Array, "entity dim"]
    relation_embedding: Float[Array, "rel2 dim"]
    word_embedding: Float[Array, "word dim"] | None
    static_conv: StaticConvolution | None
    static_edges: StaticEdges | None
    relation_gru: GRUCell
    entity_update: GRUCell | TimeGate
    layers: tuple[GraphConvolution, ...]
    l2_normalize: bool = eqx.field(static=True)
    normalize_update: bool = eqx.field(static=True)
    static_weight: float = eqx.field(static=True)
    angle: float = eqx.field(static=True)
    angle_grows: bool = eqx.field(static=True)
    dropout: float = eqx.field(static=True)

    def __init__(
        self,
        num_entities: int,
        num_relations: int,
        config: RecurrentTrainingConfig,
        static: StaticGraph | None = None,
        *,
        update: GRUCell | TimeGate,
        normalize_update: bool = True,
        keys: Shaped[Array, "key ..."],
    ):
        """Initialises as the released codes do: N(0, 1) for entities, Xavier normal for relations and words.

        **Arguments:**

        - `num_entities`, `num_relations`: sizes of the vocabulary; `config`: the settings of the encoder.
        - `static`: the static graph, used when `config.static_graph`.
        - `update`: merges what the layers computed with the states before the snapshot.
        - `normalize_update`: whether states are normalised after the update (TiRGN) or only where they are read
          (RE-GCN); neither without `config.l2_normalize`.
        - `keys`: at least `5 + config.num_layers` keys.
        """
        dim, num_layers = config.embedding_dim, config.num_layers
        # Keys 0 to 2 are for entities, relations and the relation GRU; then come the layers, words, and static layer.
        layer_keys, word_key, static_key = keys[3 : 3 + num_layers], keys[3 + num_layers], keys[4 + num_layers]
        self.entity_embedding = jr.normal(keys[0], (num_entities, dim))
        self.relation_embedding = _xavier_normal(keys[1], 2 * num_relations, dim)
        self.relation_gru, self.entity_update = GRUCell(2 * dim, dim, key=keys[2]), update
        self.layers = tuple(GraphConvolution(dim, key=key) for key in layer_keys)
        if static is not None and config.static_graph:
            self.word_embedding = _xavier_normal(word_key, static.num_words, dim)
            self.static_conv = StaticConvolution(dim, static.num_relations, config.static_blocks, key=static_key)
            self.static_edges = StaticEdges(static, num_entities)
        else:
            self.word_embedding = self.static_conv = self.static_edges = None
        self.l2_normalize, self.normalize_update = config.l2_normalize, normalize_update
        self.static_weight, self.dropout = config.static_weight, config.dropout
        self.angle, self.angle_grows = config.angle, config.angle_grows

    @property
    def num_relations(self) -> int:
        """Relations without their inverses."""
        return self.relation_embedding.shape[0] // 2

    @property
    def running(self) -> GraphStatistics:
        """The BatchNorm buffers of the graph layers."""
        return tuple(layer.norm.running for layer in self.layers)

    def at_rows(self, rows: EntityRows) -> "RecurrentEncoder":
        """The encoder of `rows` alone: its entity table holds their embeddings, zero for padding."""
        few = split(rows.take(self.entity_embedding), "entity")
        return eqx.tree_at(_entity_table, self, few)  # pyright: ignore[reportUnknownMemberType]

    def static_embedding(self) -> Float[Array, "entity dim"] | None:
        """The embedding of every entity from its words; None without a static graph."""
        if self.static_conv is None or self.word_embedding is None or self.static_edges is None:
            return None
        return self._normalize(self.static_conv(self.word_embedding, self.static_edges))

    def initial_state(self, static: Float[Array, "entity dim"] | None) -> Float[Array, "entity dim"]:
        """The states before the first snapshot; `static`: as `static_embedding` gives it."""
        return split(self._normalize(self.entity_embedding) if static is None else static, "entity")

    def _normalize(self, x: Float[Array, "*row dim"]) -> Float[Array, "*row dim"]:
        return l2_normalize(x) if self.l2_normalize else x

    def _after_update(self, state: Float[Array, "entity dim"]) -> Float[Array, "entity dim"]:
        return self._normalize(state) if self.normalize_update else state

    def evolve(
        self,
        state: Float[Array, "entity dim"],
        relations: Float[Array, "rel2 dim"],
        snapshot: Window,
        running: GraphStatistics,
        *,
        training: bool,
        key: PRNGKeyArray | None,
    ) -> tuple[Float[Array, "entity dim"], Float[Array, "rel2 dim"], GraphStatistics, StepTrace]:
        """Take in one snapshot.

        **Arguments:** `state` `(entity, dim)` and `relations` `(rel2, dim)` before it; `snapshot`: a `Window` without
        its time axis; `running`: the buffers of the graph layers; `training`, `key`: batch statistics, dropout.

        **Returns:** state and relations after it, the new buffers, and the intermediate values.
        """
        active = take_rows(state, snapshot.active)
        # A subject counts once for a relation, however many facts they share in the snapshot.
        # Padded pairs have the relation `num_relations`, one past the segments, and are dropped.
        count = segment_sum(jnp.ones(snapshot.pair_relation.shape), snapshot.pair_relation, self.num_relations)
        pool = segment_mean(take_rows(active, snapshot.pair_entity, padded=False), snapshot.pair_relation, count)
        # A relation and its inverse pool the same subjects (released code).
        pool = jnp.concatenate([pool, pool]).astype(state.dtype)
        # The input holds the initial embedding at every snapshot, and an absent relation is updated too, from a pool of
        # zeros (released code).
        relations = self._normalize(self.relation_gru(jnp.concatenate([self.relation_embedding, pool], 1), relations))
        # All layers of a snapshot read the same relation states, so their mean over edges is taken once.
        of_edges = take_rows(relations, snapshot.edge_relation, padded=False)
        relation_mean = segment_mean(of_edges, snapshot.edge_target, snapshot.degree)
        x, traces, buffers = state, list[Array](), list[RunningStatistics]()
        keys = [None] * len(self.layers) if key is None else jr.split(key, len(self.layers))
        for layer, buffer, layer_key in zip(self.layers, running, keys):
            x, buffer = layer(
                x, relations, relation_mean, snapshot, buffer, rate=self.dropout, training=training, key=layer_key
            )
            traces.append(x)
            buffers.append(buffer)
        x = self._normalize(x)
        updated = self.entity_update(x, state)
        trace = StepTrace(pool, traces, x, updated)
        return split(self._after_update(updated), "entity"), relations, tuple(buffers), trace

    def __call__(
        self,
        window: Window,
        running: GraphStatistics | None = None,
        *,
        rows: EntityRows | None = None,
        targets: int = 1,
        training: bool = False,
        key: PRNGKeyArray | None = None,
        policy: Remat = "none",
        unroll: bool = False,
    ) -> tuple[Encoding, GraphStatistics]:
        """Evolve over the window.

        **Arguments:**

        - `window`; `running`: the buffers to start from, by default the encoder's own.
        - `rows`: given when this is an encoder `at_rows`; the entities of the window are then positions in them.
        - `targets`: how many of the last states to return.
        - `training`: batch statistics instead of running ones; `key`: dropout.
        - `policy`: rematerialisation; `unroll`: the snapshots without a loop, which compiles more slowly and, on a CPU,
          runs faster.

        **Returns:** the `Encoding` and the new buffers. With `targets` > 1 the encoding has a leading target axis,
        oldest first, and its static loss is that of a window of one target.
        """
        static = self.static_embedding()
        if static is not None and rows is not None:
            static = static if rows.index is None else take_rows(static, rows.index)
        weight = None if rows is None else rows.weight
        keys = None if key is None else jr.split(key, len(window.valid))

        def body(carry: _Carry, step: _Step) -> tuple[_Carry, tuple[Array, Array] | None]:
            state, relations, running, loss, position = carry
            snapshot, step_key = step
            new = self.evolve(state, relations, snapshot, running, training=training, key=step_key)[:3]
            if static is not None:
                loss = loss + jnp.where(snapshot.valid, self._static_loss(static, new[0], position, weight), 0)

            # Padded snapshots, at the front of a short window, leave everything as it is.
            def keep(x: Array, old: Array) -> Array:
                return jnp.where(snapshot.valid, x, old)

            kept = jax.tree.map(keep, new, (state, relations, running))
            states = kept[:2] if targets > 1 else None
            # Padding does not count: the oldest real snapshot has position 0, whatever the length of the window.
            return (*kept, loss, position + snapshot.valid.astype(position.dtype)), states

        step = remat(body, policy)

        def body_without_states(carry: _Carry, xs: _Step) -> tuple[_Carry, None]:
            return step(carry, xs)[0], None

        def steps(begin: int, end: int) -> _Step:
            def part(x: Array) -> Array:
                return x[begin:end]

            return jax.tree.map(part, (window, keys))

        state, length = self.initial_state(static), len(window.valid)
        # The static loss sums over entities and snapshots, to thousands at first: bf16 would drop single terms.
        zero = jnp.zeros((), jnp.promote_types(state.dtype, jnp.float32))
        running = self.running if running is None else running
        carry = (state, self.relation_embedding, running, zero, jnp.zeros((), jnp.int32))
        # Only the last `targets` states are kept: a scan that returns states would store all of them.
        before = length - targets if targets > 1 else length
        carry, _ = jax.lax.scan(body_without_states, carry, steps(0, before), unroll=unroll)
        if targets == 1:
            state, relations, running, loss, _ = carry
        else:
            carry, states = jax.lax.scan(step, carry, steps(before, length), unroll=unroll)
            assert states is not None
            state, relations = states
            # The loss summed `length` snapshots; a window of one target has `before + 1`.
            running, loss = carry[2], carry[3] * ((before + 1) / length)
        # The released codes normalise once more here; the states of RE-GCN were not normalised before.
        return Encoding(self._normalize(state), relations, self.static_weight * loss), running

    def isolated_state(self, length: int) -> Float[Array, "entity dim"]:
        """The states `(entity, dim)` of entities without an edge in a window of `length` snapshots.

        Such an entity depends on neither relations nor neighbours, so its state is the same for every window of that
        length. An evaluation computes it once for all targets.
        """

        def body(state: Array, _: None) -> tuple[Array, None]:
            x = state
            for layer in self.layers:
                x = layer.isolated(x)
            return self._after_update(self.entity_update(self._normalize(x), state)), None

        state, _ = jax.lax.scan(body, self.initial_state(self.static_embedding()), length=length)
        return self._normalize(state)

    def _static_loss(
        self,
        static: Float[Array, "entity dim"],
        state: Float[Array, "entity dim"],
        position: Int[Array, ""],
        weight: Float[Array, " entity"] | None,
    ) -> Scalar:
        """Sum over entities, each counted `weight` times, of max(0, cos(allowed angle) - cosine); `position` is 0 for
        the oldest snapshot (RE-GCN, section 3.1.3)."""
        steps = (position + 1).astype(at_least_f32(state).dtype) if self.angle_grows else 1.0
        # An entity without words has a static embedding of zeros: its cosine is the constant 0, without gradient.
        cosine = jnp.sum(at_least_f32(static) * at_least_f32(l2_normalize(state)), 1)
        if not self.l2_normalize:
            # Otherwise the static embedding has length 1 already.
            norm = jnp.sqrt(jnp.maximum(jnp.sum(at_least_f32(static) ** 2, 1), 1e-24))
            cosine = cosine / norm
        # The allowed angle may grow beyond 90 degrees (released code).
        excess = jnp.maximum(jnp.cos(math.radians(self.angle) * steps) - cosine, 0)
        return jnp.sum(excess if weight is None else excess * weight.astype(excess.dtype))


def _entity_table(encoder: RecurrentEncoder) -> object:  # `tree_at` calls it with stand-ins for arrays
    return encoder.entity_embedding


def _xavier_normal(key: PRNGKeyArray, rows: int, dim: int) -> Float[Array, "rows dim"]:
    return jr.normal(key, (rows, dim)) * math.sqrt(2 / (rows + dim))
