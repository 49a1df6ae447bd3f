"""What other libraries' metrics are asked for: class ids, and scores with their labels."""

import json
from pathlib import Path

import numpy as np

from tests.metrics import rankings

CLASSES, SPACE = 3, (5, 8)


def class_ids():
    """Predictions and labels of five cases: random, alike, rare, and of one or two classes."""
    stored = json.loads((Path(__file__).parent / "data" / "sklearn_values.json").read_text())
    return [np.array(stored[name]).reshape(-1, *SPACE) for name in ("predictions", "labels")]


def ranked():
    """By row: scores as they are, their ranks as shares from 0 to 1, and labels; of what counts."""
    names, scores, labels, where, _ = rankings.examples()
    for name, row, truth, counted in zip(names, scores, labels, where, strict=True):
        kept = row[counted]
        ranks = np.unique(kept, return_inverse=True)[1].astype(np.float32) / 64
        yield name, kept, ranks, truth[counted]


def squared_distances():
    """Distances to a center, squared, of 190 normal samples and 10 anomalies in 100 dimensions."""
    rng, labels = np.random.default_rng(1), np.arange(200) < 10
    samples = rng.normal(size=(200, 100)) * np.where(labels, 1.25, 1)[:, None]
    return np.sum(samples**2, axis=1).astype(np.float32), labels


def small_scores():
    """Four scores that are ranked without a mistake: two positives above two negatives."""
    return np.array([0.4, 0.3, -0.1, -0.2], np.float32), np.array([1, 1, 0, 0], bool)
