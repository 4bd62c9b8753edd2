"""The static graph layer: entities described by words through relations without time."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from tirgn_eqx.data.graph import StaticGraph
from tirgn_eqx.nn.numerics import at_least_f32, einsum, rrelu, xavier_uniform
from tirgn_eqx.nn.segments import segment_sum, take_rows


class StaticEdges(eqx.Module):
    """Edges from words to entities, sorted by relation: buffers that are saved with the model and never trained.

    `word` and `entity` are the ends of every edge and `degree` the number of words of every entity. The edges of static
    relation r are `bounds[r]:bounds[r + 1]`.
    """

    word: Int[Array, " static_edge"]
    entity: Int[Array, " static_edge"]
    degree: Float[Array, " entity"]
    bounds: tuple[int, ...] = eqx.field(static=True)

    def __init__(self, graph: StaticGraph, num_entities: int):
        # In order of relation, the words of each relation are one slice and need one product with its blocks.
        order = np.argsort(graph.relation, kind="stable")
        self.word = jnp.asarray(graph.word[order], jnp.int32)
        self.entity = jnp.asarray(graph.entity[order], jnp.int32)
        self.degree = jnp.asarray(np.bincount(graph.entity, minlength=num_entities), jnp.float32)
        ends = np.searchsorted(graph.relation[order], np.arange(graph.num_relations + 1))
        self.bounds = tuple(int(end) for end in ends)


class StaticConvolution(eqx.Module):
    """Leaky ReLU of the mean of W_r x over the words x of an entity; W_r is block-diagonal, without bias.

    The released code runs this over both directions of the bipartite graph of entities and words and keeps the rows of
    the entities (RE-GCN, Li et al., SIGIR 2021, section 3.1.3). The neighbours of an entity are all words, so the edges
    into words change nothing and are left out, and the learnt entity embedding never enters. Hence half of `weight` is
    unused: relations 0 .. R - 1 point at words, R .. 2R - 1 at entities.

    ```python
    import jax.numpy as jnp
    import jax.random as jr
    import numpy as np
    from tirgn_eqx.data.graph import StaticGraph
    from tirgn_eqx.nn import StaticConvolution, StaticEdges

    zeros = np.zeros(2, np.int32)  # two entities share the only word; entity 2 has none
    graph = StaticGraph(np.arange(2, dtype=np.int32), zeros, zeros, num_relations=1, num_words=1)
    out = StaticConvolution(8, 1, blocks=2, key=jr.key(0))(jnp.ones((1, 8)), StaticEdges(graph, 3))
    assert jnp.array_equal(out[0], out[1]) and not out[2].any()
    ```
    """

    weight: Float[Array, "static_rel2 block in out"]

    def __init__(self, dim: int, num_relations: int, blocks: int, *, key: PRNGKeyArray):
        """**Arguments:** `dim`: width of words and entities; `num_relations`: static relations R; `blocks`: diagonal
        blocks of every W_r.

        **Raises:** ValueError when `blocks` does not divide `dim`.
        """
        if dim % blocks:
            raise ValueError(f"static_blocks = {blocks} does not divide embedding_dim = {dim}")
        size = dim // blocks
        # PyTorch counts the fans of the released (2R, blocks * size * size) tensor as its two axes.
        flat = xavier_uniform(key, 2 * num_relations, blocks * size * size)
        self.weight = flat.reshape(2 * num_relations, blocks, size, size)

    @jax.named_scope("tirgn.static_graph")
    def __call__(self, words: Float[Array, "word dim"], edges: StaticEdges) -> Float[Array, "entity dim"]:
        """**Arguments:** `words`: embeddings `(word, dim)`; `edges`: of the static graph.

        **Returns:** the static embeddings `(entity, dim)`, not normalised; zero for an entity without words.
        """
        half, blocks, size = len(self.weight) // 2, self.weight.shape[1], self.weight.shape[2]
        messages: list[Array] = []
        # Relation by relation: the blocks of every edge would be a tensor [edge, block, in, out].
        for relation in range(half):
            word = edges.word[edges.bounds[relation] : edges.bounds[relation + 1]]
            source = take_rows(words, word, padded=False).reshape(-1, blocks, size)
            product = einsum("ebi,bio->ebo", source, self.weight[half + relation])
            messages.append(product.reshape(-1, blocks * size))
        total = segment_sum(at_least_f32(jnp.concatenate(messages)), edges.entity, len(edges.degree))
        mean = total / jnp.maximum(edges.degree, 1).astype(total.dtype)[:, None]
        return rrelu(mean.astype(words.dtype))
