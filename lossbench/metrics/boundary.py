"""Overlap of the rims of two masks."""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from lossbench.metrics._examples import PerExample, overlap_filled
from lossbench.metrics._surfaces import ROUNDING, check_masks, diagonal, padded, range_of
from lossbench.ops.distance import distance_transform
from lossbench.ops.sums import sum_pixels


def boundary_iou(
    predictions: Bool[Array, " batch *space"],
    labels: Bool[Array, " batch *space"],
    *,
    spacing: Sequence[float | int],
    width: float | int | None = None,
    empty: str = "nan",
) -> PerExample:
    """Boundary IoU: intersection over union of the inner rims of both masks.

    `|P_w & T_w| / |P_w | T_w|`, where `P_w` are the pixels of the prediction that are at most
    `width` from the nearest pixel outside of it (or outside of the image), and `T_w` likewise.

    Args:
        predictions: masks.
        labels: masks.
        spacing: size of a pixel along each spatial axis, numbers and not traced.
        width: of the rim, in the unit of the spacing, a number and not traced; as in the paper 2 %
            of the image's diagonal if None, but at least the smallest spacing. Distances are
            Euclidean; the authors' code erodes by squares.
        empty: "nan" or "skip" (NaN; the mean with it or without), "worst" (1, for both agree) or
            "zero", where both masks are empty. Where one is, the value is 0.

    Returns:
        In [0, 1]: one value an example, their mean, and how many are undefined.

    Raises:
        ValueError: for shapes, dtypes or options that do not fit, or if no rim can be so thin.

    Example:
        >>> import jax.numpy as jnp
        >>> square = jnp.zeros((1, 9, 9), bool).at[0, 2:7, 2:7].set(True)
        >>> moved = jnp.roll(square, 1, 1)
        >>> print(boundary_iou(moved, square, spacing=(1, 1), width=1).values)  # 8 of 24 pixels
        [0.33333334]

    Reference: Cheng et al., Boundary IoU: Improving Object-Centric Image Segmentation Evaluation,
    CVPR 2021.
    """
    lengths = check_masks(predictions, labels, spacing)
    if width is None:
        width = max(0.02 * diagonal(labels.shape[1:], lengths), min(lengths))
    if not width >= min(lengths):
        smallest = f"at least the smallest spacing {min(lengths)}"
        raise ValueError(f"width: expected {smallest}, got {width}")
    inside, true = (_rim(mask, width, lengths) for mask in (predictions, labels))
    intersection, union = (
        sum_pixels(rims.reshape(len(rims), -1)) for rims in (inside & true, inside | true)
    )
    nothing = union == 0
    return overlap_filled(intersection / jnp.where(nothing, 1, union), nothing, empty)


# Compiled once also where it is called outside of a `jit`, case by case.
@functools.partial(jax.jit, static_argnums=(1, 2))
def _rim(
    mask: Bool[Array, " batch *space"], width: float | int, spacing: tuple[float, ...]
) -> Array:
    """The true pixels at most `width` from a false one."""
    axes = range_of(mask)
    distances = distance_transform(padded(mask, axes), spacing=spacing)
    inner = (slice(None), *(slice(1, 1 + mask.shape[axis]) for axis in axes))
    return mask & (distances[inner] <= width * ROUNDING)
