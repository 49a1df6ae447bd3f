"""Steps that make spectra comparable before they are scored: pure functions of arrays.

What is fitted, such as a mean, is fitted once on the data of training and given as an array; a
`Pipeline` keeps the arrays of several steps together. Everything is float32 in the end.
"""

import math
from collections.abc import Sequence

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Shaped

from lossbench.anomaly._inputs import as_floats

# A channel that spreads less than this share of the typical one is dead: rounding, or an ulp of it.
DEAD = 1e-3


def bands_between(
    wavelengths: Sequence[float], *, low: float | None = None, high: float | None = None
) -> tuple[int, ...]:
    """The bands from one wavelength to another, both included.

    Args:
        wavelengths: of each band, in nm, in any order.
        low: the shortest to keep; None keeps all up to `high`.
        high: the longest to keep; None keeps all from `low` on.

    Returns:
        Their numbers, from 0 on.

    Raises:
        ValueError: if no band is left.

    Example:
        >>> bands_between([400.0, 450.0, 650.0, 900.0, 950.0], low=450, high=900)
        (1, 2, 3)
    """
    least = -math.inf if low is None else float(low)
    most = math.inf if high is None else float(high)
    kept = tuple(i for i, nm in enumerate(wavelengths) if least <= float(nm) <= most)
    if not kept:
        there = (
            f"they go from {min(wavelengths):g} to {max(wavelengths):g} nm"
            if len(wavelengths)
            else "there are none"
        )
        raise ValueError(f"bandpass: no band lies between {least:g} and {most:g} nm; {there}")
    return kept


def take_bands(
    x: Shaped[Array, "*space channels"], bands: Sequence[int]
) -> Float[Array, "*space bands"]:
    """The channels with these numbers, in this order."""
    bands = tuple(bands)
    first, last = bands[0], bands[-1]
    x = as_floats(x)
    if bands == tuple(range(first, last + 1)):
        return x[..., first : last + 1]
    return x[..., jnp.array(bands)]


def unit_norm(
    x: Shaped[Array, "*space channels"], *, eps: float = 1e-8
) -> Float[Array, "*space channels"]:
    """Each spectrum less its mean over channels, divided by its length.

    `d / max(|d|, eps)` with `d = x - mean(x)`: only the form is left, brightness and contrast are
    not. A constant spectrum gives 0, with a gradient of 0.

    Args:
        x: floats or integers.
        eps: the least length that is divided by, in the unit of the data.

    Example:
        >>> import jax.numpy as jnp
        >>> print(unit_norm(jnp.array([[1.0, 4, 1, 4], [7, 7, 7, 7]])))
        [[-0.5  0.5 -0.5  0.5]
         [ 0.   0.   0.   0. ]]
    """
    x = as_floats(x)
    # Differences of near numbers are exact; a mean is rounded, and so would a constant be.
    first = x[..., :1]
    d = x - first
    d = d - jnp.mean(d, axis=-1, keepdims=True)
    largest = jnp.max(jnp.abs(d), axis=-1, keepdims=True)
    varies = largest > 0
    unit = lax.stop_gradient(jnp.where(varies, largest, 1))
    squares = jnp.sum(jnp.square(d / unit), axis=-1, keepdims=True)
    # A root has no derivative at 0.
    length = unit * jnp.sqrt(jnp.where(varies, squares, 1))
    return jnp.where(varies, d / jnp.maximum(length, eps), 0)


def z_score(
    x: Shaped[Array, "*space channels"],
    mean: Float[Array, " channels"],
    std: Float[Array, " channels"],
) -> Float[Array, "*space channels"]:
    """`(x - mean) / std`, of each channel.

    Args:
        x: floats or integers.
        mean: of each channel.
        std: above 0; see `above_floor`.
    """
    return (as_floats(x) - _last(mean, x)) / _last(std, x)


def above_floor(
    spread: Float[Array, " channels"], *, floor: float = DEAD
) -> Float[Array, " channels"]:
    """Deviations or ranges that can be divided by: none below a share of the typical one.

    `max(s, floor * median(s))`, the median over the channels that spread at all; 1 if none does. A
    dead channel would otherwise turn the smallest change at test time into a large one: divided by
    the 1e-8 that is usual, 0.001 is 100 000.

    Args:
        spread: of each channel, at least 0.
        floor: share of the median.

    Example:
        >>> import jax.numpy as jnp
        >>> print(above_floor(jnp.array([2.0, 0.0, 4.0, 3.0]), floor=0.1))
        [2.  0.3 4.  3. ]
    """
    median = jnp.nanmedian(jnp.where(spread > 0, spread, jnp.nan))
    least = jnp.where(median > 0, floor * median, 1)
    # What does not spread below a floor of 0 is still not divided by.
    return jnp.where(spread >= least, jnp.where(spread == 0, 1, spread), least)


def min_max(
    x: Shaped[Array, "*space channels"],
    low: Float[Array, "*channels"],
    high: Float[Array, "*channels"],
    *,
    clip: bool = False,
) -> Float[Array, "*space channels"]:
    """`(x - low) / (high - low)`: 0 to 1 within the range.

    Args:
        x: floats or integers.
        low: what becomes 0; one number, or one a channel.
        high: what becomes 1; a range of 0 divides by 1.
        clip: true to cut what is outside off; a NaN stays.
    """
    low, high = _last(low, x), _last(high, x)
    wide = jnp.where(high > low, high - low, 1)
    scaled = (as_floats(x) - low) / wide
    return jnp.clip(scaled, 0, 1) if clip else scaled


def project(
    x: Shaped[Array, "*space channels"],
    mean: Float[Array, " channels"],
    components: Float[Array, "components channels"],
    std: Float[Array, " components"] | None = None,
) -> Float[Array, "*space components"]:
    """Coordinates along components, `V (x - mean)`, over their deviations if these are given.

    Args:
        x: floats or integers.
        mean: the mean spectrum.
        components: one a row.
        std: of each coordinate, to whiten.
    """
    d = as_floats(x) - _last(mean, x)
    y = jnp.matmul(d, components.T, precision=lax.Precision.HIGHEST)
    return y if std is None else y / _last(std, y)


def _last(values: Array, x: Shaped[Array, "*space channels"]) -> Array:
    """Values of channels, in the rank of `x`."""
    values = jnp.asarray(values)
    return values.reshape((1,) * (jnp.ndim(x) - values.ndim) + values.shape)
