"""One value an example, and what an example gets for which the formula has no value."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from lossbench import _checks

EMPTY = ("worst", "nan", "zero", "skip")


class PerExample(NamedTuple):
    """A metric of a batch.

    Attributes:
        values: one value an example.
        mean: mean over the batch: NaN with a NaN, but with `empty="skip"` over the others alone.
        undefined: number of examples for which the formula has no value, whatever they got instead.
    """

    values: Float[Array, " batch"]
    mean: Float[Array, ""]
    undefined: Int[Array, ""]


def filled(
    values: Float[Array, " batch"],
    *,
    undefined: Bool[Array, " batch"],
    agree: Bool[Array, " batch"],
    best: float,
    worst: float,
    empty: str,
) -> PerExample:
    """Gives the undefined examples what `empty` says.

    Args:
        values: what the formula gives; anything where it is undefined.
        undefined: where the formula has no value.
        agree: where both masks are empty, which for `empty="worst"` is the best and not the worst.
        best: value of two equal masks.
        worst: value of a mask of which nothing was found.
        empty: "worst", "nan", "zero" or "skip".
    """
    _checks.choice("empty", empty, EMPTY)
    if empty == "worst":
        instead = jnp.where(agree, jnp.float32(best), jnp.float32(worst))
    else:
        instead = jnp.full(values.shape, 0.0 if empty == "zero" else jnp.nan, jnp.float32)
    values = jnp.where(undefined, instead, values)
    if empty == "skip":
        counted = jnp.sum(~undefined, dtype=jnp.float32)
        total = jnp.sum(jnp.where(undefined, 0, values))
        mean = jnp.where(counted > 0, total / jnp.maximum(counted, 1), jnp.nan)
    else:
        mean = jnp.mean(values)
    return PerExample(values, mean, jnp.sum(undefined, dtype=jnp.int32))


def values_of(values: Float[Array, " batch"], undefined: Bool[Array, " batch"]) -> PerExample:
    """NaN, and counted, where there is no value."""
    values = values.astype(jnp.float32)
    return filled(values, undefined=undefined, agree=undefined, best=1.0, worst=0.0, empty="nan")


def overlap_filled(
    values: Float[Array, " batch"], both_empty: Bool[Array, " batch"], empty: str
) -> PerExample:
    """Fills an overlap, which is undefined where both masks are empty, and these agree."""
    return filled(values, undefined=both_empty, agree=both_empty, best=1.0, worst=0.0, empty=empty)
