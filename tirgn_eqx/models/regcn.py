"""RE-GCN: Recurrent Evolution network based on Graph Convolution (Li et al., SIGIR 2021).

TiRGN grew out of it. The same states evolve over the window, but a time gate takes the place of the entity GRU; one
decoder for entities and one for relations see neither the time nor the history.
"""

import math
from typing import Literal

import equinox as eqx
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray

from tirgn_eqx.config import REGCNTrainingConfig
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
    TimeGate,
)
from tirgn_eqx.nn.conv_decoder import Running
from tirgn_eqx.types import Queries


class Buffers(eqx.Module):
    """Every BatchNorm's running statistics: what training changes beside the parameters."""

    graph: tuple[RunningStatistics, ...]
    entity: Running
    relation: Running


class REGCN(RecurrentGraphModel):
    """The model as one immutable pytree; every leaf that is floating and not a buffer is trained.

    Its history rate is 0: all of the mixture is the raw mode.
    """

    entity_embedding: Float[Array, "entity dim"]
    relation_embedding: Float[Array, "rel2 dim"]
    word_embedding: Float[Array, "word dim"] | None
    static_conv: StaticConvolution | None
    static_edges: StaticEdges | None
    relation_gru: GRUCell
    entity_gate: TimeGate
    layers: tuple[GraphConvolution, ...]
    entity_decoder: ConvDecoder
    relation_decoder: ConvDecoder
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
        config: REGCNTrainingConfig,
        static: StaticGraph | None = None,
        *,
        key: PRNGKeyArray,
    ):
        """**Arguments:** sizes of the vocabulary; `config`, whose history settings do not enter; `static`: the static
        graph, used when `config.static_graph`; `key`: initialisation as in the released code.
        """
        dim = config.embedding_dim
        keys = iter(jr.split(key, 8 + config.num_layers))
        xavier_normal = lambda key, rows: jr.normal(key, (rows, dim)) * math.sqrt(2 / (rows + dim))
        self.entity_embedding = jr.normal(next(keys), (num_entities, dim))
        self.relation_embedding = xavier_normal(next(keys), 2 * num_relations)
        self.relation_gru = GRUCell(2 * dim, dim, key=next(keys))
        self.entity_gate = TimeGate(dim, key=next(keys))
        decoder = lambda: ConvDecoder(dim, config.conv_channels, config.conv_kernel, inputs=2, key=next(keys))
        self.entity_decoder, self.relation_decoder = decoder(), decoder()
        self.layers = tuple(GraphConvolution(dim, key=next(keys)) for _ in range(config.num_layers))
        word_key, static_key = next(keys), next(keys)
        if static is not None and config.static_graph:
            self.word_embedding = xavier_normal(word_key, static.num_words)
            self.static_conv = StaticConvolution(dim, static.num_relations, config.static_blocks, key=static_key)
            self.static_edges = StaticEdges(static, num_entities)
        else:
            self.word_embedding = self.static_conv = self.static_edges = None
        self.l2_normalize = config.l2_normalize
        self.history_rate, self.history_mask = 0.0, "multiply"
        self.task_weight, self.static_weight = config.task_weight, config.static_weight
        self.angle, self.angle_grows = config.angle, config.angle_grows
        self.dropout = config.dropout
        self.decoder_dropouts = Dropouts(config.input_dropout, config.feature_dropout, config.hidden_dropout)

    @property
    def buffers(self) -> Buffers:
        graph = tuple(layer.norm.running for layer in self.layers)
        return Buffers(graph, self.entity_decoder.running, self.relation_decoder.running)

    def with_buffers(self, buffers: Buffers) -> "REGCN":
        """The same model with other running statistics."""

        def places(model):
            graph = [layer.norm.running for layer in model.layers]
            return [*graph, *model.entity_decoder.running, *model.relation_decoder.running]

        return eqx.tree_at(places, self, [*buffers.graph, *buffers.entity, *buffers.relation])

    def updated(self, x: Float[Array, "entity dim"], state: Float[Array, "entity dim"]) -> Float[Array, "entity dim"]:
        """The time gate (RE-GCN, equation 3)."""
        return self.entity_gate(x, state)

    def after_update(self, state: Float[Array, "entity dim"]) -> Float[Array, "entity dim"]:
        """Nothing: states are normalised where they are read (released code)."""
        return state

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
        """(vectors, the same again, candidates, new buffers) of the questions of one kind; the time does not enter.

        Entity questions see tanh of the subject beside the relation and score tanh of every entity; relation
        questions see tanh of subject and object and score the evolved relations.
        """
        entities = encoding.seen
        subject = entities[queries.subject]
        if kind == "entity":
            given, candidates, decoder = encoding.relation[queries.given], entities, self.entity_decoder
        else:
            given, candidates, decoder = entities[queries.given], encoding.relation, self.relation_decoder
        vectors, running = decoder(
            subject,
            given,
            (),
            queries.weight,
            getattr(buffers, kind),
            rates=self.decoder_dropouts,
            training=training,
            key=key,
        )
        return vectors, vectors, candidates, eqx.tree_at(lambda b: getattr(b, kind), buffers, running)
