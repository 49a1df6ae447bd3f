"""Overlap with each region of the truth: the part of AUPRO that looks at regions."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from lossbench.metrics._examples import filled
from lossbench.metrics._instances import check_masks, components_of, look_up
from lossbench.ops.sums import sum_pixels


class RegionOverlap(NamedTuple):
    """The overlap of each example with its regions.

    Attributes:
        values: mean over the regions of an example, one value an example.
        mean: mean over the batch: NaN with a NaN, but with `empty="skip"` over the others alone.
        undefined: number of examples without a region, whatever they got instead.
        regions: how many there are in each example.
        pooled: mean over the regions of the whole batch, NaN if there is none.
    """

    values: Float[Array, " batch"]
    mean: Float[Array, ""]
    undefined: Int[Array, ""]
    regions: Int[Array, " batch"]
    pooled: Float[Array, ""]


def per_region_overlap(
    predictions: Bool[Array, " batch *space"],
    labels: Bool[Array, " batch *space"],
    *,
    connectivity: int | None = None,
    empty: str = "nan",
) -> RegionOverlap:
    """Per-region overlap (PRO): the share of each true region that is predicted, averaged.

    `mean over k of |P & C_k| / |C_k|`, with the prediction P and the connected components `C_k` of
    the label: a region of a few pixels weighs as much as a large one. What is predicted outside of
    all does not count; the area under the curve against its share, over all thresholds of a score,
    is AUPRO.

    Args:
        predictions: masks, such as scores above a threshold.
        labels: masks. What does not count is in no region: `labels & where`.
        connectivity: two pixels are neighbors if they differ by one step along at most so many
            axes: 1 is 4 neighbors in 2D and 6 in 3D; None is all, 8 and 26, as in the authors' code
            for MVTec AD.
        empty: "nan" or "skip" (NaN; the mean with it or without), "worst" (0, or 1 where both masks
            are empty) or "zero", where there is no region.

    Returns:
        In [0, 1]: one value an example, their mean, and how many are undefined. And the number of
        regions, with which a mean over those of a data set follows, as AUPRO needs it; that of the
        batch is `pooled`.

    Raises:
        ValueError: for shapes, dtypes or options that do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> labels = jnp.array([[1, 1, 1, 1, 0, 1, 0]], bool)
        >>> predictions = jnp.array([[1, 1, 1, 0, 0, 0, 1]], bool)
        >>> found = per_region_overlap(predictions, labels)  # 3 of 4 pixels, and 0 of 1
        >>> print(found.values, found.regions)
        [0.375] [2]

    Reference: Bergmann et al., The MVTec Anomaly Detection Dataset, IJCV 2021.
    """
    check_masks(predictions, labels, connectivity)
    shares, regions = _shares(predictions, labels, connectivity)
    count, nothing = regions.astype(jnp.float32), regions == 0
    axes = tuple(range(1, predictions.ndim))
    each = filled(
        shares / jnp.maximum(count, 1),
        undefined=nothing,
        agree=nothing & ~jnp.any(predictions, axis=axes),
        best=1.0,
        worst=0.0,
        empty=empty,
    )
    of_all = jnp.sum(count)
    pooled = jnp.where(of_all > 0, jnp.sum(shares) / jnp.maximum(of_all, 1), jnp.nan)
    return RegionOverlap(*each, regions=regions, pooled=pooled)


def region_weights(
    labels: Bool[Array, " batch *space"], *, connectivity: int | None = None
) -> tuple[Float[Array, " batch *space"], Int[Array, " batch"]]:
    """One over the size of the region that a pixel is in, and the number of regions.

    With these weights w and n regions the per-region overlap of any mask P is `sum(w P) / n`, a
    weighted share of true positives. So AUPRO is the area under a weighted curve: the scores are
    sorted once, and no region is looked at again.

    Args:
        labels: masks.
        connectivity: see `per_region_overlap`.

    Returns:
        The weights, 0 outside of all regions, which sum to n; and n, one an example.

    Raises:
        ValueError: for shapes, dtypes or options that do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> weights, count = region_weights(jnp.array([[1, 1, 1, 1, 0, 1, 0]], bool))
        >>> print(weights, count)
        [[0.25 0.25 0.25 0.25 0.   1.   0.  ]] [2]

    Reference: Bergmann et al., The MVTec Anomaly Detection Dataset, IJCV 2021.
    """
    check_masks(None, labels, connectivity)
    return _weights(labels, connectivity)


# Compiled once also where they are called outside of a `jit`, case by case.
@functools.partial(jax.jit, static_argnums=2)
def _shares(
    predictions: Array, labels: Array, connectivity: int | None
) -> tuple[Float[Array, " batch"], Int[Array, " batch"]]:
    """The sum of the shares that are predicted, and the number of regions."""
    regions = components_of(labels, connectivity)
    covered = regions.sum(predictions.reshape(regions.ids.shape)).astype(jnp.float32)
    shares = covered / jnp.maximum(regions.sizes(), 1).astype(jnp.float32)
    return sum_pixels(shares), regions.number


@functools.partial(jax.jit, static_argnums=1)
def _weights(labels: Array, connectivity: int | None) -> tuple[Array, Array]:
    regions = components_of(labels, connectivity)
    sizes = look_up(regions.sizes(), regions.ids)
    weights = jnp.where(sizes > 0, 1 / jnp.maximum(sizes, 1).astype(jnp.float32), 0)
    return weights.reshape(labels.shape), regions.number
