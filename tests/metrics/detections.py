"""Anomaly maps with decisions that are hard to judge, and the panel over them, in float64 loops."""

import numpy as np

from tests.metrics import rankings

NAMES = ("precision", "recall", "f1", "iou")


def examples():
    """Decisions, targets, scores and what counts, of images of every kind."""
    rng = np.random.default_rng(0)
    targets = rng.random((8, 4, 6)) < 0.3
    scores = np.round(3 * rng.normal(size=targets.shape) + 2 * targets).astype(np.float32)
    where = rng.random(targets.shape) < 0.8
    targets[2] = targets[3] = False  # normal images: with false alarms, and without any
    scores[3] = -5
    scores[4] = -7 + targets[4]  # an anomalous image of which nothing is found
    where[5] = False
    targets[6] = True
    return scores >= 2, targets, scores, where


def rates(decisions, targets):
    """Precision, recall, F1 and IoU of what is counted."""
    tp, fp, fn = (
        (decisions & targets).sum(),
        (decisions & ~targets).sum(),
        (targets & ~decisions).sum(),
    )
    parts = ((tp, tp + fp), (tp, tp + fn), (2 * tp, 2 * tp + fp + fn), (tp, tp + fp + fn))
    return [part / whole if whole else np.nan for part, whole in parts]


def average_precision(scores, targets):
    if not targets.any():
        return np.nan
    _, tp, fp = rankings.curve(scores, targets, np.ones(targets.shape))
    steps = zip(np.diff(tp), tp[1:], fp[1:], strict=True)
    return sum(found / tp[-1] * t / (t + f) for found, t, f in steps)


def report(decisions, targets, scores, where):
    """Rates and average precision of all pixels, of each image, and of images."""
    all_of = lambda *x: [y[where] for y in x]  # noqa: E731
    pixel = [*rates(*all_of(decisions, targets)), average_precision(*all_of(scores, targets))]
    each, images = [], []
    for d, t, s, w in zip(decisions, targets, scores, where, strict=True):
        each.append([*rates(d[w], t[w]), average_precision(s[w], t[w])])
        if w.any():
            images.append((d[w].any(), t[w].any(), s[w].max()))
    d, t, s = (np.array(x) for x in zip(*images, strict=True))
    return pixel, np.array(each).T, [*rates(d, t), average_precision(s, t)]
