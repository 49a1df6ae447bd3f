"""kornia's focal losses."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike

from lossbench import _checks, losses
from lossbench.compat._numbers import number, number_or_none
from lossbench.compat.kornia._arguments import arrays, per_class

REDUCTIONS = ("none", "mean", "sum")


def focal_loss(
    pred: ArrayLike,
    target: ArrayLike,
    alpha: float | Array | None,
    gamma: float | Array = 2.0,
    reduction: str = "none",
    weight: ArrayLike | None = None,
    ignore_index: int | None = -100,
) -> Array:
    """Focal loss of a softmax.

    = `losses.focal(logits, ids, where=ids != ignore_index, gamma=gamma, alpha=alpha,
    class_weights=weight, reduction="none")`, put at the place of the true class. kornia's mean is
    over all elements of `pred`, so it is ours divided by the number of classes, and smaller still
    where pixels are ignored.

    Args:
        pred: logits `batch classes *space`.
        target: class ids `batch *space`.
        alpha: weight of every class but the first, which gets 1 - alpha; None is no balance.
        gamma: how fast the weight of a won pixel falls.
        reduction: "none" (the shape of pred, 0 but for the true class), "mean" or "sum".
        weight: one a class, or None.
        ignore_index: the id of pixels that cost 0; None ignores none.

    Returns:
        A scalar, or the shape of pred.

    Raises:
        ValueError: for shapes that do not fit, for one class and for another reduction.

    Example:
        >>> import jax.numpy as jnp
        >>> pred = jnp.array([[[2.0, 0.0], [0.0, 2.0]]])  # 1 example, 2 classes, 2 pixels
        >>> print(f"{focal_loss(pred, jnp.array([[0, 0]]), alpha=None, reduction='sum'):.3f}")
        1.652
    """
    _checks.choice("reduction", reduction, REDUCTIONS)
    logits, ids, where = arrays(pred, target, ignore_index)
    classes = logits.shape[-1]
    costs = losses.focal(
        logits,
        ids,
        where=where,
        gamma=number(gamma),
        alpha=number_or_none(alpha),
        class_weights=per_class("weight", weight, classes),
        reduction="none",
    )
    if reduction == "none":
        return jax.nn.one_hot(ids, classes, axis=1, dtype=costs.dtype) * costs[:, None]
    return jnp.sum(costs) if reduction == "sum" else jnp.mean(costs) / classes


def binary_focal_loss_with_logits(
    pred: ArrayLike,
    target: ArrayLike,
    alpha: float | Array | None = 0.25,
    gamma: float | Array = 2.0,
    reduction: str = "none",
    pos_weight: ArrayLike | None = None,
    weight: ArrayLike | None = None,
    ignore_index: int | None = -100,
) -> Array:
    """Focal loss of a sigmoid, for each element by itself.

    = `losses.sigmoid_focal(pred, target, gamma=gamma, alpha=alpha, reduction="none")`; a target
    between 0 and 1 mixes the costs of the two, in kornia as here. With `pos_weight` the two sides
    are two calls of it. The mean is over all elements, ignored ones included.

    Args:
        pred: logits `batch classes *space`.
        target: 0, 1 or between them, in the same shape.
        alpha: weight of the positives, the negatives get 1 - alpha; None is no balance.
        gamma: how fast the weight of a won element falls.
        reduction: "none" (the shape of pred), "mean" or "sum".
        pos_weight: weight of the positives of each class, besides alpha.
        weight: one a class.
        ignore_index: the value of elements that cost 0; None ignores none.

    Returns:
        A scalar, or the shape of pred.

    Raises:
        ValueError: for shapes that differ and for another reduction.
    """
    _checks.choice("reduction", reduction, REDUCTIONS)
    x, t = jnp.asarray(pred), jnp.asarray(target)
    _checks.floating(pred=x)
    if x.ndim < 2:
        raise ValueError(f"pred: expected shape (batch, classes, *space), got {x.shape}")
    _checks.shape("target", t, x.shape, "the shape of pred")
    classes = x.shape[1]
    where = None if ignore_index is None else (t != ignore_index).reshape(x.shape[0], -1)

    def side(balance: float | Array | None) -> Array:
        costs = losses.sigmoid_focal(
            x.reshape(x.shape[0], -1, 1),
            t.astype(x.dtype).reshape(x.shape[0], -1, 1),
            where=where,
            gamma=number(gamma),
            alpha=number_or_none(balance),
            reduction="none",
        )
        return costs.reshape(x.shape)

    def along_classes(name: str, values: ArrayLike | None) -> Array | float:
        weights = per_class(name, values, classes)
        return 1.0 if weights is None else weights.reshape(1, classes, *[1] * (x.ndim - 2))

    if pos_weight is None:
        costs = side(alpha)
    else:
        positive, negative = (1.0, 1.0) if alpha is None else (alpha, 1 - alpha)
        costs = along_classes("pos_weight", pos_weight) * positive * side(1.0)
        costs = costs + negative * side(0.0)
    costs = along_classes("weight", weight) * costs
    if reduction == "none":
        return costs
    return jnp.sum(costs) if reduction == "sum" else jnp.mean(costs)


@dataclasses.dataclass(frozen=True, eq=False)
class FocalLoss:
    """`focal_loss` with its options bound; they are the attributes."""

    alpha: float | Array | None
    gamma: float | Array = 2.0
    reduction: str = "none"
    weight: ArrayLike | None = None
    ignore_index: int | None = -100

    def __call__(self, pred: ArrayLike, target: ArrayLike) -> Array:
        """The loss of logits `batch classes *space` and class ids `batch *space`."""
        return focal_loss(pred, target, **vars(self))


@dataclasses.dataclass(frozen=True, eq=False)
class BinaryFocalLossWithLogits:
    """`binary_focal_loss_with_logits` with its options bound; `alpha` has no default here."""

    alpha: float | Array | None
    gamma: float | Array = 2.0
    reduction: str = "none"
    pos_weight: ArrayLike | None = None
    weight: ArrayLike | None = None
    ignore_index: int | None = -100

    def __call__(self, pred: ArrayLike, target: ArrayLike) -> Array:
        """The loss of logits `batch classes *space` and a target of that shape."""
        return binary_focal_loss_with_logits(pred, target, **vars(self))
