"""Sums of rows into segments, and the rows of a table at some ids: the one is the gradient of the other.

On NVIDIA GPUs, a scatter that adds floats into few targets is slow, because threads that add into the same target wait
for each other; jaxlib 0.10.2 to 0.11.0 make them retry, which is reported to take hundreds of times longer
(https://github.com/jax-ml/jax/issues/38806). There, below `FEW_TARGETS` targets, these functions compute the same sums
without a scatter. Everywhere else they are the plain expressions that their docstrings name, and nothing more. Ids are
never negative.

- Sums into segments are scans over sorted rows. A NaN stays in its segment.
- Gradients of tables are products with a one-hot matrix while that is small, because ids are in no order there, and
  one product should cost less than sorting a few thousand of them. A NaN reaches other rows of the gradient, but a
  training step with any NaN is skipped as a whole.

Neither limit was measured on a GPU yet; `benchmarks/scatter.py` is made for that.
"""

import math
from functools import partial
from typing import cast

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Shaped

from tirgn_eqx.nn.numerics import at_least_f32

FEW_TARGETS = 4096
MAX_ONE_HOT = 2**22  # elements of a one-hot matrix: 16 MiB in f32


def _is_slow(targets: int, table: Shaped[Array, "..."]) -> bool:
    """Whether adding floats into so many targets by a scatter is slow on the device that is traced for."""
    # All of these are known when a function is traced, so that the program of a CPU has no trace of the choice.
    return targets < FEW_TARGETS and jnp.issubdtype(table.dtype, jnp.inexact) and jax.default_backend() == "gpu"


def segment_sum(
    values: Float[Array, "item ..."], segment: Int[Array, " item"], num_segments: int, is_sorted: bool = False
) -> Float[Array, "segment ..."]:
    """`jax.ops.segment_sum`; items whose segment is `num_segments` are padding and dropped.

    **Arguments:** `is_sorted`: `segment` is ascending.

    ```python
    import jax.numpy as jnp
    from tirgn_eqx.nn.segments import segment_sum

    total = segment_sum(jnp.array([1.0, 2.0, 4.0, 8.0]), jnp.array([0, 2, 2, 3]), 3)
    assert total.tolist() == [1.0, 0.0, 6.0]
    ```
    """
    if not _is_slow(num_segments, values):
        return jax.ops.segment_sum(values, segment, num_segments, indices_are_sorted=is_sorted)
    return cast(Array, _sum(num_segments, is_sorted, values, segment))


def segment_mean(
    values: Float[Array, "item dim"], segment: Int[Array, " item"], count: Float[Array, " segment"]
) -> Float[Array, "segment dim"]:
    """The mean of the `values` of every segment, in at least f32; 0 for a segment whose `count` is 0.

    **Arguments:** `segment`: segment of every item, ascending; `count`: items of every segment.
    """
    total = segment_sum(at_least_f32(values), segment, len(count), is_sorted=True)
    return total / jnp.maximum(count, 1)[:, None].astype(total.dtype)


def add_rows(
    table: Float[Array, "row ..."], values: Float[Array, "n ..."], *index: Int[Array, " n"]
) -> Float[Array, "row ..."]:
    """`table.at[index].add(values, mode="drop")`: ids past the end are padding and dropped.

    **Arguments:** `index`: ids for each of the first axes of `table`.
    """
    axes = table.shape[: len(index)]
    if not _is_slow(math.prod(axes), table):
        return table.at[index].add(values, mode="drop")
    total = segment_sum(values, _flat(index, axes, padded=True), math.prod(axes))
    return table + total.reshape(table.shape)


def put_rows(
    table: Float[Array, "row ..."], values: Float[Array, "n ..."], index: Int[Array, " n"]
) -> Float[Array, "row ..."]:
    """`table.at[index].set(values, mode="drop")` for ids that all differ, except for padding past the end."""
    if not _is_slow(len(table), table):
        return table.at[index].set(values, mode="drop")
    # JAX does not know that the ids differ: for the gradient it would add the values to a table with gaps.
    return cast(Array, _put(table, values, index))


def take_rows(
    table: Shaped[Array, "row ..."], *index: Int[Array, "*n"], padded: bool = True
) -> Shaped[Array, "*shape"]:
    """Rows of `table`, zeros for ids past the end; not `padded`: `table[index]`, for ids that are all inside.

    **Arguments:** `index`: ids for each of the first axes of `table`.
    """
    axes = table.shape[: len(index)]
    if not _is_slow(math.prod(axes), table):
        return table.at[index].get(mode="fill", fill_value=0) if padded else table[index]
    rows = table.reshape(-1, *table.shape[len(index) :])
    return cast(Array, _take(len(rows), rows, _flat(index, axes, padded)))


def _flat(index: tuple[Int[Array, "*n"], ...], axes: tuple[int, ...], padded: bool) -> Int[Array, "*n"]:
    """Ids of several axes as one id of the axes put together; one past its end where any of them is outside."""
    flat, inside = jnp.zeros_like(index[0]), jnp.ones(index[0].shape, bool)
    for ids, size in zip(index, axes):
        # What is outside without being padding reads the last row, as `table[index]` does.
        ids = ids if padded else jnp.clip(ids, 0, size - 1)
        flat, inside = flat * size + ids, inside & (ids < size)
    return jnp.where(inside, flat, math.prod(axes))


# --- without a scatter -------------------------------------------------------------------------------------------


def scan_sum(
    values: Float[Array, "item ..."], segment: Int[Array, " item"], num_segments: int, is_sorted: bool = False
) -> Float[Array, "segment ..."]:
    """`segment_sum` as a scan over the items in the order of their segments, in as many passes as the number of items
    has binary digits."""
    shape = values.shape[1:]
    if len(values) == 0:
        return jnp.zeros((num_segments, *shape), values.dtype)
    if not is_sorted:
        order = jnp.argsort(segment)
        values, segment = values[order], segment[order]
    total, reach = at_least_f32(values).reshape(len(values), math.prod(shape)), 1
    # Before each pass, an item holds the sum of itself and of up to `reach` - 1 items before it in its segment. Between
    # two items of one segment there is no other segment, because they are sorted.
    while reach < len(total):
        same = (segment[reach:] == segment[:-reach])[:, None]
        before = jnp.where(same, total[:-reach], 0)
        total = total + jnp.pad(before, ((reach, 0), (0, 0)))  # pyright: ignore[reportUnknownMemberType]
        reach *= 2
    # The last item of a segment holds its sum.
    end = jnp.searchsorted(segment, jnp.arange(num_segments), side="right", method="scan_unrolled")
    begin = jnp.concatenate([jnp.zeros_like(end[:1]), end[:-1]])
    total = jnp.where((end > begin)[:, None], total[jnp.maximum(end - 1, 0)], 0)
    return total.astype(values.dtype).reshape(num_segments, *shape)


def one_hot_sum(
    values: Float[Array, "item ..."], segment: Int[Array, " item"], num_segments: int
) -> Float[Array, "segment ..."]:
    """`segment_sum` as a product with the one-hot matrix of `segment`, for finite values."""
    flat = values.reshape(len(values), math.prod(values.shape[1:]))
    one_hot = (segment[:, None] == jnp.arange(num_segments)).astype(values.dtype)
    # Padding need not be finite: NaN times 0 is NaN.
    flat = jnp.where((segment < num_segments)[:, None], flat, 0)
    # In the highest precision, because some GPUs round f32 factors to 10 bits by default.
    dtype = at_least_f32(flat).dtype
    total = jnp.matmul(one_hot.T, flat, precision="highest", preferred_element_type=dtype)
    return total.astype(values.dtype).reshape(num_segments, *values.shape[1:])


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _sum(num_segments: int, is_sorted: bool, values: Array, segment: Array) -> Array:
    return scan_sum(values, segment, num_segments, is_sorted)


def _sum_forward(num_segments: int, is_sorted: bool, values: Array, segment: Array) -> tuple[Array, Array]:
    return scan_sum(values, segment, num_segments, is_sorted), segment


def _sum_backward(num_segments: int, is_sorted: bool, segment: Array, gradient: Array) -> tuple[Array, None]:
    return gradient.at[segment].get(mode="fill", fill_value=0), None


_sum.defvjp(_sum_forward, _sum_backward)  # pyright: ignore[reportUnknownMemberType]


@jax.custom_vjp
def _put(table: Array, values: Array, index: Array) -> Array:
    return table.at[index].set(values, mode="drop")


def _put_forward(table: Array, values: Array, index: Array) -> tuple[Array, Array]:
    return table.at[index].set(values, mode="drop"), index


def _put_backward(index: Array, gradient: Array) -> tuple[Array, Array, None]:
    values = gradient.at[index].get(mode="fill", fill_value=0)
    return gradient.at[index].set(0, mode="drop"), values, None


_put.defvjp(_put_forward, _put_backward)  # pyright: ignore[reportUnknownMemberType]


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _take(num_rows: int, table: Array, index: Array) -> Array:
    return table.at[index].get(mode="fill", fill_value=0)


def _take_forward(num_rows: int, table: Array, index: Array) -> tuple[Array, Array]:
    return table.at[index].get(mode="fill", fill_value=0), index


def _take_backward(num_rows: int, index: Array, gradient: Array) -> tuple[Array, None]:
    rows, index = gradient.reshape(index.size, *gradient.shape[index.ndim :]), index.reshape(-1)
    form = one_hot_sum if len(index) * num_rows <= MAX_ONE_HOT else scan_sum
    return form(rows, index, num_rows), None


_take.defvjp(_take_forward, _take_backward)  # pyright: ignore[reportUnknownMemberType]
