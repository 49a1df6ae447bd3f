"""LAD: distance to the mean spectrum, measured by the Laplacian of a graph of bands."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Shaped

from lossbench import _checks
from lossbench.anomaly import _blocks, _whitening
from lossbench.anomaly._inputs import as_floats, check_channels, is_known, rows_of
from lossbench.anomaly.statistics import Moments
from lossbench.metrics._sums import RunningSum

# A mean below this share of the data's deviation is that of data that were centered.
CENTERED = 1e-3


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Lad:
    """A fitted LAD detector.

    Attributes:
        mean: the mean spectrum, as two float32.
        laplacian: `L`, of the graph of bands.
    """

    mean: Any
    laplacian: Any

    def scores(self, x: Shaped[Array, "*space channels"]) -> Float[Array, "*space"]:
        """`(x - mean)^T L (x - mean)`: higher is more anomalous.

        Args:
            x: floats or integers.

        Raises:
            ValueError: for shapes or dtypes that do not fit.
        """
        x = as_floats(x)
        check_channels(x, self.laplacian.shape[0])
        return _scores(self, x)


def fit_lad(
    x: Shaped[Array, "*space channels"],
    *,
    where: Bool[Array, "*space"] | None = None,
    normalized: bool = True,
    scale: str = "mean",
) -> Lad:
    r"""Fits Laplacian anomaly detection: bands with similar means should vary alike.

    .. math::
        s(x) = (x - \mu)^T L (x - \mu), \quad L = D^{-1/2} (D - A) D^{-1/2}, \quad
        A_{ij} = \frac{1}{1 + ((\mu_i - \mu_j) / \alpha)^2}, \; A_{ii} = 0

    with `D` the sums of the rows of `A`. Nothing is inverted, so a handful of pixels will do.

    The method's alpha is the mean of all of the mean spectrum: it is of data that are above 0. Of
    data that were centered, as by a z-score, it is a rounding, and the graph with it: that is an
    error, and `scale="spread"` is for them.

    Args:
        x: pixels, floats or integers.
        where: true = counted.
        normalized: false for `L = D - A`.
        scale: "mean" as above, or "spread": alpha is the standard deviation of the mean spectrum
            over its bands, or 1e-3 of that of the pixels if that is more.

    Returns:
        The detector. A single band has no graph: scores are 0. Scores are NaN without a pixel, with
        a NaN that counts, and inside of `jit` for centered data with the scale "mean".

    Raises:
        ValueError: for shapes, dtypes or options that do not fit; and outside of `jit`, for no
            pixel, and for centered data with the scale "mean".

    Example:
        >>> import jax.numpy as jnp
        >>> found = fit_lad(jnp.array([[1.0, 1, 2], [3, 3, 4]]))
        >>> print(found.scores(jnp.array([[2.0, 2, 3]])))
        [0.]

    Reference: Verdoja and Grangetto, Graph Laplacian for Image Anomaly Detection, Machine Vision
    and Applications 2020.
    """
    _checks.choice("scale", scale, ("mean", "spread"))
    rows, counted = rows_of(x, where)
    state = Moments.empty(rows.shape[1]).update(rows, counted)
    if is_known(state.count.high) and state.count.high < 1:
        raise ValueError("x: LAD needs at least 1 pixel that counts, got 0")
    alpha, is_centered = _scale_of(state, scale == "spread")
    if is_known(is_centered) and is_centered:
        raise ValueError(
            "x: the mean over all bands is 0 beside the deviation of the pixels, as of data that "
            "were centered, so the weights of the graph would be of roundings; fit_lad takes data "
            'before they are centered, or scale="spread"'
        )
    alpha = jnp.where(is_centered, jnp.nan, alpha)
    return Lad(state.mean, _laplacian(state.compute().mean, alpha, normalized))


# Compiled once also where they are called outside of a `jit`.
@jax.jit
def _scale_of(state: Moments, by_spread: bool) -> tuple[Array, Array]:
    """Alpha, and whether it means nothing."""
    found = state.compute(ddof=0)
    deviation = jnp.sqrt(jnp.mean(found.variance))
    middle = jnp.mean(found.mean)
    spread = jnp.maximum(jnp.std(found.mean), CENTERED * deviation)
    alpha = jnp.where(by_spread, spread, middle)
    is_centered = ~jnp.asarray(by_spread) & (jnp.abs(middle) < CENTERED * deviation)
    # No spread at all: all bands are alike, and so they are with any alpha.
    return jnp.where(alpha == 0, 1, alpha), is_centered


def _laplacian(mean: Array, alpha: Array, normalized: bool) -> Array:
    away = (mean[:, None] - mean[None]) / alpha
    on = jnp.eye(len(mean), dtype=bool)
    weights = jnp.where(on, 0 * away, 1 / (1 + away * away))
    degree = jnp.sum(weights, axis=1)
    laplacian = jnp.where(on, degree[None], -weights)
    if not normalized:
        return laplacian
    root = jnp.sqrt(jnp.where(degree == 0, 1, degree))
    return laplacian / (root[:, None] * root[None])


@jax.jit
def _scores(detector: Lad, x: Array) -> Array:
    def of_rows(rows: Array) -> Array:
        d = _whitening.centered(rows, RunningSum(*detector.mean))
        weighted = jnp.matmul(d, detector.laplacian, precision=lax.Precision.HIGHEST)
        # Never below 0 but by a rounding.
        return jnp.maximum(jnp.sum(d * weighted, axis=1), 0)

    return _blocks.map_rows(of_rows, x)
