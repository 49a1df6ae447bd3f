"""Dice loss: one minus the overlap of prediction and truth."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

from lossbench import _checks
from lossbench.losses._inputs import class_weighting, divide, read
from lossbench.ops.classes import class_major, softmax

POOLS = ("example", "batch")
ABSENT = ("smooth", "skip", "suppress")


def dice(
    logits: Float[Array, "batch *space classes"],
    labels: Shaped[Array, "batch ..."],
    *,
    where: Bool[Array, " batch *space"] | None = None,
    activation: str = "softmax",
    class_weights: Float[Array, " classes"] | None = None,
    include_background: bool = True,
    pool: str = "example",
    absent: str = "smooth",
    smooth: float | Array = 1e-5,
) -> Float[Array, "..."]:
    r"""Soft Dice loss, averaged over classes.

    .. math::
        L = \frac{\sum_c w_c L_c}{\sum_c w_c}, \qquad
        L_c = 1 - \frac{2 I_c + s}{P_c + T_c + s}, \qquad
        I_c = \sum_i p_{ic} t_{ic},\; P_c = \sum_i p_{ic},\; T_c = \sum_i t_{ic}

    over the pixels i that count, with p the activated logits and t the labels.

    Args:
        logits: raw scores.
        labels: class ids (integer, `batch *space`), a mask (bool, `batch *space`, for one class, or
            for two under a softmax), one mask a class (bool) or class probabilities (floating),
            `batch *space classes`. A soft label is not its own optimum in this product form.
        where: true = counted.
        activation: "softmax" over exclusive classes, or "sigmoid" for each class by itself.
        class_weights: one weight a class, background included; may be traced.
        include_background: false gives class 0 the weight 0 (after the softmax).
        pool: where the sums run: "example", or "batch" (one ratio a class for the whole batch;
            the value is then a scalar).
        absent: what a class without a labeled pixel in the pool does: "smooth" keeps the formula,
            so any probability given to it costs nearly 1; "skip" leaves it out of the mean;
            "suppress" costs the mean probability given to it.
        smooth: s, in pixels; may be 0 and may be traced.

    Returns:
        One value per example, `batch` (a scalar with `pool="batch"`), in [0, 1]. An example that
        is masked whole, or whose classes are all skipped, costs 0. With `smooth=0` a class without
        label and prediction costs 0.

    Gradient: smooth wherever the ratio is; 0 in the undefined cases named above; finite for every
    finite logit (a saturated softmax has gradient 0). Every order and both modes of
    differentiation work.

    Raises:
        ValueError: for shapes, dtypes or options outside the contract; for a softmax over one
            class; for one class without background.

    Example:
        >>> import jax.numpy as jnp
        >>> logits = jnp.array([[[9.0, -9.0], [9.0, -9.0], [-9.0, 9.0], [9.0, -9.0]]])
        >>> labels = jnp.array([[0, 0, 1, 1]])  # class 1: one pixel found, one missed
        >>> print(f"{dice(logits, labels)[0]:.3f}")
        0.267

    Reference: Milletari, Navab, Ahmadi, V-Net, 3DV 2016; Drozdzal et al., 2016, for the linear
    denominator used here.
    """
    _checks.choice("pool", pool, POOLS)
    _checks.choice("absent", absent, ABSENT)
    x = read(logits, labels, where, activation=activation)
    if not include_background and x.classes == 1:
        raise ValueError("include_background=False: there is only one class, nothing would be left")
    p = softmax(x.logits) if activation == "softmax" else jax.nn.sigmoid(class_major(x.logits))
    intersection, predicted, true = x.sums(p)
    count = x.pixel_count()[:, None]
    if pool == "batch":
        intersection, predicted, true, count = (
            jnp.sum(total, axis=0, keepdims=True)
            for total in (intersection, predicted, true, count)
        )
    costs = 1 - divide(2 * intersection + smooth, predicted + true + smooth, empty=1.0)
    weights = class_weighting(class_weights, x.classes, p.dtype)[0]
    weights = jnp.broadcast_to(weights, costs.shape)
    if not include_background:
        weights = weights.at[:, 0].set(0)
    if absent == "skip":
        weights = jnp.where(true > 0, weights, 0)
    if absent == "suppress":
        costs = jnp.where(true > 0, costs, divide(predicted, count))
    value = divide(jnp.sum(weights * costs, axis=1), jnp.sum(weights, axis=1))
    return value[0] if pool == "batch" else value
