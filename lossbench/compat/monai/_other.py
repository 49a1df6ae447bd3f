"""MONAI's neighbor-aware calibration and deep supervision."""

import dataclasses
from collections.abc import Callable, Sequence

import jax.numpy as jnp
from jaxtyping import Array

from lossbench import losses


@dataclasses.dataclass(frozen=True, eq=False)
class NACLLoss:
    """Cross entropy plus the distance of the logits from their neighborhood's share of labels.

    = `losses.neighbor_aware_calibration(..., kernel_size=..., kernel=kernel_ops,
    penalty=distance_type, alpha=..., sigma=...)`, averaged over the batch. As in MONAI the Gaussian
    has the width that its sigma asks for, whatever `kernel_size`.

    Attributes:
        classes: number of classes.
        dim: number of spatial axes, 2 or 3.
        kernel_size: edge of the mean's neighborhood.
        kernel_ops: "mean", "gaussian".
        distance_type: "l1", "l2".
        alpha: weight of the distance.
        sigma: of the Gaussian, in pixels.
    """

    classes: int
    dim: int
    kernel_size: int = 3
    kernel_ops: str = "mean"
    distance_type: str = "l1"
    alpha: float = 0.1
    sigma: float = 1.0

    def __post_init__(self) -> None:
        """Raises for unknown names."""
        for name, value, allowed in (
            ("kernel_ops", self.kernel_ops, ("mean", "gaussian")),
            ("distance_type", self.distance_type, ("l1", "l2")),
            ("dim", self.dim, (2, 3)),
        ):
            if value not in allowed:
                raise ValueError(f"{name}: expected one of {allowed}, got {value!r}")

    def __call__(self, inputs: Array, targets: Array) -> Array:
        """The loss of `inputs`, `batch channel *space`, and class ids, `batch *space`."""
        inputs, targets = jnp.asarray(inputs), jnp.asarray(targets)
        if inputs.ndim != self.dim + 2 or inputs.shape[1] != self.classes:
            raise ValueError(
                f"inputs: expected {self.classes} channels and {self.dim} spatial axes, got "
                f"{inputs.shape}"
            )
        value = losses.neighbor_aware_calibration(
            jnp.moveaxis(inputs, 1, -1),
            targets.astype(jnp.int32),
            kernel_size=self.kernel_size,
            kernel=self.kernel_ops,
            penalty=self.distance_type,
            alpha=self.alpha,
            sigma=self.sigma,
        )
        return jnp.mean(value)


@dataclasses.dataclass(frozen=True, eq=False)
class DeepSupervisionLoss:
    """The weighted sum of a loss of this module over the levels of a network.

    The target is brought to the size of a level by taking its nearest pixel. For our own losses
    that is `losses.deep_supervision`, whose weights sum to 1.

    Attributes:
        loss: the loss of one level, such as `DiceLoss(softmax=True)`.
        weight_mode: "exp" 1, 1/2, 1/4, ..., at least 1/16; "two" 1, 1/2, 1/2, ...; "same" 1.
        weights: one weight a level, or more, in place of `weight_mode`.
    """

    loss: Callable[[Array, Array], Array]
    weight_mode: str = "exp"
    weights: Sequence[float] | None = None

    def get_weights(self, levels: int = 1) -> list[float]:
        """The weights of so many levels; an unknown mode has the weights of "same", as in MONAI."""
        levels = max(1, levels)
        if self.weights is not None and len(self.weights) >= levels:
            return list(self.weights[:levels])
        if self.weight_mode == "exp":
            return [max(0.5**level, 0.0625) for level in range(levels)]
        if self.weight_mode == "two":
            return [0.5 if level else 1.0 for level in range(levels)]
        return [1.0] * levels

    def __call__(self, input: Array | Sequence[Array], target: Array) -> Array:
        """The loss of one input or of a list of them, of any sizes."""
        if not isinstance(input, list | tuple):
            return self.loss(jnp.asarray(input), target)
        total = jnp.zeros(())
        for level, weight in zip(input, self.get_weights(len(input)), strict=True):
            total += weight * self.loss(level, _nearest(jnp.asarray(target), level.shape[2:]))
        return total


def _nearest(target: Array, space: tuple[int, ...]) -> Array:
    """The pixel of the target nearest to the center of each pixel of another grid."""
    for axis, (old, new) in enumerate(zip(target.shape[2:], space, strict=True), start=2):
        if old != new:
            index = (2 * jnp.arange(new) + 1) * old // (2 * new)
            target = jnp.take(target, index, axis=axis)
    return target
