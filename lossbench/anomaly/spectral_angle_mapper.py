"""Spectral angles to references: the form of a spectrum, whatever its brightness."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Shaped

from lossbench.anomaly import _blocks
from lossbench.anomaly._inputs import as_floats, check_channels, is_known, rows_of
from lossbench.anomaly.statistics import Moments


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class SpectralAngleMapper:
    """Angles to known spectra, one a row, such as those of a library; `fit_...` takes means.

    `2 atan2(|u - v|, |u + v|)` of unit vectors, in radians, which is exact for small angles, too,
    where an arc cosine is not. The angle to or of a spectrum that is 0 is pi / 2.

    A spectrum is taken as it is. cuvis-ai divides both by their means first, which changes no angle
    but of those with a mean below 0, which it turns around.

    Example:
        >>> import jax.numpy as jnp
        >>> mapper = SpectralAngleMapper(jnp.array([[1.0, 0], [1, 1]]))
        >>> x = jnp.array([[0.0, 2], [9, 9]])
        >>> print(mapper.scores(x).round(3), mapper.nearest(x))
        [0.785 0.   ] [1 1]

    Reference: Kruse et al., The Spectral Image Processing System (SIPS), Remote Sensing of
    Environment 1993.
    """

    references: Any

    def angles(self, x: Shaped[Array, "*space channels"]) -> Float[Array, "*space references"]:
        """The angle to each reference, 0 to pi."""
        x = as_floats(x)
        check_channels(x, self.references.shape[-1])
        rows = x.reshape(-1, x.shape[-1])
        return _angles(as_floats(self.references, "references"), rows).reshape(*x.shape[:-1], -1)

    def scores(self, x: Shaped[Array, "*space channels"]) -> Float[Array, "*space"]:
        """The angle to the nearest reference: higher is more anomalous.

        Args:
            x: floats or integers.

        Raises:
            ValueError: for shapes or dtypes that do not fit.
        """
        return jnp.min(self.angles(x), axis=-1)

    def nearest(self, x: Shaped[Array, "*space channels"]) -> Int[Array, "*space"]:
        """Which reference is the nearest, from 0 on; the first of those that are equally near."""
        return jnp.argmin(self.angles(x), axis=-1)


def fit_spectral_angle_mapper(
    x: Shaped[Array, "*space channels"],
    labels: Int[Array, "*space"] | None = None,
    *,
    materials: int | None = None,
    where: Bool[Array, "*space"] | None = None,
) -> SpectralAngleMapper:
    """Takes mean spectra as references: that of all pixels, or of each material.

    Args:
        x: pixels, floats or integers.
        labels: the material of each pixel, 0 to `materials - 1`; others count for none.
        materials: how many there are; needed with labels.
        where: true = counted.

    Returns:
        The mapper. The reference of a material without a pixel is NaN inside of `jit`.

    Raises:
        ValueError: for shapes or dtypes that do not fit; and outside of `jit`, for a material
            without a pixel.

    Example:
        >>> import jax.numpy as jnp
        >>> x = jnp.array([[1.0, 0], [3, 0], [0, 5]])
        >>> print(fit_spectral_angle_mapper(x, jnp.array([0, 0, 1]), materials=2).references)
        [[2. 0.]
         [0. 5.]]
    """
    rows, counted = rows_of(x, where)
    if labels is None:
        members = [counted]
    else:
        labels = jnp.asarray(labels)
        if materials is None or materials < 1:
            raise ValueError(f"materials: expected how many labels there are, got {materials}")
        if labels.shape != jnp.shape(x)[:-1] or not jnp.issubdtype(labels.dtype, jnp.integer):
            raise ValueError(
                f"labels: expected integers of shape {jnp.shape(x)[:-1]} (the space of x), "
                f"got {labels.dtype} of {labels.shape}"
            )
        members = [counted & (labels.reshape(-1) == one) for one in range(materials)]
    empty = Moments.empty(rows.shape[1])
    means = jnp.stack([empty.update(rows, one).compute().mean for one in members])
    found = jnp.stack([jnp.any(one) for one in members])
    if is_known(found) and not found.all():
        missing = ", ".join(str(i) for i in range(len(found)) if not found[i])
        of = "x" if labels is None else "labels"
        raise ValueError(f"{of}: no pixel counts for reference {missing}")
    return SpectralAngleMapper(means)


def _unit(rows: Float[Array, "n channels"]) -> Float[Array, "n channels"]:
    """Rows of length 1, or 0; no square overflows or vanishes."""
    largest = jnp.max(jnp.abs(rows), axis=-1, keepdims=True)
    rows = rows / jnp.where(largest > 0, largest, 1)
    length = jnp.sqrt(jnp.sum(rows * rows, axis=-1, keepdims=True))
    return rows / jnp.where(length > 0, length, 1)


# Compiled once also where it is called outside of a `jit`.
@jax.jit
def _angles(references: Array, rows: Array) -> Array:
    def to(reference: Array) -> Array:
        def of_rows(rows: Array) -> Array:
            u = _unit(rows)
            apart, along = (
                jnp.sqrt(jnp.sum(jnp.square(x), axis=1))
                for x in (u - reference[None], u + reference[None])
            )
            return 2 * jnp.arctan2(apart, along)

        return _blocks.map_rows(of_rows, rows)

    return lax.map(to, _unit(references)).T
