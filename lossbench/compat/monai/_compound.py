"""MONAI's sums of two losses."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from lossbench import losses
from lossbench.compat.monai._arguments import Weight, check_not_negative, check_reduction
from lossbench.compat.monai._dice import DiceLoss
from lossbench.compat.monai._focal import FocalLoss
from lossbench.compat.monai._generalized import GeneralizedDiceLoss


@dataclasses.dataclass(frozen=True, eq=False)
class DiceCELoss:
    """`lambda_dice * DiceLoss + lambda_ce * cross entropy`.

    The cross entropy is `losses.cross_entropy` of all pixels of the batch together, for one channel
    `losses.binary_cross_entropy(..., pos_weight=weight)`. As in MONAI it is a softmax's for several
    channels, also with `sigmoid=True`, and the `label_smoothing` is its own alone.

    Attributes:
        include_background: see `DiceLoss`; so are the other attributes not named here. It does not
            change the cross entropy.
        reduction: "mean", "sum".
        weight: one a class, background included, for both terms; the cross entropy's mean over
            class ids divides by the weights, that over a one-hot target by the pixels.
        lambda_dice: weight of the Dice loss.
        lambda_ce: weight of the cross entropy.
        label_smoothing: share of the label given to all classes alike.
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
    lambda_dice: float = 1.0
    lambda_ce: float = 1.0
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        """Raises for options that exclude each other."""
        check_reduction(self.reduction, ("mean", "sum"))
        check_not_negative(lambda_dice=self.lambda_dice, lambda_ce=self.lambda_ce)
        self._dice()

    def _dice(self) -> DiceLoss:
        weight = None if self.weight is None else jnp.asarray(self.weight)
        if weight is not None and not self.include_background:
            weight = weight[1:] if weight.ndim else weight
        return dataclasses.replace(DiceLoss(**_shared(self, DiceLoss)), weight=weight)

    def __call__(self, input: Array, target: Array) -> Array:
        """The loss of `input`, `batch channel *space`, a target like it or of ids (1 channel)."""
        input, target = jnp.asarray(input), jnp.asarray(target)
        _check_target(input, target)
        dice = self._dice()(input, target)
        return self.lambda_dice * dice + self.lambda_ce * self._cross_entropy(input, target)

    def _cross_entropy(self, input: Array, target: Array) -> Array:
        classes = input.shape[1]
        # One example for the whole batch, as the mean is weighted over all of it.
        logits = jnp.moveaxis(input, 1, -1).reshape(1, -1, classes)
        if classes == 1:
            labels = target.astype(input.dtype).reshape(1, -1, 1)
            weight = 1.0 if self.weight is None else self.weight
            if jnp.size(jnp.asarray(weight)) != 1:
                raise ValueError(
                    f"weight: one channel takes one weight, of positives; got {weight}"
                )
            positive = jnp.asarray(weight, input.dtype).reshape(())
            return losses.binary_cross_entropy(
                logits, labels, pos_weight=positive, reduction=self.reduction
            )[0]
        options: dict[str, Any] = {"label_smoothing": self.label_smoothing}
        if self.weight is not None:
            weight = jnp.asarray(self.weight, jnp.float32)
            options["class_weights"] = jnp.broadcast_to(weight, (classes,))
        if target.shape[1] == 1:
            labels = target.astype(jnp.int32).reshape(1, -1)
            # PyTorch's default for what is ignored.
            options |= {"where": labels != -100, "reduction": self.reduction}
            return losses.cross_entropy(logits, labels, **options)[0]
        labels = jnp.moveaxis(target.astype(input.dtype), 1, -1).reshape(1, -1, classes)
        total = losses.cross_entropy(logits, labels, reduction="sum", **options)[0]
        return total if self.reduction == "sum" else total / labels.shape[1]


@dataclasses.dataclass(frozen=True, eq=False)
class DiceFocalLoss:
    """`lambda_dice * DiceLoss + lambda_focal * FocalLoss`, the latter of a sigmoid a channel.

    Attributes:
        include_background: see `DiceLoss`; so are the other attributes not named here. This one,
            `weight` and `reduction` are for both.
        gamma: of the focal loss.
        lambda_dice: weight of the Dice loss.
        lambda_focal: weight of the focal loss.
        alpha: of the focal loss.
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
    gamma: float = 2.0
    weight: Weight | None = None
    lambda_dice: float = 1.0
    lambda_focal: float = 1.0
    alpha: float | None = None

    def __post_init__(self) -> None:
        """Raises for options that exclude each other."""
        check_not_negative(lambda_dice=self.lambda_dice, lambda_focal=self.lambda_focal)
        DiceLoss(**_shared(self, DiceLoss))

    def __call__(self, input: Array, target: Array) -> Array:
        """The loss of `input`, `batch channel *space`, a target like it or of ids (1 channel)."""
        input, target = jnp.asarray(input), jnp.asarray(target)
        _check_target(input, target)
        dice = DiceLoss(**_shared(self, DiceLoss))(input, target)
        focal = FocalLoss(**_shared(self, FocalLoss))(input, target)
        return _sum(self.lambda_dice * dice, self.lambda_focal * focal)


@dataclasses.dataclass(frozen=True, eq=False)
class GeneralizedDiceFocalLoss:
    """`lambda_gdl * GeneralizedDiceLoss + lambda_focal * FocalLoss`, the latter of a sigmoid.

    Attributes:
        include_background: see `GeneralizedDiceLoss`; so are the other attributes not named here.
            This one and `reduction` are for both.
        gamma: of the focal loss.
        weight: of the focal loss.
        lambda_gdl: weight of the generalized Dice loss.
        lambda_focal: weight of the focal loss.
    """

    include_background: bool = True
    to_onehot_y: bool = False
    sigmoid: bool = False
    softmax: bool = False
    other_act: Callable[[Array], Array] | None = None
    w_type: str = "square"
    reduction: str = "mean"
    smooth_nr: float = 1e-5
    smooth_dr: float = 1e-5
    batch: bool = False
    gamma: float = 2.0
    weight: Weight | None = None
    lambda_gdl: float = 1.0
    lambda_focal: float = 1.0

    def __post_init__(self) -> None:
        """Raises for options that exclude each other."""
        check_not_negative(lambda_gdl=self.lambda_gdl, lambda_focal=self.lambda_focal)
        GeneralizedDiceLoss(**_shared(self, GeneralizedDiceLoss))

    def __call__(self, input: Array, target: Array) -> Array:
        """The loss of `input`, `batch channel *space`, a target like it or of ids (1 channel)."""
        input, target = jnp.asarray(input), jnp.asarray(target)
        _check_target(input, target)
        overlap = GeneralizedDiceLoss(**_shared(self, GeneralizedDiceLoss))(input, target)
        focal = FocalLoss(**_shared(self, FocalLoss))(input, target)
        return _sum(self.lambda_gdl * overlap, self.lambda_focal * focal)


def _shared(loss: Any, part: type) -> dict[str, Any]:
    """The options of a sum of losses that one of its parts has, too."""
    names = {field.name for field in dataclasses.fields(loss)}
    return {f.name: getattr(loss, f.name) for f in dataclasses.fields(part) if f.name in names}


def _sum(region: Array, pixels: Array) -> Array:
    """With reduction "none" a value a class (and example) is added to each of its pixels."""
    return region.reshape(*[1] * (pixels.ndim - region.ndim), *region.shape) + pixels


def _check_target(input: Array, target: Array) -> None:
    if input.ndim != target.ndim:
        raise ValueError(
            f"target: expected as many axes as input, {input.shape}, got {target.shape}; class ids "
            "have the shape (batch, 1, *space)"
        )
    if target.shape[1] not in (1, input.shape[1]):
        raise ValueError(
            f"target: expected 1 channel (class ids) or {input.shape[1]}, got {target.shape[1]}"
        )
