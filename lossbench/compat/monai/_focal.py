"""MONAI's focal loss."""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from lossbench import losses
from lossbench.compat.monai._arguments import (
    Arrays,
    Weight,
    arrays,
    check_not_negative,
    check_reduction,
    kept_classes,
    warn_ignored,
)


@dataclasses.dataclass(frozen=True, eq=False)
class FocalLoss:
    """Focal loss of a sigmoid a channel, or with `use_softmax=True` of a softmax.

    = `losses.sigmoid_focal` or `losses.focal`, averaged over examples, pixels and classes: with the
    softmax that is 1 / classes of our mean over pixels. A sigmoid's target that is not of ids may
    hold shares; the loss is then `losses.binary_cross_entropy` times `sigmoid(-x (2 t - 1))^gamma`.

    As in MONAI: with `ignore_index` the mean divides by the pixels that count, without the classes,
    so it is that many times larger, whether or not anything is ignored. "sum" is a mean over space,
    summed over examples and classes. `include_background=False` removes channel 0 before the
    softmax, and a number as `alpha` is then ignored. A sequence as `alpha` weighs the positives of
    each channel of a sigmoid and leaves its negatives at 1.

    Not as in MONAI: a softmax over one channel, whose loss is 0 whatever the input, is an error.
    The gradient with `gamma < 1` is finite where a pixel is won outright.

    Attributes:
        include_background: false removes channel 0.
        to_onehot_y: true for a target of class ids.
        gamma: how fast the weight of a won pixel falls.
        alpha: balance, a number or one a channel that counts.
        weight: of a channel, a number or one a channel that counts.
        reduction: "mean", "sum", "none" (`batch classes *space`).
        use_softmax: softmax over channels in place of a sigmoid of each.
        ignore_index: a class or any other id whose pixels are left out.
    """

    include_background: bool = True
    to_onehot_y: bool = False
    gamma: float = 2.0
    alpha: Weight | None = None
    weight: Weight | None = None
    reduction: str = "mean"
    use_softmax: bool = False
    ignore_index: int | None = None

    def __post_init__(self) -> None:
        """Raises for options outside MONAI's."""
        check_reduction(self.reduction)
        check_not_negative(weight=self.weight)

    def __call__(self, input: Array, target: Array) -> Array:
        """The loss of `input`, `batch channel *space`, a target like it or of ids (1 channel)."""
        x = arrays(input, target, to_onehot_y=self.to_onehot_y, ignore_index=self.ignore_index)
        count = int(kept_classes(x.classes, self.include_background).sum())
        if self.use_softmax and count == 1:
            raise ValueError(
                "use_softmax=True over one channel that counts: it is 1 whatever the input, so it "
                "would train nothing; leave use_softmax out"
            )
        alpha, weights = self.alpha, _per_channel("weight", self.weight, count)
        if alpha is not None and np.ndim(alpha):
            alpha = _per_channel("alpha", alpha, count)
        elif alpha is not None and self.use_softmax and not self.include_background:
            warn_ignored("a number as alpha, with use_softmax=True and include_background=False,")
            alpha = None
        costs = _softmax if self.use_softmax else _sigmoid
        kind = "none" if self.reduction == "none" else "sum"
        costs = costs(x, x.classes - count, self.gamma, alpha, weights, kind)
        if self.reduction == "none":
            return costs
        batch, *space = x.logits.shape[:-1]
        pixels = jnp.full((batch,), math.prod(space), costs.dtype)
        if x.where is not None:
            pixels = jnp.sum(x.where.reshape(batch, -1), axis=1).astype(costs.dtype)
        if self.reduction == "sum":
            if not space:
                raise ValueError(
                    'input: without a spatial axis the "sum" of MONAI is a mean over the batch and '
                    'the classes, which is not reproduced; use reduction="mean"'
                )
            return jnp.sum(costs / jnp.maximum(pixels, 1))
        elements = jnp.sum(pixels) * (count if x.where is None else 1)
        return jnp.sum(costs) / jnp.maximum(elements, 1)


def _per_channel(name: str, given: Weight | None, count: int) -> Array:
    """One number a channel that counts."""
    values = jnp.asarray(1.0 if given is None else given, jnp.float32)
    if values.ndim and (values.shape != (count,) or (name == "weight" and count == 1)):
        several = f" or {count} of them, one for each channel that counts" if count > 1 else ""
        raise ValueError(f"{name}: expected a number{several}, got shape {values.shape}")
    return jnp.broadcast_to(values, (count,))


def _softmax(
    x: Arrays, first: int, gamma: float, alpha: Any, weights: Array, reduction: str
) -> Array:
    """The costs summed to `batch`, or for each pixel and class `batch classes *space`."""
    logits, labels, where = x.logits[..., first:], x.labels, x.where
    if x.has_ids and first:  # what belongs to a class that does not count costs nothing
        foreground = labels >= first
        labels = labels - first
        where = foreground if where is None else where & foreground
    elif first:
        labels = labels[..., first:]
    if alpha is not None and jnp.ndim(alpha):
        weights, alpha = weights * jnp.asarray(alpha), None

    def costs(class_weights: Array) -> Array:
        return losses.focal(
            logits,
            labels,
            where=where,
            gamma=gamma,
            alpha=alpha,
            class_weights=class_weights,
            reduction=reduction,
        )

    if reduction == "sum":
        return costs(weights)
    return jnp.moveaxis(jax.vmap(costs)(jnp.diag(weights)), 0, 1)


def _sigmoid(
    x: Arrays, first: int, gamma: float, alpha: Any, weights: Array, reduction: str
) -> Array:
    """The costs summed to `batch`, or for each pixel and class `batch classes *space`."""
    logits, labels = x.logits[..., first:], x.labels
    by_channel = alpha is not None and jnp.ndim(alpha) > 0
    options: dict[str, Any] = {"where": x.where, "reduction": reduction}
    if x.has_ids:
        options["gamma"] = gamma
        channels = jnp.arange(first, x.classes).reshape(*[1] * labels.ndim, -1)
        members = labels[..., None] == channels

        def costs(alpha: Any, class_weights: Array) -> Array:
            return losses.sigmoid_focal(
                logits, members, alpha=alpha, class_weights=class_weights, **options
            )

        if by_channel:  # of the positives alone; the negatives keep the weight 1
            value = costs(1.0, weights * jnp.asarray(alpha)) + costs(0.0, weights)
        else:
            value = costs(alpha, weights)
        return value if reduction == "sum" else jnp.moveaxis(value, -1, 1)
    # One value a class may be a share, whose focus MONAI has a form of its own for.
    t = labels[..., first:]
    options["reduction"] = "none"
    each = losses.binary_cross_entropy(logits, t, class_weights=weights, **options)
    each = each * jnp.exp(gamma * jax.nn.log_sigmoid(-logits * (2 * t - 1)))
    if by_channel:
        each = each * jnp.where(t == 1, jnp.asarray(alpha).reshape(*[1] * (t.ndim - 1), -1), 1)
    elif alpha is not None:
        each = each * (alpha * t + (1 - jnp.asarray(alpha)) * (1 - t))
    each = jnp.moveaxis(each, -1, 1)
    return each if reduction == "none" else jnp.sum(each, axis=range(1, each.ndim))
