"""Differences between the volumes of two masks."""

import math
from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from lossbench.metrics._examples import PerExample, filled
from lossbench.metrics._surfaces import check_masks, range_of


def volume_difference(
    predictions: Bool[Array, " batch *space"],
    labels: Bool[Array, " batch *space"],
    *,
    spacing: Sequence[float | int],
) -> PerExample:
    """Absolute volume difference (AVD): `|V_p - V_t|`; in 2D of the areas.

    Defined for empty masks, too, whose volume is 0.

    Args:
        predictions: masks.
        labels: masks.
        spacing: size of a pixel along each spatial axis, numbers and not traced.

    Returns:
        In the unit of the spacing to the power of the axes: one value an example, their mean, and
        a count of 0.

    Raises:
        ValueError: for shapes or dtypes that do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> labels = jnp.array([[[True, True], [True, False]]])
        >>> print(volume_difference(~labels, labels, spacing=(0.5, 3)).values)  # 2 pixels of 1.5
        [3.]

    Reference: Heimann et al., Comparison and Evaluation of Methods for Liver Segmentation from CT
    Datasets, IEEE TMI 2009.
    """
    pixel = math.prod(check_masks(predictions, labels, spacing))
    values = jnp.abs(_more(predictions, labels)) * jnp.float32(pixel)
    return PerExample(values, jnp.mean(values), jnp.zeros((), jnp.int32))


def relative_volume_difference(
    predictions: Bool[Array, " batch *space"],
    labels: Bool[Array, " batch *space"],
    *,
    spacing: Sequence[float | int],
    empty: str = "nan",
) -> PerExample:
    """Relative volume difference (RVD), with its sign: `(V_p - V_t) / V_t`.

    Args:
        predictions: masks.
        labels: masks.
        spacing: size of a pixel along each spatial axis; it cancels out.
        empty: "nan" or "skip" (NaN; the mean with it or without), "worst" (infinite, or 0 where
            both masks are empty) or "zero", where the label is empty.

    Returns:
        -1 or more, 0 for equal volumes: one value an example, their mean, and how many are
        undefined.

    Raises:
        ValueError: for shapes, dtypes or options that do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> labels = jnp.array([[[True, True], [True, True]], [[False, False], [False, False]]])
        >>> found = relative_volume_difference(labels.at[0, 0].set(False), labels, spacing=(1, 1))
        >>> print(found.values, found.undefined)
        [-0.5  nan] 1

    Reference: Heimann et al., Comparison and Evaluation of Methods for Liver Segmentation from CT
    Datasets, IEEE TMI 2009.
    """
    check_masks(predictions, labels, spacing)
    more, true = _more(predictions, labels), _pixels(labels)
    return filled(
        more / jnp.maximum(true, 1).astype(jnp.float32),
        undefined=true == 0,
        agree=(true == 0) & (more == 0),
        best=0.0,
        worst=math.inf,
        empty=empty,
    )


def _more(predictions: Array, labels: Array) -> Float[Array, " batch"]:
    """Pixels of the prediction less those of the label, subtracted as integers: exact."""
    return (_pixels(predictions) - _pixels(labels)).astype(jnp.float32)


def _pixels(mask: Bool[Array, " batch *space"]) -> Int[Array, " batch"]:
    return jnp.sum(mask, axis=range_of(mask), dtype=jnp.int32)
