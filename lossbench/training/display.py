"""One slice a case that a person can look at."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from lossbench.data.false_color import false_color
from lossbench.training.program import Arrays
from lossbench.training.step import Predicted


@dataclasses.dataclass(frozen=True)
class Slice:
    """A 2D view of an example.

    Attributes:
        image: `height width`, float in [0, 1]; `height width 3` in color.
        labels: `height width`, class ids.
        prediction: `height width`, class ids.
        index: which slice along the last axis; -1 for a 2D image.
        foreground: labeled foreground pixels in the slice.
        scores: `height width`, raw anomaly scores, NaN where not counted; None if there are none.
        where: `height width`, true = counted; None where all is.
    """

    image: np.ndarray
    labels: np.ndarray
    prediction: np.ndarray
    index: int
    foreground: int
    scores: np.ndarray | None = None
    where: np.ndarray | None = None


def has_picture(batch: Arrays) -> bool:
    """Whether the labels of a batch have pixels; those of tables, one an image, have none."""
    return batch["labels"].ndim > 1


def display_slice(
    batch: Arrays,
    predictions: np.ndarray,
    i: int,
    *,
    scores: np.ndarray | None = None,
    color: bool = False,
    wavelengths: Sequence[float] | None = None,
) -> Slice:
    """The slice of example `i` with the most foreground in the truth; a 2D image as it is.

    Args:
        batch: "image", "labels" and "where", padding included.
        predictions: `batch *space`, class ids.
        i: which example.
        scores: `batch *space`, raw anomaly scores.
        color: shows three channels as a color image, as `lossbench.data.false_color` chooses them;
            else the first, scaled from its 1st to its 99th percentile, padding left out.
        wavelengths: of the channels, in nanometers.
    """
    image, labels, where = batch["image"][i], batch["labels"][i], batch["where"][i]
    image = image if color else image[..., :1]
    # Padding shows as background on both sides, whatever was predicted there.
    prediction, labels = np.where(where, predictions[i], 0), np.where(where, labels, 0)
    raw = None if scores is None else np.where(where, scores[i], np.nan)
    views = [image, labels, prediction, where, raw]
    index = -1
    if labels.ndim == 1:
        views = [None if view is None else view[None] for view in views]
    if labels.ndim == 3:
        index = int(np.argmax((labels > 0).sum((0, 1))))
        views = [None if view is None else view[:, :, index] for view in views]
    image, labels, prediction, where, raw = views
    assert image is not None
    assert labels is not None
    assert prediction is not None
    assert where is not None
    shown = false_color(image, wavelengths, where=where) if color else _grey(image[..., 0], where)
    return Slice(shown, labels, prediction, index, int((labels > 0).sum()), raw, where)


def _grey(image: np.ndarray, where: np.ndarray) -> np.ndarray:
    inside = image[where] if where.any() else image
    low, high = np.percentile(inside, (1, 99))
    return np.clip((image - low) / max(float(high - low), 1e-6), 0, 1) * where


def picture(
    batch: Arrays, found: Predicted, i: int, wavelengths: Sequence[float] | None, *, scored: bool
) -> Slice:
    """The slice of an example, with its scores and in color where metrics rank scores."""
    scores = None if found.scores is None or not scored else np.asarray(found.scores)
    color = scores is not None and batch["image"].shape[-1] >= 3
    labels = np.asarray(found.labels)
    return display_slice(batch, labels, i, scores=scores, color=color, wavelengths=wavelengths)
