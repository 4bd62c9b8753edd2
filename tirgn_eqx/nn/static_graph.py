"""The static graph layer: entities described by words through time-less relations."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from tirgn_eqx.data.graph import StaticGraph
from tirgn_eqx.nn.graph_conv import xavier_uniform
from tirgn_eqx.nn.numerics import rrelu, wide


class StaticEdges(eqx.Module):
    """Word -> entity edges sorted by relation; integers that live in the model, saved but never trained.

    `bounds[r]:bounds[r + 1]` are the edges of relation r (the inverse of static relation r, since the words
    are the sources).
    """

    word: Int[Array, " static_edge"]
    entity: Int[Array, " static_edge"]
    degree: Float[Array, " entity"]
    bounds: tuple[int, ...] = eqx.field(static=True)

    def __init__(self, graph: StaticGraph, num_entities: int):
        order = np.argsort(graph.relation, kind="stable")
        self.word = jnp.asarray(graph.word[order], jnp.int32)
        self.entity = jnp.asarray(graph.entity[order], jnp.int32)
        self.degree = jnp.asarray(np.bincount(graph.entity, minlength=num_entities), jnp.float32)
        ends = np.searchsorted(graph.relation[order], np.arange(graph.num_relations + 1))
        self.bounds = tuple(int(end) for end in ends)


class StaticConvolution(eqx.Module):
    """Mean over an entity's words of (W_r x_word), W_r block-diagonal, then the leaky ReLU; no bias.

    The released code runs this over both directions of the bipartite entity-word graph and keeps the entity
    rows. An entity's only neighbours are words, so the edges into words change nothing and are left out;
    hence the learnt entity embedding never enters (RE-GCN, Li et al., SIGIR 2021, section 3.1.3; released
    code). Half of `weight` is therefore unused: relations 0 .. R - 1 point at words, R .. 2R - 1 at entities.

    **Raises:** ValueError when `blocks` does not divide `dim`.
    """

    weight: Float[Array, "static_rel2 block in out"]

    def __init__(self, dim: int, num_relations: int, blocks: int, *, key: PRNGKeyArray):
        if dim % blocks:
            raise ValueError(f"static_blocks = {blocks} does not divide embedding_dim = {dim}")
        size = dim // blocks
        # PyTorch counts the fans of the released (2R, blocks * size * size) tensor as its two axes.
        flat = xavier_uniform(key, 2 * num_relations, blocks * size * size)
        self.weight = flat.reshape(2 * num_relations, blocks, size, size)

    @jax.named_scope("tirgn.static_graph")
    def __call__(self, words: Float[Array, "word dim"], edges: StaticEdges) -> Float[Array, "entity dim"]:
        """The entities' static embeddings before normalisation; zero for an entity without words."""
        half, blocks, size = len(self.weight) // 2, self.weight.shape[1], self.weight.shape[2]
        messages = []
        for relation in range(half):
            word = edges.word[edges.bounds[relation] : edges.bounds[relation + 1]]
            source = words[word].reshape(-1, blocks, size)
            product = jnp.einsum("ebi,bio->ebo", source, self.weight[half + relation])
            messages.append(product.reshape(-1, blocks * size))
        total = jax.ops.segment_sum(wide(jnp.concatenate(messages)), edges.entity, len(edges.degree))
        mean = total / jnp.maximum(edges.degree, 1).astype(total.dtype)[:, None]
        return rrelu(mean.astype(words.dtype))
