"""MONAI's arrays and options in our terms: channels first, one-hot targets, ignored indices."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

Weight = Sequence[float] | float | np.ndarray | Array

REDUCTIONS = ("mean", "sum", "none")


class Arrays(NamedTuple):
    """Input and target with the channels last.

    Attributes:
        logits: `batch *space classes`, activated already if the activation is "identity".
        labels: class ids `batch *space`, or one value a class `batch *space classes`.
        where: `batch *space`, true = counted; None counts everything.
    """

    logits: Array
    labels: Array
    where: Array | None

    @property
    def classes(self) -> int:
        """The number of channels."""
        return self.logits.shape[-1]

    @property
    def has_ids(self) -> bool:
        """True for class ids, false for one value a class."""
        return self.labels.ndim < self.logits.ndim

    def one_hot(self) -> Array:
        """The labels as one value a class."""
        if not self.has_ids:
            return self.labels
        return jax.nn.one_hot(self.labels, self.classes, dtype=self.logits.dtype)


def check_reduction(reduction: str, allowed: tuple[str, ...] = REDUCTIONS) -> None:
    """Raises for a reduction that the loss does not have; MONAI's enumerations are strings."""
    if reduction not in allowed:
        names = ", ".join(map(repr, allowed))
        raise ValueError(f"reduction: expected one of {names}, got {reduction!r}")


def check_activation(sigmoid: bool, softmax: bool, other_act: Callable | None) -> None:
    """Raises for more than one activation."""
    if other_act is not None and not callable(other_act):
        raise TypeError(f"other_act: expected a function or None, got {type(other_act).__name__}")
    if sigmoid + softmax + (other_act is not None) > 1:
        raise ValueError("give at most one of sigmoid=True, softmax=True and other_act")


def check_not_negative(**values: Any) -> None:
    """Raises for a negative number; arrays that are being traced pass."""
    for name, value in values.items():
        if value is None:
            continue
        try:
            lowest = np.min(np.asarray(value))
        except jax.errors.TracerArrayConversionError:
            continue
        if lowest < 0:
            raise ValueError(f"{name}: expected no negative number, got {value}")


def arrays(
    input: Array, target: Array, *, to_onehot_y: bool = False, ignore_index: int | None = None
) -> Arrays:
    """Brings the channels to the end and finds what is ignored.

    A target of ids stays one. As in MONAI, `ignore_index` is compared with the ids of a target of
    one channel; of a one-hot target it names a channel, or, if there is none of that number, the
    pixels without any class.
    """
    input, target = jnp.asarray(input), jnp.asarray(target)
    if not jnp.issubdtype(input.dtype, jnp.floating):
        raise ValueError(f"input: expected a floating dtype, got {input.dtype}")
    if input.ndim < 2:
        raise ValueError(f"input: expected shape (batch, channel, *space), got {input.shape}")
    classes = input.shape[1]
    if to_onehot_y and classes == 1:
        warn_ignored("to_onehot_y=True")
    if to_onehot_y and classes > 1:
        target = target[:, None] if target.ndim == 1 else target
        check_shape(target, (input.shape[0], 1, *input.shape[2:]), "batch, 1, *space; class ids")
        labels = target[:, 0].astype(jnp.int32)
        where = None if ignore_index is None else labels != ignore_index
    else:
        check_shape(target, input.shape, "the shape of input; with class ids, to_onehot_y=True")
        labels = jnp.moveaxis(target.astype(input.dtype), 1, -1)
        where = None if ignore_index is None else _where_of_one_hot(labels, ignore_index)
    return Arrays(jnp.moveaxis(input, 1, -1), labels, where)


def _where_of_one_hot(labels: Array, ignore_index: int) -> Array:
    classes = labels.shape[-1]
    if classes == 1:
        return labels[..., 0] != ignore_index
    if 0 <= ignore_index < classes:
        return labels[..., ignore_index] == 0
    return jnp.any(labels > 0, axis=-1)


def check_shape(target: Array, expected: tuple[int, ...], meaning: str) -> None:
    """Raises unless the target has the shape."""
    if target.shape != expected:
        raise ValueError(f"target: expected shape {expected} ({meaning}), got {target.shape}")


def warn_ignored(option: str) -> None:
    """MONAI's warning for an option that needs several channels."""
    warnings.warn(f"one channel: {option} is ignored, as in MONAI", stacklevel=3)


def activate(
    input: Array, *, sigmoid: bool, softmax: bool, other_act: Callable | None
) -> tuple[Array, str]:
    """The input, and what our losses are to do with it: their own activation or "identity".

    `other_act` sees the array as MONAI's would, channels first.
    """
    if sigmoid:
        return input, "sigmoid"
    if softmax and input.shape[1] > 1:
        return input, "softmax"
    if softmax:
        warn_ignored("softmax=True")
    return (jnp.asarray(input) if other_act is None else other_act(jnp.asarray(input))), "identity"


def kept_classes(classes: int, include_background: bool) -> np.ndarray:
    """1 for the classes that count, 0 for a background that does not."""
    kept = np.ones(classes, np.float32)
    if not include_background and classes == 1:
        warn_ignored("include_background=False")
    elif not include_background:
        kept[0] = 0
    return kept


def region(
    loss: Callable[..., Array],
    x: Arrays,
    *,
    batch: bool,
    include_background: bool,
    reduction: str,
    weight: Weight | None = None,
    **options: Any,
) -> Array:
    """Reduces a loss of ours over regions as MONAI does: a plain mean over examples and classes.

    Ours divides by the sum of the class weights, MONAI by the number of classes.

    Returns:
        A scalar, or with "none" `batch classes` (`classes` with `batch=True`).
    """
    if x.logits.ndim < 3:
        raise ValueError(
            "input: without a spatial axis MONAI sums over the batch and the classes as well, "
            "which is not reproduced; give it one, input[..., None]"
        )
    kept = kept_classes(x.classes, include_background)
    weights = jnp.asarray(kept, x.logits.dtype)
    count = int(kept.sum())
    if weight is not None and count > 1:
        given = jnp.asarray(weight, x.logits.dtype)
        if given.ndim and given.shape != (count,):
            raise ValueError(
                f"weight: expected a number or {count} of them, one for each class that counts "
                f"(the background is not among them with include_background=False), got shape "
                f"{given.shape}"
            )
        weights = weights.at[x.classes - count :].multiply(given)

    def costs(class_weights: Array) -> Array:
        pool = "batch" if batch else "example"
        return loss(
            x.logits, x.labels, where=x.where, pool=pool, class_weights=class_weights, **options
        )

    if reduction == "none":
        each = jax.vmap(costs)(jnp.eye(x.classes, dtype=weights.dtype)[x.classes - count :])
        return jnp.moveaxis(each, 0, -1) * _against(weights[x.classes - count :], batch)
    total = costs(weights) * jnp.sum(weights)
    return jnp.sum(total) if reduction == "sum" else jnp.mean(total) / count


def _against(weights: Array, batch: bool) -> Array:
    """The weights of the classes, to be multiplied with `classes` or `batch classes`."""
    return weights if batch else weights[None]


def spread(value: Array, ndim: int) -> Array:
    """Axes of length 1 in place of space, as MONAI leaves them for arrays of `ndim` axes."""
    return value.reshape(*value.shape, *[1] * (ndim - 2))
