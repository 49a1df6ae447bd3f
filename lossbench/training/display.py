"""One slice a case that a person can look at."""

import dataclasses

import numpy as np

from lossbench.training.program import Arrays


@dataclasses.dataclass(frozen=True)
class Slice:
    """A 2D view of an example.

    Attributes:
        image: `height width`, float in [0, 1].
        labels: `height width`, class ids.
        prediction: `height width`, class ids.
        index: which slice along the last axis; -1 for a 2D image.
        foreground: labeled foreground pixels in the slice.
    """

    image: np.ndarray
    labels: np.ndarray
    prediction: np.ndarray
    index: int
    foreground: int


def display_slice(batch: Arrays, predictions: np.ndarray, i: int) -> Slice:
    """The slice of example `i` with the most foreground in the truth; a 2D image as it is.

    Its first channel is scaled from its 1st to its 99th percentile, padding left out.
    """
    image, labels = batch["image"][i, ..., 0], batch["labels"][i]
    prediction, where = predictions[i], batch["where"][i]
    # Padding shows as background on both sides, whatever was predicted there.
    labels, prediction = np.where(where, labels, 0), np.where(where, prediction, 0)
    index = -1
    if image.ndim == 1:
        image, labels, prediction, where = (x[None] for x in (image, labels, prediction, where))
    if image.ndim == 3:
        index = int(np.argmax((labels > 0).sum((0, 1))))
        image, labels, prediction, where = (
            x[..., index] for x in (image, labels, prediction, where)
        )
    inside = image[where] if where.any() else image
    low, high = np.percentile(inside, (1, 99))
    shown = np.clip((image - low) / max(float(high - low), 1e-6), 0, 1) * where
    return Slice(shown, labels, prediction, index, int((labels > 0).sum()))
