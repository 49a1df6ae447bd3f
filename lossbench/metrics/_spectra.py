"""Spectra brought to one scale: what similarities of spectra are made of."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax.scipy.special import xlogy
from jaxtyping import Array, Bool, Float

from lossbench import _checks
from lossbench.ops.sums import sum_pixels

# Below this entropy, in nats, a spectrum has few peaks, and the large ones would hide the others.
FEW_PEAKS = 3.0


def check(predicted: Array, observed: Array, where: Array | None) -> None:
    """Raises unless these are two spectra an example on the same places."""
    _checks.floating(predicted=predicted, observed=observed)
    if predicted.ndim != 2 or predicted.shape[1] == 0:
        raise ValueError(
            f"predicted: expected shape (batch, peaks), at least one peak, got {predicted.shape}"
        )
    _checks.shape("observed", observed, predicted.shape, "the shape of predicted")
    _checks.where(where, predicted.shape, "the shape of predicted")


def counted_of(x: Array, where: Array | None) -> Float[Array, "batch peaks"]:
    """A spectrum that is 0 where nothing is counted."""
    x = x.astype(_checks.compute_dtype(x))
    return x if where is None else jnp.where(where, x, 0)


def scaled(x: Array, where: Array | None) -> tuple[Array, Array]:
    """With a largest number near 1: no square overflows or vanishes; and if it has one."""
    x = counted_of(x, where)
    return _of_size(x, jnp.max(jnp.abs(x), axis=1, keepdims=True))


def centered(x: Array, where: Array | None) -> tuple[Array, Array]:
    """Less its mean, and with a range of 1; and if it has one, which a constant does not.

    Differences to its lowest number are exact for numbers that are near to each other, those to a
    mean that is rounded are not.
    """
    x = x.astype(_checks.compute_dtype(x))
    counted = jnp.ones(x.shape, bool) if where is None else where
    low = jnp.min(jnp.where(counted, x, jnp.inf), axis=1, keepdims=True)
    high = jnp.max(jnp.where(counted, x, -jnp.inf), axis=1, keepdims=True)
    x, defined = _of_size(jnp.where(counted, x - low, 0), high - low)
    # Not by the bytes of a bool, of which NumPy has some of 255.
    number = sum_pixels(jnp.where(counted, 1, 0).astype(x.dtype))
    mean = sum_pixels(x) / jnp.maximum(number, 1)
    return jnp.where(counted, x - mean[:, None], 0), defined


def units(
    predicted: Array, observed: Array, where: Array | None, scale: Callable[..., Any]
) -> tuple[Float[Array, "batch peaks"], Float[Array, "batch peaks"], Bool[Array, " batch"]]:
    """Both on a scale and with length 1; and the examples in which one of them cannot be."""
    (p, known), (o, seen) = (scale(x, where) for x in (predicted, observed))
    return _unit(p), _unit(o), ~(known & seen)


def product(u: Float[Array, "batch peaks"], v: Float[Array, "batch peaks"]) -> Array:
    """Of two of length 1, their cosine."""
    return jnp.clip(sum_pixels(u * v), -1, 1)


def angle(u: Float[Array, "batch peaks"], v: Float[Array, "batch peaks"]) -> Array:
    """Of two of length 1, in radians."""
    apart, together = (jnp.sqrt(sum_pixels(x * x)) for x in (u - v, u + v))
    return 2 * jnp.arctan2(apart, together)


def shares(x: Float[Array, "batch peaks"]) -> Float[Array, "batch peaks"]:
    """Of the sum."""
    total = sum_pixels(x)[:, None]
    return x / jnp.where(total > 0, total, 1)


def raised(x: Float[Array, "batch peaks"], weighted: Array | bool) -> Float[Array, "batch peaks"]:
    """Shares, to the power (1 + S) / 4 if there are few peaks."""
    entropy = -sum_pixels(xlogy(x, x))[:, None]
    power = jnp.where(weighted & (entropy < FEW_PEAKS), (1 + entropy) / 4, 1)
    return shares(x**power)


def peaks(x: Float[Array, "batch peaks"], threshold: Array) -> Bool[Array, "batch peaks"]:
    """Above a share of the largest."""
    return x > jnp.max(x, axis=1, keepdims=True) * threshold.astype(x.dtype)


def _of_size(x: Array, size: Float[Array, "batch 1"]) -> tuple[Array, Array]:
    """In units of a size, and whether that is one: finite, no NaN and not 0."""
    defined = (size > 0) & (size < jnp.inf)
    # XLA may multiply by the reciprocal, which vanishes if the size is among the largest floats.
    half = jnp.where(size > 1, 0.5**8, 1).astype(x.dtype)
    return (x * half) / jnp.where(defined, size * half, 1), defined[:, 0]


def _unit(x: Float[Array, "batch peaks"]) -> Float[Array, "batch peaks"]:
    length = jnp.sqrt(sum_pixels(x * x))[:, None]
    return x / jnp.where(length > 0, length, 1)
