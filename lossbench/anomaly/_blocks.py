"""Sums over many pixels in blocks of rows, and quantiles of a histogram."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from lossbench.anomaly import _pairs
from lossbench.metrics import _ranks, _sums
from lossbench.metrics._histogram import ScoreHistogram

# Rows of a block: few enough that float32 adds them up well and that they stay in a core's cache,
# many enough that adding up a table of channels in pairs is little beside them.
FEWEST, MOST, BLOCKS = 256, 4096, 64
# Pixels, evenly spaced, of which the mean is what all are taken about.
SAMPLE = 4096
# Integers of which the squares add up to less than 2^24 add up, times any such, exactly.
BITS = 2.0**-10
# The last digit of a pivot, in deviations, and what is too small to be divided by.
ROUNDED = 2.0**-4
TINY = 1e-30


def rows_in_block(n: int) -> int:
    """How many rows a block has; never more than there are."""
    return min(n, max(FEWEST, min(MOST, n // BLOCKS)))


def pivot_of(rows: Float[Array, "n channels"], counted: Bool[Array, " n"]) -> Array:
    """A spectrum near the mean of those that count; 0 if none does.

    It has few digits behind those of the deviation, so that differences of integers to it, and of
    other values that are rounded alike, are not all rounded in the same direction.
    """
    step = -(-len(rows) // SAMPLE)
    some, of = rows[::step], counted[::step, None]
    number = jnp.maximum(jnp.sum(of, dtype=jnp.int32), 1)
    mean = jnp.sum(jnp.where(of, some, 0), axis=0) / number
    spread = jnp.sqrt(jnp.sum(jnp.where(of, some - mean[None], 0) ** 2, axis=0) / number)
    unit = _pairs.power_of_two(spread) * ROUNDED
    mean = jnp.where(unit > TINY, jnp.round(mean / jnp.where(unit > TINY, unit, 1)) * unit, mean)
    first = jnp.argmax(counted)
    return jnp.where(jnp.any(of), mean, jnp.where(counted[first], rows[first], 0))


def sums_about_pivot(
    rows: Float[Array, "n channels"], counted: Bool[Array, " n"], of_products: bool
) -> tuple[Array, _sums.RunningSum, _sums.RunningSum, _sums.RunningSum]:
    """Sums of `d = x - pivot` over the rows that count.

    Args:
        rows: pixels.
        counted: which of them count.
        of_products: true for sums of `d d^T`, false for those of its diagonal.

    Returns:
        The pivot, the count, the sum of `d`, and that of `d d^T` or `d^2`.
    """
    n, channels = rows.shape
    size = rows_in_block(n)
    pivot = pivot_of(rows, counted)
    of_block = _products if of_products else _squares

    def add(block: Array, carry: tuple) -> tuple:
        # The last block begins early instead of being short; what came before does not count again.
        start = jnp.minimum(block * size, n - size)
        here = lax.dynamic_slice_in_dim(counted, start, size)
        here &= start + jnp.arange(size) >= block * size
        block_rows = lax.dynamic_slice_in_dim(rows, start, size)
        away = jnp.broadcast_to(-pivot[None], block_rows.shape)
        d = _pairs.total(jnp.where(here[:, None], block_rows, -away), away)
        return tuple(map(_sums.add, carry, (_count(here), *of_block(d))))

    table = (channels, channels) if of_products else (channels,)
    carry = (_sums.zeros(()), _sums.zeros((channels,)), _sums.zeros(table))
    count, total, scatter = lax.fori_loop(0, -(-n // size), add, carry)
    return pivot, count, total, scatter


def map_rows(
    function: Callable[[Array], Array], x: Float[Array, "*space channels"]
) -> Float[Array, "*space"]:
    """One number a pixel, in blocks of pixels: what is between is never all in memory together.

    Args:
        function: of `n channels` to `n`.
        x: pixels.
    """
    rows = x.reshape(-1, x.shape[-1])
    n, size = len(rows), MOST
    if n <= MOST:
        return function(rows).reshape(x.shape[:-1])

    def of_block(block: Array, found: Array) -> Array:
        start = jnp.minimum(block * size, n - size)
        here = function(lax.dynamic_slice_in_dim(rows, start, size))
        return lax.dynamic_update_slice_in_dim(found, here, start, 0)

    found = jnp.zeros((n,), jnp.float32)
    return lax.fori_loop(0, -(-n // size), of_block, found).reshape(x.shape[:-1])


def _count(counted: Bool[Array, " rows"]) -> _sums.RunningSum:
    return _sums.of_counts(jnp.sum(counted, dtype=jnp.int32))


def _squares(d: _sums.RunningSum) -> tuple[_sums.RunningSum, _sums.RunningSum]:
    squares = _pairs.exact(jnp.sum(d.high * d.high, axis=0))
    return _pairs.total(jnp.sum(d.high, axis=0), jnp.sum(d.low, axis=0)), squares


def _products(d: _sums.RunningSum) -> tuple[_sums.RunningSum, _sums.RunningSum]:
    """Sums of `d` and `d d^T`: with `d = a + b`, that of `a a^T` is exact and `b` is small.

    `d d^T = a a^T + e b^T + b e^T` where `e = a + b / 2`.
    """
    length = jnp.sqrt(jnp.sum(d.high * d.high, axis=0))
    unit = _pairs.power_of_two(length) * BITS
    # Of what is too small to be divided by, all is the rest.
    unit = jnp.where(unit > TINY, unit, 1)
    a = jnp.round(d.high / unit[None]) * unit[None]
    b = (d.high - a) + d.low
    product = functools.partial(jnp.matmul, precision=lax.Precision.HIGHEST)
    rest = product((a + b / 2).T, b)
    scatter = _sums.add(_pairs.exact(product(a.T, a)), _pairs.total(rest, rest.T))
    return _pairs.total(jnp.sum(a, axis=0), jnp.sum(b, axis=0)), scatter


@functools.partial(jax.jit, static_argnums=1)
def quantiles_of(
    histogram: ScoreHistogram, shares: tuple[float, ...]
) -> Float[Array, "kinds quantiles"]:
    """Quantiles of each kind: on a straight line between neighbors, and within a bin."""
    cells = histogram.cells()
    # From the lowest to the highest; counts are of each kind, the ends of bins are of all.
    counts = cells.sums.high[:, ::-1]
    low, high = _ranks.scores_of(cells.lowest)[::-1], _ranks.scores_of(cells.highest)[::-1]
    upto = jnp.cumsum(counts, axis=1)
    number = upto[:, -1]

    def value_at(rank: Float[Array, " kinds"]) -> Float[Array, " kinds"]:
        """The value with so many below it."""
        place = jnp.sum(upto <= rank[:, None], axis=1)
        place = jnp.minimum(place, upto.shape[1] - 1)
        at = lambda x: jnp.take_along_axis(x, place[:, None], axis=1)[:, 0]  # noqa: E731
        here = at(counts)
        part = (rank - (at(upto) - here)) / jnp.maximum(here - 1, 1)
        return low[place] + jnp.clip(part, 0, 1) * (high[place] - low[place])

    def quantile(share: float) -> Float[Array, " kinds"]:
        position = share * jnp.maximum(number - 1, 0)
        rank = jnp.floor(position)
        lower = value_at(rank)
        upper = value_at(jnp.minimum(rank + 1, jnp.maximum(number - 1, 0)))
        return lower + (position - rank) * (upper - lower)

    found = jnp.stack([quantile(share) for share in shares], axis=1)
    return jnp.where((number > 0)[:, None] & ~histogram.unordered, found, jnp.nan)
