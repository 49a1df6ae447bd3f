"""Writes skeletons of random blobs and tubes, as scikit-image finds them, as JSON.

Needs scikit-image and SciPy: `python tests/ops/make_skeletons.py`. Masks are written row by row, a
letter a pixel: "." outside, "o" inside, "g", "z" and "b" inside and in the skeleton of Guo and Hall
(`thin`), of Zhang and Suen (`skeletonize`), of both; in 3D "b" is Lee's (`skeletonize`).
"""

import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
from scipy import ndimage
from skimage.morphology import skeletonize, thin

# Space, and the width of the blur and the share inside of a plane, or the radius of tubes.
CASES = [
    ((24, 30), 2.0, 0.5),
    ((30, 23), 1.0, 0.6),
    ((20, 20), 0.5, 0.7),
    ((17, 40), 3.0, 0.4),
    ((1, 9), 0.0, 0.6),
    ((20, 22, 24), 1.5),
    ((20, 22, 24), 2.3),
]


def blobs(rng, space, width, share):
    noise = ndimage.gaussian_filter(rng.normal(size=space), width)
    return noise > np.quantile(noise, 1 - share)


def tubes(rng, space, radius, count=4):
    """Around smooth walks from one side of the volume to the other."""
    lines = np.zeros(space, bool)
    for _ in range(count):
        heights = np.arange(space[0])
        walk = ndimage.gaussian_filter1d(rng.normal(size=(2, space[0])).cumsum(axis=1) * 2, 3)
        across = np.rint(walk + rng.uniform(5, 17, size=(2, 1))).astype(int)
        lines[heights, *np.clip(across, 0, np.array(space[1:])[:, None] - 1)] = True
    return ndimage.distance_transform_edt(~lines) <= radius


def case(seed, space, *form):
    mask = (blobs if len(space) == 2 else tubes)(np.random.default_rng(seed), space, *form)
    lines = skeletonize(mask) > 0
    guo_hall = thin(mask) if len(space) == 2 else lines
    letters = np.array([".", "o", "z", "g", "b"])
    which = np.where(mask, 1 + lines + 2 * guo_hall, 0)  # 1 to 4
    return {"space": space, "mask": "".join(letters[which].ravel())}


if __name__ == "__main__":
    cases = [case(seed, *one) for seed, one in enumerate(CASES)]
    source = {library: version(library) for library in ("scikit-image", "scipy")}
    lines = ",\n".join(json.dumps(one) for one in cases)
    path = Path(__file__).parent / "data" / "skeletons.json"
    path.write_text(f'{{"source": {json.dumps(source)},\n"cases": [\n{lines}\n]}}\n')
