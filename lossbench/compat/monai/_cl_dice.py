"""MONAI's clDice losses, which pool the classes of an example."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array

from lossbench.compat.monai._arguments import (
    activate,
    arrays,
    check_activation,
    check_reduction,
    kept_classes,
)
from lossbench.compat.monai._dice import DiceLoss
from lossbench.ops.morphology import soft_skeleton


@dataclasses.dataclass(frozen=True, eq=False)
class SoftclDiceLoss:
    """Soft clDice over all classes of an example at once, averaged over examples.

    For one class that counts it is `losses.cl_dice(..., iterations=iter_, smooth=(smooth_nr,
    smooth_dr), harmonic_smooth=smooth)`, which is a mean over classes otherwise. A perfect
    prediction costs about `smooth / 2`, and a prediction without any skeleton of an absent class
    nothing.

    Attributes:
        iter_: iterations of the skeleton.
        smooth_nr: added to the numerators of precision and sensitivity.
        smooth_dr: added to their denominators.
        smooth: added to the sum of both.
        include_background: see `DiceLoss`; so are the other attributes not named here.
        reduction: "mean", "sum", "none" (`batch`).
    """

    iter_: int = 3
    smooth_nr: float = 1.0
    smooth_dr: float = 1.0
    smooth: float = 1e-4
    include_background: bool = True
    to_onehot_y: bool = False
    sigmoid: bool = False
    softmax: bool = False
    other_act: Callable[[Array], Array] | None = None
    reduction: str = "mean"

    def __post_init__(self) -> None:
        """Raises for options that exclude each other or are out of range."""
        check_activation(self.sigmoid, self.softmax, self.other_act)
        check_reduction(self.reduction)
        if not isinstance(self.iter_, int):
            raise TypeError(f"iter_: expected an int, got {type(self.iter_).__name__}")
        if self.iter_ < 0:
            raise ValueError(f"iter_: expected no negative number, got {self.iter_}")
        if self.smooth <= 0:
            raise ValueError(f"smooth: expected a number above 0, got {self.smooth}")

    def __call__(self, input: Array, target: Array) -> Array:
        """The loss of `input`, `batch channel *space`, a target like it or of ids (1 channel)."""
        scores, activation = activate(
            input, sigmoid=self.sigmoid, softmax=self.softmax, other_act=self.other_act
        )
        x = arrays(scores, target, to_onehot_y=self.to_onehot_y)
        background = x.classes - int(kept_classes(x.classes, self.include_background).sum())
        p = _ACTIVATE[activation](x.logits)[..., background:]
        t = x.one_hot()[..., background:]

        def skeleton(x: Array) -> Array:
            """Of each class by itself."""
            rows = jnp.moveaxis(x, -1, 1)
            thin = soft_skeleton(rows.reshape(-1, *rows.shape[2:]), iterations=self.iter_)
            return jnp.moveaxis(thin.reshape(rows.shape), 1, -1)

        def share(thin: Array, within: Array) -> Array:
            axes = tuple(range(1, thin.ndim))
            inside = jnp.sum(thin * within, axis=axes) + self.smooth_nr
            return inside / (jnp.sum(thin, axis=axes) + self.smooth_dr)

        precision, sensitivity = share(skeleton(p), t), share(skeleton(t), p)
        costs = 1 - 2 * precision * sensitivity / (precision + sensitivity + self.smooth)
        if self.reduction == "none":
            return costs
        return jnp.sum(costs) if self.reduction == "sum" else jnp.mean(costs)


_ACTIVATE = {"softmax": jax.nn.softmax, "sigmoid": jax.nn.sigmoid, "identity": lambda x: x}


@dataclasses.dataclass(frozen=True, eq=False)
class SoftDiceclDiceLoss:
    """(1 - alpha) `DiceLoss` + alpha `SoftclDiceLoss`.

    Attributes:
        iter_: see `SoftclDiceLoss`; so are the other attributes not named here.
        alpha: the share of clDice, 0 to 1.
        smooth_nr: added to numerators, of Dice too.
        smooth_dr: added to denominators, of Dice too.
        reduction: "mean", "sum". MONAI's "none" adds each value a class to each an example.
    """

    iter_: int = 3
    alpha: float = 0.5
    smooth_nr: float = 1.0
    smooth_dr: float = 1.0
    smooth: float = 1e-4
    include_background: bool = True
    to_onehot_y: bool = False
    sigmoid: bool = False
    softmax: bool = False
    other_act: Callable[[Array], Array] | None = None
    reduction: str = "mean"

    def __post_init__(self) -> None:
        """Raises for options that exclude each other or are out of range."""
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"alpha: expected 0 to 1, got {self.alpha}")
        check_reduction(self.reduction, ("mean", "sum"))
        self._parts()

    def _parts(self) -> tuple[DiceLoss, SoftclDiceLoss]:
        shared = {
            name: getattr(self, name)
            for name in ("include_background", "to_onehot_y", "sigmoid", "softmax", "other_act")
        }
        shared |= {"smooth_nr": self.smooth_nr, "smooth_dr": self.smooth_dr}
        shared |= {"reduction": self.reduction}
        return DiceLoss(**shared), SoftclDiceLoss(iter_=self.iter_, smooth=self.smooth, **shared)

    def __call__(self, input: Array, target: Array) -> Array:
        """The loss of `input`, `batch channel *space`, a target like it or of ids (1 channel)."""
        dice, cl_dice = (part(input, target) for part in self._parts())
        return (1 - self.alpha) * dice + self.alpha * cl_dice
