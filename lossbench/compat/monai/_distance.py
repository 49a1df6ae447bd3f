"""MONAI's losses of distances: the boundary loss and the Hausdorff losses."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from lossbench import losses
from lossbench.compat.monai._arguments import (
    Arrays,
    activate,
    arrays,
    check_activation,
    check_reduction,
    kept_classes,
    spread,
)


@dataclasses.dataclass(frozen=True, eq=False)
class BoundaryLoss:
    """Boundary loss, averaged over examples and classes; each class that counts has a map.

    = `losses.boundary(..., normalize=False)`; a target that is not of ids is a mask where it is
    above 1/2. MONAI has no spacing, and distances in pixels.

    Attributes:
        include_background: see `DiceLoss`; so are the other attributes not named here. True by
            default, unlike in the Hausdorff losses.
        reduction: "mean", "sum", "none" (`batch classes`; `classes` with `batch=True`).
        batch: the mean over the batch comes before the reduction.
    """

    include_background: bool = True
    to_onehot_y: bool = False
    sigmoid: bool = False
    softmax: bool = False
    other_act: Callable[[Array], Array] | None = None
    reduction: str = "mean"
    batch: bool = False

    def __post_init__(self) -> None:
        """Raises for options that exclude each other."""
        check_activation(self.sigmoid, self.softmax, self.other_act)
        check_reduction(self.reduction)

    def __call__(self, input: Array, target: Array) -> Array:
        """The loss of `input`, `batch channel *space`, a target like it or of ids (1 channel)."""
        p, activation = activate(
            input, sigmoid=self.sigmoid, softmax=self.softmax, other_act=self.other_act
        )
        x = arrays(p, target, to_onehot_y=self.to_onehot_y)
        if not x.has_ids:
            x = x._replace(labels=x.labels > 0.5)
        costs = _of_each_class(
            losses.boundary, x, self.include_background, normalize=False, activation=activation
        )
        return _reduced(jnp.mean(costs, axis=0) if self.batch else costs, self.reduction)


@dataclasses.dataclass(frozen=True, eq=False)
class HausdorffDTLoss:
    """Hausdorff loss by distance transforms, averaged over examples and classes.

    = `losses.hausdorff_dt(..., alpha=alpha, normalize=False)`. MONAI has no spacing, and distances
    in pixels.

    Attributes:
        alpha: the power of distances.
        include_background: see `DiceLoss`; so are the other attributes not named here. False by
            default, unlike in every other loss.
        reduction: "mean", "sum", "none" (`batch classes 1 1`, or `1 classes 1 1` with
            `batch=True`, with a 1 for each axis of space).
        batch: the mean over the batch comes before the reduction.
    """

    alpha: float = 2.0
    include_background: bool = False
    to_onehot_y: bool = False
    sigmoid: bool = False
    softmax: bool = False
    other_act: Callable[[Array], Array] | None = None
    reduction: str = "mean"
    batch: bool = False

    def __post_init__(self) -> None:
        """Raises for options that exclude each other."""
        check_activation(self.sigmoid, self.softmax, self.other_act)
        check_reduction(self.reduction)

    def __call__(self, input: Array, target: Array) -> Array:
        """The loss of `input`, `batch channel *space`, a target like it or of ids (1 channel)."""
        p, activation = activate(
            input, sigmoid=self.sigmoid, softmax=self.softmax, other_act=self.other_act
        )
        costs = _of_each_class(
            losses.hausdorff_dt,
            arrays(p, target, to_onehot_y=self.to_onehot_y),
            self.include_background,
            alpha=self.alpha,
            normalize=False,
            activation=activation,
        )
        costs = jnp.mean(costs, axis=0, keepdims=True) if self.batch else costs
        return _reduced(spread(costs, jnp.ndim(input)), self.reduction)


@dataclasses.dataclass(frozen=True, eq=False)
class LogHausdorffDTLoss(HausdorffDTLoss):
    """The logarithm of 1 + `HausdorffDTLoss`, taken after its reduction.

    `losses.log_hausdorff_dt` takes it of each example, before any mean.
    """

    def __call__(self, input: Array, target: Array) -> Array:
        """The loss of `input`, `batch channel *space`, a target like it or of ids (1 channel)."""
        return jnp.log1p(super().__call__(input, target))


def _of_each_class(
    loss: Callable[..., Array], x: Arrays, include_background: bool, **options: Any
) -> Array:
    """A loss of ours for each class that counts, `batch classes`: by weights of 1 and 0."""
    kept = kept_classes(x.classes, include_background)
    one_hot = jnp.eye(x.classes, dtype=x.logits.dtype)[x.classes - int(kept.sum()) :]

    def cost(weights: Array) -> Array:
        return loss(
            x.logits,
            x.labels,
            class_weights=weights,
            include_background=include_background,
            **options,
        )

    return jnp.moveaxis(jax.vmap(cost)(one_hot), 0, -1)


def _reduced(costs: Array, reduction: str) -> Array:
    if reduction == "none":
        return costs
    return jnp.sum(costs) if reduction == "sum" else jnp.mean(costs)
