"""The loss nodes of cuvis-ai that segment."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from lossbench import losses

REDUCTIONS = ("mean", "sum", "none")
NORMALIZE_METHODS = ("sigmoid", "clamp", "minmax")


@dataclasses.dataclass(frozen=True, eq=False)
class DiceLoss:
    """Soft Dice, pooled over the batch and averaged over classes.

    = `losses.dice(..., pool="batch", smooth=eps, where=targets != ignore_index)` of a softmax; one
    channel is a sigmoid, whose mask is where the target is 1.

    Attributes:
        weight: factor of the value.
        ignore_index: id whose pixels are left out.
        include_background: false leaves out class 0 of several.
        eps: smoothing.
    """

    weight: float = 1.0
    ignore_index: int | None = None
    include_background: bool = True
    eps: float = 1e-6

    def __call__(self, logits: Array, targets: Array) -> Array:
        """The loss of `logits`, `batch height width classes`, and ids `batch height width`.

        The ids may have a last axis of length 1.
        """
        logits, ids = _ids(logits, targets)
        single = logits.shape[-1] == 1
        value = losses.dice(
            logits,
            ids == 1 if single else ids,
            where=None if self.ignore_index is None else ids != self.ignore_index,
            activation="sigmoid" if single else "softmax",
            include_background=single or self.include_background,
            pool="batch",
            smooth=self.eps,
        )
        return self.weight * value


@dataclasses.dataclass(frozen=True, eq=False)
class CrossEntropyLoss:
    """Cross entropy of a softmax, averaged over the pixels of the batch.

    = `losses.cross_entropy(..., class_weights=class_weights, where=targets != ignore_index)` of all
    pixels of the batch as one example: the weighted mean divides by the weights of all of them.

    Attributes:
        weight: factor of the value.
        class_weights: one a class.
        ignore_index: id whose pixels are left out.
    """

    weight: float = 1.0
    class_weights: Sequence[float] | Array | None = None
    ignore_index: int = -100

    def __call__(self, logits: Array, targets: Array) -> Array:
        """The loss of `logits`, `batch height width classes`, and ids `batch height width`.

        The ids may have a last axis of length 1.
        """
        logits, ids = _ids(logits, targets)
        classes = logits.shape[-1]
        if classes == 1:
            raise ValueError(
                "logits: a softmax over one class is 1 whatever the logit, so it would train "
                "nothing; use DiceLoss or AnomalyBCEWithLogits for one class"
            )
        value = losses.cross_entropy(
            logits.reshape(1, -1, classes),
            ids.reshape(1, -1),
            where=(ids != self.ignore_index).reshape(1, -1),
            class_weights=None if self.class_weights is None else jnp.asarray(self.class_weights),
        )
        return self.weight * value[0]


@dataclasses.dataclass(frozen=True, eq=False)
class AnomalyBCEWithLogits:
    """Cross entropy of a sigmoid, averaged over the pixels of the batch.

    = `losses.binary_cross_entropy(..., pos_weight=pos_weight, reduction=reduction)` of all pixels
    of the batch as one example.

    Attributes:
        weight: factor of the value.
        pos_weight: weight of anomalous pixels.
        reduction: "mean", "sum", "none" (`batch height width`).
    """

    weight: float = 1.0
    pos_weight: float | None = None
    reduction: str = "mean"

    def __post_init__(self) -> None:
        """Raises for an unknown reduction."""
        _check_choice("reduction", self.reduction, REDUCTIONS)

    def __call__(self, predictions: Array, targets: Array) -> Array:
        """The loss of logits and a mask, each `batch height width` with or without an axis of 1."""
        predictions, targets = _without_channel(predictions), _without_channel(targets)
        if predictions.shape != targets.shape:
            raise ValueError(
                f"targets: expected the shape of predictions, {predictions.shape}, got "
                f"{targets.shape}"
            )
        value = losses.binary_cross_entropy(
            predictions.reshape(1, -1, 1),
            targets.astype(predictions.dtype).reshape(1, -1, 1),
            pos_weight=1.0 if self.pos_weight is None else self.pos_weight,
            reduction=self.reduction,
        )
        shape = predictions.shape if self.reduction == "none" else ()
        return self.weight * value.reshape(shape)


@dataclasses.dataclass(frozen=True, eq=False)
class IoULoss:
    """Soft intersection over union of the whole batch as one mask.

    = `losses.jaccard(..., pool="batch", smooth=2 * smooth, activation="sigmoid")` of one class, or
    with `normalize="clamp"`; cuvis-ai smooths the ratio of I itself, we that of 2 I. "minmax" is a
    plain `activation="identity"` of `(x - min) / (max - min + smooth)`, over the whole batch; a
    constant map is .5.

    Attributes:
        weight: factor of the value.
        smooth: smoothing, in pixels; with "minmax" also of the range.
        normalize_method: from scores to [0, 1]: "sigmoid", "clamp", "minmax".
    """

    weight: float = 1.0
    smooth: float = 1e-6
    normalize_method: str = "sigmoid"

    def __post_init__(self) -> None:
        """Raises for an unknown method."""
        _check_choice("normalize_method", self.normalize_method, NORMALIZE_METHODS)

    def __call__(self, predictions: Array, targets: Array) -> Array:
        """The loss of scores and a mask of as many pixels, `batch height width 1`."""
        predictions, targets = jnp.asarray(predictions), jnp.asarray(targets)
        if predictions.size != targets.size:
            raise ValueError(
                f"targets: expected as many pixels as predictions, {predictions.shape}, got "
                f"{targets.shape}"
            )
        scores = predictions.reshape(1, -1, 1)
        options: dict[str, Any] = {"activation": "sigmoid"}
        if self.normalize_method == "clamp":
            options = {"normalize": "clamp"}
        if self.normalize_method == "minmax":
            options = {"activation": "identity"}
            scores = self._stretched(scores)
        value = losses.jaccard(
            scores,
            targets.astype(predictions.dtype).reshape(1, -1, 1),
            pool="batch",
            overlap="product",
            smooth=2 * self.smooth,
            **options,
        )
        return self.weight * value

    def _stretched(self, scores: Array) -> Array:
        low, high = jnp.min(scores), jnp.max(scores)
        varies = high > low
        span = jnp.where(varies, high - low + self.smooth, 1)
        return jnp.where(varies, (scores - low) / span, 0.5)


def _ids(logits: Array, targets: Array) -> tuple[Array, Array]:
    logits, targets = jnp.asarray(logits), _without_channel(targets)
    if logits.ndim != 4:
        raise ValueError(f"logits: expected (batch, height, width, classes), got {logits.shape}")
    if targets.shape != logits.shape[:-1]:
        raise ValueError(
            f"targets: expected class ids of shape {logits.shape[:-1]}, with or without a last "
            f"axis of 1, got {targets.shape}"
        )
    return logits, targets.astype(jnp.int32)


def _without_channel(x: Array) -> Array:
    x = jnp.asarray(x)
    return x[..., 0] if x.ndim == 4 and x.shape[-1] == 1 else x


def _check_choice(name: str, given: str, allowed: tuple[str, ...]) -> None:
    if given not in allowed:
        raise ValueError(f"{name}: expected one of {', '.join(map(repr, allowed))}, got {given!r}")
