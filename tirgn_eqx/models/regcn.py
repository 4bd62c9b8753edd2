"""RE-GCN: Recurrent Evolution network based on Graph Convolution (Li et al., SIGIR 2021), which TiRGN grew out of."""

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray

from tirgn_eqx.config import REGCNTrainingConfig
from tirgn_eqx.data.graph import StaticGraph
from tirgn_eqx.models.encoder import Encoding, RecurrentEncoder
from tirgn_eqx.models.logits import HistoryMask
from tirgn_eqx.models.recurrent import Buffers, Decoded, Kind, RecurrentGraphModel, decode_queries
from tirgn_eqx.nn import ConvDecoder, DropoutRates, TimeGate
from tirgn_eqx.types import Queries


class REGCN(RecurrentGraphModel):
    """A recurrent graph encoder with a time gate, and one decoder for entities and one for relations.

    The decoders use neither time nor history: the history rate is 0.
    """

    encoder: RecurrentEncoder
    entity_decoder: ConvDecoder
    relation_decoder: ConvDecoder
    history_rate: float = eqx.field(static=True)
    history_mask: HistoryMask = eqx.field(static=True)
    task_weight: float = eqx.field(static=True)
    decoder_dropout: DropoutRates = eqx.field(static=True)

    def __init__(
        self,
        num_entities: int,
        num_relations: int,
        config: REGCNTrainingConfig,
        static: StaticGraph | None = None,
        *,
        key: PRNGKeyArray,
    ):
        """**Arguments:** as of `TiRGN`; the history settings of `config` are not used."""
        dim, keys = config.embedding_dim, jr.split(key, 8 + config.num_layers)
        self.encoder = RecurrentEncoder(
            num_entities,
            num_relations,
            config,
            static,
            update=TimeGate(dim, key=keys[3]),
            normalize_update=False,  # released code
            # Keys 3 to 5 are those of the gate and of the two decoders.
            keys=jnp.concatenate([keys[:3], keys[6:]]),
        )
        self.entity_decoder, self.relation_decoder = (
            ConvDecoder(dim, config.conv_channels, config.conv_kernel, inputs=2, key=decoder_key)
            for decoder_key in keys[4:6]
        )
        # With a rate of 0 the mask is never read.
        self.history_rate, self.history_mask = 0.0, "multiply"
        self.task_weight = config.task_weight
        self.decoder_dropout = DropoutRates(config.input_dropout, config.feature_dropout, config.hidden_dropout)

    def decoders(self, kind: Kind) -> tuple[ConvDecoder]:
        """One for each kind."""
        return (self.entity_decoder if kind == "entity" else self.relation_decoder,)

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
        """See `RecurrentGraphModel.decode`; both modes have the same vectors."""
        rates = self.decoder_dropout
        (vectors,), candidates, buffers = decode_queries(
            self.decoders(kind), encoding, queries, (), buffers, kind=kind, rates=rates, training=training, key=key
        )
        return vectors, vectors, candidates, buffers
