"""What the methods with a solver have as their result, in float64, from the papers' definitions."""

import json
from pathlib import Path

import numpy as np
from scipy.optimize import nnls

# Kinds of gradients: their sizes, how they depend on each other, how much they conflict.
KINDS = ("random", "square", "sizes", "alike", "against", "identical", "dependent")


def peer_cases():
    """Sets of gradients, and what TorchJD makes of them; see make_solver_values.py."""
    return json.loads((Path(__file__).parent / "values" / "solver_values.json").read_text())


def sets(kind, terms, count=12):
    """Gradients of a kind `count terms size`, as float32 has them."""
    rng = np.random.default_rng([KINDS.index(kind), terms])
    size = {"square": terms, "dependent": max(terms - 1, 1)}.get(kind, terms + 3)
    gradients = rng.normal(size=(count, terms, size))
    if kind == "sizes":
        gradients *= 10.0 ** rng.uniform(-6, 6, (count, terms, 1))
    elif kind == "alike":
        gradients = 0.1 * gradients + rng.normal(size=(count, 1, size))
    elif kind == "against":
        gradients -= 0.9 * gradients.mean(axis=1, keepdims=True)
    elif kind == "identical":
        gradients[:, 1:] = gradients[:, :1]
    return gradients.astype(np.float32)


def least_squares(matrix, vector):
    """The least squares under x >= 0, by SciPy."""
    return nnls(matrix, vector, maxiter=10 * matrix.shape[1] + 30)[0]


def project(gradients, vector):
    """The vector nearest to one of those that have no negative product with a gradient."""
    gradients = np.asarray(gradients, float)
    norms = np.linalg.norm(gradients, axis=1)
    unit = gradients / np.where(norms > 0, norms, 1)[:, None]
    size = np.linalg.norm(vector)
    return vector + size * least_squares(unit.T, -vector / size) @ unit if size else vector


def shortest(gradients):
    """The shortest convex combination; by one least squares, as Lawson and Hanson show."""
    gradients = np.asarray(gradients, float)
    least = np.linalg.norm(gradients, axis=1).min()
    rows = np.vstack([gradients.T / least, np.ones(len(gradients))])
    weights = least_squares(rows, np.eye(len(rows))[-1])
    return weights / weights.sum() @ gradients


def averse(gradients, c):
    """CAGrad's direction: by bisection of the least product, the nearest to the mean for each."""
    gradients = np.asarray(gradients, float)
    mean = gradients.mean(axis=0)
    norms = np.linalg.norm(gradients, axis=1)
    unit = gradients / norms[:, None]
    radius = c * np.linalg.norm(mean)

    def step(least):
        wanted = (least / norms - unit @ mean) / radius
        rows = np.vstack([unit.T, wanted])
        last = np.eye(len(rows))[-1]
        rest = rows @ least_squares(rows, last) - last
        return -radius * rest[:-1] / rest[-1] if rest[-1] < -1e-14 else np.full(len(mean), np.inf)

    below = (gradients @ mean).min()
    above = np.min(gradients @ mean + radius * norms)
    best = np.zeros(len(mean))
    for _ in range(100):
        middle = (below + above) / 2
        found = step(middle)
        if np.linalg.norm(found) <= radius:
            below, best = middle, found
        else:
            above = middle
    return mean + best


def gains(gradients, weights):
    """Of each gradient, its product with the combination, over both lengths."""
    gradients = np.asarray(gradients, float)
    update = weights @ gradients
    lengths = np.linalg.norm(gradients, axis=1) * np.linalg.norm(update)
    return gradients @ update / np.where(lengths > 0, lengths, 1)


def largest(gradients):
    """The length of the longest gradient."""
    return np.linalg.norm(np.asarray(gradients, float), axis=1).max()
