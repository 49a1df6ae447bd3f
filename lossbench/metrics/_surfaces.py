"""The surfaces of two masks, and the distance of each element of one to the other."""

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from lossbench import _checks
from lossbench.metrics import _surfels
from lossbench.ops.distance import distance_transform

DEFINITIONS = ("monai", "deepmind", "pooled")

# A distance that equals a bound is within it, though rounding has lifted it a little.
ROUNDING = 1 + 1e-6


class Surface(NamedTuple):
    """The elements of a surface, as an array over a grid in which most places hold none.

    Attributes:
        distances: of each element to the other surface; 0 where there is no element.
        elements: true for an element, where all of them count alike; else their areas.
    """

    distances: Float[Array, "batch n"]
    elements: Bool[Array, "batch n"] | Float[Array, "batch n"]


class Surfaces(NamedTuple):
    """The surfaces of predictions and labels.

    Attributes:
        predicted: distances from the prediction's surface to the label's.
        true: distances from the label's surface to the prediction's.
        one_empty: where exactly one of both masks is empty: the distances mean nothing.
        both_empty: where both masks are.
        diagonal: of the image, in the unit of the spacing.
    """

    predicted: Surface
    true: Surface
    one_empty: Bool[Array, " batch"]
    both_empty: Bool[Array, " batch"]
    diagonal: float


def surfaces(
    predictions: Array, labels: Array, *, spacing: Sequence[float | int], definition: str
) -> Surfaces:
    """Finds both surfaces and measures one distance transform of each.

    Two metrics of the same masks in one `jit` share this: XLA finds that they compute it twice.

    Args:
        predictions: masks, `batch *space`.
        labels: masks, `batch *space`.
        spacing: size of a pixel along each spatial axis.
        definition: one of `DEFINITIONS`.

    Raises:
        ValueError: for shapes, dtypes or options that do not fit.
    """
    _checks.choice("definition", definition, DEFINITIONS)
    lengths = check_masks(predictions, labels, spacing)
    if definition == "deepmind" and len(lengths) not in (2, 3):
        raise ValueError(
            f"definition: 'deepmind' is defined in 2 and 3 dimensions, not in {len(lengths)}"
        )
    predicted, true = _both(predictions, labels, lengths, definition == "deepmind")
    nothing, none_true = (~jnp.any(x, axis=range_of(x)) for x in (predictions, labels))
    return Surfaces(
        predicted,
        true,
        nothing ^ none_true,
        nothing & none_true,
        diagonal(predictions.shape[1:], lengths),
    )


# Compiled once also where it is called outside of a `jit`, case by case.
@functools.partial(jax.jit, static_argnums=(2, 3))
def _both(
    predictions: Array, labels: Array, lengths: tuple[float, ...], surfels: bool
) -> tuple[Surface, Surface]:
    if surfels:
        table = jnp.asarray(_surfels.areas(lengths), jnp.float32)
        predicted, true = (table[_codes(mask).astype(jnp.int32)] for mask in (predictions, labels))
    else:
        predicted, true = _edges(predictions), _edges(labels)
    return _measured(predicted, true, lengths), _measured(true, predicted, lengths)


def _measured(elements: Array, others: Array, spacing: tuple[float, ...]) -> Surface:
    batch = elements.shape[0]
    distances = distance_transform(~others.astype(bool), spacing=spacing)
    distances = jnp.where(elements.astype(bool), distances, 0)
    return Surface(distances.reshape(batch, -1), elements.reshape(batch, -1))


def _edges(mask: Bool[Array, " batch *space"]) -> Bool[Array, " batch *space"]:
    """The true pixels with a neighbor along an axis that is false, or beyond the image."""
    inside = mask
    for axis in range_of(mask):
        size = mask.shape[axis]
        beyond = padded(mask, [axis])
        for start in (0, 2):
            inside &= beyond[(slice(None),) * axis + (slice(start, start + size),)]
    return mask & ~inside


def _codes(mask: Bool[Array, " batch *space"]) -> Array:
    """For each point where pixels meet, which of the pixels around it are inside: bits."""
    beyond = padded(mask, range_of(mask))
    codes = jnp.zeros((), jnp.uint8)
    for bit, corner in enumerate(_surfels.cells(mask.ndim - 1)):
        ends = (slice(c, c + n + 1) for c, n in zip(corner, mask.shape[1:], strict=True))
        codes |= beyond[(slice(None), *ends)].astype(jnp.uint8) << jnp.uint8(bit)
    return codes


def padded(mask: Array, axes: Sequence[int]) -> Array:
    """The mask with a false pixel before the first and after the last along these axes."""
    return jnp.pad(mask, [(1, 1) if axis in axes else (0, 0) for axis in range(mask.ndim)])


def range_of(mask: Array) -> tuple[int, ...]:
    """The spatial axes."""
    return tuple(range(1, mask.ndim))


def diagonal(space: Sequence[int], spacing: Sequence[float | int]) -> float:
    """Length of the diagonal of the image."""
    return math.hypot(*(n * length for n, length in zip(space, spacing, strict=True)))


def check_masks(
    predictions: Array, labels: Array, spacing: Sequence[float | int]
) -> tuple[float, ...]:
    """Raises unless these are two masks of a shape with one length an axis; the lengths."""
    for name, mask in (("predictions", predictions), ("labels", labels)):
        if mask.dtype != jnp.bool_:
            raise ValueError(
                f"{name}: expected a mask (bool), got {mask.dtype}; of class ids take `ids == c`, "
                "of logits `logits > 0`"
            )
    _checks.shape("predictions", predictions, labels.shape, "the shape of labels")
    if labels.ndim < 2:
        raise ValueError(f"labels: expected shape (batch, *space), got {labels.shape}")
    return tuple(float(length) for length in _checks.spacing(spacing, labels.ndim - 1))
