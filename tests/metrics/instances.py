"""Instances for tests: SciPy's components, loops over all pairs, and masks that are hard."""

import numpy as np
from scipy import ndimage


def components(mask, connectivity=None):
    """The components of one mask, each as a mask."""
    structure = ndimage.generate_binary_structure(mask.ndim, connectivity or mask.ndim)
    labels, number = ndimage.label(mask, structure)
    return [labels == k for k in range(1, number + 1)]


def segments(ids):
    """The instances of one map of ids, each as a mask."""
    return [ids == k for k in np.unique(ids) if k != 0]


def iou(a, b):
    return (a & b).sum() / (a | b).sum()


def masks(space, count, seed=0):
    """Predictions and labels: random ones that agree in part, then none, one or both empty."""
    rng = np.random.default_rng(seed)
    shape = (count, *space)
    fields = ndimage.gaussian_filter(rng.normal(size=shape), (0, *[0.6] * len(space)))
    noise = ndimage.gaussian_filter(rng.normal(size=shape), (0, *[0.4] * len(space)))
    labels = fields > np.quantile(fields, 0.7)
    predictions = fields + 0.4 * noise > np.quantile(fields, 0.75)
    nothing, everything = np.zeros((1, *space), bool), np.ones((1, *space), bool)
    corner = nothing.copy()
    corner[(0, *[0] * len(space))] = True
    predictions = np.concatenate([predictions, nothing, corner, nothing, everything, corner])
    labels = np.concatenate([labels, nothing, nothing, corner, everything, everything])
    return predictions, labels


def id_maps(space, count, seed=0):
    """Predicted and true instances with ids far apart, some negative, that agree in part."""
    rng = np.random.default_rng(seed)
    blocks = (count, *[-(-n // 3) for n in space])
    labels = rng.integers(0, 12, blocks)
    predictions = np.where(rng.random(blocks) < 0.4, rng.integers(0, 12, blocks), labels)
    for axis, n in enumerate(space):
        labels, predictions = (
            np.repeat(x, 3, axis + 1).take(range(n), axis + 1) for x in (labels, predictions)
        )
    wrong = rng.random(labels.shape) < 0.1
    predictions = np.where(wrong, rng.integers(0, 12, labels.shape), predictions)
    names = np.array([0, -7, 3, 2_000_000_000, *range(10, 18)], np.int32)
    others = np.array([0, 5, 1, -2_000_000_000, *range(900, 908)], np.int32)
    return others[predictions], names[labels]
