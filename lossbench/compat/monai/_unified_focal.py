"""MONAI's losses after Yeung et al., of probabilities, for a background and a foreground."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array

from lossbench import losses
from lossbench.compat.monai._arguments import Arrays, arrays, check_reduction


@dataclasses.dataclass(frozen=True, eq=False)
class AsymmetricFocalTverskyLoss:
    """`1 - TI` of channel 0 and `(1 - TI)^(1 - gamma)` of channel 1, averaged.

    = `losses.tversky` and `losses.focal_tversky(..., gamma=1 - gamma)` of probabilities
    (`activation="identity"`), `fp_weight=1 - delta`, `fn_weight=delta`, `smooth=2 * epsilon`.

    As in MONAI the input is probabilities already, and channels from 2 on are ignored. The gradient
    is finite where channel 1 is won outright.

    Attributes:
        to_onehot_y: true for a target of class ids.
        delta: weight of false negatives; MONAI calls it that of the background.
        gamma: focus of channel 1.
        epsilon: probabilities are clipped to epsilon and 1 - epsilon; also the smoothing.
        reduction: "mean", "sum", "none" (`batch 2`).
        ignore_index: a class or any other id whose pixels are left out.
    """

    to_onehot_y: bool = False
    delta: float = 0.7
    gamma: float = 0.75
    epsilon: float = 1e-7
    reduction: str = "mean"
    ignore_index: int | None = None

    def __post_init__(self) -> None:
        """Raises for an unknown reduction."""
        check_reduction(self.reduction)

    def __call__(self, y_pred: Array, y_true: Array) -> Array:
        """The loss of probabilities, `batch channel *space`, a target like it or of ids."""
        x = _two_channels(y_pred, y_true, self.to_onehot_y, self.ignore_index, self.epsilon)
        options = {
            "where": x.where,
            "activation": "identity",
            "fp_weight": 1 - self.delta,
            "fn_weight": self.delta,
            "smooth": 2 * self.epsilon,
            "overlap": "product",
        }
        # Each channel as a loss of one class.
        back = losses.tversky(x.logits[..., :1], x.labels[..., :1], **options)
        fore = losses.focal_tversky(
            x.logits[..., 1:2], x.labels[..., 1:2], gamma=1 - self.gamma, **options
        )
        return _reduce(jnp.stack([back, fore], axis=-1), self.reduction)


@dataclasses.dataclass(frozen=True, eq=False)
class AsymmetricFocalLoss:
    """Focal loss of channel 0 and cross entropy of channel 1, weighted and averaged.

    = `losses.focal` with `gamma` times `1 - delta`, and with `gamma=0` times `delta`, each of a
    channel against the rest.

    As in MONAI the input is probabilities already, channels from 2 on are ignored, and only the
    pixels of its own class cost a channel anything.

    Attributes:
        to_onehot_y: true for a target of class ids.
        delta: weight of channel 1; MONAI calls it that of the background.
        gamma: focus of channel 0.
        epsilon: probabilities are clipped to epsilon and 1 - epsilon.
        reduction: "mean", "sum", "none" (`batch 2 *space`).
        ignore_index: a class or any other id whose pixels are left out.
    """

    to_onehot_y: bool = False
    delta: float = 0.7
    gamma: float = 2.0
    epsilon: float = 1e-7
    reduction: str = "mean"
    ignore_index: int | None = None

    def __post_init__(self) -> None:
        """Raises for an unknown reduction."""
        check_reduction(self.reduction)

    def __call__(self, y_pred: Array, y_true: Array) -> Array:
        """The loss of probabilities, `batch channel *space`, a target like it or of ids."""
        x = _two_channels(y_pred, y_true, self.to_onehot_y, self.ignore_index, self.epsilon)

        def costs(p: Array, own: Array, gamma: Array) -> Array:
            # A softmax of these is p and 1 - p.
            logits = jnp.stack([jnp.log(p), jnp.log1p(-p)], axis=-1)
            labels = jnp.stack([own, jnp.zeros_like(own)], axis=-1)
            return losses.focal(logits, labels, where=x.where, gamma=gamma, reduction="none")

        p, own = x.logits[..., :2], x.labels[..., :2]
        gammas = jnp.stack([jnp.asarray(self.gamma, p.dtype), jnp.zeros((), p.dtype)])
        back, fore = jax.vmap(costs, in_axes=(-1, -1, 0))(p, own, gammas)
        each = jnp.stack([(1 - self.delta) * back, self.delta * fore], axis=1)
        if self.reduction != "mean" or x.where is None:
            return _reduce(each, self.reduction)
        return jnp.sum(each) / jnp.maximum(2 * jnp.sum(x.where), 1).astype(each.dtype)


@dataclasses.dataclass(frozen=True, eq=False)
class AsymmetricUnifiedFocalLoss:
    """`weight * AsymmetricFocalLoss + (1 - weight) * AsymmetricFocalTverskyLoss`.

    Each is the mean of its own, so that `reduction` changes nothing, as in MONAI. One channel is
    taken for the foreground of two. An ignored pixel has probability and target 0 in both, and
    stays in the mean of the first.

    Attributes:
        to_onehot_y: true for a target of class ids.
        num_classes: number of channels of the input.
        weight: share of the focal loss.
        gamma: focus of both.
        delta: see the two losses.
        reduction: "mean", "sum", "none".
        ignore_index: a class or any other id whose pixels are left out.
    """

    to_onehot_y: bool = False
    num_classes: int = 2
    weight: float = 0.5
    gamma: float = 0.5
    delta: float = 0.7
    reduction: str = "mean"
    ignore_index: int | None = None

    def __post_init__(self) -> None:
        """Raises for an unknown reduction."""
        check_reduction(self.reduction)

    def __call__(self, y_pred: Array, y_true: Array) -> Array:
        """The loss of probabilities, `batch channel *space`, a target like it or of ids."""
        y_pred, y_true = jnp.asarray(y_pred), jnp.asarray(y_true)
        if y_pred.ndim not in (4, 5):
            raise ValueError(f"y_pred: expected 2 or 3 spatial axes, got shape {y_pred.shape}")
        single = y_pred.shape[1] == 1
        if self.to_onehot_y and not single and y_pred.shape[1] != self.num_classes:
            raise ValueError(
                f"y_pred: expected num_classes={self.num_classes} channels, got {y_pred.shape[1]}"
            )
        x = arrays(y_pred, y_true, to_onehot_y=self.to_onehot_y, ignore_index=self.ignore_index)
        p, t = jnp.moveaxis(x.logits, -1, 1), jnp.moveaxis(x.one_hot(), -1, 1)
        if single:
            p, t = (jnp.concatenate([1 - one, one], axis=1) for one in (p, t))
        if x.where is not None:
            p, t = (jnp.where(x.where[:, None], one, 0) for one in (p, t))
        focal = AsymmetricFocalLoss(gamma=self.gamma, delta=self.delta)(p, t)
        overlap = AsymmetricFocalTverskyLoss(gamma=self.gamma, delta=self.delta)(p, t)
        return self.weight * focal + (1 - self.weight) * overlap


def _two_channels(
    y_pred: Array, y_true: Array, to_onehot_y: bool, ignore_index: int | None, epsilon: float
) -> Arrays:
    """Clipped probabilities and a target of one value a channel."""
    x = arrays(y_pred, y_true, to_onehot_y=to_onehot_y, ignore_index=ignore_index)
    if x.classes < 2:
        raise ValueError(f"y_pred: expected at least 2 channels, got {x.classes}")
    p = jnp.clip(x.logits, epsilon, 1.0 - epsilon)
    return Arrays(p, x.one_hot(), x.where)


def _reduce(costs: Array, reduction: str) -> Array:
    if reduction == "none":
        return costs
    return jnp.sum(costs) if reduction == "sum" else jnp.mean(costs)
