"""Running sums that lose nothing: each one is two float32 that nobody adds up.

One float32 counts to 2^24 and then stands still; an int32 overflows at 2^31. Two float32, the sum
rounded and what is missing from it, hold every integer up to 2^47 and other sums to 14 digits.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

LARGEST = 2**31 - 1


class RunningSum(NamedTuple):
    """The sum `high + low`. Equal sums of integers have equal parts, in any order of adding.

    Attributes:
        high: the sum, rounded to float32.
        low: what that leaves out, at most half of the last bit of `high`.
    """

    high: Float[Array, "*shape"]
    low: Float[Array, "*shape"]


def zeros(shape: tuple[int, ...]) -> RunningSum:
    """Sums of nothing."""
    return RunningSum(jnp.zeros(shape, jnp.float32), jnp.zeros(shape, jnp.float32))


def of_counts(counts: Int[Array, "*shape"]) -> RunningSum:
    """Integers (int32), exactly: either half of their bits is a float."""
    upper = counts & ~0xFFFF
    return _two_sum(upper.astype(jnp.float32), (counts - upper).astype(jnp.float32))


def add(a: RunningSum, b: RunningSum) -> RunningSum:
    """The sum of both.

    Of integers it is exact: up to 2^47 a rounding leaves out at most 2^22, so the three parts left
    out here add up to less than 2^24.
    """
    high, missing = _two_sum(a.high, b.high)
    low, rest = _two_sum(a.low, b.low)
    high, missing = _two_sum(high, missing + low)
    return _two_sum(high, missing + rest)


def add_counts(a: RunningSum, counts: Int[Array, "*shape"]) -> RunningSum:
    """The sum with integers added to it."""
    return add(a, of_counts(counts))


def as_counts(a: RunningSum) -> Int[Array, "*shape"]:
    """Integers as int32, the largest one if they do not fit."""
    low = a.low.astype(jnp.int32)
    # The last 64 that fit are rounded to 2^31, and have a negative rest.
    last = jnp.where(a.high > 2.0**31, LARGEST, LARGEST + jnp.minimum(low + 1, 0))
    return jnp.where(a.high < 2.0**31, a.high.astype(jnp.int32) + low, last)


def scaled(a: RunningSum, factor: Float[Array, ""] | float) -> RunningSum:
    """The sum times a power of two, which is exact."""
    return RunningSum(a.high * factor, a.low * factor)


def cumulative(a: RunningSum) -> RunningSum:
    """The sums up to each place of the last axis.

    In rows of the square root of its length, all at once, and then from row to row: two short
    loops, which compile ten times as fast as one `associative_scan`.
    """
    *leading, n = a.high.shape
    width = math.isqrt(n - 1) + 1
    pad = lambda x: jnp.pad(x, [(0, 0)] * len(leading) + [(0, -n % width)])  # noqa: E731
    rows = _along_last(_map(lambda x: pad(x).reshape(*leading, -1, width), a))
    ends = _along_last(_map(lambda x: x[..., -1], rows))
    shift = lambda x: jnp.pad(x[..., :-1], [(0, 0)] * len(leading) + [(1, 0)])  # noqa: E731
    before = _map(lambda x, y: jnp.broadcast_to(shift(x)[..., None], y.shape), ends, rows)
    return _map(lambda x: x.reshape(*leading, -1)[..., :n], add(before, rows))


def _along_last(a: RunningSum) -> RunningSum:
    """The sums up to each place of the last axis, one after the other."""

    def step(before: RunningSum, here: RunningSum) -> tuple[RunningSum, RunningSum]:
        upto = add(before, here)
        return upto, upto

    places = _map(lambda x: jnp.moveaxis(x, -1, 0), a)
    _, sums = lax.scan(step, _map(lambda x: jnp.zeros_like(x[0]), places), places)
    return _map(lambda x: jnp.moveaxis(x, 0, -1), sums)


def _map(function: Callable[..., Array], *sums: RunningSum) -> RunningSum:
    return jax.tree.map(function, *sums)


def _two_sum(a: Array, b: Array) -> RunningSum:
    """Knuth's: the rounded sum, and exactly what the rounding left out."""
    high = a + b
    of_b = high - a
    return RunningSum(high, (a - (high - of_b)) + (b - of_b))
