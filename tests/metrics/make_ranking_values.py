"""Writes what scikit-learn computes for the examples of `rankings.py`.

    python -m tests.metrics.make_ranking_values

It needs scikit-learn, which nothing else here does. Infinite scores, which it refuses, are left
out, as are rows for which it has a warning and no value.
"""

import importlib.metadata
import json
import warnings
from pathlib import Path

import numpy as np
from sklearn import metrics

from tests.metrics import rankings

FILE = Path(__file__).parent / "data" / "ranking_values.json"
VALUES = {
    "roc_auc": metrics.roc_auc_score,
    "average_precision": metrics.average_precision_score,
    "partial_auc": lambda t, s, sample_weight: metrics.roc_auc_score(
        t, s, sample_weight=sample_weight, max_fpr=0.4
    ),
}


def roc_curve(labels, scores, sample_weight):
    fpr, tpr, at = metrics.roc_curve(
        labels, scores, sample_weight=sample_weight, drop_intermediate=False
    )
    return {"fpr": fpr.tolist(), "tpr": tpr.tolist(), "thresholds": at[1:].tolist()}


def pr_curve(labels, scores, sample_weight):
    precision, recall, at = metrics.precision_recall_curve(
        labels, scores, sample_weight=sample_weight
    )
    falling = (x[::-1].tolist() for x in (precision, recall, at))
    return dict(zip(("precision", "recall", "thresholds"), falling, strict=True))


def of_rows(function, only=None):
    """The values of all variants, as a dict by variant and row; of some rows only."""
    names, scores, labels, where, weights = rankings.examples()
    every = np.ones(labels.shape)
    variants = {"plain": every, "masked": where * every, "weighted": where * weights}
    table = {variant: {} for variant in variants}
    warnings.simplefilter("error")
    for variant, counts in variants.items():
        for i, name in enumerate(names):
            kept = counts[i] > 0
            if only is not None and name not in only:
                continue
            if len(set(labels[i][kept])) < 2 or not np.isfinite(scores[i][kept]).all():
                continue
            s = scores[i][kept].astype(np.float64)
            table[variant][name] = function(labels[i][kept], s, sample_weight=counts[i][kept])
    return table


if __name__ == "__main__":
    content = {
        "scikit-learn": importlib.metadata.version("scikit-learn"),
        "values": {name: of_rows(function) for name, function in VALUES.items()},
        "curves": {f.__name__: of_rows(f, ("random", "tied")) for f in (roc_curve, pr_curve)},
    }
    FILE.write_text(json.dumps(content) + "\n")
