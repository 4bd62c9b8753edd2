"""TiRGN: Time-Guided Recurrent Graph Network (Li, Sun and Zhao, IJCAI 2022), equal to the released model."""

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray

from tirgn_eqx.config import TiRGNTrainingConfig
from tirgn_eqx.data.graph import StaticGraph
from tirgn_eqx.models.encoder import Encoding, RecurrentEncoder
from tirgn_eqx.models.logits import HistoryMask
from tirgn_eqx.models.recurrent import Buffers, Decoded, Kind, RecurrentGraphModel, decode_queries
from tirgn_eqx.nn import ConvDecoder, DropoutRates, GRUCell, TimeEncoding
from tirgn_eqx.types import Queries


class TiRGN(RecurrentGraphModel):
    """A recurrent graph encoder with an entity GRU, and four decoders: of entity and of relation queries, in raw and in
    history mode. All score the queries about the next snapshot from one evolved state."""

    encoder: RecurrentEncoder
    time: TimeEncoding
    entity_raw: ConvDecoder
    entity_history: ConvDecoder
    relation_raw: ConvDecoder
    relation_history: ConvDecoder
    history_rate: float = eqx.field(static=True)
    history_mask: HistoryMask = eqx.field(static=True)
    task_weight: float = eqx.field(static=True)
    decoder_dropout: DropoutRates = eqx.field(static=True)

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
        `config.static_graph`; `key`: of the initialisation, as in the released code.

        ```python
        import jax.random as jr
        from tirgn_eqx import TiRGN, TiRGNTrainingConfig

        config = TiRGNTrainingConfig(embedding_dim=8, num_layers=1, conv_channels=3)
        model = TiRGN(num_entities=50, num_relations=6, config=config, key=jr.key(0))
        assert model.encoder.relation_embedding.shape == (12, 8)
        ```
        """
        dim, keys = config.embedding_dim, jr.split(key, 12 + config.num_layers)
        self.encoder = RecurrentEncoder(
            num_entities,
            num_relations,
            config,
            static,
            update=GRUCell(dim, dim, key=keys[3]),
            # Keys 3 to 8 are those of the entity GRU, of time and of the four decoders.
            keys=jnp.concatenate([keys[:3], keys[9:]]),
        )
        self.time = TimeEncoding(dim, key=keys[4])
        self.entity_raw, self.entity_history, self.relation_raw, self.relation_history = (
            ConvDecoder(dim, config.conv_channels, config.conv_kernel, key=decoder_key) for decoder_key in keys[5:9]
        )
        self.history_rate, self.history_mask = config.history_rate, config.history_mask
        self.task_weight = config.task_weight
        self.decoder_dropout = DropoutRates(config.input_dropout, config.feature_dropout, config.hidden_dropout)

    def decoders(self, kind: Kind) -> tuple[ConvDecoder, ConvDecoder]:
        """Of raw mode and of history mode."""
        if kind == "entity":
            return self.entity_raw, self.entity_history
        return self.relation_raw, self.relation_history

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
        """See `RecurrentGraphModel.decode`."""
        # All queries of a batch are about one time, so that it is encoded once.
        times, rates = self.time(time_index), self.decoder_dropout
        (raw, history), candidates, buffers = decode_queries(
            self.decoders(kind), encoding, queries, times, buffers, kind=kind, rates=rates, training=training, key=key
        )
        return raw, history, candidates, buffers
