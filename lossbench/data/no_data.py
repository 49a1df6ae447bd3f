"""Values that stand for no data, such as -9999 in every band of a border."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Real


def is_missing(
    stored: Real[np.ndarray, "height width bands"], no_data: float
) -> Bool[np.ndarray, "height width bands"]:
    """Returns which values stand for no data.

    Zero is a measurement as well, so that 0 stands for no data only where a pixel is 0 in every
    band.

    Args:
        stored: Values in the type of the file.
        no_data: What the file names for no data.

    Example:
        >>> is_missing(np.array([[[0, 0], [0, 7]]]), 0.0)[..., 0]
        array([[ True, False]])
    """
    if np.isnan(no_data):
        return np.isnan(stored)
    if stored.dtype.kind == "f":
        # The decimals of a header are a value of float32 only once they are turned into one.
        with np.errstate(over="ignore"):
            hit = stored == stored.dtype.type(no_data)
    else:
        limits = np.iinfo(stored.dtype)
        if not (limits.min <= no_data <= limits.max) or no_data != int(no_data):
            return np.zeros(stored.shape, bool)
        hit = stored == stored.dtype.type(int(no_data))
    return hit & hit.all(-1, keepdims=True) if no_data == 0 else hit
