"""MONAI's Dice losses."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from lossbench import losses
from lossbench.compat.monai._arguments import (
    Weight,
    activate,
    arrays,
    check_activation,
    check_not_negative,
    check_reduction,
    region,
    spread,
)

ACTIVATE = {"softmax": jax.nn.softmax, "sigmoid": jax.nn.sigmoid, "identity": lambda x: x}


@dataclasses.dataclass(frozen=True, eq=False)
class DiceLoss:
    """Soft Dice, or with `jaccard=True` soft IoU, averaged over examples and classes.

    = `losses.dice(..., smooth=(smooth_nr, smooth_dr), overlap="product")`, `losses.jaccard` with
    `jaccard=True`, `denominator="squared"` with `squared_pred=True`, `overlap="l1"` with
    `soft_label=True`, `pool="batch"` with `batch=True`, `where` from `ignore_index`. The mean over
    classes is plain: `weight` multiplies the costs and does not divide the mean.

    With `jaccard=True` the smoothing counts half as much, as in MONAI. An empty denominator with
    `smooth_dr=0` costs 0 here and is NaN there.

    Attributes:
        include_background: false leaves out channel 0, after the activation.
        to_onehot_y: true for a target of class ids.
        sigmoid: sigmoid of the input.
        softmax: softmax of the input over channels; ignored for one channel.
        other_act: another activation, a JAX function of the input as it is given.
        squared_pred: squares in the denominator.
        jaccard: intersection over union.
        reduction: "mean", "sum", "none" (`batch classes 1 1`; `classes 1 1` with `batch=True`).
        smooth_nr: added to the numerator `2 I`.
        smooth_dr: added to the denominator.
        batch: one ratio a class for the whole batch.
        weight: a number, or one a class that counts; ignored if that is one class.
        soft_label: the form whose optimum is the target, also where that is no mask.
        ignore_index: a class or any other id whose pixels are left out.
    """

    include_background: bool = True
    to_onehot_y: bool = False
    sigmoid: bool = False
    softmax: bool = False
    other_act: Callable[[Array], Array] | None = None
    squared_pred: bool = False
    jaccard: bool = False
    reduction: str = "mean"
    smooth_nr: float = 1e-5
    smooth_dr: float = 1e-5
    batch: bool = False
    weight: Weight | None = None
    soft_label: bool = False
    ignore_index: int | None = None

    def __post_init__(self) -> None:
        """Raises for options that exclude each other."""
        check_activation(self.sigmoid, self.softmax, self.other_act)
        check_reduction(self.reduction)
        check_not_negative(weight=self.weight)

    def __call__(self, input: Array, target: Array) -> Array:
        """The loss of `input`, `batch channel *space`, a target like it or of ids (1 channel)."""
        p, activation = activate(
            input, sigmoid=self.sigmoid, softmax=self.softmax, other_act=self.other_act
        )
        value = region(
            self._loss(),
            arrays(p, target, to_onehot_y=self.to_onehot_y, ignore_index=self.ignore_index),
            batch=self.batch,
            include_background=self.include_background,
            reduction=self.reduction,
            weight=self.weight,
            activation=activation,
            smooth=(self.smooth_nr, self.smooth_dr),
            overlap="l1" if self.soft_label and not self.squared_pred else "product",
        )
        return spread(value, jnp.ndim(input)) if self.reduction == "none" else value

    def _loss(self) -> Callable[..., Array]:
        if not self.squared_pred:
            return losses.jaccard if self.jaccard else losses.dice
        return _squared_jaccard if self.jaccard else partial(losses.dice, denominator="squared")


def _squared_jaccard(
    logits: Array,
    labels: Array,
    *,
    class_weights: Array,
    smooth: tuple[float, float],
    activation: str,
    **options: Any,
) -> Array:
    """Intersection over union with sums of squares, S = sum p^2 + t^2: (2 I + s) / (2 (S - I) + s).

    Our Dice of the same sums is 2 I / S.
    """
    where = options["where"]
    if where is not None:
        logits = jnp.where(where[..., None], logits, 0)
    p = ACTIVATE[activation](logits)
    t = labels if labels.ndim == p.ndim else jax.nn.one_hot(labels, p.shape[-1], dtype=p.dtype)
    squares = p * p + t * t
    if where is not None:
        squares = jnp.where(where[..., None], squares, 0)
    axes = tuple(range(0 if options["pool"] == "batch" else 1, p.ndim - 1))
    size = jnp.sum(squares, axis=axes)

    def cost(class_weights: Array) -> Array:
        return losses.dice(
            p,
            labels,
            activation="identity",
            denominator="squared",
            class_weights=class_weights,
            smooth=0.0,
            **options,
        )

    each = jax.vmap(cost)(jnp.eye(p.shape[-1], dtype=p.dtype))
    both = (1 - jnp.moveaxis(each, 0, -1)) * size  # 2 I
    costs = 1 - (both + smooth[0]) / (2 * size - both + smooth[1])
    weights = jnp.broadcast_to(class_weights, costs.shape)
    total = jnp.maximum(jnp.sum(class_weights), jnp.finfo(p.dtype).tiny)
    return jnp.sum(weights * costs, axis=-1) / total


@dataclasses.dataclass(frozen=True, eq=False)
class MaskedDiceLoss:
    """`DiceLoss` of input and target times a mask.

    = `DiceLoss` without activation, of the activated input and the target, both times the mask. A
    target of ids (`to_onehot_y=True`) therefore has class 0 under the mask, which counts as missed
    background; `DiceLoss(ignore_index=...)` and our `where=` do not do that.

    Attributes:
        include_background: see `DiceLoss`; so are all other attributes.
    """

    include_background: bool = True
    to_onehot_y: bool = False
    sigmoid: bool = False
    softmax: bool = False
    other_act: Callable[[Array], Array] | None = None
    squared_pred: bool = False
    jaccard: bool = False
    reduction: str = "mean"
    smooth_nr: float = 1e-5
    smooth_dr: float = 1e-5
    batch: bool = False
    weight: Weight | None = None
    soft_label: bool = False

    def __post_init__(self) -> None:
        """Raises for options that exclude each other."""
        self._unmasked()

    def _unmasked(self) -> DiceLoss:
        options = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return DiceLoss(**options)

    def __call__(self, input: Array, target: Array, mask: Array | None = None) -> Array:
        """The loss of `input`, `batch channel *space`, with a mask `batch 1 *space`.

        The batch axis of the mask may have length 1. Without a mask nothing is left out.
        """
        if mask is None:
            return self._unmasked()(input, target)
        p, activation = activate(
            input, sigmoid=self.sigmoid, softmax=self.softmax, other_act=self.other_act
        )
        if activation != "identity":
            p = jax.nn.sigmoid(p) if activation == "sigmoid" else jax.nn.softmax(p, axis=1)
        target, mask = jnp.asarray(target), jnp.asarray(mask)
        if mask.ndim != p.ndim or mask.shape[1:] != (1, *p.shape[2:]):
            raise ValueError(
                f"mask: expected shape {(p.shape[0], 1, *p.shape[2:])} or 1 in place of the batch, "
                f"got {mask.shape}"
            )
        plain = dataclasses.replace(self._unmasked(), sigmoid=False, softmax=False, other_act=None)
        return plain(p * mask.astype(p.dtype), target * mask.astype(target.dtype))
