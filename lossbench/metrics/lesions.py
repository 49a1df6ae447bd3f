"""Detection of lesions: which connected components of the truth were found."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from lossbench.metrics._examples import PerExample, filled
from lossbench.metrics._instances import (
    check_masks,
    components_of,
    look_up,
    number_of,
    pairs,
    totals,
)
from lossbench.ops.sums import sum_pixels


class LesionDetection(NamedTuple):
    """What became of the lesions of each example.

    Attributes:
        sensitivity: the share of the true lesions that were detected.
        precision: `TP / (TP + FP)`.
        f1: `2 TP / (2 TP + FP + FN)`.
        dice: the mean Dice of the lesions, 0 for those missed and those made up.
        true_positives: TP, the true lesions that were detected.
        false_negatives: FN, those that were not.
        false_positives: FP, the predicted lesions that match no true one.
    """

    sensitivity: PerExample
    precision: PerExample
    f1: PerExample
    dice: PerExample
    true_positives: Int[Array, " batch"]
    false_negatives: Int[Array, " batch"]
    false_positives: Int[Array, " batch"]


def lesion_detection(
    predictions: Bool[Array, " batch *space"],
    labels: Bool[Array, " batch *space"],
    *,
    threshold: float | int | Float[Array, ""] = 0.0,
    connectivity: int | None = None,
    empty: str = "nan",
) -> LesionDetection:
    """Lesion-wise sensitivity, precision, F1 and Dice.

    The lesions are the connected components of both masks. A predicted and a true one match if
    their intersection over union is above `threshold`: a true lesion that matches any is detected,
    a predicted one that matches none is a false positive. Several may match one.

    With a threshold of 0 any common pixel is enough, as in the challenges on stroke (ATLAS, ISLES
    2022) and in BraTS 2023 without its dilation; with 0.5 no lesion can match two, as in panoptic
    quality. PI-CAI asks for 0.1, and there two lesions that match the same prediction alone count
    as one found and one missed.

    The Dice of a true lesion is that with all predicted lesions that match it together; their sum
    is divided by `TP + FN + FP`, as in BraTS 2023.

    Args:
        predictions: masks. What does not count is false in both: `predictions & where`.
        labels: masks.
        threshold: 0 to below 1; may be traced.
        connectivity: two pixels are neighbors if they differ by one step along at most so many
            axes: 1 is 4 neighbors in 2D and 6 in 3D; None is all, 8 and 26, as in most of the codes
            named above.
        empty: "nan" or "skip" (NaN; the mean with it or without), "worst" (0, or 1 where both masks
            are empty) or "zero": for the sensitivity where there is no true lesion, the precision
            where there is no predicted one, the others where there is neither.

    Returns:
        Each in [0, 1], one value an example, with their mean and the number undefined. And the
        counts: sensitivity, precision and F1 of a data set follow from their sums.

    Pairs that overlap are found by sorting the pixels, so time and memory do not grow with the
    number of lesions. On the CPU SciPy's labels come faster.

    Raises:
        ValueError: for shapes, dtypes or options that do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> labels = jnp.array([[1, 1, 0, 1, 0, 0, 1, 0]], bool)
        >>> predictions = jnp.array([[0, 1, 0, 0, 1, 0, 1, 0]], bool)
        >>> found = lesion_detection(predictions, labels)
        >>> print(found.true_positives, found.false_negatives, found.false_positives)
        [2] [1] [1]
        >>> print(found.f1.values, found.dice.values)  # Dice: (2 / 3 + 1) / 4
        [0.6666667] [0.4166667]
        >>> print(lesion_detection(predictions, labels, threshold=0.5).true_positives)
        [1]

    Reference: Hernandez Petzsche et al., ISLES 2022: A Multi-Center Magnetic Resonance Imaging
    Stroke Lesion Segmentation Dataset, Scientific Data 2022; Dice: Moawad et al., The Brain Tumor
    Segmentation - Metastases (BraTS-METS) Challenge, 2023.
    """
    check_masks(predictions, labels, connectivity)
    if isinstance(threshold, float | int) and not 0 <= threshold < 1:
        raise ValueError(f"threshold: expected 0 to below 1, got {threshold}")
    tp, fn, fp, dice = _matched(predictions, labels, jnp.float32(threshold), connectivity)
    nothing = tp + fn + fp == 0

    def share(part: Array, whole: Array) -> PerExample:
        part, whole = part.astype(jnp.float32), whole.astype(jnp.float32)
        return filled(
            part / jnp.maximum(whole, 1),
            undefined=whole == 0,
            agree=nothing,
            best=1.0,
            worst=0.0,
            empty=empty,
        )

    return LesionDetection(
        sensitivity=share(tp, tp + fn),
        precision=share(tp, tp + fp),
        f1=share(2 * tp, 2 * tp + fp + fn),
        dice=share(dice, tp + fn + fp),
        true_positives=tp,
        false_negatives=fn,
        false_positives=fp,
    )


# Compiled once also where it is called outside of a `jit`, case by case.
@functools.partial(jax.jit, static_argnums=3)
def _matched(
    predictions: Array, labels: Array, threshold: Array, connectivity: int | None
) -> tuple[Array, Array, Array, Array]:
    """TP, FN, FP and the sum of the Dice of the true lesions."""
    found, true = (components_of(mask, connectivity) for mask in (predictions, labels))
    pair = pairs(found, true)
    sizes_true = true.sizes()
    predicted = look_up(found.sizes(), pair.predicted)
    union = (predicted + look_up(sizes_true, pair.true) - pair.pixels).astype(jnp.float32)
    # The product is rounded: a ratio that equals the threshold is not above it.
    above = threshold * union * (1 + 1e-6)
    match = (pair.pixels > 0) & (pair.pixels.astype(jnp.float32) > above)

    # Of each true lesion: the matching predictions, what they cover of it, and their size.
    matching = totals(match, pair.true, true.most)
    covered = totals(jnp.where(match, pair.pixels, 0), pair.true, true.most)
    size = totals(jnp.where(match, predicted, 0), pair.true, true.most)
    tp = number_of(matching > 0)
    fn = true.number - tp
    fp = found.number - number_of(totals(match, pair.predicted, found.most) > 0)
    dice = 2 * covered.astype(jnp.float32) / jnp.maximum(sizes_true + size, 1).astype(jnp.float32)
    return tp, fn, fp, sum_pixels(dice)
