"""Pixel-wise losses that forgive wrong labels."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

from lossbench.losses._inputs import Number, number
from lossbench.losses._pixelwise import pixelwise


def generalized_cross_entropy(
    logits: Float[Array, "batch *space classes"],
    labels: Shaped[Array, "batch ..."],
    *,
    where: Bool[Array, " batch *space"] | None = None,
    activation: str = "softmax",
    class_weights: Float[Array, " classes"] | None = None,
    q: Number = 0.7,
    reduction: str = "mean",
) -> Float[Array, "batch ..."]:
    r"""Generalized cross entropy: between cross entropy and mean absolute error.

    .. math::
        L = \frac{1}{n} \sum_i \frac{1 - p_{iy}^q}{q}

    over the n pixels that count, with :math:`p_y` the probability of the true class. A pixel costs
    at most 1 / q however wrong it is, so mislabeled pixels cannot rule. A label of probabilities
    costs the mean over its classes.

    Args:
        logits: raw scores.
        labels: class ids (integer, `batch *space`), a mask (bool, `batch *space`, for one class, or
            for two under a softmax), one mask a class (bool) or class probabilities (floating),
            `batch *space classes`.
        where: true = counted.
        activation: "softmax" over exclusive classes, or "sigmoid" for each class by itself; the
            mean is then over classes too.
        class_weights: one weight a class; may be traced. The mean does not divide by it.
        q: from 0 (cross entropy, the limit) to 1 (mean absolute error); may be traced.
        reduction: over space: "mean", "sum", "none" (`batch *space`, or the logits' shape under a
            sigmoid; 0 if masked).

    Returns:
        One value per example, `batch`, at least 0; 0 for an example that is masked whole.

    Gradient: smooth everywhere; finite for every finite logit, 0 under the mask. Every order and
    both modes of differentiation work.

    Raises:
        ValueError: for shapes, dtypes or options outside the contract, and for a softmax over one
            class.

    Example:
        >>> import jax.numpy as jnp
        >>> logits = jnp.array([[[2.0, 0.0], [0.0, 2.0]]])  # 1 example, 2 pixels, 2 classes
        >>> print(f"{generalized_cross_entropy(logits, jnp.array([[0, 0]]))[0]:.3f}")
        0.614

    Reference: Zhang and Sabuncu, Generalized Cross Entropy Loss for Training Deep Neural Networks
    with Noisy Labels, NeurIPS 2018.
    """
    exponent = number(q, logits)

    def cost(right: Array, wrong: Array, foreground: Array | bool) -> Array:
        # Below, the ratio is its limit to the last digit.
        small = jnp.abs(exponent) < 1e-6
        safe = jnp.where(small, 1, exponent)
        return jnp.where(small, right, -jnp.expm1(-safe * right) / safe)

    return pixelwise(
        logits,
        labels,
        where,
        cost,
        activation=activation,
        class_weights=class_weights,
        reduction=reduction,
    )


def symmetric_cross_entropy(
    logits: Float[Array, "batch *space classes"],
    labels: Shaped[Array, "batch ..."],
    *,
    where: Bool[Array, " batch *space"] | None = None,
    activation: str = "softmax",
    class_weights: Float[Array, " classes"] | None = None,
    alpha: Number = 0.1,
    beta: Number = 1.0,
    log_zero: Number = -4.0,
    reduction: str = "mean",
) -> Float[Array, "batch ..."]:
    r"""Symmetric cross entropy: cross entropy and its reverse.

    .. math::
        L = \frac{1}{n} \sum_i \left[ \alpha\, (-\log p_{iy}) - \beta A\, (1 - p_{iy}) \right]

    over the n pixels that count, with :math:`p_y` the probability of the true class. The second
    term is :math:`-\sum_c p_c \log t_c` with A for the logarithm of 0: the prediction is asked what
    it makes of the label. A label of probabilities costs the mean over its classes.

    Args:
        logits: raw scores.
        labels: class ids (integer, `batch *space`), a mask (bool, `batch *space`, for one class, or
            for two under a softmax), one mask a class (bool) or class probabilities (floating),
            `batch *space classes`.
        where: true = counted.
        activation: "softmax" over exclusive classes, or "sigmoid" for each class by itself; the
            mean is then over classes too.
        class_weights: one weight a class; may be traced. The mean does not divide by it.
        alpha: weight of the cross entropy; may be traced.
        beta: weight of the reverse cross entropy; may be traced.
        log_zero: A, what stands for the logarithm of 0, below 0; may be traced.
        reduction: over space: "mean", "sum", "none" (`batch *space`, or the logits' shape under a
            sigmoid; 0 if masked).

    Returns:
        One value per example, `batch`, at least 0; 0 for an example that is masked whole.

    Gradient: smooth everywhere; finite for every finite logit, 0 under the mask. Every order and
    both modes of differentiation work.

    Raises:
        ValueError: for shapes, dtypes or options outside the contract, and for a softmax over one
            class.

    Example:
        >>> import jax.numpy as jnp
        >>> logits = jnp.array([[[2.0, 0.0], [0.0, 2.0]]])  # 1 example, 2 pixels, 2 classes
        >>> print(f"{symmetric_cross_entropy(logits, jnp.array([[0, 0]]))[0]:.3f}")
        2.113

    Reference: Wang et al., Symmetric Cross Entropy for Robust Learning with Noisy Labels, ICCV
    2019.
    """
    own, other, logarithm = (number(v, logits) for v in (alpha, beta, log_zero))

    def cost(right: Array, wrong: Array, foreground: Array | bool) -> Array:
        return own * right - other * logarithm * jnp.exp(-wrong)

    return pixelwise(
        logits,
        labels,
        where,
        cost,
        activation=activation,
        class_weights=class_weights,
        reduction=reduction,
    )
