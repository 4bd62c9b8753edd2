"""Functions that several layers share: precision, normalisation, dropout, initialisation."""

import jax
import jax.numpy as jnp
import jax.random as jr
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, PRNGKeyArray, Shaped, UInt32

# The released model calls the randomised leaky ReLU with its training flag off: slope (1/8 + 1/3) / 2.
RRELU_SLOPE = 11 / 48


def at_least_f32(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """`x` in at least f32: for sums over edges, BatchNorm, softmax and losses."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def einsum(subscripts: str, *operands: Shaped[Array, "..."], dtype: DTypeLike | None = None) -> Shaped[Array, "..."]:
    """`jnp.einsum`, summed in `dtype`; JAX's own signature is not typed."""
    return jnp.einsum(subscripts, *operands, preferred_element_type=dtype)  # pyright: ignore[reportUnknownMemberType]


def rrelu(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Leaky ReLU with slope 11/48, in training and evaluation alike."""
    return jnp.where(x >= 0, x, x * jnp.asarray(RRELU_SLOPE, x.dtype))


def l2_normalize(x: Float[Array, "*row dim"]) -> Float[Array, "*row dim"]:
    """Rows divided by max(|row|, 1e-12); a row of zeros stays zero and has a finite gradient."""
    square = jnp.sum(at_least_f32(x) ** 2, -1, keepdims=True)
    # The inner `where` keeps the gradient of rsqrt at 0, which is infinite, out of the sum.
    zero = square == 0
    # 1e-24 is the square of the released code's bound 1e-12 on the length.
    inverse = jax.lax.rsqrt(jnp.maximum(jnp.where(zero, 1.0, square), 1e-24))
    return (at_least_f32(x) * inverse).astype(x.dtype)


def xavier_uniform(key: PRNGKeyArray, fan_in: int, fan_out: int) -> Float[Array, "in out"]:
    """Weights as of Glorot and Bengio (2010), with the gain sqrt(2) of a ReLU."""
    bound = 2**0.5 * (6 / (fan_in + fan_out)) ** 0.5
    return jr.uniform(key, (fan_in, fan_out), minval=-bound, maxval=bound)


def _hash(x: UInt32[Array, "*shape"]) -> UInt32[Array, "*shape"]:
    """A bijection of 32 bits in which every input bit reaches every output bit (lowbias32 by Wellons)."""
    x = (x ^ (x >> 16)) * jnp.uint32(0x7FEB352D)
    x = (x ^ (x >> 15)) * jnp.uint32(0x846CA68B)
    return x ^ (x >> 16)


def mask_seeds(key: PRNGKeyArray) -> UInt32[Array, " 2"]:
    """The two seed words of `keep_mask`."""
    return jr.bits(key, (2,), jnp.uint32)


def keep_mask(
    shape: tuple[int, ...], rate: float, seeds: UInt32[Array, " 2"], start: UInt32[Array, ""] | int = 0
) -> Bool[Array, "*shape"]:
    """A dropout mask: True with probability 1 - `rate`, independently for every element.

    The bits hash the number of the element under two seed words, so XLA computes them inside the loop that uses them
    and dropout costs no pass over memory. (On a CPU, filling an array of random bits takes longer than the layer that
    is dropped.)

    **Arguments:** `start`: number of the first element, where the mask is for some rows of a larger array.
    """
    # Numbers wrap around: beyond 2**32 elements a mask repeats itself.
    number, stride = jnp.full(shape, start, jnp.uint32), 1
    for axis in reversed(range(len(shape))):
        index = jax.lax.broadcasted_iota(jnp.uint32, shape, axis)  # pyright: ignore[reportUnknownMemberType]
        number = number + index * jnp.uint32(stride % 2**32)
        stride *= shape[axis]
    # With one seed and one hash, all masks would be shifts of a single sequence: h(n + s) for every seed s. So the
    # second seed enters between two hashes.
    bits = _hash(_hash(number + seeds[0]) ^ seeds[1])
    # 2**32 itself, the threshold of rate 1, does not fit 32 bits.
    return bits >= jnp.uint32(min(round(rate * 2**32), 2**32 - 1))


def dropout(x: Float[Array, "*shape"], rate: float, key: PRNGKeyArray | None) -> Float[Array, "*shape"]:
    """Inverted dropout; the identity when `key` is None (inference) or `rate` is 0."""
    if key is None or rate == 0:
        return x
    keep = keep_mask(x.shape, rate, mask_seeds(key))
    return jnp.where(keep, x * jnp.asarray(1 / (1 - rate), x.dtype), jnp.zeros((), x.dtype))


def chunk_rows(limit: int, *arrays: Shaped[Array, "row ..."]) -> tuple[Shaped[Array, "chunk chunk_row ..."], ...]:
    """The rows of every array in equally many chunks of at most `limit`, with rows of zeros at the end."""
    rows = len(arrays[0])
    count = max(1, -(-rows // limit))
    # Chunks of equal size: 600 rows with limit 512 are 2 * 300, not 2 * 512 with 424 rows of padding.
    size = -(-rows // count)
    chunks: list[Array] = []
    for x in arrays:
        padding = ((0, count * size - rows), *((0, 0),) * (x.ndim - 1))
        padded = jnp.pad(x, padding)  # pyright: ignore[reportUnknownMemberType]
        chunks.append(padded.reshape(count, size, *x.shape[1:]))
    return tuple(chunks)
