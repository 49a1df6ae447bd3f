"""Surface metrics in float64 with SciPy, one pair of masks at a time."""

import itertools

import numpy as np
from scipy import ndimage
from scipy.spatial.distance import cdist


def blobs(space, count, width=1.2, share=0.4, seed=0):
    """Random masks, batch first, none of them empty or full."""
    rng = np.random.default_rng(seed)
    fields = [ndimage.gaussian_filter(rng.normal(size=space), width) for _ in range(count)]
    return np.stack([field > np.quantile(field, 1 - share) for field in fields])


def edges(mask):
    return mask & ~ndimage.binary_erosion(mask)


def codes(mask):
    """Of each point where pixels meet, the number whose bits are the pixels around it."""
    beyond = np.pad(mask, 1)
    code = np.zeros([n + 1 for n in mask.shape], int)
    for bit, corner in enumerate(itertools.product((0, 1), repeat=mask.ndim)):
        part = beyond[tuple(slice(c, c + n + 1) for c, n in zip(corner, mask.shape, strict=True))]
        code += part.astype(int) << bit
    return code


def elements(mask, spacing, areas):
    """Where the elements of a surface are, and how much each counts."""
    if areas is None:
        found = edges(mask)
        return np.argwhere(found) * spacing, np.ones(found.sum())
    measure = np.asarray(areas)[codes(mask)]
    return np.argwhere(measure > 0) * spacing, measure[measure > 0]


class Pair:
    """Every distance from each of two surfaces to the other, by brute force."""

    def __init__(self, predicted, true, spacing, areas=None):
        spacing = np.asarray(spacing, float)
        (a, self.weights), (b, self.true_weights) = (
            elements(mask, spacing, areas) for mask in (predicted, true)
        )
        table = cdist(a, b)
        self.there, self.back = table.min(axis=1), table.min(axis=0)
        self.areas = areas

    def hausdorff(self, percentile=100, directed=False, pooled=False):
        if pooled:
            return np.percentile(np.concatenate([self.there, self.back]), percentile)
        there = self.percentile(self.there, self.weights, percentile)
        if directed:
            return there
        return max(there, self.percentile(self.back, self.true_weights, percentile))

    def percentile(self, distances, weights, percentile):
        if self.areas is None:
            return np.percentile(distances, percentile)
        order = np.argsort(distances)
        share = np.cumsum(weights[order]) / weights.sum()
        index = np.searchsorted(share, percentile / 100 - 1e-9)
        return distances[order][min(index, len(order) - 1)]

    def asd(self):
        return np.average(self.there, weights=self.weights)

    def assd(self):
        if self.areas is not None:
            return (self.asd() + np.average(self.back, weights=self.true_weights)) / 2
        return np.concatenate([self.there, self.back]).mean()

    def nsd(self, tolerance):
        near, near_true = (d <= tolerance + 1e-9 for d in (self.there, self.back))
        within = self.weights[near].sum() + self.true_weights[near_true].sum()
        return within / (self.weights.sum() + self.true_weights.sum())
