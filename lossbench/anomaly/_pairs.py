"""Arithmetic on numbers of two float32 parts, 14 digits: products, quotients and roots.

Sums are those of `lossbench.metrics._sums`. A product of two float32 is exact where it is made of
halves of their bits: whether a compiler fuses it with the next sum then changes nothing.
"""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from lossbench.metrics import _sums
from lossbench.metrics._sums import RunningSum

UPPER_HALF = 0xFFFFF000  # sign, exponent and the first 11 of 23 bits of the fraction
EXPONENT = 0x7F800000


def exact(x: Float[Array, "*shape"]) -> RunningSum:
    """One float32 as two."""
    return RunningSum(x, jnp.zeros_like(x))


def total(a: Float[Array, "*shape"], b: Float[Array, "*shape"]) -> RunningSum:
    """The sum of two float32: rounded, and exactly what the rounding left out (Knuth's).

    Neither may be a constant of the program: of `(1 + x) - 1`, XLA makes `x`.
    """
    high = a + b
    of_b = high - a
    return RunningSum(high, (a - (high - of_b)) + (b - of_b))


def negative(a: RunningSum) -> RunningSum:
    """The number with the other sign."""
    return RunningSum(-a.high, -a.low)


def subtract(a: RunningSum, b: RunningSum) -> RunningSum:
    """The difference."""
    return _sums.add(a, negative(b))


def multiply(a: RunningSum, b: RunningSum) -> RunningSum:
    """The product; shapes of one rank broadcast."""
    (ah, al), (bh, bl) = _halves(a.high), _halves(b.high)
    shape = jnp.broadcast_shapes(ah.shape, bh.shape)
    spread = lambda x: jnp.broadcast_to(x, shape)  # noqa: E731
    product = _sums.add(exact(spread(ah * bh)), total(spread(ah * bl), spread(al * bh)))
    rest = al * bl + (a.high * b.low + a.low * b.high)
    return _sums.add(product, exact(spread(rest)))


def divide(a: RunningSum, b: RunningSum) -> RunningSum:
    """The quotient."""
    first = a.high / b.high
    rest = subtract(a, multiply(b, exact(first)))
    second = rest.high / b.high
    rest = subtract(rest, multiply(b, exact(second)))
    return _sums.add(total(first, second), exact(rest.high / b.high))


def root(a: RunningSum) -> RunningSum:
    """The square root of a number; 0 of one that is not above 0."""
    positive = a.high > 0
    first = jnp.sqrt(jnp.where(positive, a.high, 1))
    rest = subtract(a, multiply(exact(first), exact(first)))
    found = total(first, rest.high / (2 * first))
    return jax.tree.map(lambda x: jnp.where(positive, x, 0), found)


def power_of_two(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The largest power of two that is not above each `x`, which is above 0."""
    bits = lax.bitcast_convert_type(x, jnp.uint32)
    return lax.bitcast_convert_type(bits & jnp.uint32(EXPONENT), jnp.float32)


def _halves(x: Float[Array, "*shape"]) -> tuple[Array, Array]:
    """Two numbers of 12 bits each, of which `x` is the sum."""
    bits = lax.bitcast_convert_type(x, jnp.uint32)
    upper = lax.bitcast_convert_type(bits & jnp.uint32(UPPER_HALF), jnp.float32)
    return upper, x - upper
