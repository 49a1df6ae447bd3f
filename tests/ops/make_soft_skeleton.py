"""Writes MONAI's soft skeletons of small random images, with their gradients, as JSON.

Needs MONAI and PyTorch: `python tests/ops/make_soft_skeleton.py`. The values differ, so that only
copies of one pixel are ever equal.
"""

import json
from pathlib import Path

import numpy as np
import torch
from monai.losses.cldice import soft_skel

CASES = [((1, 5, 6), 0), ((2, 5, 6), 2), ((1, 9, 4), 3), ((1, 3, 4, 5), 1), ((1, 5, 4, 3), 2)]


def case(seed, shape, iterations):
    rng = np.random.default_rng(seed)
    # Ranks, not draws, so that all differ by more than a rounding; smoother than noise, so that
    # something is left after an erosion.
    noise = rng.normal(size=shape)
    for axis in range(1, len(shape)):
        noise = noise + np.roll(noise, 1, axis)
    ranks = np.argsort(np.argsort(noise.ravel()))
    image = ((ranks + 0.5) / noise.size).reshape(shape).round(4).astype(np.float32)
    weights = rng.normal(size=shape).round(3).astype(np.float32)
    x = torch.tensor(image[:, None], requires_grad=True)
    skeleton = soft_skel(x, iterations)
    (skeleton * torch.tensor(weights[:, None])).sum().backward()
    arrays = {"image": image, "weights": weights}
    arrays |= {"skeleton": skeleton.detach().numpy()[:, 0], "gradient": x.grad.numpy()[:, 0]}
    rounded = {name: np.round(array.astype(float), 7).tolist() for name, array in arrays.items()}
    return {"iterations": iterations, **rounded}


if __name__ == "__main__":
    cases = [case(seed, *one) for seed, one in enumerate(CASES)]
    path = Path(__file__).parent / "data" / "soft_skeleton.json"
    path.write_text("[\n" + ",\n".join(json.dumps(one) for one in cases) + "\n]\n")
