"""Cross entropy over exclusive classes and over independent ones."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

from lossbench.losses._inputs import Inputs, Number, class_weighting, given_weights, number, read
from lossbench.losses._pixelwise import (
    cross_entropies,
    masked,
    per_pixel,
    reduce_costs,
    reduce_pixels,
    sided_costs,
    softmax_surprises,
    times,
)
from lossbench.ops.classes import (
    Parts,
    apart,
    are_apart,
    per_class,
    total,
    value_of,
)
from lossbench.ops.probabilities import log_softmax
from lossbench.ops.sums import sum_pixels, truth


def cross_entropy(
    logits: Float[Array, "batch *space classes"],
    labels: Shaped[Array, "batch ..."],
    *,
    where: Bool[Array, " batch *space"] | None = None,
    class_weights: Float[Array, " classes"] | None = None,
    label_smoothing: Number = 0.0,
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
    given = given_weights(class_weights, x.classes, x.logits.dtype)
    smoothing = number(label_smoothing, x.logits)

    def smoothed(logits: Array, labels: Array) -> Array:
        sharp = softmax_surprises(logits, labels, given)
        every = times(per_class(weights), [-log_p for log_p in log_softmax(logits)])
        return (1 - smoothing) * sharp + smoothing / x.classes * total(every)

    divisor = x.pixel_count() if class_weights is None else _weight_of_labels(x, weights)
    costs = cross_entropies(x, given) if _is(0, label_smoothing) else per_pixel(smoothed, x)
    return reduce_pixels([costs], x, divisor, reduction=reduction, shape=logits.shape)


def negative_log(right: Array, wrong: Array, foreground: Array | bool) -> Array:
    """`-log p`."""
    return right


def _is(number: int, x: object) -> bool:
    """Whether x is this plain Python number, known while tracing; an array never is."""
    return isinstance(x, int | float) and x == number


def _weight_of_labels(x: Inputs, weights: Array) -> Float[Array, " batch"]:
    """The sum of the weights of the labels that count."""
    if x.ids is not None:
        own = value_of(weights, x.ids)
    else:
        own = total(times(per_class(weights), apart(x.labels)))
    return sum_pixels(masked([own], x)[0])


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
    dtype = x.logits.dtype
    weights = given_weights(class_weights, x.classes, dtype)
    positive = None
    if not _is(1, pos_weight):
        positive = jnp.asarray(pos_weight, dtype)
        positive = jnp.broadcast_to(positive, (x.classes,)) if positive.ndim == 0 else positive
        positive = class_weighting(positive, x.classes, dtype, name="pos_weight")
    sides = None if positive is None else (positive, jnp.ones((), dtype))

    def costs(logits: Array, labels: Array) -> Parts:
        plain = weights is None and sides is None and reduction != "none"
        if plain and are_apart(x.classes):
            return [_sum_of_surprises(apart(logits), truth(labels, x.classes, dtype))]
        return sided_costs(apart(logits), labels, negative_log, weights, sides)

    return reduce_costs(costs, x, "sigmoid", reduction=reduction, shape=logits.shape)


def _sum_of_surprises(logits: Parts, true: Parts) -> Float[Array, "batch pixels"]:
    """The sum over classes of what `sided_costs` gives each, with one logarithm for all of them.

    `log(1 + exp(x)) = max(x, 0) + log(1 + e)` with `e = exp(-|x|)`, and the logarithms add up to
    that of a product, whose distance from 1 keeps the digits of the smallest e.
    """
    sides = [
        t * jax.nn.relu(-x) + (1 - t) * jax.nn.relu(x) for x, t in zip(logits, true, strict=True)
    ]
    above_one = jnp.zeros_like(logits[0])
    for x in logits:
        e = jnp.exp(-jnp.abs(x))
        above_one = above_one + e + above_one * e
    return total(sides) + jnp.log1p(above_one)
