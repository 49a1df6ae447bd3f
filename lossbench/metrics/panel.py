"""How good the decisions of an anomaly detector are: for pixels, for each image, and for images.

A pixel's decision is true or false. An image is called anomalous if any pixel of it is, and is
anomalous if any true pixel is in it; its score is the highest of its pixels.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

from lossbench import _checks
from lossbench.metrics import _maps, ranking
from lossbench.metrics._cases import ratio
from lossbench.metrics._counts import count_cells
from lossbench.metrics._examples import PerExample, filled


class DetectionScores(NamedTuple):
    """What decisions, and scores, come to.

    Attributes:
        precision: `TP / (TP + FP)`, NaN where nothing is flagged.
        recall: `TP / (TP + FN)`, NaN where nothing is anomalous.
        f1: `2 TP / (2 TP + FP + FN)`, NaN where nothing is either.
        iou: `TP / (TP + FP + FN)`, likewise.
        average_precision: of the scores, NaN where nothing is anomalous or a score is NaN; None
            without scores.
    """

    precision: Shaped[Array, "*batch"]
    recall: Shaped[Array, "*batch"]
    f1: Shaped[Array, "*batch"]
    iou: Shaped[Array, "*batch"]
    average_precision: Shaped[Array, "*batch"] | None


class PerImage(NamedTuple):
    """The same of each image alone.

    Attributes:
        precision: one value an image; their mean over the images that have one; and how many have
            none: the normal ones that are found to be so, and anomalous ones that are missed.
        recall: likewise; a normal image has none.
        f1: likewise; a normal image that is found to be so has none.
        iou: likewise.
        average_precision: likewise; a normal image has none. None without scores.
    """

    precision: PerExample
    recall: PerExample
    f1: PerExample
    iou: PerExample
    average_precision: PerExample | None


class AnomalyReport(NamedTuple):
    """The decisions on a batch.

    Attributes:
        pixel: of all pixels together.
        per_image: of the pixels of each image.
        image: of all images, each of which is one decision.
    """

    pixel: DetectionScores
    per_image: PerImage
    image: DetectionScores


class Hits(NamedTuple):
    """What was flagged, and what should have been.

    Attributes:
        tp: anomalous and flagged.
        fp: flagged alone.
        fn: anomalous alone.
    """

    tp: Shaped[Array, "*batch"]
    fp: Shaped[Array, "*batch"]
    fn: Shaped[Array, "*batch"]


class ImageDecisions(NamedTuple):
    """Each image as one decision.

    Attributes:
        decisions: whether any pixel is flagged.
        targets: whether any pixel is anomalous.
        counted: whether any pixel counts.
    """

    decisions: Bool[Array, " batch"]
    targets: Bool[Array, " batch"]
    counted: Bool[Array, " batch"]


def anomaly_detection(
    decisions: Bool[Array, " batch *space"],
    targets: Bool[Array, " batch *space"],
    scores: Float[Array, " batch *space"] | None = None,
    *,
    where: Bool[Array, " batch *space"] | None = None,
) -> AnomalyReport:
    """Precision, recall, F1, IoU and average precision, for pixels, each image and images.

    `TP / (TP + FP)`, `TP / (TP + FN)`, `2 TP / (2 TP + FP + FN)` and `TP / (TP + FP + FN)` of the
    decisions; `average_precision` of the raw scores, which nothing squashes. The mean over images
    is not the value of all pixels together: one weighs images alike, the other pixels. A pixel is
    enough to call an image anomalous, so at image level a detector that flags a few pixels of every
    image is worth nothing.

    Args:
        decisions: what was flagged, as by `decide(scores, threshold)`.
        targets: true = anomalous.
        scores: higher is more anomalous; any range, infinities included.
        where: true = counted. An image of which nothing counts is no decision at image level.

    Returns:
        All in [0, 1]. What is undefined is NaN, and of the values of single images counted: see
        `DetectionScores` and `PerImage`.

    Raises:
        ValueError: for shapes or dtypes that do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> targets = jnp.array([[0, 0, 1, 1], [0, 0, 0, 0]], bool)
        >>> decisions = jnp.array([[0, 1, 1, 1], [0, 0, 0, 1]], bool)
        >>> found = anomaly_detection(decisions, targets)
        >>> print(found.pixel.precision, found.per_image.precision.values, found.image.precision)
        0.5 [0.6666667 0.       ] 0.5
        >>> print(found.per_image.recall.mean, found.per_image.recall.undefined)
        1.0 1

    Reference: Powers, Evaluation: From Precision, Recall and F-Measure to ROC, Informedness,
    Markedness and Correlation, 2011.
    """
    check_panel(decisions, targets, scores, where)
    return _anomaly_detection(decisions, targets, scores, where)


def check_panel(
    decisions: Array, targets: Array, scores: Array | None, where: Array | None
) -> None:
    """Raises unless these are masks of one shape, with raw scores if there are any."""
    _maps.check_mask("decisions", decisions, "flagged")
    _maps.check_mask("targets", targets, "anomalous")
    _checks.shape("targets", targets, decisions.shape, "the shape of decisions")
    _checks.where(where, decisions.shape, "the shape of decisions")
    if scores is not None:
        _checks.floating(scores=scores)
        _checks.shape("scores", scores, decisions.shape, "the shape of decisions")


def hits_of_pixels(decisions: Array, targets: Array, where: Array | None) -> Hits:
    """The pixels of each image."""
    cells = count_cells(decisions, targets, num_classes=2, where=where)
    return Hits(
        *(x[:, 1] for x in (cells.true_positive, cells.false_positive, cells.false_negative))
    )


def images_decided(decisions: Array, targets: Array, where: Array | None) -> ImageDecisions:
    """Makes one decision of each image."""
    counted = jnp.ones(decisions.shape, bool) if where is None else where
    some = lambda x: jnp.any(x.reshape(len(x), -1), axis=1)  # noqa: E731
    return ImageDecisions(some(decisions & counted), some(targets & counted), some(counted))


def highest_of(scores: Array, where: Array | None) -> Float[Array, " batch"]:
    """The highest score of each image, NaN with a NaN that counts."""
    shown = scores if where is None else jnp.where(where, scores, -jnp.inf)
    return jnp.max(shown.reshape(len(shown), -1), axis=1)


def hits_of_images(images: ImageDecisions) -> Hits:
    """The images of a batch; what has no pixel that counts is in none."""
    count = lambda x: jnp.sum(x & images.counted, dtype=jnp.int32)  # noqa: E731
    decisions, targets = images.decisions, images.targets
    return Hits(
        count(decisions & targets), count(decisions & ~targets), count(~decisions & targets)
    )


def rates(hits: Hits) -> tuple[Array, Array, Array, Array]:
    """Precision, recall, F1 and IoU; NaN where there is none."""
    # As floats: twice a count may not fit into int32.
    tp, fp, fn = (n.astype(jnp.float32) for n in hits)
    wrong = fp + fn
    return (
        ratio(tp, tp + fp),
        ratio(tp, tp + fn),
        ratio(2 * tp, 2 * tp + wrong),
        ratio(tp, tp + wrong),
    )


def _pooled(scores: Array, targets: Array, where: Array | None) -> Float[Array, ""]:
    row = (1, -1)
    counted = None if where is None else where.reshape(row)
    found = ranking.average_precision(scores.reshape(row), targets.reshape(row), where=counted)
    return found.values[0]


def _over_images(values: Float[Array, " batch"]) -> PerExample:
    undefined = jnp.isnan(values)
    return filled(values, undefined=undefined, agree=undefined, best=1.0, worst=0.0, empty="skip")


# Compiled once also where it is called outside of a `jit`.
@jax.jit
def _anomaly_detection(decisions, targets, scores, where) -> AnomalyReport:
    pixels = hits_of_pixels(decisions, targets, where)
    images = images_decided(decisions, targets, where)
    every = Hits(*(jnp.sum(x, dtype=jnp.int32) for x in pixels))
    of_pixels, of_each, of_images = None, None, None
    if scores is not None:
        of_pixels = _pooled(scores, targets, where)
        of_each = _over_images(ranking.average_precision(scores, targets, where=where).values)
        of_images = _pooled(highest_of(scores, where), images.targets, images.counted)
    precision, recall, f1, iou = map(_over_images, rates(pixels))
    return AnomalyReport(
        DetectionScores(*rates(every), of_pixels),
        PerImage(precision, recall, f1, iou, of_each),
        DetectionScores(*rates(hits_of_images(images)), of_images),
    )
