"""smp's cross entropies."""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike

from lossbench import _checks, losses
from lossbench.compat._numbers import number


@dataclasses.dataclass(frozen=True, eq=False)
class SoftCrossEntropyLoss:
    """Cross entropy of a softmax with label smoothing.

    = `losses.cross_entropy(..., label_smoothing=smooth_factor, where=y_true != ignore_index)`, but
    for "mean", which divides by all pixels, ignored ones included.

    Attributes:
        reduction: "mean", "sum" or "none": the shape of the labels, with an axis of 1 in the place
            of the classes unless `ignore_index` is None.
        smooth_factor: share of the label given to all classes alike; None is 0.
        ignore_index: a value of the labels whose pixels cost 0.
        dim: the axis of the classes.
    """

    reduction: str = "mean"
    smooth_factor: float | Array | None = None
    ignore_index: int | None = -100
    dim: int = 1

    def __post_init__(self) -> None:
        """Raises for another reduction."""
        _checks.choice("reduction", self.reduction, ("mean", "sum", "none"))

    def __call__(self, y_pred: ArrayLike, y_true: ArrayLike) -> Array:
        """The loss of logits and class ids, which may have an axis of 1 for the classes."""
        x, ids = jnp.asarray(y_pred), jnp.asarray(y_true)
        _checks.floating(y_pred=x)
        if x.ndim < 2:
            raise ValueError(f"y_pred: expected at least two axes, got shape {x.shape}")
        if ids.ndim == x.ndim and ids.shape[self.dim] == 1:
            ids = jnp.squeeze(ids, self.dim)
        x = jnp.moveaxis(x, self.dim, -1)
        _checks.shape("y_true", ids, x.shape[:-1], "the shape of y_pred without the classes")
        costs = losses.cross_entropy(
            x,
            ids,
            where=None if self.ignore_index is None else ids != self.ignore_index,
            label_smoothing=0.0 if self.smooth_factor is None else number(self.smooth_factor),
            reduction="none",
        )
        if self.reduction == "none":
            return costs if self.ignore_index is None else jnp.expand_dims(costs, self.dim)
        return jnp.mean(costs) if self.reduction == "mean" else jnp.sum(costs)


@dataclasses.dataclass(frozen=True, eq=False)
class SoftBCEWithLogitsLoss:
    """Cross entropy of a sigmoid for each element, with label smoothing.

    = `losses.binary_cross_entropy(y_pred, (1 - y_true) * s + y_true * (1 - s), reduction="none")`
    with s as `smooth_factor`, reduced over everything: the mean counts ignored elements.

    Attributes:
        weight: of an element's cost, broadcast to the shape of `y_pred`.
        ignore_index: a value of the labels whose elements cost 0.
        reduction: "mean", "sum" or "none" (the shape of `y_pred`).
        smooth_factor: what a label of 0 or 1 gives to the other; None is 0.
        pos_weight: weight of the positives, broadcast to the shape of `y_pred`.
    """

    weight: ArrayLike | None = None
    ignore_index: int | None = -100
    reduction: str = "mean"
    smooth_factor: float | Array | None = None
    pos_weight: ArrayLike | None = None

    def __post_init__(self) -> None:
        """Raises for another reduction."""
        _checks.choice("reduction", self.reduction, ("mean", "sum", "none"))

    def __call__(self, y_pred: ArrayLike, y_true: ArrayLike) -> Array:
        """The loss of logits and labels of the same shape."""
        x, given = jnp.asarray(y_pred), jnp.asarray(y_true)
        _checks.floating(y_pred=x)
        _checks.shape("y_true", given, x.shape, "the shape of y_pred")
        t = given.astype(_checks.compute_dtype(x))
        if self.smooth_factor is not None:
            t = (1 - t) * self.smooth_factor + t * (1 - self.smooth_factor)
        counted = None if self.ignore_index is None else given != self.ignore_index
        if self.pos_weight is None:
            costs = _elements(x, t, counted, 1.0)
        else:
            # Each element as a class of its own, to have a weight of its own.
            weight = jnp.broadcast_to(jnp.asarray(self.pos_weight), x.shape).reshape(-1)
            if counted is not None:
                x, t = jnp.where(counted, x, 0), jnp.where(counted, t, 0)
            costs = losses.binary_cross_entropy(
                x.reshape(1, -1), t.reshape(1, -1), pos_weight=weight, reduction="none"
            ).reshape(x.shape)
            costs = costs if counted is None else jnp.where(counted, costs, 0)
        if self.weight is not None:
            costs = costs * jnp.broadcast_to(jnp.asarray(self.weight, costs.dtype), x.shape)
        if self.reduction == "none":
            return costs
        return jnp.mean(costs) if self.reduction == "mean" else jnp.sum(costs)


def _elements(x: Array, t: Array, counted: Array | None, pos_weight: float) -> Array:
    batch = x.shape[0]
    costs = losses.binary_cross_entropy(
        x.reshape(batch, -1, 1),
        t.reshape(batch, -1, 1),
        where=None if counted is None else counted.reshape(batch, -1),
        pos_weight=pos_weight,
        reduction="none",
    )
    return costs.reshape(x.shape)
