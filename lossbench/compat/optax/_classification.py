"""optax's pixel-wise losses."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike

from lossbench import _checks, losses
from lossbench.compat import _focal
from lossbench.compat._numbers import number
from lossbench.compat.optax._axes import Axes, from_front


def softmax_cross_entropy(
    logits: ArrayLike, labels: ArrayLike, axis: Axes = -1, where: ArrayLike | None = None
) -> Array:
    """Cross entropy of a softmax over `axis`, for labels that are one value a class.

    = `losses.cross_entropy(logits, labels, where=where, reduction="none")`.

    Args:
        logits: raw scores.
        labels: one-hot or probabilities, broadcast to the shape of logits.
        axis: one or several axes of classes; None is all of them.
        where: true = counted, in the shape of logits without `axis`; or in the shape of logits,
            which leaves single classes out of softmax and sum.

    Returns:
        The shape of logits without `axis`.
    """
    return _over_classes(losses.cross_entropy, logits, labels, axis, where)


def poly_loss_cross_entropy(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    epsilon: float | Array = 2.0,
    axis: Axes = -1,
    where: ArrayLike | None = None,
) -> Array:
    """Cross entropy plus `epsilon` times what the label's probability lacks.

    = `losses.poly_cross_entropy(logits, labels, epsilon=epsilon, where=where, reduction="none")`.

    Args:
        logits: raw scores.
        labels: one-hot or probabilities (floating), broadcast to the shape of logits.
        epsilon: weight of the polynomial's first term.
        axis: see `softmax_cross_entropy`.
        where: see `softmax_cross_entropy`.

    Returns:
        The shape of logits without `axis`.
    """
    _checks.floating(labels=jnp.asarray(labels))
    return _over_classes(
        losses.poly_cross_entropy, logits, labels, axis, where, epsilon=number(epsilon)
    )


def softmax_cross_entropy_with_integer_labels(
    logits: ArrayLike,
    labels: ArrayLike,
    axis: Axes = -1,
    where: ArrayLike | None = None,
) -> Array:
    """Cross entropy of a softmax over `axis`, for class ids.

    = `losses.cross_entropy(logits, labels, where=where, reduction="none")`.

    Args:
        logits: raw scores.
        labels: class ids (integer), in the shape of logits without `axis`; with several axes an id
            counts through them in C order.
        axis: one or several axes of classes.
        where: see `softmax_cross_entropy`.

    Returns:
        The shape of logits without `axis`.
    """
    x, ids = jnp.asarray(logits), jnp.asarray(labels)
    _checks.floating(logits=x)
    if not jnp.issubdtype(ids.dtype, jnp.integer):
        raise ValueError(f"labels: expected an integer dtype, got {ids.dtype}")
    axes = from_front(axis, x.ndim)
    x, counted, classes = _masked(x, axes, where)
    ids = jnp.broadcast_to(ids, x.shape[:-1])
    if classes is not None and counted is not None:
        own = jnp.take_along_axis(classes, ids[..., None], axis=-1, mode="clip")[..., 0]
        counted = counted & own
    return _unreduced(losses.cross_entropy, x, ids, counted)


def sigmoid_binary_cross_entropy(logits: ArrayLike, labels: ArrayLike) -> Array:
    """Cross entropy of a sigmoid for each element by itself.

    = `losses.binary_cross_entropy(logits, labels, reduction="none")`.

    Args:
        logits: raw scores of any shape.
        labels: 0, 1 or between them; logits and labels are broadcast against each other.

    Returns:
        The shape of logits.
    """
    x, t = _broadcast(logits, labels)
    costs = losses.binary_cross_entropy(
        _focal.as_pixels(x), _focal.as_pixels(t.astype(_checks.compute_dtype(x))), reduction="none"
    )
    return costs.reshape(x.shape)


def sigmoid_focal_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    alpha: float | Array | None = None,
    gamma: float | Array = 2.0,
) -> Array:
    """Focal loss of a sigmoid for each element by itself.

    = `losses.sigmoid_focal(logits, labels, alpha=alpha, gamma=gamma, reduction="none")` for labels
    of 0 and 1. A label between them costs, as in optax, its cross entropy times
    `(1 - p_t) ** gamma` with `p_t = t p + (1 - t) (1 - p)`; ours mixes the costs of 1 and 0.

    Args:
        logits: raw scores of any shape.
        labels: 0, 1 or between them; logits and labels are broadcast against each other.
        alpha: weight of the positives, the negatives get 1 - alpha; None is no balance.
        gamma: how fast the weight of a won element falls.

    Returns:
        The shape of logits.
    """
    return _focal.elementwise(*_broadcast(logits, labels), alpha=alpha, gamma=gamma)


def _over_classes(
    loss: Callable[..., Array],
    logits: ArrayLike,
    labels: ArrayLike,
    axis: Axes,
    where: ArrayLike | None,
    **options: Any,
) -> Array:
    x, t = _broadcast(logits, labels)
    axes = from_front(axis, x.ndim)
    x, counted, classes = _masked(x, axes, where)
    t = _last(t.astype(_checks.compute_dtype(x)), axes)
    if classes is not None:
        t = jnp.where(classes, t, 0)
    return _unreduced(loss, x, t, counted, **options)


def _unreduced(
    loss: Callable[..., Array], x: Array, labels: Array, counted: Array | None, **options: Any
) -> Array:
    """Calls a loss of `... classes` on `batch *space classes`."""
    if x.ndim > 1:
        return loss(x, labels, where=counted, reduction="none", **options)
    counted = None if counted is None else counted[None]
    return loss(x[None], labels[None], where=counted, reduction="none", **options)[0]


def _masked(
    x: Array, axes: tuple[int, ...], where: ArrayLike | None
) -> tuple[Array, Array | None, Array | None]:
    """Logits with the classes last, where any class counts, and which of them do if that differs.

    A class that does not count gets a logit of which a softmax leaves exactly nothing.
    """
    if where is None:
        return _last(x, axes), None, None
    counts = jnp.asarray(where, bool)
    if counts.ndim != x.ndim:
        rest = tuple(x.shape[i] for i in range(x.ndim) if i not in axes)
        return _last(x, axes), jnp.broadcast_to(counts, rest), None
    counts = _last(jnp.broadcast_to(counts, x.shape), axes)
    x = jnp.where(counts, _last(x.astype(_checks.compute_dtype(x)), axes), 0)
    nothing = jax.lax.stop_gradient(jnp.min(x, axis=-1, keepdims=True)) - 1e4
    return jnp.where(counts, x, nothing), jnp.any(counts, axis=-1), counts


def _broadcast(logits: ArrayLike, labels: ArrayLike) -> tuple[Array, Array]:
    x, t = jnp.asarray(logits), jnp.asarray(labels)
    _checks.floating(logits=x)
    shape = jnp.broadcast_shapes(x.shape, t.shape)
    return jnp.broadcast_to(x, shape), jnp.broadcast_to(t, shape)


def _last(x: Array, axes: tuple[int, ...]) -> Array:
    """The axes flat and last."""
    rest = tuple(i for i in range(x.ndim) if i not in axes)
    return x.transpose(*rest, *axes).reshape(*(x.shape[i] for i in rest), -1)
