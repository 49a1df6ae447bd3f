"""Writes data/surface_values.json: masks, and what MONAI and surface-distance give for them.

    LOSSBENCH_DATA=shared/data python tests/metrics/make_surface_values.py

needs monai==1.6.1, surface-distance==0.1, scipy, pillow and nibabel; nothing of lossbench but its
tests' reader of real pairs. The real pairs are named only, their masks are not stored.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from monai.metrics import (
    compute_average_surface_distance,
    compute_hausdorff_distance,
    compute_surface_dice,
)
from scipy import ndimage

# surface-distance 0.1 uses names that NumPy 2 and SciPy have dropped.
np.inf = np.inf
ndimage.filters = ndimage.morphology = ndimage
import surface_distance  # noqa: E402

FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER))
from surface_pairs import pack, real_pairs  # noqa: E402

SPACES = {
    (10, 11): (1.0, 1.0),
    (11, 10): (0.5, 1.7),
    (1, 13): (1.0, 2.0),
    (9, 10, 11): (1.0, 1.0, 1.0),
    (11, 9, 10): (0.5, 0.5, 7.5),
}


def pairs(seed=0):
    """Blobs and noise, of which noise has every neighborhood."""
    rng = np.random.default_rng(seed)
    for space, spacing in SPACES.items():
        for width in (0.0, 1.5):
            fields = [ndimage.gaussian_filter(rng.normal(size=space), width) for _ in range(2)]
            fields[1] = fields[0] + 0.7 * fields[1]
            yield [field > np.quantile(field, 0.6) for field in fields], spacing


def monai_values(predicted, true, spacing, tolerance):
    masks = [torch.from_numpy(m[None, None]).float() for m in (predicted, true)]
    options = {"include_background": True, "spacing": list(spacing)}
    hd = lambda **more: float(compute_hausdorff_distance(*masks, **options, **more))  # noqa: E731
    return {
        "hausdorff": hd(),
        "hausdorff, directed": hd(percentile=90, directed=True),
        "hd95": hd(percentile=95),
        "asd": float(compute_average_surface_distance(*masks, **options)),
        "assd": float(compute_average_surface_distance(*masks, **options, symmetric=True)),
        "nsd": float(compute_surface_dice(*masks, [tolerance], **options)),
    }


def deepmind_values(predicted, true, spacing, tolerance):
    distances = surface_distance.compute_surface_distances(true, predicted, spacing)
    from_true, from_predicted = surface_distance.compute_average_surface_distance(distances)
    return {
        "hausdorff": surface_distance.compute_robust_hausdorff(distances, 100),
        "hd95": surface_distance.compute_robust_hausdorff(distances, 95),
        "asd": from_predicted,
        "assd": (from_true + from_predicted) / 2,
        "nsd": surface_distance.compute_surface_dice_at_tolerance(distances, tolerance),
    }


def values_of(predicted, true, spacing):
    tolerance = 1.01 * min(spacing)
    found = {
        "monai": monai_values(predicted, true, spacing, tolerance),
        "deepmind": deepmind_values(predicted, true, spacing, tolerance),
    }
    return {
        "spacing": list(spacing),
        "tolerance": tolerance,
        "values": {d: {k: float(f"{v:.8g}") for k, v in x.items()} for d, x in found.items()},
    }


def main():
    rows = []
    for (predicted, true), spacing in pairs():
        masks = {"shape": true.shape, "predictions": pack(predicted), "labels": pack(true)}
        rows.append(masks | values_of(predicted, true, spacing))
    for name, (predicted, true, spacing) in real_pairs().items():
        rows.append({"name": name} | values_of(predicted, true, spacing))
    text = ",\n".join(json.dumps(row) for row in rows)
    (FOLDER / "data").mkdir(exist_ok=True)
    (FOLDER / "data" / "surface_values.json").write_text(f"[\n{text}\n]\n")


if __name__ == "__main__":
    main()
