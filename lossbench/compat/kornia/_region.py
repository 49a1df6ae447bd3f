"""kornia's losses over regions."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike

from lossbench import _checks, losses
from lossbench.compat._numbers import number
from lossbench.compat.kornia._arguments import Arrays, arrays, per_class


def dice_loss(
    pred: ArrayLike,
    target: ArrayLike,
    average: str = "micro",
    eps: float | Array = 1e-8,
    weight: ArrayLike | None = None,
    ignore_index: int | None = -100,
) -> Array:
    """Soft Dice loss, averaged over classes ("macro") or of all classes in one ratio ("micro").

    With "macro" = `losses.dice(logits, ids, where=ids != ignore_index, class_weights=weight,
    absent="skip", smooth=(0, eps))`, averaged over examples; one without any counted pixel, or
    whose classes all have the weight 0, costs 1 (ours: 0).

    With "micro" it is `1 - 2 sum_c w_c I_c / (sum_c w_c (P_c + T_c) + eps)`, from the pixels' costs
    of `losses.generalized_cross_entropy(..., q=1)`, which are `w_y (1 - p_y)`. Without weights that
    is their mean: a mean absolute error, not a Dice loss.

    Args:
        pred: logits `batch classes height width`.
        target: class ids `batch height width`.
        average: "micro" or "macro".
        eps: added to the denominator alone.
        weight: one a class.
        ignore_index: the id of pixels that are left out; None leaves out none.

    Returns:
        A scalar.

    Raises:
        ValueError: for shapes that do not fit, for one class and for another average.

    Example:
        >>> import jax.numpy as jnp
        >>> pred = jnp.array([[[[9.0, 9.0, 9.0, 9.0]], [[0.0, 0.0, 0.0, 0.0]]]])  # all class 0
        >>> target = jnp.array([[[0, 0, 0, 1]]])
        >>> for average in ("micro", "macro"):
        ...     print(f"{dice_loss(pred, target, average):.3f}")
        0.250
        0.571
    """
    _checks.choice("average", average, ("micro", "macro"))
    x = arrays(pred, target, ignore_index, ndim=4)
    weights = per_class("weight", weight, x.logits.shape[-1])
    if average == "micro":
        return jnp.mean(_micro(x, eps, weights))
    value = losses.dice(
        x.logits,
        x.ids,
        where=x.where,
        class_weights=weights,
        absent="skip",
        smooth=(0.0, number(eps)),
        overlap="product",
    )
    return _mean_of_observed(value, x, weights)


def _micro(x: Arrays, eps: float | Array, weights: Array | None) -> Array:
    """One value an example."""
    if weights is None:
        weights = jnp.ones(x.logits.shape[-1], _checks.compute_dtype(x.logits))
    missed = losses.generalized_cross_entropy(
        x.logits, x.ids, where=x.where, class_weights=weights, q=1.0, reduction="sum"
    )
    space = tuple(range(1, x.ids.ndim))
    counted = jnp.ones(x.ids.shape, bool) if x.where is None else x.where
    logits = jnp.where(counted[..., None], x.logits.astype(weights.dtype), 0)
    mass = jnp.sum(jax.nn.softmax(logits) * weights[None, None, None], axis=-1)
    given = jnp.sum(jnp.where(counted, mass, 0), axis=space)
    true = jnp.sum(jnp.where(counted, jnp.take(weights, x.ids, mode="clip"), 0), axis=space)
    empty = given + true == 0
    score = 2 * (true - missed) / jnp.where(empty, 1, given + true + eps)
    return jnp.where(empty, 1, 1 - score)


def _mean_of_observed(value: Array, x: Arrays, weights: Array | None) -> Array:
    """The mean over examples, of which one without a pixel of any weight costs 1, as in kornia."""
    observed = x.where
    if weights is not None:
        heavy = jnp.take(weights, x.ids, mode="clip") != 0
        observed = heavy if observed is None else heavy & observed
    if observed is not None:
        value = jnp.where(jnp.any(observed, axis=tuple(range(1, x.ids.ndim))), value, 1)
    return jnp.mean(value)


def tversky_loss(
    pred: ArrayLike,
    target: ArrayLike,
    alpha: float | Array,
    beta: float | Array,
    eps: float | Array = 1e-8,
    ignore_index: int | None = -100,
) -> Array:
    """Tversky loss, averaged over the classes present in each example.

    = `losses.tversky(logits, ids, where=ids != ignore_index, fp_weight=alpha, fn_weight=beta,
    absent="skip", smooth=(0, 2 * eps))`, averaged over examples; one without any counted pixel
    costs 1 (ours: 0).

    Args:
        pred: logits `batch classes height width`.
        target: class ids `batch height width`.
        alpha: weight of false positives.
        beta: weight of false negatives.
        eps: added to the denominator alone.
        ignore_index: the id of pixels that are left out; None leaves out none.

    Returns:
        A scalar.
    """
    x = arrays(pred, target, ignore_index, ndim=4)
    value = losses.tversky(
        x.logits,
        x.ids,
        where=x.where,
        fp_weight=number(alpha),
        fn_weight=number(beta),
        absent="skip",
        smooth=(0.0, 2 * number(eps)),
        overlap="product",
    )
    return _mean_of_observed(value, x, None)


def lovasz_hinge_loss(pred: ArrayLike, target: ArrayLike) -> Array:
    """Lovász hinge of one class, averaged over examples.

    = `losses.lovasz_hinge(pred[:, 0, ..., None], target)`.

    Args:
        pred: logits `batch 1 height width`.
        target: 0 and 1, `batch height width`.

    Returns:
        A scalar.
    """
    x, labels = jnp.asarray(pred), jnp.asarray(target)
    if x.ndim != 4 or x.shape[1] != 1:
        raise ValueError(f"pred: expected shape (batch, 1, height, width), got {x.shape}")
    _checks.shape("target", labels, (x.shape[0], *x.shape[2:]), "batch, height, width")
    return jnp.mean(losses.lovasz_hinge(jnp.moveaxis(x, 1, -1), labels == 1))


def lovasz_softmax_loss(
    pred: ArrayLike, target: ArrayLike, weight: ArrayLike | None = None
) -> Array:
    """Lovász-softmax of each example, averaged over all classes and over examples.

    = `losses.lovasz_softmax(logits, ids, class_weights=weight, absent="smooth")`, times the mean of
    the weights, by whose sum kornia does not divide.

    Args:
        pred: logits `batch classes height width`, or of one example, which is held against every
            target.
        target: class ids `batch height width`.
        weight: one a class.

    Returns:
        A scalar.
    """
    x, ids = jnp.asarray(pred), jnp.asarray(target)
    if x.ndim == 4 and x.shape[0] == 1 and ids.ndim == 3:
        x = jnp.broadcast_to(x, (ids.shape[0], *x.shape[1:]))
    logits, ids, _ = arrays(x, ids, None, ndim=4)
    weights = per_class("weight", weight, logits.shape[-1])
    value = losses.lovasz_softmax(logits, ids, class_weights=weights, absent="smooth")
    return jnp.mean(value) * (1.0 if weights is None else jnp.mean(weights))


@dataclasses.dataclass(frozen=True, eq=False)
class DiceLoss:
    """`dice_loss` with its options bound; they are the attributes."""

    average: str = "micro"
    eps: float | Array = 1e-8
    weight: ArrayLike | None = None
    ignore_index: int | None = -100

    def __call__(self, pred: ArrayLike, target: ArrayLike) -> Array:
        """The loss of logits `batch classes height width` and class ids."""
        return dice_loss(pred, target, **vars(self))


@dataclasses.dataclass(frozen=True, eq=False)
class TverskyLoss:
    """`tversky_loss` with its options bound; they are the attributes."""

    alpha: float | Array
    beta: float | Array
    eps: float | Array = 1e-8
    ignore_index: int | None = -100

    def __call__(self, pred: ArrayLike, target: ArrayLike) -> Array:
        """The loss of logits `batch classes height width` and class ids."""
        return tversky_loss(pred, target, **vars(self))


@dataclasses.dataclass(frozen=True, eq=False)
class LovaszHingeLoss:
    """`lovasz_hinge_loss` as an object; it has no options."""

    def __call__(self, pred: ArrayLike, target: ArrayLike) -> Array:
        """The loss of logits `batch 1 height width` and labels of 0 and 1."""
        return lovasz_hinge_loss(pred, target)


@dataclasses.dataclass(frozen=True, eq=False)
class LovaszSoftmaxLoss:
    """`lovasz_softmax_loss` with its weights bound."""

    weight: ArrayLike | None = None

    def __call__(self, pred: ArrayLike, target: ArrayLike) -> Array:
        """The loss of logits `batch classes height width` and class ids."""
        return lovasz_softmax_loss(pred, target, self.weight)
