"""Focal loss: cross entropy that looks away from pixels already won."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

from lossbench import _checks
from lossbench.losses._inputs import Inputs, Number, given_weights, number, read
from lossbench.losses._pixelwise import flattened, pixelwise, reduce_costs, sided_costs
from lossbench.ops.classes import Parts, apart, total
from lossbench.ops.sums import sum_pixels

NORMALIZE = ("pixels", "positives")


def focal(
    logits: Float[Array, "batch *space classes"],
    labels: Shaped[Array, "batch ..."],
    *,
    where: Bool[Array, " batch *space"] | None = None,
    gamma: Number = 2.0,
    alpha: Number | None = None,
    class_weights: Float[Array, " classes"] | None = None,
    reduction: str = "mean",
) -> Float[Array, "batch ..."]:
    r"""Focal loss of a softmax.

    .. math::
        L = \frac{1}{n} \sum_i \sum_c w_c\, a_c\, t_{ic}\, (1 - p_{ic})^\gamma\, (-\log p_{ic})

    over the n pixels that count: a mean over pixels, not over pixels times classes and not over
    positives. With `gamma=0` it is the cross entropy.

    Args:
        logits: raw scores, at least two classes.
        labels: class ids (integer, `batch *space`), a mask (bool, `batch *space`, for two classes),
            one mask a class (bool) or class probabilities (floating), `batch *space classes`.
        where: true = counted.
        gamma: how fast the weight of a won pixel falls, at least 0; 0 and .5 included; may be
            traced.
        alpha: balance: weight a of every class but the first; the first, the background, gets
            1 - alpha. None = no balance. May be traced.
        class_weights: one weight a class, besides alpha; the mean does not divide by it.
        reduction: over space: "mean", "sum", "none" (`batch *space`, 0 if masked).

    Returns:
        One value per example, `batch`, at least 0; 0 for an example that is masked whole.

    Gradient: computed in log space, with :math:`\log p` and :math:`\log(1 - p)` each exact, so it
    is finite for every finite logit and every gamma, also where :math:`(1-p)^{\gamma - 1}` is not.
    Every order and both modes of differentiation work.

    Raises:
        ValueError: for shapes or dtypes outside the contract, and for one class.

    Example:
        >>> import jax.numpy as jnp
        >>> logits = jnp.array([[[2.0, 0.0], [0.0, 2.0]]])
        >>> print(f"{focal(logits, jnp.array([[0, 0]]), gamma=2.0)[0]:.3f}")
        0.826

    Reference: Lin et al., Focal Loss for Dense Object Detection, ICCV 2017; the softmax form is the
    one in use for segmentation.
    """
    focus = number(gamma, logits)
    alpha = None if alpha is None else number(alpha, logits)

    def cost(right: Array, wrong: Array, foreground: Array | bool) -> Array:
        return _balance(alpha, foreground) * focused(right, wrong, focus)

    return pixelwise(
        logits,
        labels,
        where,
        cost,
        activation="softmax",
        class_weights=class_weights,
        reduction=reduction,
    )


def focused(right: Array, wrong: Array, gamma: Array) -> Array:
    """`(1 - p)^gamma * -log p`, of the surprises `-log p` and `-log(1 - p)`."""
    return jnp.exp(-gamma * wrong) * right


def _balance(alpha: Array | None, foreground: Array | bool) -> Array | int:
    """Lin's alpha for a foreground or positive, 1 - alpha for the rest."""
    return 1 if alpha is None else jnp.where(foreground, alpha, 1 - alpha)


def sigmoid_focal(
    logits: Float[Array, "batch *space classes"],
    labels: Shaped[Array, "batch ..."],
    *,
    where: Bool[Array, " batch *space"] | None = None,
    gamma: Number = 2.0,
    alpha: Number | None = None,
    class_weights: Float[Array, " classes"] | None = None,
    normalize: str = "pixels",
    reduction: str = "mean",
) -> Float[Array, "batch ..."]:
    r"""Focal loss of a sigmoid for each class by itself.

    .. math::
        L = \frac{1}{n C} \sum_{i,c} w_c \left[ \alpha\, t_{ic} (1 - p_{ic})^\gamma (-\log p_{ic})
            + (1 - \alpha) (1 - t_{ic})\, p_{ic}^\gamma (-\log(1 - p_{ic})) \right]

    over the n pixels that count and the C classes. Without `alpha` both sides weigh 1; with
    `gamma=0` it is then the binary cross entropy.

    Args:
        logits: raw scores; the last axis holds one score a class, or a single one.
        labels: a mask (bool, `batch *space`, for one class), one mask a class (bool) or
            probabilities (floating) in the logits' shape, or class ids (integer, `batch *space`):
            0 and 1 for one class, otherwise the class that is true.
        where: true = counted.
        gamma: how fast the weight of what is won falls, at least 0; 0 and .5 included; may be
            traced.
        alpha: balance: weight of positives; negatives get 1 - alpha. None = no balance. May be
            traced.
        class_weights: one weight a class; may be traced. The mean does not divide by it.
        normalize: what the mean divides by: "pixels", n C as above; or "positives", the number of
            positives (the sum of t), at least 1, as in the paper, for objects that are few.
        reduction: over space and classes: "mean", "sum", or "none" (the logits' shape, 0 if
            masked).

    Returns:
        One value per example, `batch`, at least 0; 0 for an example that is masked whole.

    Gradient: computed in log space, with :math:`\log p` and :math:`\log(1 - p)` each exact, so it
    is finite for every finite logit and every gamma. Every order and both modes of differentiation
    work.

    Raises:
        ValueError: for shapes, dtypes or options outside the contract.

    Example:
        >>> import jax.numpy as jnp
        >>> logits = jnp.array([[[2.0], [-2.0]]])  # 1 example, 2 pixels, 1 class
        >>> print(f"{sigmoid_focal(logits, jnp.array([[True, True]]), alpha=0.25)[0]:.3f}")
        0.206

    Reference: Lin et al., Focal Loss for Dense Object Detection, ICCV 2017.
    """
    _checks.choice("normalize", normalize, NORMALIZE)
    x = read(logits, labels, where, activation="sigmoid")
    focus = number(gamma, x.logits)
    alpha = None if alpha is None else number(alpha, x.logits)

    def cost(right: Array, wrong: Array, positive: Array | bool) -> Array:
        return _balance(alpha, positive) * focused(right, wrong, focus)

    weights = given_weights(class_weights, x.classes, x.logits.dtype)

    def costs(logits: Array, labels: Array) -> Parts:
        return sided_costs(apart(logits), labels, cost, weights)

    flat = flattened(x) if weights is None else x
    if normalize == "pixels" or reduction != "mean":
        return reduce_costs(costs, flat, "sigmoid", reduction=reduction, shape=logits.shape)
    total_cost = reduce_costs(costs, flat, "sigmoid", reduction="sum", shape=logits.shape)
    return total_cost / jnp.maximum(_positives(x), 1)


def _positives(x: Inputs) -> Float[Array, " batch"]:
    """The number of positives that count, over all classes; every pixel of class ids has one."""
    if x.ids is not None:
        return x.pixel_count()
    return sum_pixels(total([part.astype(x.logits.dtype) for part in apart(x.labels)]))
