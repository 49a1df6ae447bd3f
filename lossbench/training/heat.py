"""Scores as colors, on one scale for all maps that are to be compared."""

from collections.abc import Iterable

import numpy as np

from lossbench._colors import HEAT, NO_SCORE

# Few anomalous pixels are to be told from each other, and one glowing pixel must not darken all.
PERCENTILES = (1.0, 99.5)


def common_limits(
    maps: Iterable[np.ndarray], percentiles: tuple[float, float] = PERCENTILES
) -> tuple[float, float]:
    """One scale for several maps: percentiles of all their finite scores together.

    Never of each map: a map without an anomaly would glow as much as one with.

    Args:
        maps: raw scores of any shapes; NaN and infinity are left out.
        percentiles: of the lowest and of the highest color.

    Returns:
        The scores of the lowest and of the highest color; 0 and 1 if there is no finite score.

    Example:
        >>> low, high = common_limits([np.arange(101.0), np.full(3, np.nan)], (10, 90))
        >>> float(low), float(high)
        (10.0, 90.0)
    """
    values = [np.asarray(scores, np.float64).ravel() for scores in maps]
    pooled = np.concatenate(values) if values else np.empty(0)
    pooled = pooled[np.isfinite(pooled)]
    if not pooled.size:
        return 0.0, 1.0
    low, high = np.percentile(pooled, percentiles)
    return float(low), float(high)


def shares(scores: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    """Where scores lie between two limits, in [0, 1]; NaN stays NaN. Arguments as of `heat`."""
    scores = np.asarray(scores, np.float64)
    low, high = limits[0] / 2, limits[1] / 2  # halves: no difference overflows
    with np.errstate(invalid="ignore"):
        share = (scores / 2 - low) / (high - low) if high > low else (scores / 2 > low) * 1.0
    return np.clip(np.where(np.isnan(scores), np.nan, share), 0.0, 1.0)


def heat(scores: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    """Scores as colors from black (low) over red to light yellow (high).

    Args:
        scores: any shape; what is beyond the limits, infinity too, has the color of the limit, NaN
            is grey.
        limits: scores of the first and of the last color, as `common_limits` gives them. Where
            they are equal, what is above them is of the last color, all else of the first.

    Returns:
        `*shape 3`, uint8.
    """
    share = shares(scores, limits)
    missing = np.isnan(share)
    anchors = np.array([tuple(bytes.fromhex(color[1:])) for color in HEAT], np.float64)
    places, known = np.linspace(0, 1, len(anchors)), np.where(missing, 0.0, share)
    pixels = np.stack([np.interp(known, places, anchors[:, k]) for k in range(3)], axis=-1)
    pixels[missing] = tuple(bytes.fromhex(NO_SCORE[1:]))
    return np.round(pixels).astype(np.uint8)
