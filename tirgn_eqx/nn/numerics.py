"""Small numerical pieces that every layer shares."""

import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Bool, Float, PRNGKeyArray, UInt32

# The released model calls the randomised leaky ReLU with its training flag off: slope (1/8 + 1/3) / 2.
RRELU_SLOPE = 11 / 48


def wide(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """`x` in at least f32: for sums over edges, BatchNorm, softmax and losses."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def rrelu(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Leaky ReLU with slope 11/48, in training and evaluation alike."""
    return jnp.where(x >= 0, x, x * jnp.asarray(RRELU_SLOPE, x.dtype))


def l2_normalize(x: Float[Array, "*row dim"]) -> Float[Array, "*row dim"]:
    """Rows divided by max(|row|, 1e-12); an all-zero row stays zero and has a finite gradient."""
    square = jnp.sum(wide(x) ** 2, -1, keepdims=True)
    zero = square == 0
    inverse = jax.lax.rsqrt(jnp.maximum(jnp.where(zero, 1.0, square), 1e-24))
    return (wide(x) * inverse).astype(x.dtype)


def _scramble(x: UInt32[Array, "*shape"]) -> UInt32[Array, "*shape"]:
    """A bijective 32-bit mix in which every input bit reaches every output bit (Wellons' lowbias32)."""
    x = (x ^ (x >> 16)) * jnp.uint32(0x7FEB352D)
    x = (x ^ (x >> 15)) * jnp.uint32(0x846CA68B)
    return x ^ (x >> 16)


def mask_seeds(key: PRNGKeyArray) -> UInt32[Array, " 2"]:
    """The two words that `keep_mask` hashes with."""
    return jr.bits(key, (2,), jnp.uint32)


def keep_mask(
    shape: tuple[int, ...], rate: float, seeds: UInt32[Array, " 2"], start: Array | int = 0
) -> Bool[Array, "*shape"]:
    """True with probability 1 - `rate`, independently per element; `start` is the number of the first element, when
    these are some rows of a larger array.

    The bits are a hash of the element's number under two seed words, not a generator's output array: XLA computes
    them inside the loop that uses them, so dropout costs no pass over memory. (On a CPU a generator's array takes
    longer than the layer that it thins.)
    """
    number, stride = jnp.full(shape, start, jnp.uint32), 1
    for axis in reversed(range(len(shape))):
        number = number + jax.lax.broadcasted_iota(jnp.uint32, shape, axis) * jnp.uint32(stride % 2**32)
        stride *= shape[axis]
    bits = _scramble(_scramble(number + seeds[0]) ^ seeds[1])
    return bits >= jnp.uint32(min(round(rate * 2**32), 2**32 - 1))


def dropout(x: Float[Array, "*shape"], rate: float, key: PRNGKeyArray | None) -> Float[Array, "*shape"]:
    """Inverted dropout; `key` None means inference."""
    if key is None or rate == 0:
        return x
    keep = keep_mask(x.shape, rate, mask_seeds(key))
    return jnp.where(keep, x * jnp.asarray(1 / (1 - rate), x.dtype), jnp.zeros((), x.dtype))


def split_rows(limit: int, *arrays: Array) -> tuple[Array, ...]:
    """Every array's rows in equally many chunks of at most `limit`, `(chunk, row, ...)`, zero rows at the end."""
    rows = len(arrays[0])
    count = max(1, -(-rows // limit))
    size = -(-rows // count)
    pad = lambda x: jnp.pad(x, ((0, count * size - rows), *((0, 0),) * (x.ndim - 1)))
    return tuple(pad(x).reshape(count, size, *x.shape[1:]) for x in arrays)


def segment_mean(
    values: Float[Array, "item dim"], segment: Array, count: Float[Array, " segment"]
) -> Float[Array, "segment dim"]:
    """Mean of `values` by `segment`, in at least f32; segments with `count` 0 give 0."""
    total = jax.ops.segment_sum(wide(values), segment, len(count), indices_are_sorted=True)
    return total / jnp.maximum(count, 1)[:, None].astype(total.dtype)
