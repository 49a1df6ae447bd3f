"""Float64 references, written from the papers' formulas with loops and plain NumPy."""

import numpy as np


def softmax(logits):
    x = np.asarray(logits, np.float64)
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def log_softmax(logits):
    x = np.asarray(logits, np.float64)
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def sigmoid(logits):
    return 1 / (1 + np.exp(-np.asarray(logits, np.float64)))


def activate(logits, activation):
    identity = lambda x: np.asarray(x, np.float64)  # noqa: E731
    return {"softmax": softmax, "sigmoid": sigmoid, "identity": identity}[activation](logits)


def one_hot(labels, classes):
    return np.eye(classes)[np.asarray(labels)]


def by_example(function, *arrays):
    """Calls `function` on the pixels of each example: space flat, one example at a time."""
    rows = []
    for parts in zip(*arrays, strict=True):
        rows.append(function(*(np.reshape(p, (-1, p.shape[-1])) for p in parts)))
    return np.array(rows)


def by_pool(function, where, pool, *arrays):
    """Calls `function` on the pixels that count: of each example, or of the whole batch.

    A pool without pixels costs 0.
    """
    shape = arrays[0].shape
    where = np.ones(shape[:-1], bool) if where is None else np.asarray(where)
    if pool == "batch":
        return function(*(a[where] for a in arrays)) if where.any() else 0.0
    pools = [[a[b][where[b]] for a in arrays] for b in range(shape[0])]
    return np.array([function(*parts) if len(parts[0]) else 0.0 for parts in pools])


def intersection(p, t, overlap):
    """Of one class, pixel by pixel."""
    total = 0.0
    for p_i, t_i in zip(p, t, strict=True):
        total += p_i * t_i if overlap == "product" else (p_i + t_i - abs(p_i - t_i)) / 2
    return total


def ratio(numerator, denominator):
    """Nothing to find and nothing found is a full score."""
    return 1.0 if denominator == 0 else numerator / denominator


def shape(form, score):
    """The cost of a score."""
    if form == "log":
        return -np.log(score)
    return 1 - score if form == "ratio" else np.log(np.cosh(1 - score))


def region(
    cost,
    logits,
    targets,
    *,
    where=None,
    activation="softmax",
    class_weights=None,
    include_background=True,
    pool="example",
    absent="smooth",
    smooth=1e-5,
    overlap="l1",
):
    """The weighted mean over classes of `cost(I, p, t, s_n, s_d)`, of one class each.

    I is the overlap; p and t are the prediction and the truth in the pixels that count. A list of
    costs has one for each class.
    """
    s_n, s_d = smooth if isinstance(smooth, tuple) else (smooth, smooth)

    def mean_over_classes(p, t):
        top = bottom = 0.0
        for c in range(p.shape[1]):
            weight = 1.0 if class_weights is None else class_weights[c]
            if c == 0 and not include_background:
                weight = 0.0
            missing = t[:, c].sum() == 0
            if missing and absent == "skip":
                weight = 0.0
            if missing and absent == "suppress":
                value = p[:, c].mean()
            else:
                of_class = cost[c] if isinstance(cost, list) else cost
                both = intersection(p[:, c], t[:, c], overlap)
                value = of_class(both, p[:, c], t[:, c], s_n, s_d)
            top += weight * value
            bottom += weight
        return top / bottom if bottom else 0.0

    return by_pool(mean_over_classes, where, pool, activate(logits, activation), targets)


def tversky_index(overlap, p, t, s_n, s_d, fp_weight, fn_weight):
    """Salehi et al. 2017, smoothed as Dice is."""
    false_positive, false_negative = p.sum() - overlap, t.sum() - overlap
    errors = fp_weight * false_positive + fn_weight * false_negative
    return ratio(2 * overlap + s_n, 2 * (overlap + errors) + s_d)


def pixelwise(
    costs_of,
    logits,
    targets,
    *,
    where=None,
    activation="softmax",
    class_weights=None,
    reduction="mean",
    divide_by="pixels",
):
    """The mean (or sum, or all) over the pixels that count of `costs_of(x, t)`, one a class.

    With a softmax the classes are summed in each pixel, with a sigmoid the mean is over them as
    well. With `divide_by="weights"` the mean divides by the weights of the true classes.
    """
    x, t = np.asarray(logits, np.float64), np.asarray(targets, np.float64)
    where = np.ones(x.shape[:-1], bool) if where is None else np.asarray(where)
    weights = np.ones(x.shape[-1]) if class_weights is None else np.asarray(class_weights)
    costs, counts = np.zeros(x.shape), np.zeros(x.shape[:-1])
    for index in zip(*np.nonzero(where), strict=True):
        costs[index] = weights * costs_of(x[index], t[index])
        counts[index] = weights @ t[index] if divide_by == "weights" else 1.0
    if activation == "softmax":
        costs = costs.sum(-1)
    else:
        counts = counts * x.shape[-1]
    if reduction == "none":
        return costs
    total = costs.sum(tuple(range(1, costs.ndim)))
    count = counts.sum(tuple(range(1, counts.ndim)))
    return total if reduction == "sum" else np.where(count > 0, total / np.maximum(count, 1e-9), 0)


def cross_entropies(x, t, activation="softmax"):
    """-t log p of each class of one pixel; with a sigmoid the other side as well."""
    if activation == "softmax":
        return -t * log_softmax(x)
    return t * np.log1p(np.exp(-x)) + (1 - t) * np.log1p(np.exp(x))


def slope(function, x, direction, step=1e-6):
    """The derivative of `function` at `x` along `direction`, by a central difference."""
    forward, backward = function(x + step * direction), function(x - step * direction)
    return (forward - backward) / (2 * step)
