"""Sums over pixels that are fast and accurate in float32."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Shaped

from lossbench.ops.classes import UNROLLED_CLASSES

# A plain float sum in a loop adds one element after the other: it cannot be vectorized, and over
# 256^3 voxels it loses three digits. `LANES` partial sums side by side fill a vector register, and
# `CHUNKS` of them bound the length of each chain and give every core its work.
LANES = 16
CHUNKS = 64


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
    return jnp.sum(partial, axis=(-2, -1)) + jnp.sum(rest, axis=-1)


def _lanes(x: Array) -> tuple[Array, Array]:
    """`x` as chunks x rows x lanes, and the pixels left over."""
    rows = x.shape[-1] // (CHUNKS * LANES)
    regular = rows * CHUNKS * LANES
    lanes = x[..., :regular].reshape(*x.shape[:-1], CHUNKS, rows, LANES)
    return lanes, x[..., regular:]


class ClassSums(NamedTuple):
    """Sums over the pixels that count, one an example and class.

    Attributes:
        intersection: sum of p t.
        predicted: sum of p.
        true: sum of t.
    """

    intersection: Float[Array, "batch classes"]
    predicted: Float[Array, "batch classes"]
    true: Float[Array, "batch classes"]


def class_sums(
    p: Float[Array, "batch classes pixels"],
    members: Shaped[Array, "batch classes pixels"],
    where: Bool[Array, "batch pixels"] | None,
) -> ClassSums:
    """The plain formula: three sums a class.

    Args:
        p: the prediction.
        members: bool or floating labels, 0 where masked.
        where: true = counted.
    """
    counted = p if where is None else p * where[:, None].astype(p.dtype)
    return ClassSums(
        sum_pixels(p * members.astype(p.dtype)),
        sum_pixels(counted),
        sum_pixels(members).astype(p.dtype),
    )


@jax.custom_jvp
def class_sums_of_ids(
    p: Float[Array, "batch classes pixels"],
    ids: Int[Array, "batch pixels"],
    where: Bool[Array, "batch pixels"] | None,
) -> ClassSums:
    """`class_sums` for class ids, in one pass over the pixels that stores nothing in between.

    XLA's CPU backend writes out the operand of each separate sum, one-hot labels included. A
    reduction over several operands at once is one loop that compares and adds as it goes.
    """
    if p.shape[1] > UNROLLED_CLASSES:
        return class_sums(p, members_of_ids(ids, where, p.shape[1]), where)
    columns = []
    for c in range(p.shape[1]):
        member = ids == c if where is None else (ids == c) & where
        truth = member.astype(p.dtype)
        columns += [p[:, c] * truth, truth]
        if where is not None:
            columns.append(p[:, c] * where.astype(p.dtype))
    lanes, rest = zip(*map(_lanes, columns), strict=True)
    zero = jnp.zeros((), p.dtype)
    partial = lax.reduce(lanes, (zero,) * len(lanes), _add, (2,))
    sums = [
        jnp.sum(a, axis=(-2, -1)) + jnp.sum(b, axis=-1) for a, b in zip(partial, rest, strict=True)
    ]
    stack = functools.partial(jnp.stack, axis=1)
    if where is None:
        return ClassSums(stack(sums[0::2]), sum_pixels(p), stack(sums[1::2]))
    return ClassSums(stack(sums[0::3]), stack(sums[2::3]), stack(sums[1::3]))


def _add(a: tuple[Array, ...], b: tuple[Array, ...]) -> tuple[Array, ...]:
    return tuple(x + y for x, y in zip(a, b, strict=True))


def members_of_ids(
    ids: Int[Array, "batch pixels"], where: Bool[Array, "batch pixels"] | None, classes: int
) -> Bool[Array, "batch classes pixels"]:
    """Which pixel belongs to which class; nothing belongs anywhere under the mask."""
    member = ids[:, None] == jnp.arange(classes, dtype=ids.dtype)[None, :, None]
    return member if where is None else member & where[:, None]


@class_sums_of_ids.defjvp
def _class_sums_jvp(primals, tangents):
    """Linear in `p`, so the plain formula is its own derivative; its transpose is elementwise."""
    p, ids, where = primals
    change = class_sums(tangents[0], members_of_ids(ids, where, p.shape[1]), where)
    sums = class_sums_of_ids(p, ids, where)
    return sums, change._replace(true=jnp.zeros_like(sums.true))
