"""Convolution, ReLU, dropout and projection of a decoder as one operation that never keeps its feature maps.

The feature maps [query, dim, chan] are by far the largest array of the model. They exist for `CHUNK` queries at a time:
in the forward pass and, recomputed from patches a quarter of their size, in the backward pass. The gradient is written
by hand because automatic differentiation copies and transposes them.
"""

from functools import partial
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Shaped, UInt32

from tirgn_eqx.nn.numerics import at_least_f32, chunk_rows, einsum, keep_mask

CHUNK = 512

_Residuals = tuple[Array, Array, Array, Array, Array]
_Total = tuple[Array, Array, Array]


def _chunks(*arrays: Shaped[Array, "row ..."]) -> tuple[tuple[Array, ...], Array]:
    """The arrays in chunks of at most `CHUNK` rows, and the number of the first row of every chunk."""
    chunks = chunk_rows(CHUNK, *arrays)
    count, size = chunks[0].shape[:2]
    return chunks, jnp.arange(count, dtype=jnp.uint32) * jnp.uint32(size)


def _features(rate: float, patches: Array, filters: Array, shift: Array, seeds: Array, first: Array) -> Array:
    """Feature maps `(query, dim * chan)`. Their gradient passes where they are above 0, times 1 / (1 - rate)."""
    before = at_least_f32(patches @ filters) + shift
    passes = before > 0
    if rate:
        _, dim, chan = before.shape
        # Elements are numbered over all rows, so a mask does not depend on the chunks, and the backward pass draws the
        # same one from `seeds`.
        passes &= keep_mask(before.shape, rate, seeds, first * jnp.uint32(dim * chan % 2**32))
    return jnp.where(passes, before / (1 - rate), 0).astype(patches.dtype).reshape(len(patches), -1)


def _barrier(x: Array) -> Array:
    return jax.lax.optimization_barrier(x)  # pyright: ignore[reportUnknownMemberType]


def _rows_per_block(rows: int) -> int:
    """How many rows of a tall thin matrix are put side by side: two, where the rows pair up. Products with such wider
    matrices run on all cores."""
    return 2 if rows % 2 == 0 else 1


def thin_product(
    left: Float[Array, "row few"], right: Float[Array, "row some"], dtype: DTypeLike
) -> Float[Array, "few some"]:
    """left' right for many rows of few columns.

    Rows side by side make one wider product, and its diagonal blocks add up to the result.
    """
    block, few, some = _rows_per_block(len(left)), left.shape[1], right.shape[1]
    # With rows 0 and 1 side by side, product[i, :, j, :] pairs row i of `left` with row j of `right`; only i = j
    # belongs to the result.
    product = jnp.matmul(left.reshape(-1, block * few).T, right.reshape(-1, block * some), preferred_element_type=dtype)
    return einsum("ipiq->pq", product.reshape(block, few, block, some))


def thin_rows_product(left: Float[Array, "row some"], right: Float[Array, "some few"]) -> Float[Array, "row few"]:
    """left right for many rows of few columns, on the wider rows of `thin_product`, so that XLA computes what both use
    once instead of once per shape."""
    block = _rows_per_block(len(left))
    # Copies of `right` along the diagonal, one for each of the rows that lie side by side.
    blocks = jnp.kron(jnp.eye(block, dtype=right.dtype), right)
    return (left.reshape(-1, left.shape[1] * block) @ blocks).reshape(-1, right.shape[1])


def projected_features(
    rate: float,
    patches: Float[Array, "query dim patch"],
    filters: Float[Array, "patch chan"],
    shift: Float[Array, " chan"],
    project: Float[Array, "dim*chan out"],
    seeds: UInt32[Array, " 2"],
) -> Float[Array, "query out"]:
    """dropout(relu(patches filters + shift)) project.

    **Arguments:** `rate`: share of the feature maps that is dropped; `patches` `(query, dim, patch)`; `filters`
    `(patch, chan)`; `shift` `(chan,)`; `project` `(dim * chan, out)`; `seeds`: of the dropout mask.
    """
    return cast(Array, _projected(rate, patches, filters, shift, project, seeds))


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _projected(rate: float, patches: Array, filters: Array, shift: Array, project: Array, seeds: Array) -> Array:

    def project_chunk(step: tuple[tuple[Array, ...], Array]) -> Array:
        (chunk,), first = step
        return _features(rate, chunk, filters, shift, seeds, first) @ project

    chunks, firsts = _chunks(patches)
    if len(firsts) == 1:
        return project_chunk(((patches,), firsts[0]))
    out = cast(Array, jax.lax.map(project_chunk, (chunks, firsts)))  # pyright: ignore[reportUnknownMemberType]
    return out.reshape(-1, project.shape[1])[: len(patches)]


def _forward(
    rate: float, patches: Array, filters: Array, shift: Array, project: Array, seeds: Array
) -> tuple[Array, _Residuals]:
    out = cast(Array, _projected(rate, patches, filters, shift, project, seeds))
    return out, (patches, filters, shift, project, seeds)


def _backward(rate: float, residuals: _Residuals, gradient: Array) -> tuple[Array, Array, Array, Array, np.ndarray]:
    patches, filters, shift, project, seeds = residuals
    dtype = at_least_f32(shift).dtype

    def add_chunk(total: _Total, step: tuple[tuple[Array, ...], Array]) -> tuple[_Total, Array]:
        (chunk, above), first = step
        # Without the barriers XLA recomputes maps and mask inside each of their uses.
        features = _barrier(_features(rate, chunk, filters, shift, seeds, first))
        to_project = jnp.matmul(features.T, above, preferred_element_type=dtype)
        # Features are above 0 exactly where ReLU and dropout let the gradient pass, so no mask is kept.
        back = at_least_f32(above @ project.T)
        back = jnp.where(features > 0, back / (1 - rate), 0).astype(chunk.dtype)
        back = _barrier(back).reshape(-1, filters.shape[1])
        # A column of ones beside the patches: one product gives the gradients of both filters and shift.
        flat = chunk.reshape(-1, chunk.shape[2])
        flat = jnp.concatenate([flat, jnp.ones((len(flat), 1), flat.dtype)], 1)
        to_filters = thin_product(flat, back, dtype)
        total = (total[0] + to_filters[:-1], total[1] + to_filters[-1], total[2] + to_project)
        return total, thin_rows_product(back, filters.T).reshape(chunk.shape)

    chunks, firsts = _chunks(patches, gradient.astype(patches.dtype))
    # The sums over chunks are in f32, where the parts may be in bf16.
    zeros = (jnp.zeros(filters.shape, dtype), jnp.zeros(shift.shape, dtype), jnp.zeros(project.shape, dtype))
    if len(firsts) == 1:
        total, to_patches = add_chunk(zeros, (tuple(chunk[0] for chunk in chunks), firsts[0]))
    else:
        total, to_patches = jax.lax.scan(add_chunk, zeros, (chunks, firsts))
        to_patches = to_patches.reshape(-1, *patches.shape[1:])[: len(patches)]
    to_filters, to_shift = total[0].astype(filters.dtype), total[1].astype(shift.dtype)
    # Integer seeds have a gradient of JAX's zero-size type.
    return to_patches, to_filters, to_shift, total[2].astype(project.dtype), np.zeros(seeds.shape, jax.dtypes.float0)


_projected.defvjp(_forward, _backward)  # pyright: ignore[reportUnknownMemberType]
