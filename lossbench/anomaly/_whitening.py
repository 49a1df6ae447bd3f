"""Whitening by an ill-conditioned covariance: its factor in pairs of float32, applied in blocks."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from lossbench.anomaly import _blocks, _pairs
from lossbench.metrics import _sums
from lossbench.metrics._sums import RunningSum

# A deviation below this share of the mean is less than a rounding of float32: the band is constant.
CONSTANT = 2.0**-26


def scales_of(mean: RunningSum, covariance: RunningSum) -> Float[Array, " channels"]:
    """What each channel is divided by, a power of two near its deviation; 0 if it is constant."""
    variance = jnp.diagonal(covariance.high)
    deviation = jnp.sqrt(jnp.maximum(variance, 0))
    varies = deviation > CONSTANT * jnp.abs(mean.high)
    scale = _pairs.power_of_two(jnp.where(varies, deviation, 1))
    # Undefined stays undefined.
    return jnp.where(jnp.isnan(variance), jnp.nan, jnp.where(varies, scale, 0))


def whitening_of(
    mean: RunningSum, covariance: RunningSum, floor: Float[Array, ""] | float
) -> Float[Array, "channels channels"]:
    """`W` with `|W d|^2 = d^T (S + floor diag S)^-1 d`, lower triangular.

    The inverse of the Cholesky factor, by elimination; channels that are constant have weight 0.
    """
    scale = scales_of(mean, covariance)
    inverse = jnp.where(scale == 0, 0, 1 / jnp.where(scale == 0, 1, scale))
    # Powers of two: exact.
    both = inverse[:, None] * inverse[None]
    scaled = jax.tree.map(lambda x: x * both, covariance)
    diagonal = jax.tree.map(jnp.diagonal, scaled)
    ridge = _pairs.multiply(diagonal, _pairs.exact(jnp.full_like(diagonal.high, floor)))
    ridged = _sums.add(diagonal, ridge)
    one = _pairs.exact(jnp.ones(len(scale)))
    ridged = jax.tree.map(lambda x, y: jnp.where(scale == 0, y, x), ridged, one)
    on = jnp.eye(len(scale), dtype=bool)
    table = jax.tree.map(lambda x, d: jnp.where(on, d[None], x), scaled, ridged)
    return _inverse_factor(table) * inverse[None]


def _inverse_factor(a: RunningSum) -> Float[Array, "n n"]:
    """The inverse of the Cholesky factor of a positive definite matrix."""
    n = a.high.shape[0]
    rows = jnp.arange(n)[:, None]
    # What makes the left half triangular turns the identity beside it into the inverse.
    right = _pairs.exact(jnp.eye(n))
    both = jax.tree.map(lambda x, y: jnp.concatenate([x, y], axis=1), a, right)

    def eliminate(j: Array, both: RunningSum) -> RunningSum:
        row = jax.tree.map(lambda x: lax.dynamic_slice_in_dim(x, j, 1, 0), both)
        column = jax.tree.map(lambda x: lax.dynamic_slice_in_dim(x, j, 1, 1), both)
        pivot = jax.tree.map(lambda x: lax.dynamic_slice_in_dim(x, j, 1, 1), row)
        pivot = jax.tree.map(lambda x: jnp.broadcast_to(x, (n, 1)), pivot)
        factor = _pairs.divide(column, pivot)
        factor = jax.tree.map(lambda x: jnp.where(rows > j, x, 0), factor)
        return _pairs.subtract(both, _pairs.multiply(factor, row))

    both = lax.fori_loop(0, n, eliminate, both)
    pivots = jnp.diagonal(both.high[:, :n])
    return jnp.where(rows >= rows.T, both.high[:, n:], 0) / jnp.sqrt(pivots)[:, None]


def squared_lengths(
    x: Float[Array, "*space channels"],
    mean: RunningSum,
    transform: Float[Array, "features channels"],
) -> Float[Array, "*space"]:
    """`|T (x - mean)|^2` of each pixel."""

    def of_rows(rows: Array) -> Array:
        y = jnp.matmul(centered(rows, mean), transform.T, precision=lax.Precision.HIGHEST)
        return jnp.sum(y * y, axis=1)

    return _blocks.map_rows(of_rows, x)


def centered(rows: Float[Array, "n channels"], mean: RunningSum) -> Float[Array, "n channels"]:
    """Pixels less a mean that is two float32."""
    return (rows - mean.high[None]) - mean.low[None]
