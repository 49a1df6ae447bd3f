"""Maps of raw scores without labels: what counts in them, in order, and their first two moments."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, UInt

from lossbench import _checks
from lossbench.metrics import _ranks
from lossbench.ops.sums import sum_pixels


def check_maps(scores: Array, where: Array | None) -> None:
    """Raises unless these are raw scores, with a mask of what counts if there is one."""
    _checks.floating(scores=scores)
    if scores.ndim == 0 or scores.size == 0:
        raise ValueError(f"scores: expected shape (batch, *space), not empty, got {scores.shape}")
    _checks.where(where, scores.shape, "the shape of scores")


def check_mask(name: str, mask: Array, meaning: str) -> None:
    """Raises unless this is a mask with a batch axis; `meaning` says what true means."""
    if mask.dtype != jnp.bool_:
        raise ValueError(f"{name}: expected a mask (bool, true = {meaning}), got {mask.dtype}")
    if mask.ndim == 0 or mask.size == 0:
        raise ValueError(f"{name}: expected shape (batch, *space), not empty, got {mask.shape}")


def rows_of(
    scores: Float[Array, " batch *space"], where: Bool[Array, " batch *space"] | None
) -> tuple[Float[Array, "batch n"], Bool[Array, "batch n"], Bool[Array, " batch"]]:
    """Each example as a row, what counts of it, and the examples with a NaN that should count."""
    rows = scores.reshape(len(scores), -1).astype(_checks.compute_dtype(scores))
    counted = None if where is None else where.reshape(rows.shape)
    return rows, *_ranks.counted_of(rows, counted, None)


def sorted_keys(
    rows: Float[Array, "rows n"], counted: Bool[Array, "rows n"]
) -> UInt[Array, "rows n"]:
    """The keys of the scores, which fall along the row; what does not count is last."""
    keys = _ranks.keys_of(rows)
    return lax.sort(jnp.where(counted, keys, no_key(keys)), dimension=1, is_stable=False)


def no_key(keys: UInt[Array, "..."]) -> UInt[Array, ""]:
    """The largest integer of their dtype, the key of what does not count."""
    return jnp.array(jnp.iinfo(keys.dtype).max, keys.dtype)


def at_most(share: Float[Array, ""], number: Int[Array, " rows"]) -> Int[Array, " rows"]:
    """The largest count whose share of a number is at most this one, both as float32."""
    return jnp.where(share > 0, _part(_bits_of(share, 1), number), 0)


def at_least(share: Float[Array, ""], number: Int[Array, " rows"]) -> Int[Array, " rows"]:
    """The smallest count whose share of a number, above 0, is at least this one, likewise."""
    # An odd number of steps: no count is met exactly.
    return jnp.minimum(_part(_bits_of(share, -1), number), number - 1) + 1


def _bits_of(share: Float[Array, ""], steps: int) -> tuple[UInt[Array, ""], Int[Array, ""]]:
    """A share moved by so many steps, each half of its last bit: an integer over a power of 2.

    All that lies within one step is the share when it is rounded to float32: so 1/10 of 10 is 1,
    though the float next to 1/10 is a little more.
    """
    mantissa, exponent = jnp.frexp(jnp.where(share > 0, share, 0))
    integer = (mantissa * 2**25).astype(jnp.int32) + steps
    return jnp.maximum(integer, 0).astype(jnp.uint32), 25 - exponent


def _part(
    share: tuple[UInt[Array, ""], Int[Array, ""]], number: Int[Array, " rows"]
) -> Int[Array, " rows"]:
    """The share of a number, rounded down, and at most all: 25 bits times 31, in halves."""
    (factor, shift), number = share, number.astype(jnp.uint32)
    half = jnp.uint32(0xFFFF)
    low = (factor & half) * (number & half)
    middle = (factor >> 16) * (number & half) + (factor & half) * (number >> 16) + (low >> 16)
    upper = (factor >> 16) * (number >> 16) + (middle >> 16)
    lower = (middle << 16) | (low & half)
    # Of the two words, which shift by less than their width: no share is above 1.
    near = jnp.clip(shift, 1, 31).astype(jnp.uint32)
    far = jnp.clip(shift - 32, 0, 31).astype(jnp.uint32)
    found = jnp.where(shift < 32, (upper << (32 - near)) | (lower >> near), upper >> far)
    return jnp.minimum(found, number).astype(jnp.int32)


def just_above(keys: UInt[Array, "..."]) -> UInt[Array, "..."]:
    """The keys of the next higher scores, of which none is between 0 and the normal floats."""
    zero = no_key(keys) // 2
    # So many floats are 0 or smaller than normal, on either side.
    small = jnp.array(2 ** (52 if keys.dtype == jnp.uint64 else 23), keys.dtype)
    near_zero = (keys > zero - small) & (keys <= zero + small)
    last_negative = keys == zero + 1 + small
    return jnp.where(near_zero, zero - small, jnp.where(last_negative, zero, keys - 1))


def mean_and_std(
    rows: Float[Array, "rows n"], counted: Bool[Array, "rows n"]
) -> tuple[Float[Array, " rows"], Float[Array, " rows"]]:
    """Mean and standard deviation (n - 1) of what counts.

    From the least score on, in units of the range: a constant has exactly its own mean, and no
    square is too large or too small for a float. NaN where there is none: without a score, of one
    alone the deviation, and both with an infinite one.
    """
    number = jnp.sum(counted, axis=1, dtype=jnp.int32).astype(rows.dtype)
    least = jnp.min(jnp.where(counted, rows, jnp.inf), axis=1)
    largest = jnp.max(jnp.where(counted, rows, -jnp.inf), axis=1)
    spread = largest - least
    # A range below the normal floats, which is 0 to XLA's CPU backend, is that of a constant.
    unit = jnp.where(spread > 0, spread, 1)[:, None]
    # Not one unit for the row: XLA would multiply by its reciprocal, which may be as small.
    steps = jnp.where(counted, (rows - least[:, None]) / jnp.where(counted, unit, 1), 0)

    def over(total: Array, count: Array) -> Array:
        return jnp.where(count > 0, total / jnp.where(count > 0, count, 1), jnp.nan)

    mean = over(sum_pixels(steps), number)
    squares = jnp.where(counted, (steps - mean[:, None]) ** 2, 0)
    std = jnp.sqrt(over(sum_pixels(squares), number - 1))
    return least + unit[:, 0] * mean, unit[:, 0] * std
