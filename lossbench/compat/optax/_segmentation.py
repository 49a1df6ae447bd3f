"""optax's Dice losses."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike

from lossbench import _checks, losses
from lossbench.compat._numbers import number
from lossbench.compat.optax._axes import Axes, from_front


def dice_loss(
    predictions: ArrayLike,
    targets: ArrayLike,
    *,
    class_weights: ArrayLike | None = None,
    smooth: float | Array = 1.0,
    alpha: float | Array = 0.5,
    beta: float | Array = 0.5,
    apply_softmax: bool = True,
    reduction: str = "mean",
    ignore_background: bool = False,
    axis: Axes = None,
) -> Array:
    """One minus the Tversky index of each class; Dice with `alpha = beta = 0.5`.

    = `losses.tversky(predictions, targets, fp_weight=alpha, fn_weight=beta, smooth=2 * smooth,
    overlap="product")`, with a sigmoid for one class: optax's smoothing counts double.

    Args:
        predictions: logits `... classes`.
        targets: one-hot or probabilities of that shape; either may lack a last axis of 1.
        class_weights: one weight a class, which multiplies its cost; the mean does not divide by
            their sum.
        smooth: added to numerator and denominator.
        alpha: weight of false positives.
        beta: weight of false negatives.
        apply_softmax: false for predictions that are probabilities already.
        reduction: over classes: "mean", "sum" or "none".
        ignore_background: leaves class 0 out, if there are others.
        axis: what to sum over; None is all axes but the first and the last.

    Returns:
        The shape of predictions without `axis`, and without the classes unless reduction is "none".
    """
    x, t = jnp.asarray(predictions), jnp.asarray(targets)
    if x.ndim == t.ndim - 1:
        x = x[..., None]
    if t.ndim == x.ndim - 1:
        t = t[..., None]
    _checks.shape("targets", t, x.shape, "the shape of predictions")
    _checks.choice("reduction", reduction, ("mean", "sum", "none"))
    if class_weights is not None and jnp.ndim(class_weights) != 1:
        raise ValueError(f"class_weights: expected one axis, got shape {jnp.shape(class_weights)}")
    pooled = tuple(range(1, x.ndim - 1)) if axis is None else from_front(axis, x.ndim)
    if x.ndim - 1 in pooled:
        raise ValueError(
            f"axis: {axis} sums over the classes as well, which is not reproduced; "
            f"predictions have the shape {x.shape}, with the classes last"
        )
    kept = tuple(i for i in range(x.ndim - 1) if i not in pooled)
    rest, classes = tuple(x.shape[i] for i in kept), x.shape[-1]

    def pixels(array: Array) -> Array:
        array = array.transpose(*kept, *pooled, array.ndim - 1)
        return array.reshape(math.prod(rest), -1, classes)

    x, t = pixels(x), pixels(t.astype(_checks.compute_dtype(x)))
    activation = "identity"
    if apply_softmax:
        activation = "sigmoid" if classes == 1 else "softmax"

    def cost(weights: Array) -> Array:
        return losses.tversky(
            x,
            t,
            activation=activation,
            class_weights=weights,
            fp_weight=number(alpha),
            fn_weight=number(beta),
            smooth=2 * number(smooth),
            overlap="product",
        )

    costs = jax.vmap(cost, out_axes=-1)(jnp.eye(classes)).reshape(*rest, classes)
    if class_weights is not None:
        costs = costs * jnp.broadcast_to(jnp.asarray(class_weights, costs.dtype), costs.shape)
    if ignore_background and classes > 1:
        costs = costs[..., 1:]
    if reduction == "none":
        return costs
    return jnp.mean(costs, axis=-1) if reduction == "mean" else jnp.sum(costs, axis=-1)


def binary_dice_loss(
    predictions: ArrayLike,
    targets: ArrayLike,
    *,
    smooth: float | Array = 1.0,
    apply_sigmoid: bool = True,
) -> Array:
    """Dice loss of one class.

    = `losses.dice(predictions[..., None], targets, activation="sigmoid", smooth=2 * smooth,
    overlap="product")`.

    Args:
        predictions: logits `batch *space`, or with a last axis of 1.
        targets: of the same shape.
        smooth: added to numerator and denominator.
        apply_sigmoid: false for predictions that are probabilities already.

    Returns:
        One value an example.
    """
    x, t = jnp.asarray(predictions), jnp.asarray(targets)
    if x.ndim == t.ndim and x.shape[-1] != 1:
        x, t = x[..., None], t[..., None]
    return dice_loss(x, t, smooth=smooth, apply_softmax=apply_sigmoid)


def multiclass_generalized_dice_loss(
    predictions: ArrayLike,
    targets: ArrayLike,
    *,
    smooth: float | Array = 1.0,
    apply_softmax: bool = True,
    ignore_background: bool = False,
) -> Array:
    """Dice losses of the classes, weighted by their inverse squared frequency in the batch.

    = the mean of `dice_loss(..., class_weights=w)` with `w_c` as `1 / (T_c^2 + 1e-7)`, scaled to a
    mean of 1. It is not the loss of its name, see the module.

    Args:
        predictions: logits `batch *space classes`.
        targets: one-hot or probabilities of that shape.
        smooth: see `dice_loss`.
        apply_softmax: see `dice_loss`.
        ignore_background: see `dice_loss`; the weights still count class 0.

    Returns:
        A scalar.
    """
    x, t = jnp.asarray(predictions), jnp.asarray(targets)
    _checks.shape("targets", t, x.shape, "the shape of predictions")
    frequency = jnp.sum(t, axis=tuple(range(t.ndim - 1)), dtype=_checks.compute_dtype(x))
    weights = 1 / (frequency**2 + 1e-7)
    costs = dice_loss(
        x,
        t,
        class_weights=weights / jnp.mean(weights),
        smooth=smooth,
        apply_softmax=apply_softmax,
        reduction="none",
        ignore_background=ignore_background,
    )
    return jnp.mean(costs)
