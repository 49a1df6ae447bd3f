"""Writes values/solver_values.json: sets of gradients, and what TorchJD makes of them.

    python tests/weighting/make_solver_values.py

needs torch==2.13 and torchjd==0.18 with cvxpy, clarabel, ecos, qpsolvers, quadprog and scipy;
nothing of lossbench. All in float64, the gradients rounded to float32 before.
"""

import json
from pathlib import Path

import numpy as np
import torch
from torchjd import aggregation
from torchjd.linalg import QuadprogProjector

SHAPES = ((1, 3), (2, 5), (2, 2), (3, 10), (8, 20))


def gradient_sets(seed=16):
    """Random gradients, some that conflict much, and some of sizes from 0.1 to 10."""
    rng = np.random.default_rng(seed)
    for terms, size in SHAPES:
        for spread in (0, 1):
            gradients = rng.normal(size=(terms, size))
            pulled = gradients - 0.8 * gradients.mean(axis=0)
            for one in (gradients, pulled):
                yield one * 10.0 ** rng.uniform(-spread, spread, (terms, 1))


def aggregators(terms):
    """TorchJD's, as exact as their options allow, and with their defaults."""
    exact = QuadprogProjector(norm_eps=0.0, reg_eps=1e-13)
    wanted = torch.tensor([1.0 + 0.5 * i for i in range(terms)], dtype=torch.float64)
    return {
        "mgda": aggregation.MGDA(),
        "cagrad 0.5": aggregation.CAGrad(c=0.5, norm_eps=0.0),
        "cagrad 1.5": aggregation.CAGrad(c=1.5, norm_eps=0.0),
        "imtl_g": aggregation.IMTLG(),
        "nash_mtl": aggregation.NashMTL(n_tasks=terms, optim_niter=100),
        "fairgrad 1": aggregation.FairGrad(alpha=1.0),
        "fairgrad 2": aggregation.FairGrad(alpha=2.0),
        "upgrad": aggregation.UPGrad(projector=exact),
        "upgrad preference": aggregation.UPGrad(wanted, projector=exact),
        "upgrad default": aggregation.UPGrad(),
        "dual_projection": aggregation.DualProj(projector=exact),
        "dual_projection preference": aggregation.DualProj(wanted, projector=exact),
        "dual_projection default": aggregation.DualProj(),
    }


def main():
    cases = []
    for gradients in gradient_sets():
        matrix = torch.tensor(gradients).float().double()
        case = {"gradients": matrix.tolist()}
        for name, aggregator in aggregators(len(matrix)).items():
            if len(matrix) == 1 and name == "nash_mtl":
                continue  # which it cannot
            case[name] = [float(f"{x:.10g}") for x in aggregator(matrix).tolist()]
        cases.append(case)
    path = Path(__file__).parent / "values" / "solver_values.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(cases) + "\n")


if __name__ == "__main__":
    main()
