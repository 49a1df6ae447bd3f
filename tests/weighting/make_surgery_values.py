"""Writes values/surgery_values.json: sets of gradients, and what TorchJD makes of them.

    python tests/weighting/make_surgery_values.py

needs torch==2.13 and torchjd==0.18; nothing of lossbench. In float64, the gradients rounded to
float32 before, unless it says float32.
"""

import json
from pathlib import Path

import numpy as np
import torch
from torchjd import aggregation

SHAPES = ((1, 3), (2, 5), (3, 10), (3, 2), (8, 20), (8, 3))


def gradient_sets(seed=6):
    """Sets of random gradients: of one size, of sizes from 1e-3 to 1e3, and dependent ones."""
    rng = np.random.default_rng(seed)
    for terms, size in SHAPES:
        for spread in (0, 3):
            sizes = 10.0 ** rng.uniform(-spread, spread, (terms, 1))
            yield rng.normal(size=(terms, size)) * sizes
    both = rng.normal(size=(2, 6))
    yield both[[0, 0]]
    yield both[[0, 1, 0]]
    yield np.array([both[0], -2 * both[1], both[1], 0 * both[0]])


def drawn_orders(terms, seed, others):
    """The orders that TorchJD draws after this seed, each ending with the term itself."""
    torch.manual_seed(seed)
    orders = []
    for i in range(terms):
        rest = [j for j in range(terms) if j != i]
        if others:
            order = [rest[k] for k in torch.randperm(terms - 1).tolist()]
        else:
            order = [j for j in torch.randperm(terms).tolist() if j != i]
        orders.append([*order, i])
    return orders


def pcgrad(matrix, seed):
    orders = drawn_orders(len(matrix), seed, others=False)
    torch.manual_seed(seed)
    return {"orders": orders, "update": aggregation.PCGrad()(matrix).tolist()}


def gradvac(matrix, seed, steps=3):
    """Some steps; the matrix is turned a little more in each."""
    aggregator = aggregation.GradVac(beta=0.3, eps=0.0)
    rng = np.random.default_rng(seed)
    found = []
    for step in range(steps):
        noise = torch.tensor(rng.normal(size=matrix.shape))
        changed = (matrix + 0.3 * step * matrix.norm(dim=1, keepdim=True) * noise).float().double()
        orders = drawn_orders(len(matrix), seed + step, others=True)
        torch.manual_seed(seed + step)
        update = aggregator(changed).tolist()
        found.append({"gradients": changed.tolist(), "orders": orders, "update": update})
    return found


def graddrop(matrix, seed, leak):
    torch.manual_seed(seed)
    uniform = torch.rand(matrix.shape[1], dtype=matrix.dtype).tolist()
    torch.manual_seed(seed)
    given = None if leak is None else torch.tensor(leak, dtype=matrix.dtype)
    update = aggregation.GradDrop(leak=given)(matrix)
    return {"leak": leak, "uniform": uniform, "update": update.tolist()}


def rounded(found):
    """Ten digits of every number."""
    if isinstance(found, dict):
        return {name: rounded(one) for name, one in found.items()}
    if isinstance(found, list):
        return [rounded(one) for one in found]
    return float(f"{found:.10g}") if isinstance(found, float) else found


def main():
    cases = []
    for seed, gradients in enumerate(gradient_sets()):
        matrix = torch.tensor(gradients).float().double()
        terms = len(matrix)
        preference = [1.0 + 0.5 * i for i in range(terms)]
        wanted = torch.tensor(preference, dtype=torch.float64)
        case = {"gradients": matrix.tolist(), "preference": preference}
        case["pcgrad"] = pcgrad(matrix, seed)
        case["graddrop"] = [
            graddrop(matrix, seed, None),
            graddrop(matrix, seed, [i / terms for i in range(terms)]),
        ]
        for mode in ("min", "median", "rmse"):
            case[f"aligned_mtl {mode}"] = aggregation.AlignedMTL(scale_mode=mode)(matrix).tolist()
        case["aligned_mtl preference"] = aggregation.AlignedMTL(wanted)(matrix).tolist()
        case["config"] = aggregation.ConFIG()(matrix).tolist()
        case["config preference"] = aggregation.ConFIG(wanted)(matrix).tolist()
        if seed < 2 * len(SHAPES) and terms > 1:
            case["gradvac"] = gradvac(matrix, seed)
        cases.append(case)
    small = torch.tensor([[1.0, 0.0], [0.0, 1e-4]])
    opposite = torch.tensor([[1.0, 2.0, 2.0], [-2.0, -4.0, -4.0]])
    found = {
        "cases": cases,
        "aligned_mtl of a small gradient in float32": {
            "gradients": small.tolist(),
            "update": aggregation.AlignedMTL()(small).tolist(),
        },
        "config of opposite gradients in float32": {
            "gradients": opposite.tolist(),
            "update": aggregation.ConFIG()(opposite).tolist(),
        },
    }
    path = Path(__file__).parent / "values" / "surgery_values.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(rounded(found)) + "\n")


if __name__ == "__main__":
    main()
