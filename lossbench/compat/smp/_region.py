"""smp's losses over regions."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike

from lossbench import _checks, losses
from lossbench.compat._numbers import number
from lossbench.compat.smp._arguments import (
    Weights,
    check_options,
    exclusive,
    independent,
    over_classes,
)


@dataclasses.dataclass(frozen=True, eq=False)
class DiceLoss:
    """Soft Dice of each class over the whole batch, averaged over classes.

    = `losses.dice(..., pool="batch", overlap="l1", smooth=2 * smooth)`, with the cost 0 for a class
    that no pixel has, which still counts in the mean (ours has `absent="skip"` or "smooth"). smp's
    smoothing counts double.

    Attributes:
        mode: "binary", "multiclass" or "multilabel".
        classes: the indices of those that count; None = all.
        log_loss: minus the logarithm of the ratio, in place of one minus it.
        from_logits: false for probabilities.
        smooth: added to numerator and denominator.
        ignore_index: a value of the labels whose pixels are left out.
        eps: the least ratio of which a logarithm is taken.
        class_weights: one a class; the mean divides by their sum.
    """

    mode: str
    classes: Sequence[int] | None = None
    log_loss: bool = False
    from_logits: bool = True
    smooth: float | Array = 0.0
    ignore_index: int | None = None
    eps: float = 1e-7
    class_weights: Weights | None = None

    def __post_init__(self) -> None:
        """Raises for options that the mode does not have."""
        check_options(self.mode, self.class_weights, self.classes)

    def __call__(self, y_pred: ArrayLike, y_true: ArrayLike) -> Array:
        """The loss of the batch, a scalar."""
        return over_classes(_costs(losses.dice, self, y_pred, y_true), *_chosen(self))


@dataclasses.dataclass(frozen=True, eq=False)
class JaccardLoss:
    """Soft intersection over union of each class over the whole batch, averaged over classes.

    = `losses.jaccard(..., pool="batch", overlap="l1", smooth=2 * smooth)`; everything else as in
    `DiceLoss`.

    Attributes:
        mode: see `DiceLoss`; so are all other attributes.
    """

    mode: str
    classes: Sequence[int] | None = None
    log_loss: bool = False
    from_logits: bool = True
    smooth: float | Array = 0.0
    ignore_index: int | None = None
    eps: float = 1e-7
    class_weights: Weights | None = None

    def __post_init__(self) -> None:
        """Raises for options that the mode does not have."""
        check_options(self.mode, self.class_weights, self.classes)

    def __call__(self, y_pred: ArrayLike, y_true: ArrayLike) -> Array:
        """The loss of the batch, a scalar."""
        return over_classes(_costs(losses.jaccard, self, y_pred, y_true), *_chosen(self))


@dataclasses.dataclass(frozen=True, eq=False)
class TverskyLoss:
    """Tversky loss of each class over the whole batch, averaged over classes, to a power.

    = `losses.tversky(..., pool="batch", overlap="l1", smooth=2 * smooth, fp_weight=alpha,
    fn_weight=beta) ** gamma`; everything else as in `DiceLoss`. `losses.focal_tversky` takes the
    power of each class before the mean.

    Attributes:
        mode: see `DiceLoss`; so are the attributes not named here.
        alpha: weight of false positives.
        beta: weight of false negatives.
        gamma: the power of the mean.
    """

    mode: str
    classes: Sequence[int] | None = None
    log_loss: bool = False
    from_logits: bool = True
    smooth: float | Array = 0.0
    ignore_index: int | None = None
    eps: float = 1e-7
    alpha: float | Array = 0.5
    beta: float | Array = 0.5
    gamma: float | Array = 1.0
    class_weights: Weights | None = None

    def __post_init__(self) -> None:
        """Raises for options that the mode does not have."""
        check_options(self.mode, self.class_weights, self.classes)

    def __call__(self, y_pred: ArrayLike, y_true: ArrayLike) -> Array:
        """The loss of the batch, a scalar."""
        costs = _costs(
            losses.tversky,
            self,
            y_pred,
            y_true,
            fp_weight=number(self.alpha),
            fn_weight=number(self.beta),
        )
        mean = over_classes(costs, *_chosen(self))
        return jnp.where(mean > 0, jnp.where(mean > 0, mean, 1) ** self.gamma, 0)


@dataclasses.dataclass(frozen=True, eq=False)
class LovaszLoss:
    """Lovász-softmax ("multiclass") or Lovász hinge (the other modes).

    = `losses.lovasz_softmax(..., absent="skip")` over the classes present, or
    `losses.lovasz_hinge`; `pool="batch"` unless `per_image`, which is the mean over examples. The
    classes of "multilabel" are one problem together, their pixels side by side.

    Attributes:
        mode: "binary", "multiclass" or "multilabel".
        per_image: each example by itself.
        ignore_index: a value of the labels whose pixels are left out.
        from_logits: has no effect, as in smp: logits are expected.
    """

    mode: str
    per_image: bool = False
    ignore_index: int | None = None
    from_logits: bool = True

    def __post_init__(self) -> None:
        """Raises for an unknown mode."""
        check_options(self.mode)

    def __call__(self, y_pred: ArrayLike, y_true: ArrayLike) -> Array:
        """The loss of the batch, a scalar."""
        pool = "example" if self.per_image else "batch"
        if self.mode == "multiclass":
            x, labels, where = exclusive(y_pred, y_true, self.ignore_index)
            value = losses.lovasz_softmax(x, labels, where=where, pool=pool, absent="skip")
            return jnp.mean(value)
        x, labels, where = independent(y_pred, y_true, "binary", self.ignore_index)
        where = None if where is None else where[0]
        value = losses.lovasz_hinge(x[0, ..., None], labels[0] == 1, where=where, pool=pool)
        return jnp.mean(value)


@dataclasses.dataclass(frozen=True, eq=False)
class MCCLoss:
    """One minus the Matthews correlation of the whole batch, for one class.

    It is `losses.mcc(probabilities, ..., activation="identity", pool="batch")` but for what is
    added: `eps` to each of the four counts, which no number added to the ratio's two sides is equal
    to. So it is computed here, as smp does, with the product p t also for soft labels.

    Attributes:
        eps: added to true and false positives and negatives.
    """

    eps: float | Array = 1e-5

    def __call__(self, y_pred: ArrayLike, y_true: ArrayLike) -> Array:
        """The loss of probabilities and labels of equally many elements, a scalar."""
        p, labels, _ = independent(y_pred, y_true, "binary", None)
        p = p.astype(_checks.compute_dtype(p))
        t = labels.astype(p.dtype)
        cells = (p * t, p * (1 - t), (1 - p) * t, (1 - p) * (1 - t))
        tp, fp, fn, tn = (jnp.sum(cell) + self.eps for cell in cells)
        root = jnp.sqrt((tp + fp) * (tp + fn)) * jnp.sqrt((tn + fp) * (tn + fn))
        return 1 - (tp * tn - fp * fn) / root


def _chosen(options: Any) -> tuple[Weights | None, Sequence[int] | None]:
    return options.class_weights, options.classes


def _costs(
    loss: Callable[..., Array], options: Any, y_pred: ArrayLike, y_true: ArrayLike, **more: Any
) -> Array:
    """The cost of each class over the batch, 0 for one that no pixel has."""
    shared = {
        "pool": "batch",
        # The mean over one class alone, which is 0 without it.
        "absent": "skip",
        "overlap": "l1",
        "smooth": 2 * number(options.smooth),
        "form": "log" if options.log_loss else "ratio",
        **more,
    }
    multiclass = options.mode == "multiclass"
    if not options.from_logits:
        shared["activation"] = "identity"
    else:
        shared["activation"] = "softmax" if multiclass else "sigmoid"
    if multiclass:
        x, labels, where = exclusive(y_pred, y_true, options.ignore_index)
        costs = jax.vmap(lambda w: loss(x, labels, where=where, class_weights=w, **shared))(
            jnp.eye(x.shape[-1])
        )
    else:
        x, labels, where = independent(y_pred, y_true, options.mode, options.ignore_index)
        costs = jax.vmap(
            lambda x, labels, where: loss(x[..., None], labels[..., None], where=where, **shared)
        )(x, labels, where)
    if options.log_loss:
        return jnp.minimum(costs, -jnp.log(jnp.asarray(options.eps, costs.dtype)))
    return costs
