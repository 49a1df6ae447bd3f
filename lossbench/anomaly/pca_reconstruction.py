"""PCA: the principal components of spectra, and what they leave of a spectrum as a score."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Shaped

from lossbench.anomaly import _blocks, _whitening
from lossbench.anomaly._inputs import as_floats, check_channels
from lossbench.anomaly.statistics import Covariance, covariance_of
from lossbench.metrics._sums import RunningSum


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class PcaReconstruction:
    """Fitted principal components.

    Attributes:
        mean: the mean spectrum, as two float32.
        components: orthonormal, one a row, of falling variance.
        variance: of the data along each (n - 1).
        explained: share of the total variance along each; that of all together is its sum.
    """

    mean: Any
    components: Any
    variance: Any
    explained: Any

    def project(self, x: Shaped[Array, "*space channels"]) -> Float[Array, "*space components"]:
        """Coordinates along the components."""
        x = as_floats(x)
        check_channels(x, self.components.shape[1])
        return _project(self, x)

    def scores(self, x: Shaped[Array, "*space channels"]) -> Float[Array, "*space"]:
        """What the components leave: the squared length of the residual, higher is more anomalous.

        `|d - V^T V d|^2` with `d = x - mean`.

        Args:
            x: floats or integers.

        Raises:
            ValueError: for shapes or dtypes that do not fit.
        """
        x = as_floats(x)
        check_channels(x, self.components.shape[1])
        return _scores(self, x)


def fit_pca_reconstruction(
    x: Shaped[Array, "*space channels"] | Covariance,
    *,
    components: int,
    where: Bool[Array, "*space"] | None = None,
) -> PcaReconstruction:
    """Fits principal components, eigenvectors of the covariance.

    Signs are such that the largest entry of each component is above 0. Shares are of the total
    variance, over all channels, not over that of the components that are kept, which is 1 whatever
    was left out.

    Variances are known to 1e-7 of the largest, and smaller ones mean nothing.

    Args:
        x: pixels, floats or integers; or a `Covariance`, of any number of scenes.
        components: how many, 1 to the number of channels.
        where: true = counted.

    Returns:
        The detector. Of pixels that are all the same, shares are 0.

    Raises:
        ValueError: for shapes, dtypes or options that do not fit; and outside of `jit`, for no more
            than one pixel.

    Example:
        >>> import jax.numpy as jnp
        >>> x = jnp.array([[3.0, 4, 0], [-3, -4, 0], [0, 0, 1], [0, 0, -1]])
        >>> found = fit_pca_reconstruction(x, components=1)
        >>> for value in (*found.components[0], found.explained[0], found.scores(x)[2]):
        ...     print(f"{abs(value):.3f}", end=" ")
        0.600 0.800 0.000 0.962 1.000

    Reference: Jolliffe, Principal Component Analysis, 2nd edition, 2002, sections 6.1 and 10.1.
    """
    state = covariance_of(x, where)
    channels = state.mean.high.shape[0]
    if not 1 <= components <= channels:
        raise ValueError(
            f"components: expected 1 to {channels}, the number of channels, got {components}"
        )
    values, vectors, explained = _principal(state)
    mean, _ = state.pairs()
    kept = slice(components)
    return PcaReconstruction(mean, vectors[kept], values[kept], explained[kept])


# Compiled once also where they are called outside of a `jit`.
@jax.jit
def _principal(state: Covariance) -> tuple[Array, Array, Array]:
    """Variances, components and shares, of falling variance."""
    covariance = state.compute().covariance
    variances = jnp.diagonal(covariance)
    # Squares of large values overflow in the solver.
    unit = jnp.maximum(jnp.max(variances), jnp.finfo(jnp.float32).tiny)
    values, vectors = jnp.linalg.eigh(covariance / unit)
    values, vectors = jnp.maximum(values[::-1], 0) * unit, vectors.T[::-1]
    largest = jnp.take_along_axis(vectors, jnp.argmax(jnp.abs(vectors), axis=1)[:, None], axis=1)
    vectors = jnp.where(largest < 0, -vectors, vectors)
    every = jnp.sum(variances)
    return values, vectors, values / jnp.where(every == 0, 1, every)


def _product(a: Array, b: Array) -> Array:
    return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)


@jax.jit
def _project(detector: PcaReconstruction, x: Array) -> Array:
    d = _whitening.centered(x.reshape(-1, x.shape[-1]), RunningSum(*detector.mean))
    return _product(d, detector.components.T).reshape(*x.shape[:-1], -1)


@jax.jit
def _scores(detector: PcaReconstruction, x: Array) -> Array:
    def of_rows(rows: Array) -> Array:
        d = _whitening.centered(rows, RunningSum(*detector.mean))
        rest = d - _product(_product(d, detector.components.T), detector.components)
        return jnp.sum(rest * rest, axis=1)

    return _blocks.map_rows(of_rows, x)
