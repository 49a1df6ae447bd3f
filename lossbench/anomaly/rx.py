"""RX: the squared Mahalanobis distance of a spectrum to all spectra, the reference detector."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

from lossbench.anomaly import _pairs, _whitening
from lossbench.anomaly._inputs import as_floats, check_channels, is_known, rows_of
from lossbench.anomaly.statistics import Covariance, covariance_of
from lossbench.metrics import _sums
from lossbench.metrics._sums import RunningSum
from lossbench.ops.sums import sum_pixels

FLOOR = 1e-9


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Rx:
    """A fitted RX detector.

    Attributes:
        mean: the mean spectrum, as two float32.
        whitening: `W`, lower triangular; `scores` is `|W (x - mean)|^2`.
        shrinkage: how much of the covariance is the multiple of the identity.
    """

    mean: Any
    whitening: Any
    shrinkage: Any

    def scores(self, x: Shaped[Array, "*space channels"]) -> Float[Array, "*space"]:
        """Squared Mahalanobis distances: higher is more anomalous.

        Args:
            x: floats or integers.

        Raises:
            ValueError: for shapes or dtypes that do not fit.
        """
        x = as_floats(x)
        check_channels(x, self.whitening.shape[0])
        return _scores(self, x)


def fit_rx(
    x: Shaped[Array, "*space channels"] | Covariance,
    *,
    where: Bool[Array, "*space"] | None = None,
    shrinkage: float | Float[Array, ""] | str = 0.0,
    floor: float | Float[Array, ""] = FLOOR,
) -> Rx:
    r"""Fits the RX detector of Reed and Xiaoli Yu on all pixels, or on those that are normal.

    .. math::
        s(x) = (x - \mu)^T \Sigma^{-1} (x - \mu), \qquad
        \Sigma = (1 - a) S + a \frac{\mathrm{tr}\, S}{C} I

    with `S` the sample covariance (n - 1). Under `floor` f, each diagonal element is taken times
    `1 + f`: bands that are the same, or sums of others, would leave nothing to divide by.

    The covariance is computed, and factored, in pairs of float32, and agrees with float64: bands
    that are neighbors are so alike that in float32 the result would be that of rounding. That is
    why the floor is so low, too: one of 1e-6 takes the AUC of the scene ABU airport-4 from .9526 to
    .9539, one of 1e-4 to .977. If that is what is wanted, it is better said by `shrinkage`.

    Args:
        x: pixels, floats or integers; or a `Covariance`, of any number of scenes.
        where: true = counted.
        shrinkage: a in [0, 1], or "ledoit_wolf" for the one that is best on average. It has the
            unit of the data in view: bands of larger values are shrunk less.
        floor: share of its own variance that is added to each band's.

    Returns:
        The detector. Bands that are constant count for nothing. Scores are NaN if there is no more
        than one pixel, or a NaN that counts.

    Raises:
        ValueError: for shapes, dtypes or options that do not fit; and outside of `jit`, for no more
            than one pixel.

    Example:
        >>> import jax.numpy as jnp
        >>> x = jnp.array([[0.0, 0], [2, 2], [0, 2], [2, 0], [1, 1]])
        >>> detector = fit_rx(x)
        >>> for score in detector.scores(jnp.array([[1.0, 1], [3, 1]])):
        ...     print(f"{score:.3f}")
        0.000
        4.000

    Reference: Reed and Yu, Adaptive Multiple-Band CFAR Detection of an Optical Pattern with Unknown
    Spectral Distribution, IEEE TASSP 1990; Ledoit and Wolf, A Well-Conditioned Estimator for
    Large-Dimensional Covariance Matrices, Journal of Multivariate Analysis 2004.
    """
    check_options(shrinkage, floor, ("ledoit_wolf",))
    state = covariance_of(x, where)
    if isinstance(shrinkage, str):
        if isinstance(x, Covariance):
            raise ValueError(
                f"shrinkage: {shrinkage!r} needs the pixels, not only their covariance; "
                "give fit_rx the array, or a number"
            )
        shrinkage = _ledoit_wolf(state, *rows_of(x, where))
    return _fit(state, jnp.asarray(shrinkage, jnp.float32), jnp.asarray(floor, jnp.float32))


def check_options(shrinkage: Any, floor: Any, names: tuple[str, ...] = ()) -> None:
    """Raises unless numbers that are known are in their range, and words are known."""
    allowed = " or ".join(["a number from 0 to 1", *map(repr, names)])
    wrong = (
        shrinkage not in names
        if isinstance(shrinkage, str)
        else is_known(shrinkage) and not 0 <= float(shrinkage) <= 1
    )
    if wrong:
        raise ValueError(f"shrinkage: expected {allowed}, got {shrinkage!r}")
    if is_known(floor) and not float(floor) >= 0:
        raise ValueError(f"floor: expected a number of at least 0, got {floor}")


# Compiled once also where they are called outside of a `jit`.
@jax.jit
def _fit(state: Covariance, shrinkage: Array, floor: Array) -> Rx:
    mean, covariance = state.pairs()
    variances = jax.tree.map(jnp.diagonal, covariance)
    middle = jnp.mean(variances.high)
    less = _pairs.multiply(covariance, _pairs.exact(jnp.full((1, 1), -shrinkage)))
    shrunk = _sums.add(covariance, less)
    ridge = shrinkage * middle * jnp.eye(len(variances.high))
    shrunk = _sums.add(shrunk, _pairs.exact(ridge))
    return Rx(mean, _whitening.whitening_of(mean, shrunk, floor), shrinkage)


@jax.jit
def _scores(detector: Rx, x: Array) -> Array:
    return _whitening.squared_lengths(x, RunningSum(*detector.mean), detector.whitening)


@jax.jit
def _ledoit_wolf(state: Covariance, rows: Array, counted: Array) -> Array:
    """The share that minimizes the expected squared error of the covariance (n, not n - 1)."""
    mean, covariance = state.pairs(ddof=0)
    count, channels = state.count.high, rows.shape[1]
    variance = jnp.diagonal(covariance.high)
    middle = jnp.mean(variance)
    # In units of the mean variance: fourth powers of large values overflow.
    d = (rows - mean.high[None]) - mean.low[None]
    lengths = jnp.where(counted, jnp.sum(d * d / middle, axis=1), 0)
    fourth = sum_pixels(lengths * lengths) / count
    squared = jnp.sum((covariance.high / middle) ** 2)
    noise = (fourth - squared) / count
    away = squared - channels
    return jnp.where(away > 0, jnp.clip(noise / jnp.where(away > 0, away, 1), 0, 1), 1)
