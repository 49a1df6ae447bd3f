"""What every segmentation loss does first: check its arrays and bring them into one form."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Shaped

from lossbench import _checks

ACTIVATIONS = ("softmax", "sigmoid")
# A hyperparameter that may be traced.
Number = float | int | Array


class Inputs(NamedTuple):
    """The arrays of a segmentation loss: space flat, masked values replaced by harmless ones.

    Attributes:
        logits: float32 (float64 for float64 input), 0 where masked.
        ids: class ids, 0 where masked; None if the labels are one value a class.
        dense: the labels as one value a class, bool or floating, 0 where masked; None with `ids`.
        where: true = counted; None counts everything.
    """

    logits: Float[Array, "batch pixels classes"]
    ids: Int[Array, "batch pixels"] | None
    dense: Shaped[Array, "batch pixels classes"] | None
    where: Bool[Array, "batch pixels"] | None

    @property
    def classes(self) -> int:
        """The number of classes."""
        return self.logits.shape[-1]

    @property
    def labels(self) -> Shaped[Array, "batch pixels *classes"]:
        """The labels: class ids, or one value a class."""
        labels = self.dense if self.ids is None else self.ids
        assert labels is not None
        return labels

    @property
    def soft(self) -> bool:
        """Whether the labels are probabilities."""
        return jnp.issubdtype(self.labels.dtype, jnp.floating)

    def counted(self) -> Float[Array, "batch pixels"] | None:
        """1 where a pixel counts, else 0; None if all of them do."""
        return None if self.where is None else self.where.astype(self.logits.dtype)

    def pixel_count(self) -> Float[Array, " batch"]:
        """The number of pixels that count, for each example."""
        batch, pixels, _ = self.logits.shape
        if self.where is None:
            return jnp.full((batch,), pixels, self.logits.dtype)
        return jnp.sum(self.where, axis=-1, dtype=jnp.int32).astype(self.logits.dtype)


def read(
    logits: Array,
    labels: Array,
    where: Array | None,
    *,
    activation: str,
    activations: tuple[str, ...] = ACTIVATIONS,
) -> Inputs:
    """Checks the arrays of a segmentation loss against the contract and flattens space.

    Args:
        logits: as given by the user, like `labels` and `where`.
        labels: see the contract of a loss.
        where: true = counted.
        activation: "softmax" means exclusive classes.
        activations: what is allowed.

    Raises:
        ValueError: if a shape or dtype breaks the contract; it names the argument.
    """
    logits, labels = jnp.asarray(logits), jnp.asarray(labels)
    _checks.choice("activation", activation, activations)
    _checks.floating(logits=logits)
    if logits.ndim < 2:
        raise ValueError(f"logits: expected shape (batch, *space, classes), got {logits.shape}")
    *leading, classes = logits.shape
    leading, batch = tuple(leading), logits.shape[0]
    if activation == "softmax" and classes == 1:
        raise ValueError(
            "logits: a softmax over one class is 1 whatever the logit, so it would train nothing; "
            'use activation="sigmoid" for one class, or two classes'
        )
    labels, dense = _labels(labels, leading, classes, activation)
    size = math.prod(leading[1:])
    pixels = labels.reshape(batch, size, classes) if dense else labels.reshape(batch, size)
    x = logits.astype(_checks.compute_dtype(logits)).reshape(batch, size, classes)
    if where is not None:
        where = jnp.asarray(where)
        _checks.where(where, leading, "batch, *space")
        where = where.reshape(batch, size)
        # Before anything is computed from them: NaN times 0 would still be NaN.
        x = jnp.where(where[..., None], x, 0)
        mask = where[..., None] if dense else where
        pixels = jnp.where(mask, pixels, jnp.zeros((), pixels.dtype))
    if dense and jnp.issubdtype(pixels.dtype, jnp.integer):  # one class, as 0 and 1
        _check_ids(pixels, 2)
        pixels = pixels == 1
    # Probabilities of half precision sum to 1 as well as half precision can.
    tolerance = 1e-3
    if jnp.issubdtype(pixels.dtype, jnp.floating):
        tolerance = max(tolerance, classes * float(jnp.finfo(pixels.dtype).eps))
        pixels = pixels.astype(x.dtype)
    inputs = Inputs(x, None if dense else pixels, pixels if dense else None, where)
    _check_values(inputs, activation, tolerance)
    return inputs


def _labels(
    labels: Array, leading: tuple[int, ...], classes: int, activation: str
) -> tuple[Array, bool]:
    """The labels as class ids (False) or as one value a class (True), by dtype.

    The ids of a single class, 0 and 1, come as one (integer) value a class.
    """
    one_a_class = (*leading, classes)
    if jnp.issubdtype(labels.dtype, jnp.floating):
        _checks.shape("labels", labels, one_a_class, "batch, *space, classes; class probabilities")
        return labels, True
    if jnp.issubdtype(labels.dtype, jnp.integer):
        if classes == 1 and labels.shape == one_a_class:
            labels = labels[..., 0]
        _checks.shape("labels", labels, leading, "batch, *space; class ids")
        ids = labels.astype(jnp.int32)
        return (ids[..., None], True) if classes == 1 else (ids, False)
    if labels.dtype != jnp.bool_:
        raise ValueError(f"labels: expected an integer, bool or floating dtype, got {labels.dtype}")
    if labels.shape == one_a_class:
        return labels, True
    if labels.shape in (leading, (*leading, 1)):
        mask = labels.reshape(leading)
        if classes == 1:
            return mask[..., None], True
        if classes == 2 and activation == "softmax":
            return mask.astype(jnp.int32), False
        raise ValueError(
            f"labels: a binary mask of shape {labels.shape} cannot tell {classes} classes apart; "
            f"expected one mask a class, {one_a_class}, or integer class ids, {leading}"
        )
    raise ValueError(
        f"labels: expected a mask of shape {leading} or one mask a class, {one_a_class}, "
        f"got {labels.shape}"
    )


def _check_values(inputs: Inputs, activation: str, tolerance: float) -> None:
    """Debug mode only; masked values have been replaced and pass."""
    if not _checks.of_values():
        return
    x = inputs.logits
    _checks.value(jnp.all(jnp.isfinite(x)), "logits: a value is NaN or infinite")
    if activation == "identity":
        fits = jnp.all((x >= 0) & (x <= 1))
        _checks.value(fits, 'logits: with activation="identity" a value is outside 0..1')
    if inputs.ids is not None:
        _check_ids(inputs.ids, inputs.classes)
        return
    assert inputs.dense is not None
    labels = inputs.dense.astype(x.dtype)
    inside = jnp.all((labels >= 0) & (labels <= 1))
    _checks.value(inside, "labels: a probability is NaN or outside 0..1")
    if activation == "softmax":
        total = jnp.sum(labels, axis=-1)
        if inputs.where is not None:
            total = jnp.where(inputs.where, total, 1)
        worst = jnp.max(jnp.abs(total - 1))
        _checks.value(
            worst < tolerance, "labels: probabilities do not sum to 1 (off by {worst})", worst=worst
        )


def _check_ids(ids: Array, classes: int) -> None:
    if not _checks.of_values():
        return
    if ids.size == 0:
        return
    low, high = jnp.min(ids), jnp.max(ids)
    message = f"labels: a class id is outside 0..{classes - 1} (from {{low}} to {{high}})"
    _checks.value((low >= 0) & (high < classes), message, low=low, high=high)


def class_weighting(
    class_weights: Array | None, classes: int, dtype: jnp.dtype, *, name: str = "class_weights"
) -> Float[Array, " classes"]:
    """The weights of the classes, ones by default."""
    if class_weights is None:
        return jnp.ones((classes,), dtype)
    weights = jnp.asarray(class_weights, dtype)
    _checks.shape(name, weights, (classes,), "one weight a class, background included")
    return weights


def number(value: Number, like: Array) -> Float[Array, "..."]:
    """A hyperparameter in the dtype of the computation, whatever a user or a sweep gives."""
    return jnp.asarray(value, _checks.compute_dtype(jnp.asarray(like)))


def given_weights(
    class_weights: Array | None, classes: int, dtype: jnp.dtype
) -> Float[Array, " classes"] | None:
    """The weights of the classes, None by default: nothing is multiplied then."""
    return None if class_weights is None else class_weighting(class_weights, classes, dtype)


def divide(numerator: Array, denominator: Array, empty: float = 0.0) -> Array:
    """`numerator / denominator`, and `empty` with gradient 0 where the denominator is 0.

    A denominator too small for a normal number is taken for 0. One of NaN gives NaN: what has
    diverged must not look like what is empty.
    """
    return jnp.where(_divides(denominator), _quotient(numerator, denominator), empty)


def _divides(denominator: Array) -> Array:
    return ~(denominator < jnp.finfo(denominator.dtype).tiny)


@jax.custom_jvp
def _quotient(numerator: Array, denominator: Array) -> Array:
    """A quotient whose derivative holds no `1 / denominator**2`, which would overflow."""
    defined = _divides(denominator)
    return jnp.where(defined, numerator / jnp.where(defined, denominator, 1), 0)


@_quotient.defjvp
def _quotient_jvp(primals, tangents):
    quotient, defined = _quotient(*primals), _divides(primals[1])
    change = tangents[0] - quotient * tangents[1]
    return quotient, jnp.where(defined, change / jnp.where(defined, primals[1], 1), 0)
