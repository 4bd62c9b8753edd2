"""The event model: how often events come, and beside it a model that says who would be the object of a new one."""

import equinox as eqx
from jaxtyping import Array, Float

from tirgn_eqx.models.event_rates import EventRates
from tirgn_eqx.models.evidence import Evidence
from tirgn_eqx.models.mixture import Mixture
from tirgn_eqx.models.recurrent import RecurrentGraphModel
from tirgn_eqx.nn.static_graph import StaticEdges


class EventModel(eqx.Module):
    """`rates` of all events, and `base`, which ranks the answers to queries; None for rates by themselves."""

    rates: EventRates
    base: RecurrentGraphModel | Evidence | Mixture | None

    @property
    def num_entities(self) -> int:
        """Entities of the vocabulary."""
        return self.rates.num_entities

    @property
    def num_relations(self) -> int:
        """Relations without their inverses."""
        return self.rates.num_relations

    @property
    def static_edges(self) -> StaticEdges | None:
        """The edges from words to entities of `base`."""
        return None if self.base is None else self.base.static_edges

    @property
    def word_embedding(self) -> Float[Array, "word wide"] | None:
        """A vector of every word of `base`."""
        return None if self.base is None else self.base.word_embedding
