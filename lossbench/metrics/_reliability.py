"""Confidence in bins: how many are in each, how many of them are right, and how sure they were.

All sums are of integers, of confidences in units of 2^-24, which float32 has no finer above a half.
So they are the same in any order and for any split of a stream, to the last bit.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from lossbench import _checks
from lossbench.metrics import _sums
from lossbench.metrics._confidence import Judged

NORMS = ("l1", "l2", "max", "mean")

# Binary digits of a confidence, which is summed in two halves of these.
DIGITS, HALF = 24, 12
# So many of either half sum up to less than 2^31.
PIECE = 2**18
# And so many to less than 2^22, which leaves the digits that it takes to count them.
PART, DIGITS_OF_PART = 2**9, 10

# Bins that are finer towards 0 and 1: 2^7 between two powers of 2, from 0 to a half and mirrored.
FINENESS = 7
MIDDLE = ((DIGITS - 1) << FINENESS) + 1
FINE = 2 * MIDDLE + 1

# Above so many bins the one that a confidence is in is looked for by halving, and what is in them
# is counted in three passes, not in two.
FEW = 64


class Bins(NamedTuple):
    """Sums of integers, one a row and bin.

    Attributes:
        wrong: how many are wrong.
        right: how many are right.
        upper: the upper halves of their confidences, in units of 2^-12.
        lower: the lower halves, in units of 2^-24.
    """

    wrong: _sums.RunningSum
    right: _sums.RunningSum
    upper: _sums.RunningSum
    lower: _sums.RunningSum


class Gaps(NamedTuple):
    """What bins come to; of an empty bin all but the number are NaN.

    Attributes:
        number: how many are in each.
        accuracy: the share of these that is right.
        confidence: their mean confidence.
        gap: accuracy minus confidence.
    """

    number: _sums.RunningSum
    accuracy: Float[Array, "rows bins"]
    confidence: Float[Array, "rows bins"]
    gap: Float[Array, "rows bins"]


def check_bins(bins: int) -> None:
    """Raises unless this is a number of bins."""
    if isinstance(bins, bool) or not isinstance(bins, int) or bins < 1:
        raise ValueError(f"bins: expected an integer of at least 1, got {bins}")


def check_norm(norm: str) -> None:
    """Raises unless gaps can be put together in this way."""
    _checks.choice("norm", norm, NORMS)


def no_bins(rows: int, bins: int) -> Bins:
    """Bins in which nothing is."""
    return Bins(*(_sums.zeros((rows, bins)) for _ in Bins._fields))


# Compiled once also where it is called outside of a `jit`.
@jax.jit
def both(a: Bins, b: Bins) -> Bins:
    """What is in the bins of either."""
    return Bins(*map(_sums.add, a, b))


def equal_width(x: Judged, bins: int) -> Bins:
    """Counts in bins of one width: a confidence on an edge is in the bin above, and 1 in the last.

    An edge is the float32 that is nearest to k / bins, as a confidence of that value is.
    """
    return _counted(x, _bin_of(_edges(bins), x.confidence), bins)


def equal_mass(x: Judged, bins: int) -> Bins:
    """Counts in bins with equally many, but for ties: equal confidences are in one bin.

    An edge is the confidence of rank floor(k n / bins), from the lowest, which has rank 0.
    """
    # Numbers at least 0 are in the order of their bits, which XLA's CPU backend sorts faster.
    bits = lax.bitcast_convert_type(jnp.abs(x.confidence), jnp.uint32)
    bits = jnp.sort(jnp.where(x.counted, bits, jnp.uint32(2**32 - 1)), axis=1)
    n = jnp.sum(x.counted, axis=1, keepdims=True, dtype=jnp.int32)
    k = jnp.arange(1, bins, dtype=jnp.int32)[None]
    # In two parts: k n may not fit into an int32.
    rank = k * (n // bins) + k * (n % bins) // bins
    edges = lax.bitcast_convert_type(jnp.take_along_axis(bits, rank, axis=1), jnp.float32)
    return _counted(x, jax.vmap(_bin_of)(edges, x.confidence), bins)


def fine(x: Judged) -> Bins:
    """Counts in many bins, none wider than 1/128 of its distance from 0, or from 1 if nearer."""
    units = _units(x.confidence)
    end = jnp.minimum(units, 2**DIGITS - units)
    # The exponent of a float and its first digits rise with it; 127 is the exponent of 1.
    bits = lax.bitcast_convert_type(end.astype(jnp.float32), jnp.int32) >> (23 - FINENESS)
    place = jnp.where(end > 0, bits - (127 << FINENESS) + 1, 0)
    above = units > 2 ** (DIGITS - 1)
    return _counted(x, jnp.where(above, FINE - 1 - place, place), FINE)


def joined(x: Bins, bins: int) -> Bins:
    """`equal_mass` of bins: what is in one of them stays together, as if it were tied."""
    every = _sums.RunningSum(*(jnp.stack(halves) for halves in zip(*x, strict=True)))
    through = _sums.cumulative(every)
    wrong, right, *_ = _apart(through)
    number = _sums.add(wrong, right).high
    # The confidence of rank floor(k n / bins) is the first of which more than k n / bins are at or
    # below it: there bin k begins. Without a quotient it is exact while n * bins is below 2^24.
    n, k = number[:, -1:], jnp.arange(1, bins, dtype=jnp.float32)[None]
    begin = jax.vmap(_bin_of)(number * bins, n * k)
    begin = jnp.pad(begin, ((0, 0), (1, 0)))
    end = jnp.pad(begin[:, 1:], ((0, 0), (0, 1)), constant_values=number.shape[1])

    def before(place: Int[Array, "rows bins"]) -> _sums.RunningSum:
        place = jnp.broadcast_to(place[None], (len(x), *place.shape))
        upto = (jnp.pad(half, ((0, 0), (0, 0), (1, 0))) for half in through)
        return _sums.RunningSum(*(jnp.take_along_axis(half, place, axis=2) for half in upto))

    return _apart(_sums.add(before(end), _sums.scaled(before(begin), -1.0)))


def _apart(stacked: _sums.RunningSum) -> Bins:
    return Bins(*map(_sums.RunningSum, *stacked))


def gaps_of(x: Bins) -> Gaps:
    """Accuracy and confidence of each bin."""
    number = _sums.add(x.wrong, x.right)
    sure = _sums.add(_sums.scaled(x.upper, 2.0**-HALF), _sums.scaled(x.lower, 2.0**-DIGITS))
    # Not the difference of two ratios: what is left of two large sums keeps all its digits.
    over = _sums.add(x.right, _sums.scaled(sure, -1.0))
    some = jnp.where(number.high > 0, number.high, jnp.nan)
    return Gaps(number, x.right.high / some, sure.high / some, over.high / some)


def error_of(x: Bins, norm: str) -> Float[Array, " rows"]:
    """The gaps of a row put together; NaN where nothing is counted."""
    found = gaps_of(x)
    number = found.number.high
    there = number > 0
    gap = jnp.where(there, jnp.abs(found.gap), 0)
    total = jnp.sum(number, axis=1)
    share = number / jnp.maximum(total, 1)[:, None]
    if norm == "l1":
        value = jnp.sum(share * gap, axis=1)
    elif norm == "l2":
        value = jnp.sqrt(jnp.sum(share * gap**2, axis=1))
    elif norm == "max":
        value = jnp.max(gap, axis=1)
    else:
        value = jnp.sum(gap, axis=1) / jnp.maximum(jnp.sum(there, axis=1, dtype=jnp.float32), 1)
    return jnp.where(total > 0, value, jnp.nan)


def _counted(x: Judged, place: Int[Array, "rows n"], bins: int) -> Bins:
    """Sums over what counts, each in its place."""
    rows, n = place.shape
    # A table for each part, of so many bins that are few, is smaller than what is counted.
    length = PART if bins <= FEW else PIECE
    pieces, parts = -(-n // PIECE), -(-min(n, PIECE) // length)
    cells = 2 * rows * pieces * parts * bins
    part = lax.broadcasted_iota(jnp.int32, place.shape, 0) * (pieces * parts)
    part += lax.broadcasted_iota(jnp.int32, place.shape, 1) // length
    # Not by the bytes of a bool, of which NumPy has some of 255.
    right = jnp.where(x.right, 1, 0).astype(jnp.int32)
    # Rows and parts are a part of the place: one scatter is faster than one for each of them.
    cell = jnp.where(x.counted, 2 * (part * bins + place) + right, cells).reshape(-1)

    def total(amount: Array) -> Array:
        table = jnp.zeros((cells,), jnp.uint32).at[cell].add(amount, mode="drop")
        return table.reshape(rows, pieces, parts, bins, 2)

    units = _units(x.confidence).reshape(-1).astype(jnp.uint32)
    upper, lower = units >> HALF, total(units & (2**HALF - 1))
    if bins <= FEW:
        # How many there are in a part goes into the lowest digits of a sum: a scatter less.
        both = total((upper << DIGITS_OF_PART) + 1)
        number, upper = both & (2**DIGITS_OF_PART - 1), both >> DIGITS_OF_PART
    else:
        number, upper = total(jnp.uint32(1)), total(upper)

    def summed(part: Array) -> _sums.RunningSum:
        # Of a piece, and in halves once more: no sum over fewer than 2^16 pieces overflows.
        part = jnp.sum(part.astype(jnp.int32), axis=2, dtype=jnp.int32)
        upper, lower = (
            _sums.of_counts(jnp.sum(x, axis=1, dtype=jnp.int32))
            for x in (part >> 15, part & 0x7FFF)
        )
        return _sums.add(_sums.scaled(upper, 2.0**15), lower)

    wrong, right = number[..., 0], number[..., 1]
    return Bins(*map(summed, (wrong, right, *(x[..., 0] + x[..., 1] for x in (upper, lower)))))


def _units(confidence: Float[Array, "rows n"]) -> Int[Array, "rows n"]:
    return jnp.round(confidence * 2.0**DIGITS).astype(jnp.int32)


def _edges(bins: int) -> Float[Array, " edges"]:
    return jnp.array([k / bins for k in range(1, bins)], jnp.float32)


def _bin_of(edges: Float[Array, " edges"], values: Float[Array, "..."]) -> Int[Array, "..."]:
    """How many edges are at or below each value; the edges rise."""
    method = "compare_all" if len(edges) <= FEW else "scan_unrolled"
    return jnp.searchsorted(edges, values, side="right", method=method)
