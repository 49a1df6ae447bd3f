"""smp's focal loss."""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike

from lossbench import _checks, losses
from lossbench.compat._numbers import number, number_or_none
from lossbench.compat.smp._arguments import (
    Weights,
    check_options,
    exclusive,
    independent,
    over_classes,
)

REDUCTIONS = ("mean", "sum", "none", "batchwise_mean")
# The least sum that "normalized" divides by; smp does not pass its own `eps` on.
LEAST = 1e-6


@dataclasses.dataclass(frozen=True, eq=False)
class FocalLoss:
    """Sigmoid focal loss of each class over the whole batch, averaged over classes.

    = `losses.sigmoid_focal(..., gamma=gamma, alpha=alpha)` for labels of 0 and 1, in all modes. A
    floating label t between them costs, as in smp, `(1 - p_t) ** gamma` times its cross entropy
    `-log p_t`; ours mixes the costs of 1 and 0. `normalized` and `reduced_threshold` are that form,
    too.

    Attributes:
        mode: "binary", "multiclass" or "multilabel".
        alpha: weight of the positives, the negatives get 1 - alpha; None is no balance.
        gamma: how fast the weight of a won pixel falls.
        ignore_index: a value of the labels whose pixels are left out.
        from_logits: false for probabilities, whose logits (in "multiclass" logarithms) are taken.
        eps: the least distance of a probability from 0 and 1.
        reduction: of each class: "mean" over its elements that count, "sum"; "none" and
            "batchwise_mean" (a sum over the first axis) reduce nothing or less in the mode "binary"
            alone, and are otherwise averaged.
        normalized: divides by the sum of the weights `(1 - p_t) ** gamma` of a class.
        reduced_threshold: below this probability of the label the weight is 1, and above it
            `((1 - p_t) / reduced_threshold) ** gamma`.
        class_weights: one a class; the mean divides by their sum.
    """

    mode: str
    alpha: float | Array | None = None
    gamma: float | Array = 2.0
    ignore_index: int | None = None
    from_logits: bool = True
    eps: float = 1e-7
    reduction: str = "mean"
    normalized: bool = False
    reduced_threshold: float | Array | None = None
    class_weights: Weights | None = None

    def __post_init__(self) -> None:
        """Raises for options that the mode does not have."""
        check_options(self.mode, self.class_weights)
        _checks.choice("reduction", self.reduction, REDUCTIONS)
        single = self.mode == "binary"
        if self.reduction == "none" and single and self.ignore_index is not None:
            raise ValueError(
                'reduction="none" with ignore_index: the shape would depend on the labels; set the '
                "labels to 0 or 1 and multiply the result by a mask"
            )
        if self.reduction in ("none", "batchwise_mean") and self.class_weights is not None:
            raise ValueError(
                f"class_weights with reduction={self.reduction!r}: smp multiplies the weights of "
                'the classes with the last axis of the image, which is not reproduced; use "mean"'
            )

    def __call__(self, y_pred: ArrayLike, y_true: ArrayLike) -> Array:
        """The loss of the batch: a scalar, or flat with `reduction="none"` and "binary"."""
        x, labels, where = self._by_class(y_pred, y_true)
        x = self._logits(x)
        costs = self._elements(x, labels, where)
        if self.mode == "binary" and self.reduction == "none":
            return costs[0]
        total = jnp.sum(costs, axis=1)
        if self.reduction in ("mean", "none"):
            counted = costs.shape[1] if where is None else jnp.maximum(jnp.sum(where, axis=1), 1)
            total = total / counted
        elif self.reduction == "batchwise_mean" and self.mode != "binary" and where is None:
            total = total / (costs.shape[1] // jnp.shape(y_pred)[0])
        return over_classes(total, self.class_weights, None)

    def _by_class(self, y_pred: ArrayLike, y_true: ArrayLike) -> tuple[Array, Array, Array | None]:
        """Logits, labels and where, each `classes elements`."""
        if self.mode == "multiclass":
            x, ids, where = exclusive(y_pred, y_true, self.ignore_index)
            classes = x.shape[-1]
            labels = ids.reshape(1, -1) == jnp.arange(classes)[:, None]
            x = jnp.moveaxis(x, -1, 0).reshape(classes, -1)
            return (
                x,
                labels,
                None if where is None else jnp.broadcast_to(where.reshape(1, -1), x.shape),
            )
        parts = independent(y_pred, y_true, self.mode, self.ignore_index)
        x, labels, where = (a if a is None else a.reshape(a.shape[0], -1) for a in parts)
        assert x is not None
        assert labels is not None
        return x, labels, where

    def _logits(self, x: Array) -> Array:
        if self.from_logits:
            return x
        x = jnp.clip(x, self.eps, 1 - self.eps)
        return jnp.log(x) if self.mode == "multiclass" else jnp.log(x / (1 - x))

    def _elements(self, x: Array, labels: Array, where: Array | None) -> Array:
        """The cost of each element, 0 where it does not count."""
        plain = not self.normalized and self.reduced_threshold is None
        x, t = x[..., None], labels.astype(x.dtype)[..., None]
        if plain and not jnp.issubdtype(labels.dtype, jnp.floating):
            costs = losses.sigmoid_focal(
                x,
                t,
                where=where,
                gamma=number(self.gamma),
                alpha=number_or_none(self.alpha),
                reduction="none",
            )
            return costs[..., 0]
        costs = losses.binary_cross_entropy(x, t, where=where, reduction="none")[..., 0]
        miss = -jnp.expm1(-costs)
        focus = self._focus(miss)
        if where is not None:
            focus = jnp.where(where, focus, 0)
        costs = focus * costs
        if self.alpha is not None:
            t = t[..., 0].astype(costs.dtype)
            costs = costs * (self.alpha * t + (1 - self.alpha) * (1 - t))
        if self.normalized:
            costs = costs / jnp.maximum(jnp.sum(focus, axis=1, keepdims=True), LEAST)
        return costs if where is None else jnp.where(where, costs, 0)

    def _focus(self, miss: Array) -> Array:
        """`(1 - p_t) ** gamma`, with gradient 0 where p_t is 1."""
        gamma = jnp.asarray(self.gamma, miss.dtype)
        threshold = self.reduced_threshold
        scaled = miss if threshold is None else miss / threshold
        won = scaled <= 0
        focus = jnp.where(won, jnp.zeros_like(gamma) ** gamma, jnp.where(won, 1, scaled) ** gamma)
        return focus if threshold is None else jnp.where(1 - miss < threshold, 1, focus)
