"""Percentiles of values of which only some count, and these not all alike: bisection, no sort."""

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from lossbench.ops.sums import sum_pixels

MOST = jnp.iinfo(jnp.int32).max


# Compiled once also where they are called outside of a `jit`.
@functools.partial(jax.jit, static_argnums=2)
def interpolated(
    values: Float[Array, "rows n"], counted: Bool[Array, "rows n"], percentile: float | int
) -> Float[Array, " rows"]:
    """The percentile of the counted values, linear between its neighbors, as NumPy's is.

    Args:
        values: at least 0.
        counted: which values there are; a row without one gives 0.
        percentile: 0 to 100.
    """
    keys = _keys(values, counted)
    if percentile == 100:
        return _value(jnp.max(keys, axis=1))
    last = jnp.sum(counted, axis=1, dtype=jnp.int32) - 1
    # percentile / 100 * last in two parts: in one, float32 would miss the rank in a large surface.
    hundreds, rest = (last // 100).astype(jnp.float32), (last % 100).astype(jnp.float32)
    steps = percentile * hundreds
    position = (steps - jnp.floor(steps)) + percentile * rest / 100
    rank = jnp.floor(steps).astype(jnp.int32) + jnp.floor(position).astype(jnp.int32)

    def above(key: Int[Array, "rows 1"]) -> Int[Array, " rows"]:
        return jnp.sum(keys > key, axis=1, dtype=jnp.int32)

    key = _smallest(keys, lambda middle: above(middle) <= last - rank)[:, None]
    next_key = jnp.min(jnp.where(keys > key, keys, MOST), axis=1)
    # The value of the next rank is the same one where it is tied.
    at_end = (above(key) < last - rank) | (rank >= last)
    lower, upper = _value(key[:, 0]), _value(jnp.where(at_end, key[:, 0], next_key))
    return lower + (position - jnp.floor(position)) * (upper - lower)


@functools.partial(jax.jit, static_argnums=2)
def weighted(
    values: Float[Array, "rows n"], weights: Float[Array, "rows n"], percentile: float | int
) -> Float[Array, " rows"]:
    """The smallest value at which the values up to it have `percentile` of the weight.

    Args:
        values: at least 0.
        weights: at least 0; a value of weight 0 is none.
        percentile: 0 to 100.
    """
    keys = _keys(values, weights > 0)
    if percentile == 100:
        return _value(jnp.max(keys, axis=1))
    # A share that is met exactly is met, though float32 sums have lost a digit.
    beyond = sum_pixels(weights) * ((1 - percentile / 100) * (1 + 1e-6))

    def enough(key: Int[Array, "rows 1"]) -> Bool[Array, " rows"]:
        return sum_pixels(jnp.where(keys > key, weights, 0)) <= beyond

    return _value(_smallest(keys, enough))


def _keys(values: Array, counted: Array) -> Int[Array, "rows n"]:
    """Integers in the order of the values: the bits of floats at least 0; -1 for no value."""
    return jnp.where(counted, lax.bitcast_convert_type(jnp.abs(values), jnp.int32), -1)


def _value(keys: Int[Array, " rows"]) -> Float[Array, " rows"]:
    return lax.bitcast_convert_type(jnp.maximum(keys, 0), jnp.float32)


def _smallest(keys: Int[Array, "rows n"], enough) -> Int[Array, " rows"]:
    """The smallest key that is enough; all larger ones are enough, too."""

    def narrow(bounds: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bounds
        middle = low + (high - low) // 2
        holds = enough(middle[:, None])
        # Both bounds move on to keys that there are: few distances are different from each other.
        below = jnp.max(jnp.where(keys <= middle[:, None], keys, -1), axis=1)
        above = jnp.min(jnp.where(keys > middle[:, None], keys, MOST), axis=1)
        return jnp.where(holds, low, above), jnp.where(holds, below, high)

    start = jnp.min(jnp.where(keys >= 0, keys, MOST), axis=1), jnp.max(keys, axis=1)
    return lax.while_loop(lambda bounds: jnp.any(bounds[0] < bounds[1]), narrow, start)[1]
