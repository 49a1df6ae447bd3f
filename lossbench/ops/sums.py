"""Sums over pixels that are fast and accurate in float32."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Shaped

from lossbench.ops.blocks import sums_blockwise
from lossbench.ops.classes import Parts, apart, are_apart, are_few, members, stored
from lossbench.ops.derivatives import side_by_side_derivative

# A plain float sum in a loop adds one element after the other: it cannot be vectorized, and over
# 256^3 voxels it loses three digits. `LANES` partial sums side by side fill a vector register, at
# least `CHUNKS` of them give every core its work, and no chain is longer than `ROWS`.
LANES = 16
CHUNKS = 64
ROWS = 64


@jax.custom_jvp
def sum_pixels(x: Shaped[Array, "*leading pixels"]) -> Float[Array, "*leading"]:
    """Sums over the last axis; a boolean array is counted in integers, hence exactly.

    Args:
        x: any array whose last axis is to be summed; float32, float64 or bool.

    Returns:
        The sums in the dtype of `x`, float32 for bool.
    """
    if x.dtype == jnp.bool_:
        return jnp.sum(x, axis=-1, dtype=jnp.int32).astype(jnp.float32)
    lanes, rest = _lanes(x)
    # Asks XLA to keep the two sums apart. Where it has a vectorized sum of its own, as jax 0.10's
    # CPU backend has for stored operands, it may merge them all the same, and is as accurate.
    partial = lax.optimization_barrier(jnp.sum(lanes, axis=-2))
    return _sum_partial(partial) + jnp.sum(rest, axis=-1)


@sum_pixels.defjvp
def _sum_pixels_jvp(primals, tangents):
    # Linear; the transpose of one plain sum is one broadcast.
    return sum_pixels(*primals), jnp.sum(tangents[0], axis=-1)


@jax.custom_jvp
def in_one_pass(x: Float[Array, "batch pixels"]) -> Float[Array, "batch pixels"]:
    """`x`, computed in one pass before it is summed.

    XLA's CPU backend hands the sum of a formula to a library, which takes the last operations of
    the formula with it and leaves the operands of these to be written out one by one. It stops at a
    selection, so a value that no cost has is looked for, and the formula stays whole.
    """
    return jnp.where(x == -jnp.inf, 0, x)


@in_one_pass.defjvp
def _in_one_pass_jvp(primals, tangents):
    return in_one_pass(*primals), tangents[0]


def _lanes(x: Array) -> tuple[Array, Array]:
    """`x` as chunks x rows x lanes, and the pixels left over."""
    pixels = x.shape[-1]
    rows = min(pixels // (CHUNKS * LANES), ROWS)
    chunks = pixels // (rows * LANES) if rows else CHUNKS
    regular = chunks * rows * LANES
    lanes = x[..., :regular].reshape(*x.shape[:-1], chunks, rows, LANES)
    return lanes, x[..., regular:]


def _sum_partial(partial: Array) -> Array:
    """The sum over chunks and lanes, once more in chains of bounded length if there are many."""
    flat = partial.reshape(*partial.shape[:-2], -1)
    shrinks = flat.shape[-1] >= 2 * CHUNKS * LANES
    return sum_pixels(flat) if shrinks else jnp.sum(flat, axis=-1)


@jax.custom_jvp
def sum_all(columns: list[Float[Array, "batch pixels"]]) -> list[Float[Array, " batch"]]:
    """The sum of every column over pixels, in one pass that stores nothing in between.

    XLA's CPU backend writes out the operand of each separate sum, one-hot labels included. A
    reduction over several operands at once is one loop that computes and adds as it goes.
    """
    lanes, rest = zip(*map(_lanes, columns), strict=True)
    zero = jnp.zeros((), columns[0].dtype)
    partial = lax.reduce(lanes, (zero,) * len(lanes), _add, (2,))
    # What is left is little, and one small program for all columns beats one for each.
    return list(_sum_partial(jnp.stack(partial)) + jnp.sum(jnp.stack(rest), axis=-1))


def _add(a: tuple[Array, ...], b: tuple[Array, ...]) -> tuple[Array, ...]:
    return tuple(x + y for x, y in zip(a, b, strict=True))


@sum_all.defjvp
def _sum_all_jvp(primals, tangents):
    """Linear, so separate sums are its derivative; their transpose is elementwise."""
    return sum_all(*primals), [sum_pixels(t) for t in tangents[0]]


def class_sums(
    columns: Callable[..., list[tuple[Array, ...]]],
    logits: Float[Array, "batch pixels classes"],
    labels: Shaped[Array, "batch pixels *classes"],
    counted: Float[Array, "batch pixels"] | None,
    *more: Array,
    also: Callable[[Array, Array], Array] | None = None,
) -> tuple[Float[Array, "batch ..."], ...]:
    """Sums over pixels of several values, one an example and class.

    Args:
        columns: of logits, labels and more to the values to be summed: for each part (see
            `ops.classes`) a tuple of them.
        logits: the logits, finite also where masked.
        labels: class ids (integer), or one value a class (bool or floating).
        counted: 1 where a pixel counts, 0 where masked; None counts everything.
        more: other arrays `batch pixels ...`.
        also: of logits and labels to one value a pixel, whose sum, `batch`, comes last. Together,
            many classes need one pass and one gradient, not two to be added.
    """
    evaluate = sums_blockwise if not are_few(logits.shape[-1]) else side_by_side_derivative
    sums = functools.partial(_class_sums, columns, also)
    return evaluate(sums, logits, labels, counted, *more)


def _class_sums(columns, also, logits, labels, counted, *more) -> tuple[Array, ...]:
    values = columns(logits, labels, *more)
    besides = [] if also is None else [also(logits, labels)]
    if counted is not None:
        values = [tuple(_like(counted, value) * value for value in column) for column in values]
        besides = [counted * value for value in besides]
    if not are_apart(logits.shape[-1]):
        (column,) = values
        sums = [jnp.sum(value, axis=1) for value in column]
        if are_few(logits.shape[-1]):
            infinite = jnp.any(logits[:, :1] == jnp.inf, axis=1)
            sums = [stored(value, infinite) for value in sums]
        return (*sums, *(jnp.sum(value, axis=1) for value in besides))
    flat = sum_all([value for column in values for value in column])
    width = len(values[0])
    sums = [jnp.stack(flat[i::width], axis=1) for i in range(width)]
    return (*sums, *(sum_pixels(in_one_pass(value)) for value in besides))


def _like(counted: Array, part: Array) -> Array:
    return counted if part.ndim == 2 else counted[..., None]


def truth(labels: Shaped[Array, "batch pixels *classes"], classes: int, dtype) -> Parts:
    """The labels as parts of 0 and 1, or of probabilities."""
    parts = members(labels, classes) if labels.ndim == 2 else apart(labels)
    return [part.astype(dtype) for part in parts]
