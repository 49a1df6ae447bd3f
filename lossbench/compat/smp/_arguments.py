"""smp's modes in our terms."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike

from lossbench import _checks

MODES = ("binary", "multiclass", "multilabel")
Weights = Sequence[float] | np.ndarray | Array


def check_options(
    mode: str, class_weights: Weights | None = None, classes: Sequence[int] | None = None
) -> None:
    """Raises for an unknown mode, and for options that one class cannot have."""
    _checks.choice("mode", mode, MODES)
    if mode == "binary" and class_weights is not None:
        raise ValueError("class_weights: there is one class in the mode 'binary'")
    if mode == "binary" and classes is not None:
        raise ValueError("classes: there is one class in the mode 'binary'")


def exclusive(
    y_pred: ArrayLike, y_true: ArrayLike, ignore_index: int | None
) -> tuple[Array, Array, Array | None]:
    """The mode "multiclass": logits `batch *space classes`, ids and where `batch *space`."""
    x, ids = _floating(y_pred), jnp.asarray(y_true)
    if not jnp.issubdtype(ids.dtype, jnp.integer):
        raise ValueError(f"y_true: expected class ids (integer), got {ids.dtype}")
    x = jnp.moveaxis(x, 1, -1)
    ids = _reshaped(ids, x.shape[:-1], "class ids")
    return x, ids, None if ignore_index is None else ids != ignore_index


def independent(
    y_pred: ArrayLike, y_true: ArrayLike, mode: str, ignore_index: int | None
) -> tuple[Array, Array, Array | None]:
    """The other modes, class by class: logits and labels `classes batch pixels`, and where.

    In the mode "binary" there is one class, whatever the shape.
    """
    x, labels = _floating(y_pred), jnp.asarray(y_true)
    if mode == "binary":
        shape = (1, x.shape[0], x.size // max(x.shape[0], 1))
        labels = _reshaped(labels, (x.shape[0], shape[-1]), "as many as y_pred has").reshape(shape)
        x = x.reshape(shape)
    else:
        labels = _reshaped(labels, x.shape, "the shape of y_pred")
        x, labels = (jnp.moveaxis(a.reshape(*a.shape[:2], -1), 1, 0) for a in (x, labels))
    return x, labels, None if ignore_index is None else labels != ignore_index


def over_classes(costs: Array, weights: Weights | None, classes: Sequence[int] | None) -> Array:
    """The weighted mean of one cost a class, over those chosen."""
    total = jnp.asarray(1.0 if weights is None else weights, costs.dtype)
    if weights is not None:
        _checks.shape("class_weights", total, costs.shape, "one weight a class")
    total = jnp.broadcast_to(total, costs.shape)
    if classes is not None:
        chosen = np.asarray(classes)
        costs, total = costs[chosen], total[chosen]
    return jnp.sum(costs * total) / jnp.sum(total)


def _floating(y_pred: ArrayLike) -> Array:
    x = jnp.asarray(y_pred)
    _checks.floating(y_pred=x)
    if x.ndim < 2:
        raise ValueError(f"y_pred: expected shape (batch, classes, *space), got {x.shape}")
    return x


def _reshaped(labels: Array, shape: tuple[int, ...], meaning: str) -> Array:
    if labels.shape[:1] != shape[:1] or labels.size != np.prod(shape, dtype=int):
        raise ValueError(f"y_true: expected shape {shape} ({meaning}), got {labels.shape}")
    return labels.reshape(shape)
