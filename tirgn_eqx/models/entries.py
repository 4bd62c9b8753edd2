"""What past events add to forecasts, as the factors of a product.

The intensities themselves, one for every query and past event of its subject, are too many to hold for a whole batch.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from tirgn_eqx.nn.segments import add_rows, take_rows
from tirgn_eqx.types import EvidenceBatch


class EntryFactors(NamedTuple):
    """The factors of a batch of entity queries.

    To the candidate of cell c, of query i, the past triple of entry e adds the intensity

        factor[c] * (head_weight[i] . head[e] + exact where the entry has the relation of the query),

    and to every candidate that popular object p stands for, query i adds scale[i] * popular[p]. `total` is the
    intensity of all candidates of a query, so that a quotient by it is a probability.
    """

    head: Float[Array, "entry head"]
    head_weight: Float[Array, "query head"]
    exact: Float[Array, " exact"]
    factor: Float[Array, " cell"]
    popular: Float[Array, " popular"]
    scale: Float[Array, " query"]
    total: Float[Array, " query"]


def expand_entries(factors: EntryFactors, batch: EvidenceBatch) -> Float[Array, "query entry"]:
    """The intensity that every entry adds to its candidate, 0 for entries of other subjects.

    This splits up the intensities of the cells. For a few queries: the array holds all entries for each.
    """
    neighbours, queries = batch.neighbours, batch.entity
    out = factors.head_weight @ factors.head.T
    # Neighbours of other subjects are no cell of the query: their factor stays 0, which removes their entries.
    cells = jnp.zeros((len(queries.subject), len(neighbours.object)), factors.factor.dtype)
    cells = cells.at[queries.cell_query, queries.cell_neighbour].set(factors.factor, mode="drop")
    query = take_rows(queries.cell_query, queries.exact_cell)
    # `take_rows` fills with 0, a real query; padding must lie outside.
    query = jnp.where(queries.exact_cell < len(queries.cell_query), query, len(out))
    out = add_rows(out, factors.exact, query, queries.exact_entry)
    return out * cells.at[:, neighbours.entry_neighbour].get(mode="fill", fill_value=0)
