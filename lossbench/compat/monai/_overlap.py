"""MONAI's other losses over regions: Tversky and Matthews correlation."""

import dataclasses
from collections.abc import Callable

from jaxtyping import Array

from lossbench import losses
from lossbench.compat.monai._arguments import (
    activate,
    arrays,
    check_activation,
    check_reduction,
    region,
)


@dataclasses.dataclass(frozen=True, eq=False)
class TverskyLoss:
    """Tversky loss, averaged over examples and classes.

    = `losses.tversky(..., fp_weight=alpha, fn_weight=beta, smooth=(2 * smooth_nr, 2 * smooth_dr),
    overlap="product")`, `overlap="l1"` with `soft_label=True`; MONAI smooths the ratio of I itself,
    we that of 2 I.

    Attributes:
        include_background: see `DiceLoss`; so are the other attributes not named here.
        alpha: weight of false positives.
        beta: weight of false negatives.
        reduction: "mean", "sum", "none" (`batch classes`; `classes` with `batch=True`).
        smooth_nr: added to the numerator I.
        smooth_dr: added to the denominator.
    """

    include_background: bool = True
    to_onehot_y: bool = False
    sigmoid: bool = False
    softmax: bool = False
    other_act: Callable[[Array], Array] | None = None
    alpha: float = 0.5
    beta: float = 0.5
    reduction: str = "mean"
    smooth_nr: float = 1e-5
    smooth_dr: float = 1e-5
    batch: bool = False
    soft_label: bool = False
    ignore_index: int | None = None

    def __post_init__(self) -> None:
        """Raises for options that exclude each other."""
        check_activation(self.sigmoid, self.softmax, self.other_act)
        check_reduction(self.reduction)

    def __call__(self, input: Array, target: Array) -> Array:
        """The loss of `input`, `batch channel *space`, a target like it or of ids (1 channel)."""
        p, activation = activate(
            input, sigmoid=self.sigmoid, softmax=self.softmax, other_act=self.other_act
        )
        return region(
            losses.tversky,
            arrays(p, target, to_onehot_y=self.to_onehot_y, ignore_index=self.ignore_index),
            batch=self.batch,
            include_background=self.include_background,
            reduction=self.reduction,
            activation=activation,
            fp_weight=self.alpha,
            fn_weight=self.beta,
            smooth=(2 * self.smooth_nr, 2 * self.smooth_dr),
            overlap="l1" if self.soft_label else "product",
        )


@dataclasses.dataclass(frozen=True, eq=False)
class MCCLoss:
    """One minus the Matthews correlation coefficient, averaged over examples and classes.

    = `losses.mcc(..., smooth=(smooth_nr, smooth_dr), overlap="product")`.

    Attributes:
        include_background: see `DiceLoss`; so are the other attributes not named here.
        reduction: "mean", "sum", "none" (`batch classes`; `classes` with `batch=True`).
        smooth_nr: added to TP TN - FP FN.
        smooth_dr: added to the product of the four sums under the square root.
    """

    include_background: bool = True
    to_onehot_y: bool = False
    sigmoid: bool = False
    softmax: bool = False
    other_act: Callable[[Array], Array] | None = None
    reduction: str = "mean"
    smooth_nr: float = 0.0
    smooth_dr: float = 1e-5
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
        return region(
            losses.mcc,
            arrays(p, target, to_onehot_y=self.to_onehot_y),
            batch=self.batch,
            include_background=self.include_background,
            reduction=self.reduction,
            activation=activation,
            smooth=(self.smooth_nr, self.smooth_dr),
            overlap="product",
        )
