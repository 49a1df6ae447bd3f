"""Scores with labels that are hard to rank, and the curves over them, by loops in float64."""

import numpy as np

COUNT = 24  # scores of an example
INF = np.inf


def examples(seed=0):
    """Scores (float32), labels, which of them count, and weights; by name, one row each."""
    rng = np.random.default_rng(seed)
    labels = rng.random(COUNT) < 0.4
    labels[:2] = True, False
    noise = rng.normal(size=COUNT)
    far = noise * 10.0 ** rng.integers(-44, 38, COUNT)
    ends = np.where(rng.random(COUNT) < 0.5, rng.choice([-INF, INF], COUNT), noise)
    tiny = rng.integers(-2, 3, COUNT) * 1e-45  # smaller than any float that is normal
    scores = {
        "random": noise + labels,
        "wide": 30 * noise,
        "tied": rng.integers(-2, 3, COUNT) + labels,
        "tied from 0": rng.integers(0, 3, COUNT),
        "negative": -np.abs(noise) - 1,
        "constant": np.full(COUNT, 0.7),
        "perfect": labels * 2.0 - 1,
        "wrong": 1.0 - labels,
        "neighbors": np.nextafter(np.float32(1), np.float32(2)) * (noise > 0) + (noise <= 0),
        "both zeros": np.where(noise > 0, 0.0, -0.0),
        "infinite": ends,
        "only infinite": np.where(noise > 0, INF, -INF),
        "far apart": far,
        "far apart, tied": np.where(noise > 0.3, 1e30, far.round(-2)),
        "tiny": tiny,
        "no positive": noise,
        "no negative": noise,
        "one score counts": noise,
        "nothing counts": noise,
    }
    rows = [np.asarray(x, np.float32) for x in scores.values()]
    truth = np.repeat(labels[None], len(rows), 0)
    where = rng.random(truth.shape) < 0.8
    where[:, :2] = True
    names = list(scores)
    truth[names.index("no positive")] = False
    truth[names.index("no negative")] = True
    where[names.index("one score counts")] = np.arange(COUNT) == 1
    where[names.index("nothing counts")] = False
    weights = rng.integers(0, 4, truth.shape) * 0.75
    weights[:, :2] = 1
    return names, np.stack(rows), truth, where, weights.astype(np.float32)


def curve(scores, labels, weights):
    """At every threshold, falling from infinity above all: threshold, TP and FP; in float64."""
    scores, weights = np.asarray(scores, np.float64), np.asarray(weights, np.float64)
    scores, labels, weights = (x[weights > 0] for x in (scores, labels, weights))
    points = [(INF, 0.0, 0.0)]
    for threshold in sorted(set(scores.tolist()), reverse=True):
        found = scores >= threshold
        points.append((threshold, weights[found & labels].sum(), weights[found & ~labels].sum()))
    return np.array(points).T


def area(x, y, limit):
    """Under straight lines through the points, up to a limit of x."""
    total = 0.0
    for x0, x1, y0, y1 in zip(x[:-1], x[1:], y[:-1], y[1:], strict=True):
        if x1 > x0 and x0 < limit:
            share = (min(x1, limit) - x0) / (x1 - x0)
            total += share * (x1 - x0) * (y0 + y0 + share * (y1 - y0)) / 2
    return total
