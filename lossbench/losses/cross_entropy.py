"""Cross entropy over exclusive classes and over independent ones."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

from lossbench.losses._inputs import class_weighting, read
from lossbench.losses._reduction import is_zero, masked, reduce_pixels
from lossbench.ops.classes import class_major, log_softmax, lookup, margin


def cross_entropy(
    logits: Float[Array, "batch *space classes"],
    labels: Shaped[Array, "batch ..."],
    *,
    where: Bool[Array, " batch *space"] | None = None,
    class_weights: Float[Array, " classes"] | None = None,
    label_smoothing: float | Array = 0.0,
    reduction: str = "mean",
) -> Float[Array, "batch ..."]:
    r"""Cross entropy of a softmax, weighted by class and smoothed if asked.

    .. math::
        L = \frac{\sum_i \sum_c w_c\, t'_{ic}\, (-\log p_{ic})}{\sum_i \sum_c w_c\, t_{ic}},
        \qquad t'_{ic} = (1 - \epsilon)\, t_{ic} + \epsilon / C

    over the pixels i that count, with p the softmax of the logits, t the labels as probabilities,
    w the class weights and :math:`\epsilon` the label smoothing. Without weights it is the mean
    over pixels of :math:`-\log p_y`. The weighted mean divides by the weights, as PyTorch does.

    Args:
        logits: raw scores.
        labels: class ids (integer, `batch *space`), a mask (bool, `batch *space`, for two classes),
            one mask a class (bool) or class probabilities (floating), `batch *space classes`.
        where: true = counted.
        class_weights: one weight a class; may be traced.
        label_smoothing: share of the label given to all classes alike, in [0, 1].
        reduction: over space: "mean", "sum" (the numerator), "none" (`batch *space`, 0 if masked).

    Returns:
        One value per example, `batch`, at least 0; 0 for an example that is masked whole.

    Gradient: smooth everywhere; :math:`(p - t') / n` without weights. It is finite for every finite
    logit, and 0 under the mask. Every order and both modes of differentiation work.

    Raises:
        ValueError: for shapes or dtypes outside the contract, and for one class.

    Example:
        >>> import jax.numpy as jnp
        >>> logits = jnp.array([[[2.0, 0.0], [0.0, 2.0]]])  # 1 example, 2 pixels, 2 classes
        >>> print(f"{cross_entropy(logits, jnp.array([[0, 0]]))[0]:.3f}")
        1.127
        >>> labels = jnp.array([[0, 255]])
        >>> print(f"{cross_entropy(logits, labels, where=labels != 255)[0]:.3f}")
        0.127

    Reference: Bishop, Pattern Recognition and Machine Learning, 2006, section 4.3.4; label
    smoothing: Szegedy et al., Rethinking the Inception Architecture, CVPR 2016.
    """
    x = read(logits, labels, where, activation="softmax")
    weights = class_weighting(class_weights, x.classes, x.logits.dtype)
    space = logits.shape[1:-1]
    if x.ids is not None and is_zero(label_smoothing):
        costs = jax.nn.softplus(margin(x.logits, x.ids))
        if class_weights is None:
            costs = masked(costs, x.counted())
            return reduce_pixels(costs, x.pixel_count(), reduction=reduction, space=space)
        own = masked(_weight_of(weights, x.ids), x.counted())
        return reduce_pixels(own * costs, own, reduction=reduction, space=space)
    surprise = -log_softmax(x.logits) * class_major(weights)
    if x.ids is None:
        labels = x.probabilities()
        sharp = jnp.sum(class_major(labels) * surprise, axis=1)
        own = jnp.sum(labels * weights, axis=-1)
    else:
        own = _weight_of(weights, x.ids)
        sharp = own * jax.nn.softplus(margin(x.logits, x.ids))
    costs = (1 - label_smoothing) * sharp + label_smoothing / x.classes * jnp.sum(surprise, axis=1)
    costs, own = masked(costs, x.counted()), masked(own, x.counted())
    return reduce_pixels(costs, own, reduction=reduction, space=space)


def _weight_of(weights: Array, ids: Array) -> Array:
    return lookup(jnp.broadcast_to(weights, (*ids.shape, weights.shape[-1])), ids)


def binary_cross_entropy(
    logits: Float[Array, "batch *space classes"],
    labels: Shaped[Array, "batch ..."],
    *,
    where: Bool[Array, " batch *space"] | None = None,
    pos_weight: float | Float[Array, "..."] = 1.0,
    class_weights: Float[Array, " classes"] | None = None,
    reduction: str = "mean",
) -> Float[Array, "batch ..."]:
    r"""Cross entropy of a sigmoid for each class by itself: binary and multi-label segmentation.

    .. math::
        L = \frac{1}{n C} \sum_{i,c} w_c \left[ \pi_c\, t_{ic} \log(1 + e^{-x_{ic}})
            + (1 - t_{ic}) \log(1 + e^{x_{ic}}) \right]

    over the n pixels that count and the C classes; :math:`\pi` weighs the positives.

    Args:
        logits: raw scores; the last axis holds one score a class, or a single one.
        labels: a mask (bool, `batch *space`, for one class), one mask a class (bool) or
            probabilities (floating) in the logits' shape, or class ids (integer, `batch *space`):
            0 and 1 for one class, otherwise the class that is true.
        where: true = counted.
        pos_weight: weight of positives, a number or one a class; may be traced.
        class_weights: one weight a class; may be traced. The mean does not divide by it.
        reduction: over space and classes: "mean", "sum", or "none" (the logits' shape, 0 if
            masked).

    Returns:
        One value per example, `batch`, at least 0; 0 for an example that is masked whole.

    Gradient: smooth everywhere, :math:`(\sigma(x) - t) / (n C)` without weights; finite for every
    finite logit, 0 under the mask. Every order and both modes of differentiation work.

    Raises:
        ValueError: for shapes or dtypes outside the contract.

    Example:
        >>> import jax.numpy as jnp
        >>> logits = jnp.array([[[2.0], [-2.0]]])  # 1 example, 2 pixels, 1 class
        >>> print(f"{binary_cross_entropy(logits, jnp.array([[True, True]]))[0]:.3f}")
        1.127

    Reference: Bishop, Pattern Recognition and Machine Learning, 2006, section 4.3.2.
    """
    x = read(logits, labels, where, activation="sigmoid")
    dtype, batch = x.logits.dtype, x.logits.shape[0]
    truth = x.probabilities()
    positive = jnp.asarray(pos_weight, dtype)
    if positive.ndim:
        positive = class_weighting(positive, x.classes, dtype, name="pos_weight")
    weights = class_weighting(class_weights, x.classes, dtype)
    # Each side by itself: softplus(x) as x + softplus(-x) would cancel for an easy negative.
    missed, imagined = jax.nn.softplus(-x.logits), jax.nn.softplus(x.logits)
    costs = weights * (positive * truth * missed + (1 - truth) * imagined)
    if x.where is not None:
        costs = costs * x.counted()[..., None]
    if reduction == "none":
        return costs.reshape(logits.shape)
    elements = x.pixel_count() * x.classes
    return reduce_pixels(costs.reshape(batch, -1), elements, reduction=reduction, space=())
