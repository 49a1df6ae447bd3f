"""Panoptic quality of instances."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Shaped

from lossbench import _checks
from lossbench.metrics._examples import PerExample, filled
from lossbench.metrics._instances import (
    check_masks,
    check_space,
    components_of,
    look_up,
    number_of,
    numbered,
    pairs,
    totals,
)
from lossbench.ops.sums import sum_pixels


class PanopticQuality(NamedTuple):
    """The panoptic quality of each example, and what it is made of.

    Attributes:
        pq: `sum of IoU over TP / (TP + FP / 2 + FN / 2)`, which is SQ x RQ.
        sq: segmentation quality, the mean IoU of the matched instances.
        rq: recognition quality, `TP / (TP + FP / 2 + FN / 2)`, the F1 score.
        iou_sum: the sum of the IoU of the matched instances.
        true_positives: TP, the matched pairs.
        false_positives: FP, the predicted instances that match none.
        false_negatives: FN, the true instances that match none.
    """

    pq: PerExample
    sq: PerExample
    rq: PerExample
    iou_sum: Float[Array, " batch"]
    true_positives: Int[Array, " batch"]
    false_positives: Int[Array, " batch"]
    false_negatives: Int[Array, " batch"]


def panoptic_quality(
    predictions: Shaped[Array, " batch *space"],
    labels: Shaped[Array, " batch *space"],
    *,
    where: Bool[Array, " batch *space"] | None = None,
    connectivity: int | None = None,
    empty: str = "nan",
) -> PanopticQuality:
    """Panoptic quality (PQ) of the instances of one class.

    A predicted and a true instance match if their intersection over union is above 0.5; so none can
    match two.

    Args:
        predictions: instances, any integer ids with 0 for the background; or masks (bool), whose
            connected components are the instances.
        labels: likewise. Of several classes, each is measured by itself: the ids of the others are
            set to 0.
        where: false is void, what has no label. As by the authors, no void pixel counts in a union,
            and a predicted instance that matches none and is void for more than its half is no
            false positive. Every other one is, whatever part of it is void.
        connectivity: of masks: two pixels are neighbors if they differ by one step along at most so
            many axes: 1 is 4 neighbors in 2D and 6 in 3D; None is all, 8 and 26.
        empty: "nan" or "skip" (NaN; the mean with it or without), "worst" (0, or 1 where there is
            no instance in both) or "zero": for PQ and RQ where there is none in both, for SQ where
            none is matched.

    Returns:
        PQ, SQ and RQ in [0, 1], one value an example, with their mean and the number undefined. And
        the sum and the counts they are made of: those of a data set, as in the paper, follow from
        `sum(iou_sum) / (sum(TP) + sum(FP) / 2 + sum(FN) / 2)`.

    Raises:
        ValueError: for shapes, dtypes or options that do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> labels = jnp.array([[7, 7, 7, 0, 4, 4, 0, 9]])
        >>> predictions = jnp.array([[1, 1, 0, 0, 2, 3, 3, 0]])
        >>> found = panoptic_quality(predictions, labels)  # 1 and 7 match, with an IoU of 2 / 3
        >>> print(found.true_positives, found.false_positives, found.false_negatives)
        [1] [2] [2]
        >>> print(found.pq.values)
        [0.22222222]

    Reference: Kirillov et al., Panoptic Segmentation, CVPR 2019.
    """
    _checks.where(where, labels.shape, "the shape of labels")
    if where is not None:
        labels = jnp.where(where, labels, jnp.zeros((), labels.dtype))
    _check(predictions, labels, connectivity)
    tp, fp, fn, iou_sum = _matched(predictions, labels, where, connectivity)
    either = 2 * tp + fp + fn  # twice the denominator, whole

    def share(part: Array, whole: Array) -> PerExample:
        part, whole = part.astype(jnp.float32), whole.astype(jnp.float32)
        return filled(
            part / jnp.maximum(whole, 1),
            undefined=whole == 0,
            agree=either == 0,
            best=1.0,
            worst=0.0,
            empty=empty,
        )

    return PanopticQuality(
        pq=share(2 * iou_sum, either),
        sq=share(iou_sum, tp),
        rq=share(2 * tp, either),
        iou_sum=iou_sum,
        true_positives=tp,
        false_positives=fp,
        false_negatives=fn,
    )


# Compiled once also where it is called outside of a `jit`, case by case.
@functools.partial(jax.jit, static_argnums=3)
def _matched(
    predictions: Array, labels: Array, where: Array | None, connectivity: int | None
) -> tuple[Array, Array, Array, Array]:
    """TP, FP, FN and the sum of the IoU of the matched instances."""
    if labels.dtype == jnp.bool_:
        found, true = (components_of(mask, connectivity) for mask in (predictions, labels))
    else:
        found, true = numbered(predictions), numbered(labels)
    counted = jnp.ones(found.ids.shape, bool) if where is None else where.reshape(found.ids.shape)
    inside, void = found.sum(counted), found.sum(~counted)

    pair = pairs(found, true)
    sizes = look_up(inside, pair.predicted) + look_up(true.sizes(), pair.true)
    union = sizes - pair.pixels
    match = pair.pixels > union - pair.pixels  # more than half, without rounding
    ratio = pair.pixels.astype(jnp.float32) / jnp.maximum(union, 1).astype(jnp.float32)
    iou_sum = sum_pixels(jnp.where(match, ratio, 0))

    tp = number_of(match)
    unmatched = totals(match, pair.predicted, found.most) == 0
    fp = number_of((inside + void > 0) & unmatched & (void <= inside))
    fn = true.number - tp
    return tp, fp, fn, iou_sum


def _check(predictions: Array, labels: Array, connectivity: int | None) -> None:
    """Raises unless both are masks or both are ids."""
    if labels.dtype == jnp.bool_ and predictions.dtype == jnp.bool_:
        check_masks(predictions, labels, connectivity)
        return
    for name, ids in (("predictions", predictions), ("labels", labels)):
        if not jnp.issubdtype(ids.dtype, jnp.integer):
            raise ValueError(
                f"{name}: expected instances (integer ids), or masks (bool) for both, "
                f"got {ids.dtype}"
            )
    check_space(predictions, labels)
