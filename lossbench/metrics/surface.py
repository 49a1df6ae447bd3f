"""Distances between the surfaces of two masks, and the overlap of both surfaces.

What the metrics here have in common:

`definition` says what the elements of a surface are, and how both directions are joined.

- "monai": the pixels of a mask with a neighbor along an axis outside of it or of the image. Each
  counts alike; percentiles are interpolated, one a direction. MONAI computes this.
- "pooled": the same pixels, but one percentile of the distances of both directions together, as
  medpy's `hd95`.
- "deepmind": pieces of a marching-cubes surface (in 2D of a contour), each between the centers of
  2 x 2 x 2 pixels and weighted by its area; percentiles are not interpolated. DeepMind's
  surface-distance computes this. 2D and 3D only.

`empty` says what an example gets where a mask is empty, as far as the formula has no value for it:
a distance has none where one mask or both are empty, an overlap has none where both are (where one
is, it is 0).

- "nan": NaN, and so is the mean.
- "skip": NaN, and the mean is that of the other examples.
- "worst": the diagonal of the image, as the distance of an object that was missed or made up; but
  where both masks are empty the distance is 0 and the overlap 1, for these agree.
- "zero": 0 for every metric, the best distance and the worst overlap, as in some published tables.
"""

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from lossbench.metrics import _quantiles
from lossbench.metrics._examples import PerExample, filled, overlap_filled
from lossbench.metrics._surfaces import ROUNDING, Surface, Surfaces, surfaces
from lossbench.ops.sums import sum_pixels


def hausdorff(
    predictions: Bool[Array, " batch *space"],
    labels: Bool[Array, " batch *space"],
    *,
    spacing: Sequence[float | int],
    percentile: float | int = 100.0,
    directed: bool = False,
    definition: str = "monai",
    empty: str = "nan",
) -> PerExample:
    """Hausdorff distance: how far one surface is from the other where it is farthest.

    `max(P_p d(x, S_t) over x in S_p, P_p d(x, S_p) over x in S_t)` with the surfaces `S_p` of the
    prediction and `S_t` of the label, and the percentile `P_p`, which is the maximum for 100.

    Args:
        predictions: masks.
        labels: masks.
        spacing: size of a pixel along each spatial axis, numbers and not traced.
        percentile: 0 to 100, a number and not traced. 0 is the smallest distance; MONAI takes 0 as
            no percentile, which is the largest.
        directed: only the distances from the prediction to the label.
        definition: "monai", "deepmind" or "pooled"; see the module.
        empty: "worst", "nan", "zero" or "skip", where a mask is empty; see the module.

    Returns:
        In the unit of the spacing: one value an example, their mean, and how many are undefined.

    Raises:
        ValueError: for shapes, dtypes or options that do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> pixel = jnp.zeros((1, 9, 9), bool).at[0, 2, 2].set(True)
        >>> moved = jnp.roll(pixel, (3, 4), (1, 2))
        >>> print(hausdorff(moved, pixel, spacing=(1, 1)).values)
        [5.]
        >>> print(hausdorff(moved, pixel, spacing=(2, 1)).values)
        [7.2111025]

    Reference: Huttenlocher et al., Comparing Images Using the Hausdorff Distance, 1993; for the
    definitions Podobnik and Vrtovec, HDilemma: Are Open-Source Hausdorff Distance Implementations
    Equivalent?, MICCAI 2024.
    """
    if not 0 <= percentile <= 100:
        raise ValueError(f"percentile: expected 0 to 100, got {percentile}")
    found = surfaces(predictions, labels, spacing=spacing, definition=definition)
    if directed:
        values = _percentile(found.predicted, percentile)
    else:
        values = _farther(found, percentile, definition)
    return _distance(values, found, empty)


def hd95(
    predictions: Bool[Array, " batch *space"],
    labels: Bool[Array, " batch *space"],
    *,
    spacing: Sequence[float | int],
    definition: str = "monai",
    empty: str = "nan",
) -> PerExample:
    """Hausdorff distance at the 95th percentile: `hausdorff(..., percentile=95)`.

    Args:
        predictions: masks.
        labels: masks.
        spacing: size of a pixel along each spatial axis, numbers and not traced.
        definition: "monai", "deepmind" or "pooled"; see the module.
        empty: "worst", "nan", "zero" or "skip", where a mask is empty; see the module.

    Returns:
        In the unit of the spacing: one value an example, their mean, and how many are undefined.

    Raises:
        ValueError: for shapes, dtypes or options that do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> line = jnp.zeros((1, 9, 40), bool).at[0, 0].set(True)
        >>> speck = line.at[0, 8, 20].set(True)  # one pixel of 41 is wrong, and far away
        >>> print(hausdorff(speck, line, spacing=(1, 1)).values)
        [8.]
        >>> print(hd95(speck, line, spacing=(1, 1)).values)
        [0.]

    Reference: as of `hausdorff`.
    """
    found = surfaces(predictions, labels, spacing=spacing, definition=definition)
    return _distance(_farther(found, 95.0, definition), found, empty)


def asd(
    predictions: Bool[Array, " batch *space"],
    labels: Bool[Array, " batch *space"],
    *,
    spacing: Sequence[float | int],
    definition: str = "monai",
    empty: str = "nan",
) -> PerExample:
    """Average surface distance from the prediction to the label: `mean d(x, S_t) over x in S_p`.

    It does not see what the prediction lacks; `assd` does.

    Args:
        predictions: masks.
        labels: masks.
        spacing: size of a pixel along each spatial axis, numbers and not traced.
        definition: "monai", "deepmind" (weighted by area) or "pooled" (the same as "monai", for
            there is one direction only); see the module.
        empty: "worst", "nan", "zero" or "skip", where a mask is empty; see the module.

    Returns:
        In the unit of the spacing: one value an example, their mean, and how many are undefined.

    Raises:
        ValueError: for shapes, dtypes or options that do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> line = jnp.zeros((1, 3, 9), bool).at[0, 1, :5].set(True)
        >>> longer = line.at[0, 1, :7].set(True)
        >>> print(asd(longer, line, spacing=(1, 1)).values)
        [0.42857143]
        >>> print(asd(line, longer, spacing=(1, 1)).values)
        [0.]

    Reference: Heimann et al., Comparison and Evaluation of Methods for Liver Segmentation from CT
    Datasets, IEEE TMI 2009.
    """
    found = surfaces(predictions, labels, spacing=spacing, definition=definition)
    return _distance(_mean(found.predicted), found, empty)


def assd(
    predictions: Bool[Array, " batch *space"],
    labels: Bool[Array, " batch *space"],
    *,
    spacing: Sequence[float | int],
    definition: str = "monai",
    empty: str = "nan",
) -> PerExample:
    """Average symmetric surface distance: the mean of the distances in both directions.

    `(sum d(x, S_t) over x in S_p + sum d(x, S_p) over x in S_t) / (|S_p| + |S_t|)`. With
    `definition="deepmind"`, where the library gives one average a direction, their mean; medpy's
    `assd` is `(asd(p, t) + asd(t, p)) / 2` as well, over pixels.

    Args:
        predictions: masks.
        labels: masks.
        spacing: size of a pixel along each spatial axis, numbers and not traced.
        definition: "monai", "deepmind", or "pooled" (the same as "monai", which pools both
            directions here); see the module.
        empty: "worst", "nan", "zero" or "skip", where a mask is empty; see the module.

    Returns:
        In the unit of the spacing: one value an example, their mean, and how many are undefined.

    Raises:
        ValueError: for shapes, dtypes or options that do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> line = jnp.zeros((1, 3, 9), bool).at[0, 1, :5].set(True)
        >>> longer = line.at[0, 1, :7].set(True)
        >>> print(assd(longer, line, spacing=(1, 1)).values)
        [0.25]

    Reference: Heimann et al., Comparison and Evaluation of Methods for Liver Segmentation from CT
    Datasets, IEEE TMI 2009.
    """
    found = surfaces(predictions, labels, spacing=spacing, definition=definition)
    if definition == "deepmind":
        values = (_mean(found.predicted) + _mean(found.true)) / 2
    else:
        values = _mean(_together(found))
    return _distance(values, found, empty)


def nsd(
    predictions: Bool[Array, " batch *space"],
    labels: Bool[Array, " batch *space"],
    *,
    spacing: Sequence[float | int],
    tolerance: float | int | Float[Array, ""],
    definition: str = "monai",
    empty: str = "nan",
) -> PerExample:
    """Normalized surface Dice: the part of both surfaces that lies within a tolerance of the other.

    `(|{x in S_p : d(x, S_t) <= tolerance}| + |{x in S_t : d(x, S_p) <= tolerance}|)
    / (|S_p| + |S_t|)`; 1 is best. A distance that equals the tolerance is within it.

    Args:
        predictions: masks.
        labels: masks.
        spacing: size of a pixel along each spatial axis, numbers and not traced.
        tolerance: in the unit of the spacing, at least 0; may be traced.
        definition: "monai", "deepmind" (weighted by area) or "pooled" (the same as "monai", which
            pools both directions here); see the module.
        empty: "worst", "nan", "zero" or "skip", where both masks are empty; see the module.

    Returns:
        In [0, 1]: one value an example, their mean, and how many are undefined.

    Raises:
        ValueError: for shapes, dtypes or options that do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> line = jnp.zeros((1, 3, 9), bool).at[0, 1, :5].set(True)
        >>> longer = line.at[0, 1, :8].set(True)
        >>> print(nsd(longer, line, spacing=(1, 1), tolerance=1).values)  # 11 of 13 pixels
        [0.84615386]

    Reference: Nikolov et al., Clinically Applicable Segmentation of Head and Neck Anatomy for
    Radiotherapy, JMIR 2021.
    """
    found = surfaces(predictions, labels, spacing=spacing, definition=definition)
    both = _together(found)
    if isinstance(tolerance, float | int) and not 0 <= tolerance < float("inf"):
        raise ValueError(f"tolerance: expected a length of at least 0, got {tolerance}")
    within = both.distances <= jnp.asarray(tolerance) * ROUNDING
    inside, outside = (_sum_of_elements(both, chosen) for chosen in (within, ~within))
    total = inside + outside
    share = inside / jnp.where(total > 0, total, 1)
    return overlap_filled(jnp.where(found.one_empty, 0, share), found.both_empty, empty)


def _farther(found: Surfaces, percentile: float | int, definition: str) -> Float[Array, " batch"]:
    """The percentile of both directions: of all their distances, or the larger of two."""
    if definition == "pooled":
        return _percentile(_together(found), percentile)
    both = (_percentile(surface, percentile) for surface in (found.predicted, found.true))
    return jnp.maximum(*both)


def _percentile(surface: Surface, percentile: float | int) -> Float[Array, " batch"]:
    if surface.elements.dtype == jnp.bool_:
        return _quantiles.interpolated(*surface, percentile)
    return _quantiles.weighted(*surface, percentile)


def _mean(surface: Surface) -> Float[Array, " batch"]:
    distances, elements = surface
    total = sum_pixels(elements)
    if elements.dtype != jnp.bool_:
        distances = distances * elements
    return sum_pixels(distances) / jnp.where(total > 0, total, 1)


def _sum_of_elements(surface: Surface, chosen: Bool[Array, "batch n"]) -> Float[Array, " batch"]:
    if surface.elements.dtype == jnp.bool_:
        return sum_pixels(surface.elements & chosen)
    return sum_pixels(jnp.where(chosen, surface.elements, 0))


def _together(found: Surfaces) -> Surface:
    """The elements of both surfaces as one."""
    pairs = zip(found.predicted, found.true, strict=True)
    return Surface(*(jnp.concatenate(pair, axis=1) for pair in pairs))


def _distance(values: Array, found: Surfaces, empty: str) -> PerExample:
    return filled(
        values,
        undefined=found.one_empty | found.both_empty,
        agree=found.both_empty,
        best=0.0,
        worst=found.diagonal,
        empty=empty,
    )
