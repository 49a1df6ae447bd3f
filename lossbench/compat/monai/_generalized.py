"""MONAI's generalized Dice losses: one ratio for all classes."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from lossbench import losses
from lossbench.compat.monai._arguments import (
    activate,
    arrays,
    check_activation,
    check_reduction,
    kept_classes,
    spread,
)

WEIGHTINGS = ("square", "simple", "uniform")


@dataclasses.dataclass(frozen=True, eq=False)
class GeneralizedDiceLoss:
    r"""`1 - (2 sum w_c I_c + smooth_nr) / (sum w_c (P_c + T_c) + smooth_dr)`, w_c = 1 / T_c^2.

    = `losses.dice(..., class_weights=w * (P + T), smooth=0, overlap="product")`, since the one
    ratio is the mean of the classes' ratios with these weights, smoothed afterwards.
    `losses.generalized_dice` is the loss that we recommend: there the weights sum to 1 and an
    absent class has none. Here, as in MONAI, an absent class has the weight of the rarest one, and
    the smoothing is added to sums that shrink as 1 / T^2, so that it is felt in large images.

    Attributes:
        include_background: see `DiceLoss`; so are the other attributes not named here.
        w_type: weight of a class of T pixels: "square" 1 / T^2, "simple" 1 / T, "uniform" 1.
        reduction: "mean", "sum", "none" (`batch 1 1 1`; `1 1 1` with `batch=True`).
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
    soft_label: bool = False

    def __post_init__(self) -> None:
        """Raises for options that exclude each other."""
        check_activation(self.sigmoid, self.softmax, self.other_act)
        check_reduction(self.reduction)
        if self.w_type not in WEIGHTINGS:
            names = ", ".join(map(repr, WEIGHTINGS))
            raise ValueError(f"w_type: expected one of {names}, got {self.w_type!r}")

    def __call__(self, input: Array, target: Array) -> Array:
        """The loss of `input`, `batch channel *space`, a target like it or of ids (1 channel)."""
        p, activation = activate(
            input, sigmoid=self.sigmoid, softmax=self.softmax, other_act=self.other_act
        )
        if activation != "identity":  # its sums are needed here, too
            p = jax.nn.sigmoid(p) if activation == "sigmoid" else jax.nn.softmax(p, axis=1)
        x = arrays(p, target, to_onehot_y=self.to_onehot_y)
        if x.logits.ndim < 3:
            raise ValueError("input: expected at least one spatial axis, after batch and channel")
        kept = jnp.asarray(kept_classes(x.classes, self.include_background), x.logits.dtype)
        if self.batch:
            labels = x.labels.reshape(-1, *x.labels.shape[x.logits.ndim - 1 :])
            value = self._of_example(x.logits.reshape(-1, x.classes), labels, kept)[None]
        else:
            value = jax.vmap(self._of_example, in_axes=(0, 0, None))(x.logits, x.labels, kept)
        if self.reduction == "none":
            return spread(value if self.batch else value[:, None], x.logits.ndim)
        return jnp.sum(value) if self.reduction == "sum" else jnp.mean(value)

    def _of_example(self, p: Array, labels: Array, kept: Array) -> Array:
        space = tuple(range(p.ndim - 1))
        members = labels
        if labels.ndim < p.ndim:
            members = labels[..., None] == jnp.arange(p.shape[-1]).reshape(*[1] * labels.ndim, -1)
        true = jnp.sum(members.astype(p.dtype), axis=space)
        weights = kept * self._weights(true, kept)
        both = weights * (jnp.sum(p, axis=space) + true)
        cost = losses.dice(
            p[None],
            labels[None],
            activation="identity",
            overlap="l1" if self.soft_label else "product",
            class_weights=both,
            smooth=0.0,
        )[0]
        total = jnp.sum(both)
        return 1 - ((1 - cost) * total + self.smooth_nr) / (total + self.smooth_dr)

    def _weights(self, true: Array, kept: Array) -> Array:
        if self.w_type == "uniform":
            return jnp.ones_like(true)
        power = 2 if self.w_type == "square" else 1
        present = true > 0
        weights = jnp.where(present, 1 / jnp.where(present, true, 1) ** power, 0)
        return jnp.where(present, weights, jnp.max(weights * kept))


@dataclasses.dataclass(frozen=True, eq=False)
class GeneralizedWassersteinDiceLoss:
    """Dice loss with the errors counted by how far apart two classes are, after Fidon et al.

    = `losses.wasserstein_dice(..., distances=dist_matrix / max, smooth=(smooth_nr, smooth_dr),
    weighting=...)`, of a softmax.

    Attributes:
        dist_matrix: distances between the classes, `classes classes`; divided by the largest.
        weighting_mode: "default" (foreground classes count, the background does not) or "GDL"
            (each class by 1 / (its pixels + 1)).
        reduction: "mean", "sum", "none" (`batch`).
        smooth_nr: added to the numerator.
        smooth_dr: added to the denominator.
    """

    dist_matrix: np.ndarray | Array
    weighting_mode: str = "default"
    reduction: str = "mean"
    smooth_nr: float = 1e-5
    smooth_dr: float = 1e-5

    def __post_init__(self) -> None:
        """Raises for a matrix that is not square and for unknown names."""
        shape = jnp.shape(self.dist_matrix)
        if len(shape) != 2 or shape[0] != shape[1]:
            raise ValueError(f"dist_matrix: expected shape (classes, classes), got {shape}")
        if self.weighting_mode not in ("default", "GDL"):
            raise ValueError(
                f"weighting_mode: expected 'default' or 'GDL', got {self.weighting_mode!r}"
            )
        check_reduction(self.reduction)

    def __call__(self, input: Array, target: Array) -> Array:
        """The loss of `input`, `batch channel *space`, and class ids, `batch 1 *space`."""
        input, target = jnp.asarray(input), jnp.asarray(target)
        distances = jnp.asarray(self.dist_matrix, input.dtype)
        batch, classes = input.shape[:2]
        value = losses.wasserstein_dice(
            jnp.moveaxis(input.reshape(batch, classes, -1), 1, -1),
            target.reshape(batch, -1).astype(jnp.int32),
            distances=distances / jnp.max(distances),
            smooth=(self.smooth_nr, self.smooth_dr),
            weighting="foreground" if self.weighting_mode == "default" else "volume",
        )
        if self.reduction == "none":
            return value
        return jnp.sum(value) if self.reduction == "sum" else jnp.mean(value)
