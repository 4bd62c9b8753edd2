"""Convolution, ReLU, dropout and projection of a decoder as one operation that never keeps its feature maps.

The feature maps [unit, dim, chan] are by far the largest array of the model, four times over. They exist for `CHUNK`
units at a time, in the forward pass and, computed again from patches a quarter of their size, in the backward pass.
The gradient is written by hand: what automatic differentiation makes of it copies and transposes them.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt32

from tirgn_eqx.nn.numerics import keep_mask, split_rows, wide

CHUNK = 512


def _split(*arrays: Array) -> tuple[tuple[Array, ...], Array]:
    """(arrays in chunks of at most `CHUNK` rows, number of the first row of each chunk)."""
    chunks = split_rows(CHUNK, *arrays)
    count, size = chunks[0].shape[:2]
    return chunks, jnp.arange(count, dtype=jnp.uint32) * jnp.uint32(size)


def _features(rate, patches, filters, shift, seeds, first):
    """Feature maps `(unit, dim * chan)`; their gradient passes where they are above 0, times 1 / (1 - rate)."""
    before = wide(patches @ filters) + shift
    passes = before > 0
    if rate:
        _, dim, chan = before.shape
        passes &= keep_mask(before.shape, rate, seeds, first * jnp.uint32(dim * chan % 2**32))
    return jnp.where(passes, before / (1 - rate), 0).astype(patches.dtype).reshape(len(patches), -1)


def side_by_side(rows: int) -> int:
    """How many rows of a long thin matrix to put side by side: two, where they come in pairs. Products with so wide a
    matrix run on all cores."""
    return 2 if rows % 2 == 0 else 1


def thin_product(
    left: Float[Array, "row few"], right: Float[Array, "row some"], dtype: Any
) -> Float[Array, "few some"]:
    """left' right for many rows of few columns: rows side by side make a wider product, whose diagonal blocks add
    up to the result."""
    block, few, some = side_by_side(len(left)), left.shape[1], right.shape[1]
    wide_product = jnp.matmul(
        left.reshape(-1, block * few).T, right.reshape(-1, block * some), preferred_element_type=dtype
    )
    return jnp.einsum("ipiq->pq", wide_product.reshape(block, few, block, some))


def thin_rows_product(left: Float[Array, "row some"], right: Float[Array, "some few"]) -> Float[Array, "row few"]:
    """left right for many rows of few columns, on the same wider rows as `thin_product`: what both use is then computed
    once, not once in each shape."""
    block = side_by_side(len(left))
    blocks = jnp.kron(jnp.eye(block, dtype=right.dtype), right)
    return (left.reshape(-1, left.shape[1] * block) @ blocks).reshape(-1, right.shape[1])


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def projected_features(
    rate: float,
    patches: Float[Array, "unit dim patch"],
    filters: Float[Array, "patch chan"],
    shift: Float[Array, " chan"],
    project: Float[Array, "dim*chan out"],
    seeds: UInt32[Array, " 2"],
) -> Float[Array, "unit out"]:
    """dropout(relu(patches filters + shift)) project, `rate` of it dropped by the mask of `seeds`."""

    def one(step):
        (chunk,), first = step
        return _features(rate, chunk, filters, shift, seeds, first) @ project

    chunks, firsts = _split(patches)
    if len(firsts) == 1:
        return one(((patches,), firsts[0]))
    return jax.lax.map(one, (chunks, firsts)).reshape(-1, project.shape[1])[: len(patches)]


def _forward(rate, patches, filters, shift, project, seeds):
    out = projected_features(rate, patches, filters, shift, project, seeds)
    return out, (patches, filters, shift, project, seeds)


def _backward(rate, saved, gradient):
    patches, filters, shift, project, seeds = saved
    dtype = wide(shift).dtype
    product = partial(jnp.matmul, preferred_element_type=dtype)

    def one(total, step):
        (chunk, above), first = step
        # The barriers keep XLA from computing maps and mask once more inside each of their uses.
        features = jax.lax.optimization_barrier(_features(rate, chunk, filters, shift, seeds, first))
        to_project = product(features.T, above)
        back = wide(above @ project.T)
        back = jnp.where(features > 0, back / (1 - rate), 0).astype(chunk.dtype)
        back = jax.lax.optimization_barrier(back).reshape(-1, filters.shape[1])
        # A column of ones beside the patches: the gradient of the shift comes with that of the filters.
        flat = chunk.reshape(-1, chunk.shape[2])
        flat = jnp.concatenate([flat, jnp.ones((len(flat), 1), flat.dtype)], 1)
        to_filters = thin_product(flat, back, dtype)
        total = jax.tree.map(jnp.add, total, (to_filters[:-1], to_filters[-1], to_project))
        return total, thin_rows_product(back, filters.T).reshape(chunk.shape)

    chunks, firsts = _split(patches, gradient.astype(patches.dtype))
    zeros = tuple(jnp.zeros(x.shape, dtype) for x in (filters, shift, project))
    if len(firsts) == 1:
        total, to_patches = one(zeros, (tuple(chunk[0] for chunk in chunks), firsts[0]))
    else:
        total, to_patches = jax.lax.scan(one, zeros, (chunks, firsts))
        to_patches = to_patches.reshape(-1, *patches.shape[1:])[: len(patches)]
    to_filters, to_shift, to_project = (t.astype(x.dtype) for t, x in zip(total, (filters, shift, project)))
    return to_patches, to_filters, to_shift, to_project, np.zeros(seeds.shape, jax.dtypes.float0)


projected_features.defvjp(_forward, _backward)
