"""Writes data/calibration_values.json: small forecasts, and what other libraries give for them.

    python tests/metrics/make_calibration_values.py

needs torchmetrics==1.9.0, monai==1.6.1 and scikit-learn==1.9.1; nothing of lossbench.
"""

import importlib.metadata
import json
import warnings
from pathlib import Path

import numpy as np
import torch
from monai.metrics import CalibrationErrorMetric
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, log_loss
from torchmetrics.functional.classification import (
    binary_calibration_error,
    multiclass_calibration_error,
)

FILE = Path(__file__).parent / "data" / "calibration_values.json"
CLASSES = 3
PIXELS = 48
NORMS = ("l1", "l2", "max")
REDUCTIONS = ("expected", "average", "maximum")


def softmax(x):
    p = np.exp(x - x.max(-1, keepdims=True))
    return p / p.sum(-1, keepdims=True)


def forecasts(seed=0):
    """Probabilities and labels of four images: honest, too sure, on edges of bins, and certain."""
    rng = np.random.default_rng(seed)
    logits = 2 * rng.standard_normal((4, PIXELS, CLASSES))
    p = softmax(logits)
    labels = np.array([[rng.choice(CLASSES, p=q) for q in image] for image in p])
    p[1] = softmax(3 * logits[1])
    # Fifths, of which some are edges of 15 bins, of 10 and of 20.
    fifths = rng.multinomial(5, np.full(CLASSES, 1 / CLASSES), PIXELS)
    p[2] = fifths / 5
    certain = rng.random(PIXELS) < 0.5
    p[3, certain] = np.eye(CLASSES)[p[3, certain].argmax(-1)]
    return p.astype(np.float32), labels


def torchmetrics(p, labels):
    """Of the top label, and of the probability of class 1."""
    p, labels = torch.from_numpy(p), torch.from_numpy(labels)
    multiclass = lambda bins, norm: multiclass_calibration_error(  # noqa: E731
        p, labels, CLASSES, n_bins=bins, norm=norm
    )
    binary = lambda bins, norm: binary_calibration_error(  # noqa: E731
        p[:, 1], (labels == 1).int(), n_bins=bins, norm=norm
    )
    return {
        f"{name} {norm} {bins}": float(function(bins, norm))
        for name, function in (("multiclass", multiclass), ("binary", binary))
        for norm in NORMS
        for bins in (15, 10)
    }


def monai(p, labels):
    """Of each class by itself, in 20 bins."""
    one_hot = np.eye(CLASSES, dtype=np.float32)[labels]
    channels_first = [torch.from_numpy(x.T[None].copy()) for x in (p, one_hot)]
    found = {}
    for reduction in REDUCTIONS:
        metric = CalibrationErrorMetric(calibration_reduction=reduction, metric_reduction="none")
        metric(*channels_first)
        found[reduction] = metric.aggregate()[0].tolist()
    return found


def scikit_learn(p, labels):
    p, ids = p.astype(np.float64), list(range(CLASSES))
    is_one = labels == 1
    inside = np.clip(p / p.sum(-1, keepdims=True), 0, 1)
    accuracy, confidence = calibration_curve(is_one, p[:, 1], n_bins=5)
    return {
        "brier": brier_score_loss(labels, inside, labels=ids),
        "brier of class 1": brier_score_loss(is_one, p[:, 1]),
        "log loss": log_loss(labels, inside, labels=ids),
        "curve of class 1": [confidence.tolist(), accuracy.tolist()],
    }


def on_edges():
    """Two pixels each, one class: on an edge and below it; and one that is certain, and one not."""
    values = {}
    for name, p, labels, bins in (
        ("on 3 / 15", [0.2, 0.19], [1, 0], 15),
        ("on 10 / 20", [0.5, 0.47], [1, 0], 20),
        ("certain", [1.0, 0.98], [0, 1], 15),
    ):
        p, labels = torch.tensor(p), torch.tensor(labels)
        metric = CalibrationErrorMetric(num_bins=bins, metric_reduction="none")
        metric(p[None, None], labels[None, None].float())
        values[name] = {
            "torchmetrics": float(binary_calibration_error(p, labels, n_bins=bins)),
            "monai": float(metric.aggregate()),
        }
    return values


def of_many():
    """An image of 1024 x 1024 pixels, all with a probability of 0.9, and all of them true."""
    p, labels = torch.full((2**20,), 0.9), torch.ones(2**20, dtype=torch.int32)
    return {"torchmetrics": float(binary_calibration_error(p, labels, n_bins=15))}


def main():
    warnings.simplefilter("ignore")
    p, labels = forecasts()
    images = list(zip(p, labels, strict=True))
    libraries = {"torchmetrics": torchmetrics, "monai": monai, "scikit-learn": scikit_learn}
    content = {
        "versions": {name: importlib.metadata.version(name) for name in libraries},
        "probabilities": p.astype(float).tolist(),
        "labels": labels.tolist(),
        "values": {name: [give(*image) for image in images] for name, give in libraries.items()},
        "on edges": on_edges(),
        "of many": of_many(),
    }
    FILE.write_text(json.dumps(content, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
