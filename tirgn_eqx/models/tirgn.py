"""TiRGN: Time-Guided Recurrent Graph Network (Li, Sun, Zhao, IJCAI 2022), equal to the released model.

The encoder evolves entity and relation states over the window; four decoders (entity and relation, raw and
history mode) score the questions about the next snapshot from one evolved state.
"""

import math
from typing import Literal

import equinox as eqx
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray

from tirgn_eqx.config import TiRGNTrainingConfig
from tirgn_eqx.data.graph import StaticGraph
from tirgn_eqx.models import scores
from tirgn_eqx.models.evolution import Encoding, RecurrentGraphModel
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
from tirgn_eqx.types import Queries


class Buffers(eqx.Module):
    """Every BatchNorm's running statistics: what training changes beside the parameters."""

    graph: tuple[RunningStatistics, ...]
    entity_raw: Running
    entity_history: Running
    relation_raw: Running
    relation_history: Running


class TiRGN(RecurrentGraphModel):
    """The model as one immutable pytree; every leaf that is floating and not a buffer is trained."""

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

    def updated(self, x: Float[Array, "entity dim"], state: Float[Array, "entity dim"]) -> Float[Array, "entity dim"]:
        """The entity GRU (TiRGN, section 3.2)."""
        return self.entity_gru(x, state)

    def after_update(self, state: Float[Array, "entity dim"]) -> Float[Array, "entity dim"]:
        """Normalised (released code)."""
        return self._normalized(state)

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
        entities = encoding.seen
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
