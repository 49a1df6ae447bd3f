"""Sensitivity-specificity loss: squared error on the object and beside it, each by itself."""

from jaxtyping import Array, Bool, Float, Shaped

from lossbench.losses._inputs import Number, divide, number
from lossbench.losses._region import Regions, count, mean_over_classes, read_region, totals


def sensitivity_specificity(
    logits: Float[Array, "batch *space classes"],
    labels: Shaped[Array, "batch ..."],
    *,
    where: Bool[Array, " batch *space"] | None = None,
    activation: str = "softmax",
    class_weights: Float[Array, " classes"] | None = None,
    include_background: bool = True,
    pool: str = "example",
    absent: str = "smooth",
    sensitivity_weight: Number = 0.05,
) -> Float[Array, "..."]:
    r"""Sensitivity-specificity loss, averaged over classes.

    .. math::
        L = \frac{\sum_c w_c L_c}{\sum_c w_c}, \qquad L_c =
            \lambda \frac{\sum_i (t_{ic} - p_{ic})^2\, t_{ic}}{\sum_i t_{ic}} +
            (1 - \lambda) \frac{\sum_i (t_{ic} - p_{ic})^2 (1 - t_{ic})}{\sum_i (1 - t_{ic})}

    A term whose denominator is 0 (nothing, or everything, is of the class) is 0.

    Args:
        logits: raw scores.
        labels: class ids (integer, `batch *space`), a mask (bool, `batch *space`, for one class, or
            for two under a softmax), one mask a class (bool) or class probabilities (floating),
            `batch *space classes`.
        where: true = counted.
        activation: "softmax" over exclusive classes, "sigmoid" for each class by itself, or
            "identity" if `logits` holds probabilities already.
        class_weights: one weight a class, background included; may be traced.
        include_background: false gives class 0 the weight 0 (after the softmax).
        pool: where the sums run: "example", or "batch" (one ratio a class for the whole batch; the
            value is then a scalar).
        absent: what a class without a labeled pixel in the pool does: "smooth" keeps the formula;
            "skip" leaves it out of the mean; "suppress" costs the mean probability given to it.
        sensitivity_weight: :math:`\lambda`, in [0, 1]: the share of the error on the object; may be
            traced.

    Returns:
        One value per example, `batch` (a scalar with `pool="batch"`), in [0, 1]. An example that is
        masked whole, or whose classes are all skipped, costs 0.

    Gradient: smooth everywhere; finite for every finite logit. Every order and both modes of
    differentiation work.

    Raises:
        ValueError: for shapes, dtypes or options outside the contract; for a softmax over one
            class; for one class without background.

    Example:
        >>> import jax.numpy as jnp
        >>> logits = jnp.array([[[9.0, -9.0], [9.0, -9.0], [-9.0, 9.0], [9.0, -9.0]]])
        >>> labels = jnp.array([[0, 0, 1, 1]])  # class 1: one pixel found, one missed
        >>> print(f"{sensitivity_specificity(logits, labels)[0]:.3f}")
        0.250

    Reference: Brosch et al., Deep Convolutional Encoder Networks for Multiple Sclerosis Lesion
    Segmentation, MICCAI 2015.
    """
    x = read_region(logits, labels, where, activation=activation, pool=pool)
    missed, imagined, predicted, true = totals(x, _errors, activation=activation, pool=pool)
    pixels = count(x, pool)
    share = number(sensitivity_weight, true)
    costs = share * divide(missed, true) + (1 - share) * divide(imagined, pixels - true)
    regions = Regions(predicted, predicted, true, pixels)
    return mean_over_classes(
        costs,
        regions,
        class_weights=class_weights,
        include_background=include_background,
        absent=absent,
        pool=pool,
    )


def _errors(p: Array, t: Array) -> tuple[Array, ...]:
    error = (t - p) * (t - p)
    on_object = error * t
    return on_object, error - on_object, p, t
