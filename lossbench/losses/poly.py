"""Poly loss: cross entropy with the first term of its series turned up or down."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

from lossbench.losses._inputs import Number, number
from lossbench.losses._pixelwise import pixelwise


def poly_cross_entropy(
    logits: Float[Array, "batch *space classes"],
    labels: Shaped[Array, "batch ..."],
    *,
    where: Bool[Array, " batch *space"] | None = None,
    activation: str = "softmax",
    class_weights: Float[Array, " classes"] | None = None,
    epsilon: Number = 1.0,
    reduction: str = "mean",
) -> Float[Array, "batch ..."]:
    r"""Poly-1 cross entropy.

    .. math::
        L = \frac{1}{n} \sum_i \left[ -\log p_{iy} + \epsilon\, (1 - p_{iy}) \right]

    over the n pixels that count, with :math:`p_y` the probability of the true class. The cross
    entropy is the series :math:`\sum_j (1 - p)^j / j`; this changes its first coefficient. A label
    of probabilities costs the mean over its classes.

    Args:
        logits: raw scores.
        labels: class ids (integer, `batch *space`), a mask (bool, `batch *space`, for one class, or
            for two under a softmax), one mask a class (bool) or class probabilities (floating),
            `batch *space classes`.
        where: true = counted.
        activation: "softmax" over exclusive classes, or "sigmoid" for each class by itself; the
            mean is then over classes too.
        class_weights: one weight a class; may be traced. The mean does not divide by it.
        epsilon: how much is added to the first term's coefficient, 1; at least -1. May be traced.
        reduction: over space: "mean", "sum", "none" (`batch *space`, or the logits' shape under a
            sigmoid; 0 if masked).

    Returns:
        One value per example, `batch`, at least 0 for epsilon at least -1; 0 for an example that is
        masked whole.

    Gradient: smooth everywhere; finite for every finite logit, 0 under the mask. Every order and
    both modes of differentiation work.

    Raises:
        ValueError: for shapes, dtypes or options outside the contract, and for a softmax over one
            class.

    Example:
        >>> import jax.numpy as jnp
        >>> logits = jnp.array([[[2.0, 0.0], [0.0, 2.0]]])  # 1 example, 2 pixels, 2 classes
        >>> print(f"{poly_cross_entropy(logits, jnp.array([[0, 0]]))[0]:.3f}")
        1.627

    Reference: Leng et al., PolyLoss: A Polynomial Expansion Perspective of Classification Loss
    Functions, ICLR 2022.
    """
    extra = number(epsilon, logits)

    def cost(right: Array, wrong: Array, foreground: Array | bool) -> Array:
        return right + extra * jnp.exp(-wrong)

    return pixelwise(
        logits,
        labels,
        where,
        cost,
        activation=activation,
        class_weights=class_weights,
        reduction=reduction,
    )
