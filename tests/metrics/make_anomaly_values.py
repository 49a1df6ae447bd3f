"""Writes what anomalib computes for the maps of `anomalies.py`.

    python -m tests.metrics.make_anomaly_values

It needs anomalib, which nothing else here does.
"""

import importlib.metadata
import json
import math
from pathlib import Path

import numpy as np
import torch
from anomalib.metrics.aupro import _AUPRO
from anomalib.metrics.pimo.functional import aupimo_scores

from tests.metrics import anomalies

FILE = Path(__file__).parent / "data" / "anomaly_values.json"
LIMITS = (0.05, 0.3, 1.0)
BOUNDS = ((0.02, 0.3), (8 / 396, 119 / 396))  # of 4 normal images of 99 pixels
THRESHOLDS = 100_000


def aupro(scores, labels, limit):
    metric = _AUPRO(fpr_limit=limit)
    metric.update(torch.from_numpy(scores), torch.from_numpy(labels).int())
    return float(metric.compute())


def aupimo(scores, labels, bounds):
    given = torch.from_numpy(scores), torch.from_numpy(labels)
    values = aupimo_scores(*given, num_thresholds=THRESHOLDS, fpr_bounds=bounds, force=True)[4]
    return [None if math.isnan(value) else value for value in values.tolist()]


if __name__ == "__main__":
    scores, labels = anomalies.maps()
    variants = {"random": scores, "tied": np.round(2 * scores)}
    variants = {name: x.astype(np.float32) for name, x in variants.items()}
    nothing = np.zeros_like(labels)
    content = {
        "anomalib": importlib.metadata.version("anomalib"),
        "limits": LIMITS,
        "aupro": {name: [aupro(x, labels, at) for at in LIMITS] for name, x in variants.items()},
        "aupro, no region": aupro(variants["random"], nothing, 0.3),
        "aupro, all anomalous": aupro(variants["random"], ~nothing, 0.3),
        "bounds": BOUNDS,
        "aupimo": {name: [aupimo(x, labels, at) for at in BOUNDS] for name, x in variants.items()},
    }
    FILE.write_text(json.dumps(content) + "\n")
