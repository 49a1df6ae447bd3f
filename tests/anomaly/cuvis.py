"""Inputs on which cuvis-ai 0.19.3 was run, in closed form, and scenes to develop on."""

import os
from pathlib import Path

import numpy as np
import pytest

DATA = Path(os.environ.get("LOSSBENCH_DATA", Path(__file__).parents[2] / "../shared/data"))


def waves(*shape, f=0.7, p=0.1, s=1.0, o=0.0):
    return np.float32(s * np.sin(f * np.arange(np.prod(shape)) + p) + o).reshape(shape)


CUBE = waves(2, 5, 6, 4, f=0.37, s=0.3, o=0.6)
FULL_RANK = CUBE + np.float32(0.1) * waves(2, 5, 6, 4, f=2.9, p=0.7)


def scene(name):
    """Cube, flat mask: of the folder `hyperspectral`; skips where it is absent."""
    path = DATA / "hyperspectral" / name
    if not path.is_file():
        pytest.skip(f"hyperspectral/{name} is not under LOSSBENCH_DATA")
    import scipy.io

    found = scipy.io.loadmat(path)
    return found["data"], found["map"].reshape(-1) > 0


def auc(scores, labels):
    """Area under the ROC curve, ties as a half; float64."""
    scores = np.asarray(scores, np.float64).reshape(-1)
    ordered = np.sort(scores)
    below = np.searchsorted(ordered, scores, "left")
    rank = (below + np.searchsorted(ordered, scores, "right") + 1) / 2
    n1 = labels.sum()
    return (rank[labels].sum() - n1 * (n1 + 1) / 2) / (n1 * (len(labels) - n1))
