"""Writes data/sklearn_values.json: small label maps, and what scikit-learn and MONAI give for them.

    python tests/metrics/make_sklearn_values.py

needs scikit-learn==1.9.1 and monai==1.6.1; nothing of lossbench.
"""

import functools
import json
import warnings
from pathlib import Path

import numpy as np
import torch
from monai.metrics.generalized_dice import compute_generalized_dice
from sklearn import metrics

CLASSES = 3
PIXELS = 40


def cases(seed=0):
    """Predictions and labels of five cases: random, alike, rare, and of one or two classes."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, (5, PIXELS))
    predictions = rng.integers(0, CLASSES, (5, PIXELS))
    predictions[1] = np.where(rng.random(PIXELS) < 0.8, labels[1], predictions[1])
    labels[2], predictions[2] = 0, 0
    labels[2, 3:5], predictions[2, 4:7] = 2, 2  # class 1 is nowhere
    labels[3] = 1  # one class alone, others predicted
    labels[4], predictions[4] = np.minimum(labels[4], 1), 0  # nothing is predicted
    return predictions, labels


def masks(classes):
    """One binary metric of each class against the rest."""
    return lambda metric: lambda p, t: [metric(t == c, p == c) for c in classes]


def generalized_dice(weighting, predicted, true):
    one_hot = [torch.from_numpy(np.eye(CLASSES)[ids].T[None]) for ids in (predicted, true)]
    return float(compute_generalized_dice(*one_hot, weight_type=weighting, sum_over_classes=True))


def main():
    ids = list(range(CLASSES))
    each = {"labels": ids, "average": None, "zero_division": np.nan}
    one = masks(ids)
    give = {
        "confusion_matrix": lambda p, t: metrics.confusion_matrix(t, p, labels=ids).tolist(),
        "precision": lambda p, t: metrics.precision_score(t, p, **each).tolist(),
        "recall": lambda p, t: metrics.recall_score(t, p, **each).tolist(),
        "f_beta": lambda p, t: metrics.fbeta_score(t, p, beta=1, **each).tolist(),
        "f_beta 0.5": lambda p, t: metrics.fbeta_score(t, p, beta=0.5, **each).tolist(),
        "f_beta 2": lambda p, t: metrics.fbeta_score(t, p, beta=2, **each).tolist(),
        "specificity": one(
            lambda t, p: float(metrics.recall_score(t, p, pos_label=0, zero_division=np.nan))
        ),
        "mcc": one(lambda t, p: float(metrics.matthews_corrcoef(t, p))),
        "cohen_kappa": lambda p, t: float(metrics.cohen_kappa_score(t, p, labels=ids)),
        "accuracy": lambda p, t: float(metrics.accuracy_score(t, p)),
        "generalized_dice": functools.partial(generalized_dice, "square"),
        "generalized_dice simple": functools.partial(generalized_dice, "simple"),
    }
    warnings.simplefilter("ignore")
    predictions, labels = cases()
    values = {
        name: [function(p, t) for p, t in zip(predictions, labels, strict=True)]
        for name, function in give.items()
    }
    stored = {"predictions": predictions.tolist(), "labels": labels.tolist(), "values": values}
    path = Path(__file__).parent / "data" / "sklearn_values.json"
    path.write_text(json.dumps(stored, indent=None, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
