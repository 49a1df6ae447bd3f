"""Anomaly maps for tests, and the areas under their curves by loops in float64."""

import math

import numpy as np
from scipy import ndimage


def maps(count=4, space=(9, 11), seed=0):
    """Scores and labels: so many anomalous images, with as many normal ones in between."""
    rng = np.random.default_rng(seed)
    shape = (2 * count, *space)
    fields = ndimage.gaussian_filter(rng.normal(size=shape), (0, *[1.0] * len(space)))
    labels = fields > np.quantile(fields, 0.85, axis=range(1, len(shape)), keepdims=True)
    labels[::2] = False
    return rng.normal(size=shape) + labels, labels


def image_areas(scores, labels, lower, upper, where=None):
    """AUPIMO threshold by threshold and image by image, and how many rates are in its bounds."""
    rates, recalls = _curves(scores, labels, where)
    areas = [_log_area(rates, recall, lower, upper) for recall in recalls]
    within = (rates > lower * (1 - 1e-12)) & (rates < upper * (1 + 1e-12))
    return np.array(areas) / math.log(upper / lower), len(set(rates[within].round(12)))


def areas_of_anomalib(scores, labels, lower, upper):
    """AUPIMO as anomalib has it, with a threshold at every score.

    From and to the rates that are nearest to the bounds, straight in the logarithm, and over what
    the logarithms of the bounds themselves differ by.
    """
    rates, recalls = _curves(scores, labels, None)
    first, last = (np.abs(rates - bound).argmin() for bound in (lower, upper))
    last = np.flatnonzero(rates == rates[last]).max()
    x, y = np.log(rates[first : last + 1]), recalls[:, first : last + 1]
    areas = ((y[:, 1:] + y[:, :-1]) / 2 * np.diff(x)).sum(1)
    return (areas / math.log(upper / lower)).clip(0, 1)


def _curves(scores, labels, where):
    """At every threshold, falling from infinity above all, the mean rate and each recall."""
    scores = np.asarray(scores, np.float64)
    where = np.ones(labels.shape, bool) if where is None else where
    labels = labels & where
    space = tuple(range(1, labels.ndim))
    normal = np.flatnonzero(~labels.any(space) & where.any(space))
    rates, recalls = [0.0], [np.where(labels.any(space), 0.0, np.nan)]
    for threshold in sorted(set(scores[where].tolist()), reverse=True):
        found = scores >= threshold
        rates.append(np.mean([found[i][where[i]].mean() for i in normal]))
        recalls.append(
            [
                f[mask].mean() if mask.any() else np.nan
                for f, mask in zip(found, labels, strict=True)
            ]
        )
    return np.array(rates), np.array(recalls, float).T


def _log_area(x, y, lower, upper):
    """Under straight lines through the points, between two bounds of x, against its logarithm."""
    total = 0.0 * y[0]
    for x0, x1, y0, y1 in zip(x[:-1], x[1:], y[:-1], y[1:], strict=True):
        start, end = max(x0, lower), min(x1, upper)
        if start < end:
            slope = (y1 - y0) / (x1 - x0)
            total += (y0 - slope * x0) * math.log(end / start) + slope * (end - start)
    return total
