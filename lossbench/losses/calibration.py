"""Losses that keep probabilities honest."""

import itertools
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

from lossbench import _checks
from lossbench.losses._inputs import Inputs, Number, given_weights, number, read
from lossbench.losses._pixelwise import reduce_costs, sided_costs, softmax_surprises, times
from lossbench.losses.cross_entropy import negative_log
from lossbench.ops.classes import (
    Parts,
    apart,
    max_of_classes,
    per_class,
    together,
    total,
)
from lossbench.ops.neighbors import correlate
from lossbench.ops.probabilities import sigmoid, softmax
from lossbench.ops.sums import truth

KERNELS = ("mean", "gaussian")
PENALTIES = ("l1", "l2")


def brier(
    logits: Float[Array, "batch *space classes"],
    labels: Shaped[Array, "batch ..."],
    *,
    where: Bool[Array, " batch *space"] | None = None,
    activation: str = "softmax",
    class_weights: Float[Array, " classes"] | None = None,
    reduction: str = "mean",
) -> Float[Array, "batch ..."]:
    r"""Brier score: the squared error of the probabilities.

    .. math::
        L = \frac{1}{n} \sum_i \sum_c w_c (p_{ic} - t_{ic})^2

    over the n pixels that count: the sum over classes, between 0 and 2, under a softmax; under a
    sigmoid the mean over classes, between 0 and 1. A proper score: its optimum is the true
    probability.

    Args:
        logits: raw scores.
        labels: class ids (integer, `batch *space`), a mask (bool, `batch *space`, for one class, or
            for two under a softmax), one mask a class (bool) or class probabilities (floating),
            `batch *space classes`.
        where: true = counted.
        activation: "softmax" over exclusive classes, or "sigmoid" for each class by itself; the
            mean is then over classes too.
        class_weights: one weight a class; may be traced. The mean does not divide by it.
        reduction: over space: "mean", "sum", "none" (`batch *space`, or the logits' shape under a
            sigmoid; 0 if masked).

    Returns:
        One value per example, `batch`, at least 0; 0 for an example that is masked whole.

    Gradient: smooth everywhere, 0 for a saturated pixel however wrong; finite for every finite
    logit, 0 under the mask. Every order and both modes of differentiation work.

    Raises:
        ValueError: for shapes, dtypes or options outside the contract, and for a softmax over one
            class.

    Example:
        >>> import jax.numpy as jnp
        >>> logits = jnp.array([[[2.0, 0.0], [0.0, 2.0]]])  # 1 example, 2 pixels, 2 classes
        >>> print(f"{brier(logits, jnp.array([[0, 0]]))[0]:.3f}")
        0.790

    Reference: Brier, Verification of Forecasts Expressed in Terms of Probability, Monthly Weather
    Review 1950.
    """
    x = read(logits, labels, where, activation=activation)
    weights = given_weights(class_weights, x.classes, x.logits.dtype)

    def costs(logits: Array, labels: Array) -> Parts:
        predicted = softmax(logits) if activation == "softmax" else sigmoid(logits)
        true = truth(labels, x.classes, logits.dtype)
        errors = [(p - t) * (p - t) for p, t in zip(predicted, true, strict=True)]
        errors = errors if weights is None else times(per_class(weights), errors)
        return [total(errors)] if activation == "softmax" else errors

    return reduce_costs(costs, x, activation, reduction=reduction, shape=logits.shape)


def margin_label_smoothing(
    logits: Float[Array, "batch *space classes"],
    labels: Shaped[Array, "batch ..."],
    *,
    where: Bool[Array, " batch *space"] | None = None,
    activation: str = "softmax",
    class_weights: Float[Array, " classes"] | None = None,
    margin: Number = 10.0,
    alpha: Number = 0.1,
    reduction: str = "mean",
) -> Float[Array, "batch ..."]:
    r"""Margin-based label smoothing: cross entropy, and a penalty on logits too far apart.

    .. math::
        L = \frac{1}{n} \sum_i \left[ -\log p_{iy} + \alpha \frac{1}{C} \sum_c
            \max(0,\; \max_k x_{ik} - x_{ic} - m) \right]

    over the n pixels that count; class weights weigh the first term only. Within the margin m it is
    the cross entropy alone; with m = 0 it is label smoothing where the true class is the largest.
    Under a sigmoid a class has the logits x and 0: both terms are means over classes, and the
    penalty is :math:`\max(0, |x| - m)`.

    Args:
        logits: raw scores.
        labels: class ids (integer, `batch *space`), a mask (bool, `batch *space`, for one class, or
            for two under a softmax), one mask a class (bool) or class probabilities (floating),
            `batch *space classes`.
        where: true = counted.
        activation: "softmax" over exclusive classes, or "sigmoid" for each class by itself; the
            mean is then over classes too.
        class_weights: one weight a class; may be traced. The mean does not divide by it.
        margin: by how much a logit may lie below the largest one for free, at least 0; may be
            traced.
        alpha: weight of the penalty; may be traced.
        reduction: over space: "mean", "sum", "none" (`batch *space`, or the logits' shape under a
            sigmoid; 0 if masked).

    Returns:
        One value per example, `batch`, at least 0; 0 for an example that is masked whole.

    Gradient: smooth but for the kinks of the penalty, where it is that of one side (at equal
    largest logits a mean of theirs); finite for every finite logit, 0 under the mask. Every order
    and both modes of differentiation work.

    Raises:
        ValueError: for shapes, dtypes or options outside the contract, and for a softmax over one
            class.

    Example:
        >>> import jax.numpy as jnp
        >>> logits = jnp.array([[[2.0, 0.0], [0.0, 2.0]]])  # 1 example, 2 pixels, 2 classes
        >>> print(f"{margin_label_smoothing(logits, jnp.array([[0, 0]]), margin=1.0)[0]:.3f}")
        1.177

    Reference: Liu et al., The Devil is in the Margin: Margin-based Label Smoothing for Network
    Calibration, CVPR 2022.
    """
    x = read(logits, labels, where, activation=activation)
    weights = given_weights(class_weights, x.classes, x.logits.dtype)
    free, price = number(margin, x.logits), number(alpha, x.logits)

    def costs(logits: Array, labels: Array) -> Parts:
        if activation == "softmax":
            sharp = [softmax_surprises(logits, labels, weights)]
            penalty = [_too_far_apart(logits, free)]
        else:
            sharp = sided_costs(apart(logits), labels, negative_log, weights)
            penalty = [jax.nn.relu(jnp.abs(part) - free) for part in apart(logits)]
        return [cost + price * extra for cost, extra in zip(sharp, penalty, strict=True)]

    return reduce_costs(costs, x, activation, reduction=reduction, shape=logits.shape)


def _too_far_apart(logits: Array, margin: Array) -> Array:
    largest, parts = max_of_classes(logits), apart(logits)
    largest = largest if parts[0].ndim == 2 else largest[..., None]
    excess = [jax.nn.relu(largest - x - margin) for x in parts]
    return total(excess) / logits.shape[-1]


def neighbor_aware_calibration(
    logits: Float[Array, "batch *space classes"],
    labels: Shaped[Array, "batch ..."],
    *,
    where: Bool[Array, " batch *space"] | None = None,
    activation: str = "softmax",
    class_weights: Float[Array, " classes"] | None = None,
    alpha: Number = 0.1,
    kernel: str = "mean",
    kernel_size: int = 3,
    sigma: float = 1.0,
    penalty: str = "l1",
    reduction: str = "mean",
) -> Float[Array, "batch ..."]:
    r"""Neighbor-aware calibration: cross entropy, and logits pulled to the labels around them.

    .. math::
        L = \frac{1}{n} \sum_i \left[ -\log p_{iy} +
            \alpha \frac{1}{C} \sum_c |x_{ic} - u_{ic}| \right]

    over the n pixels that count, with :math:`u_c` the share of class c in the labels around a
    pixel. What lies beyond the border or is masked belongs to no class. Class weights weigh the
    first term only. Under a sigmoid the cross entropy is the mean over classes too.

    Args:
        logits: raw scores.
        labels: class ids (integer, `batch *space`), a mask (bool, `batch *space`, for one class, or
            for two under a softmax), one mask a class (bool) or class probabilities (floating),
            `batch *space classes`.
        where: true = counted.
        activation: "softmax" over exclusive classes, or "sigmoid" for each class by itself; the
            mean is then over classes too.
        class_weights: one weight a class; may be traced. The mean does not divide by it.
        alpha: weight of the penalty; may be traced.
        kernel: "mean" over a cube of `kernel_size` pixels, or "gaussian" of width `sigma` pixels,
            the integral of the bell over each pixel, cut at 4 sigma.
        kernel_size: odd, static; for "mean".
        sigma: above 0, static; for "gaussian".
        penalty: "l1", the absolute difference, or "l2", the squared one.
        reduction: over space: "mean", "sum", "none" (`batch *space`, or the logits' shape under a
            sigmoid; 0 if masked).

    Returns:
        One value per example, `batch`, at least 0; 0 for an example that is masked whole.

    Gradient: smooth but where x = u, where the penalty's is 0; finite for every finite logit, 0
    under the mask. Every order and both modes of differentiation work.

    Raises:
        ValueError: for shapes, dtypes or options outside the contract, and for a softmax over one
            class; for an even kernel.

    Example:
        >>> import jax.numpy as jnp
        >>> logits = jnp.array([[[2.0, 0.0], [0.0, 2.0]]])  # 1 example, 2 pixels, 2 classes
        >>> print(f"{neighbor_aware_calibration(logits, jnp.array([[0, 0]]))[0]:.3f}")
        1.227

    Reference: Murugesan et al., Trust Your Neighbours: Penalty-Based Constraints for Model
    Calibration, MICCAI 2023.
    """
    _checks.choice("kernel", kernel, KERNELS)
    _checks.choice("penalty", penalty, PENALTIES)
    x = read(logits, labels, where, activation=activation)
    weights = given_weights(class_weights, x.classes, x.logits.dtype)
    price = number(alpha, x.logits)
    around, scale = _neighbors(x, logits.shape[1:-1], kernel, kernel_size, sigma)

    def costs(logits: Array, labels: Array, around: Array) -> Parts:
        shares = [part.astype(logits.dtype) * scale for part in apart(around)]
        apart_by = [logit - u for logit, u in zip(apart(logits), shares, strict=True)]
        extra = [jnp.abs(d) if penalty == "l1" else d * d for d in apart_by]
        if activation == "softmax":
            sharp = softmax_surprises(logits, labels, weights)
            return [sharp + price / x.classes * total(extra)]
        sharp = sided_costs(apart(logits), labels, negative_log, weights)
        return [cost + price * e for cost, e in zip(sharp, extra, strict=True)]

    return reduce_costs(costs, x, activation, around, reduction=reduction, shape=logits.shape)


def _neighbors(
    x: Inputs, space: tuple[int, ...], kernel: str, kernel_size: int, sigma: float
) -> tuple[Shaped[Array, "batch pixels classes"], float]:
    """The labels around a pixel, summed for each class, and what turns a sum into a share."""
    if kernel == "mean" and (kernel_size < 1 or kernel_size % 2 == 0):
        raise ValueError(f"kernel_size: expected an odd number of pixels, got {kernel_size}")
    if kernel == "gaussian" and not sigma > 0:
        raise ValueError(f"sigma: expected a width above 0, in pixels, got {sigma}")
    neighbors = kernel_size ** len(space)
    # Hard labels are counted, in the smallest integers that hold the number of neighbors.
    small = jnp.uint8 if neighbors < 2**8 else jnp.int32
    dtype = small if kernel == "mean" and not x.soft else x.logits.dtype
    weights = [1] * kernel_size if kernel == "mean" else _bell(sigma)
    sums = []
    for part in truth(x.labels, x.classes, dtype):
        if x.where is not None:
            inside = x.where if part.ndim == 2 else x.where[..., None]
            part = jnp.where(inside, part, jnp.zeros((), dtype))
        grid = part.reshape(part.shape[0], *space, *part.shape[2:])
        sums.append(correlate(grid, weights, range(1, len(space) + 1)).reshape(part.shape))
    return together(sums, x.classes), 1 / neighbors if kernel == "mean" else 1.0


def _bell(sigma: float) -> list[float]:
    """The integral of a Gaussian over each pixel."""
    reach = max(1, int(4 * sigma + 0.5))
    edges = [math.erf((i - 0.5) / (sigma * math.sqrt(2))) for i in range(-reach, reach + 2)]
    return [(b - a) / 2 for a, b in itertools.pairwise(edges)]
