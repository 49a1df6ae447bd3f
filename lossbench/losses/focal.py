"""Focal loss: cross entropy that looks away from pixels already won."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

from lossbench.losses._inputs import class_weighting, read
from lossbench.losses._reduction import masked, reduce_pixels
from lossbench.ops.classes import class_major, lookup, margin, margins


def focal(
    logits: Float[Array, "batch *space classes"],
    labels: Shaped[Array, "batch ..."],
    *,
    where: Bool[Array, " batch *space"] | None = None,
    gamma: float | Array = 2.0,
    alpha: float | Array | None = None,
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
    x = read(logits, labels, where, activation="softmax")
    dtype = x.logits.dtype
    weights = class_weighting(class_weights, x.classes, dtype)
    if alpha is not None:
        balance = jnp.asarray(alpha, dtype)
        foreground = jnp.arange(x.classes)[None, None] > 0
        weights = weights * jnp.where(foreground, balance, 1 - balance)
    space = logits.shape[1:-1]
    if x.ids is not None:
        costs = _focused(margin(x.logits, x.ids), gamma)
        if alpha is not None or class_weights is not None:
            costs = costs * lookup(jnp.broadcast_to(weights, x.logits.shape), x.ids)
    else:
        truth = class_major(x.probabilities() * weights)
        costs = jnp.sum(truth * _focused(margins(x.logits), gamma), axis=1)
    costs = masked(costs, x.counted())
    return reduce_pixels(costs, x.pixel_count(), reduction=reduction, space=space)


def _focused(margin: Array, gamma: float | Array) -> Array:
    """`(1 - p)^gamma * -log p`; `log p = -softplus(margin)`, `log(1 - p) = -softplus(-margin)`."""
    gamma = jnp.asarray(gamma, margin.dtype)
    return jnp.exp(-gamma * jax.nn.softplus(-margin)) * jax.nn.softplus(margin)
