"""How much falls into each cell of a table: counts, and sums of weights, in integers.

A float32 sum would lose a thousandth where a million scores are equal, as zeros may be.
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from lossbench.metrics._sums import RunningSum, add, of_counts, scaled, zeros

DIGITS, BASE = 5, 2**8
LONGEST = (2**31 - 1) // BASE  # the sum of so many digits fits an int32


def counts(index: Int[Array, " n"], cells: int) -> RunningSum:
    """How many there are in each cell; one that is outside of the table is dropped."""
    return of_counts(_summed(index, jnp.ones((), jnp.int32), cells))


def weights(index: Int[Array, " n"], values: Float[Array, " n"], cells: int) -> RunningSum:
    """The sum of values, at least 0, in each cell, whatever their order.

    Exact but for what is below 2^-40 of the largest one. If they are all 0 or 1, as those are that
    tell padding, they are counted, which is several times as fast.
    """
    whole = jnp.all((values == 0) | (values == 1))

    def counted(index: Array, values: Array) -> RunningSum:
        return of_counts(_summed(index, values.astype(jnp.int32), cells))

    return lax.cond(whole, counted, lambda i, x: _by_digits(i, x, cells), index, values)


def _by_digits(index: Array, values: Array, cells: int) -> RunningSum:
    """The sums digit by digit, each of a size that the largest value sets."""
    total = zeros((cells,))
    _, exponent = jnp.frexp(jnp.max(values))
    # The last digit has to be a float that is normal.
    scale = jnp.ldexp(jnp.float32(1), jnp.clip(exponent, -80, 127))
    for begin in range(0, len(index), LONGEST):
        part = slice(begin, begin + LONGEST)
        places, rest = index[part], values[part] / scale
        for digit in range(1, DIGITS + 1):
            rest = rest * BASE
            here = jnp.floor(rest) if digit < DIGITS else jnp.round(rest)
            rest = rest - here
            sums = of_counts(_summed(places, here.astype(jnp.int32), cells))
            total = add(total, scaled(sums, scale * float(BASE) ** -digit))
    return total


def _summed(index: Array, values: Array, cells: int) -> Array:
    return jnp.zeros((cells,), jnp.int32).at[index].add(values, mode="drop")
