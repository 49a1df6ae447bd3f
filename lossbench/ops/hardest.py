"""The largest values of a row, by bisection of their bits instead of by sorting."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int


def largest(
    values: Float[Array, "rows n"], counted: Bool[Array, "rows n"] | None, k: Int[Array, " rows"]
) -> Float[Array, "rows n"]:
    """The share of each value in the k largest: 1, 0, or a fraction for those tied for the last.

    Args:
        values: at least 0, finite.
        counted: which values may be chosen.
        k: how many, at most those that count.

    Returns:
        Weights that sum to k in each row; constants for differentiation.
    """
    unsigned = jnp.dtype({4: jnp.uint32, 8: jnp.uint64}[values.dtype.itemsize])
    # Of floats at least 0 the bits are ordered as the values are; 0 is left for what cannot be
    # chosen.
    keys = lax.bitcast_convert_type(jnp.abs(values), unsigned) + unsigned.type(1)
    if counted is not None:
        keys = jnp.where(counted, keys, 0)
    bits = 8 * unsigned.itemsize

    def settle(turn: Array, last: Array) -> Array:
        """One bit more of the largest key that at least k keys reach, the highest first."""
        higher = last | (unsigned.type(1) << (bits - 1 - turn).astype(unsigned))
        return jnp.where(_count(keys >= higher[:, None]) >= k, higher, last)

    last = lax.fori_loop(0, bits, settle, jnp.zeros(k.shape, unsigned))
    above, tied = keys > last[:, None], keys == last[:, None]
    missing = (k - _count(above)).astype(values.dtype)
    share = missing / jnp.maximum(_count(tied), 1).astype(values.dtype)
    weights = jnp.where(above, 1, jnp.where(tied, share[:, None], 0)).astype(values.dtype)
    return jnp.where(k[:, None] > 0, weights, 0)


def _count(holds: Array) -> Array:
    return jnp.sum(holds, axis=-1, dtype=jnp.int32)
