"""Intensities of one image on a common scale."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Real


def normalize(image: Real[np.ndarray, "*space"]) -> Float[np.ndarray, "*space"]:
    """Returns the image clipped to its 0.5 and 99.5 percentiles, at mean 0 and deviation 1.

    Clipping keeps a few very bright voxels from setting the scale. It is left out where it would
    leave one value only, as in an image that is almost everywhere empty. A constant image becomes
    zero.
    """
    low, high = np.percentile(image, (0.5, 99.5))
    if low < high:
        image = np.clip(image, low, high)
    if image.min() == image.max():
        return np.zeros(image.shape, np.float32)
    # Double precision, since the sum of squares of large intensities leaves float32.
    centered = image - image.mean(dtype=np.float64)
    return (centered / centered.std()).astype(np.float32)
