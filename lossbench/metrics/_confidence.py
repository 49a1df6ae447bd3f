"""Probabilities against what came true: read from arrays, in rows, as confidence and success."""

import math
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Shaped

from lossbench import _checks
from lossbench.ops.classes import largest_of_classes

# How far rounding may take a probability out of 0 to 1, at least.
ROUNDING = 1e-3


class Forecast(NamedTuple):
    """Probabilities of the classes of each pixel, and what is true; space is flat.

    Attributes:
        probabilities: at least float32, from 0 to 1; 0 where not counted.
        labels: class ids, of a single class 0 and 1, and 0 where not counted; or bool, one mask a
            class.
        counted: the pixels that count, have a true class and are given probabilities.
        invalid: the examples in which a pixel counts that is given something else.
    """

    probabilities: Float[Array, "batch pixels classes"]
    labels: Shaped[Array, "batch pixels *classes"]
    counted: Bool[Array, "batch pixels"]
    invalid: Bool[Array, " batch"]

    @property
    def classes(self) -> int:
        """The number of classes."""
        return self.probabilities.shape[-1]

    def truth(self) -> Bool[Array, "batch pixels classes"]:
        """The labels as one mask a class."""
        if self.labels.ndim == 3:
            return self.labels
        first = 1 if self.classes == 1 else 0
        ids = jnp.arange(first, first + self.classes, dtype=self.labels.dtype)
        return self.labels[..., None] == ids[None, None]


class Pooled(NamedTuple):
    """What all pixels of a stream come to.

    Attributes:
        value: one number; NaN if there is none.
        undefined: 1 if there is none, else 0.
    """

    value: Float[Array, ""]
    undefined: Int[Array, ""]


class Judged(NamedTuple):
    """What was said with which confidence, and whether it was so; a row an example, or a class.

    Attributes:
        confidence: float32, from 0 to 1.
        right: whether it was so.
        counted: what counts.
        invalid: the rows with a confidence that is none, which have no value.
    """

    confidence: Float[Array, "rows n"]
    right: Bool[Array, "rows n"]
    counted: Bool[Array, "rows n"]
    invalid: Bool[Array, " rows"]


def check(
    probabilities: Array,
    labels: Array,
    where: Array | None,
    weights: Array | None = None,
    *,
    masks: bool = False,
) -> None:
    """Raises unless these are probabilities with what is true, of shapes that fit.

    Args:
        probabilities: as given by the user, like the others.
        labels: class ids, or a mask for one or two classes.
        where: true = counted.
        weights: one an example; one of weight 0 is padding.
        masks: whether labels may be one mask a class, since the classes need not be exclusive.
    """
    _checks.floating(probabilities=probabilities)
    if probabilities.ndim < 2 or probabilities.size == 0:
        raise ValueError(
            "probabilities: expected shape (batch, *space, classes), not empty, got "
            f"{probabilities.shape}"
        )
    *leading, classes = probabilities.shape
    leading, one_a_class = tuple(leading), probabilities.shape
    is_mask = labels.dtype == jnp.bool_
    if not is_mask and not jnp.issubdtype(labels.dtype, jnp.integer):
        raise ValueError(
            f"labels: expected class ids (integer) or a mask (bool), got {labels.dtype}"
        )
    if not (labels.shape == one_a_class and (classes == 1 or (masks and is_mask))):
        _checks.shape("labels", labels, leading, "batch, *space; class ids")
        if is_mask and classes > 2:
            raise ValueError(f"labels: one mask (bool) cannot tell {classes} classes apart")
    _checks.where(where, leading, "batch, *space")
    if weights is not None:
        _checks.shape("weights", weights, leading[:1], "batch; 0 for padding, else 1")
    if _checks.of_values():
        x = read(probabilities, labels, where, weights)
        _checks.value(~jnp.any(x.invalid), "probabilities: one is NaN or outside 0..1")
        if classes > 1 and not masks:
            off = jnp.where(x.counted, jnp.abs(jnp.sum(x.probabilities, axis=-1) - 1), 0)
            within = off <= _rounding(probabilities, classes)
            _checks.value(jnp.all(within), "probabilities: some do not sum to 1")


def read(
    probabilities: Float[Array, "batch *space classes"],
    labels: Shaped[Array, "batch ..."],
    where: Bool[Array, " batch *space"] | None,
    weights: Float[Array, " batch"] | None = None,
) -> Forecast:
    """Flattens space, and finds out what counts."""
    *leading, classes = probabilities.shape
    flat = (leading[0], math.prod(leading[1:]))
    if labels.ndim == probabilities.ndim and classes > 1:
        labels = labels.reshape(*flat, classes)
    else:
        # Not a bool by its bytes: NumPy has bools of 255.
        ids = jnp.where(labels, 1, 0) if labels.dtype == jnp.bool_ else labels
        labels = ids.astype(jnp.int32).reshape(flat)
    counted = jnp.ones(flat, bool) if where is None else where.reshape(flat)
    if weights is not None:
        counted &= (weights > 0)[:, None]
    if labels.ndim == 2:
        counted &= (labels >= 0) & (labels < max(classes, 2))
        labels = jnp.where(counted, labels, 0)
    p = probabilities.astype(_checks.compute_dtype(probabilities)).reshape(*flat, classes)
    # Few, however many classes: 100 logits in bfloat16 would pass for probabilities otherwise.
    rounding = _rounding(probabilities, 2)
    # Not so for NaN either.
    given = jnp.all((p >= -rounding) & (p <= 1 + rounding), axis=-1)
    invalid = jnp.any(counted & ~given, axis=1)
    counted &= given
    p = jnp.where(counted[..., None], jnp.clip(p, 0, 1), 0)
    return Forecast(p, labels, counted, invalid)


def top_label(x: Forecast) -> Judged:
    """The most probable class, the first of several; of a single class whether it is there."""
    if x.classes == 1:
        confidence, right = x.probabilities[..., 0], x.labels == 1
    else:
        confidence, ids = largest_of_classes(x.probabilities)
        right = ids == x.labels
    return Judged(confidence.astype(jnp.float32), right, x.counted, x.invalid)


def each_class(x: Forecast) -> Judged:
    """Every class by itself, a row an example and class."""
    rows = lambda part: jnp.moveaxis(part, 2, 1).reshape(-1, part.shape[1])  # noqa: E731
    every = lambda part: jnp.repeat(part, x.classes, axis=0)  # noqa: E731
    confidence = rows(x.probabilities).astype(jnp.float32)
    return Judged(confidence, rows(x.truth()), every(x.counted), every(x.invalid))


def pooled(value: Float[Array, ""], undefined: Bool[Array, ""]) -> Pooled:
    """NaN, and counted, if there is no value."""
    return Pooled(jnp.where(undefined, jnp.nan, value), undefined.astype(jnp.int32))


def _rounding(probabilities: Array, numbers: int) -> float:
    """How far rounding may take the sum of so many numbers from 0 to 1 out of that, or from 1."""
    return max(ROUNDING, numbers * float(jnp.finfo(probabilities.dtype).eps))
