"""What maps of scores and masks are like: how much is anomalous, how scores are distributed.

One value an example; for one value of all pixels of a batch make it one example:
`score_statistics(scores.reshape(1, -1))`.
"""

import fractions
import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, UInt

from lossbench import _checks
from lossbench.metrics import _maps, _ranks
from lossbench.metrics._examples import PerExample, values_of

QUANTILES = (0.25, 0.5, 0.75, 0.95, 0.99)
# A quantile is taken as a fraction with a denominator of at most this.
FINEST = 10_000


class PixelStatistics(NamedTuple):
    """How much of each image is anomalous.

    Attributes:
        total: pixels that count.
        anomalous: those of them that are true.
        percentage: `100 anomalous / total`.
    """

    total: Int[Array, " batch"]
    anomalous: Int[Array, " batch"]
    percentage: PerExample


class ScoreStatistics(NamedTuple):
    """How the scores of each image are distributed.

    Attributes:
        mean: their mean.
        std: their standard deviation, that of a sample (n - 1).
        least: the lowest.
        largest: the highest.
        quantiles: one a column, in the order that was asked for.
        undefined: number of images for which one of these is NaN.
    """

    mean: Float[Array, " batch"]
    std: Float[Array, " batch"]
    least: Float[Array, " batch"]
    largest: Float[Array, " batch"]
    quantiles: Float[Array, "batch quantiles"]
    undefined: Int[Array, ""]


def pixel_statistics(
    masks: Bool[Array, " batch *space"], *, where: Bool[Array, " batch *space"] | None = None
) -> PixelStatistics:
    """Pixels of each image, those that are anomalous, and their percentage.

    `100 anomalous / total`, of true masks or of decisions.

    Args:
        masks: true = anomalous.
        where: true = counted.

    Returns:
        The counts, exact below 2^31, and the percentage, in [0, 100]: one an example, their mean,
        and how many are undefined, which are NaN: those of which no pixel counts.

    Raises:
        ValueError: for shapes or dtypes that do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> found = pixel_statistics(jnp.array([[1, 0, 0, 0], [0, 0, 0, 0]], bool))
        >>> print(found.total, found.anomalous, found.percentage.values)
        [4 4] [1 0] [25.  0.]

    Reference: the node `AnomalyPixelStatisticsMetric` of cuvis-ai.
    """
    _maps.check_mask("masks", masks, "anomalous")
    _checks.where(where, masks.shape, "the shape of masks")
    counted = jnp.ones(masks.shape, bool) if where is None else where
    count = lambda x: jnp.sum(x.reshape(len(x), -1), axis=1, dtype=jnp.int32)  # noqa: E731
    total, anomalous = count(counted), count(masks & counted)
    share = _ranks.share_of(anomalous[:, None], total)[:, 0]
    return PixelStatistics(total, anomalous, values_of(100 * share, total == 0))


def score_statistics(
    scores: Float[Array, " batch *space"],
    *,
    quantiles: Sequence[float | int] = QUANTILES,
    where: Bool[Array, " batch *space"] | None = None,
) -> ScoreStatistics:
    """Mean, standard deviation, range and quantiles of the scores of each image.

    `std = sqrt(sum (s - mean)^2 / (n - 1))`. A quantile q lies at the place q (n - 1) of the n
    scores in order, from 0 on, and on the straight line between two, as NumPy's: 0.5 is the median,
    also of an even number. It is found by a sort, with no limit on n.

    Args:
        scores: any range.
        quantiles: which, 0 to 1; numbers and not traced, rounded to fractions with a denominator up
            to 10 000.
        where: true = counted.

    Returns:
        One value an example, in the scores' unit; float32, or float64 for float64. NaN is all of an
        example without a score or with a NaN that counts, the deviation of one score alone, and
        mean and deviation of infinite scores or of a range that is too large for a float, and a
        quantile between both infinities. Examples with a NaN are counted.

    Raises:
        ValueError: for shapes, dtypes or quantiles that do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> found = score_statistics(jnp.array([[4.0, 1.0, 2.0, 3.0]]), quantiles=(0.25, 0.5))
        >>> print(found.mean, found.std, found.quantiles)
        [2.5] [1.2909945] [[1.75 2.5 ]]

    Reference: Hyndman and Fan, Sample Quantiles in Statistical Packages, The American Statistician
    1996, definition 7.
    """
    _maps.check_maps(scores, where)
    for share in quantiles:
        if not 0 <= share <= 1:
            raise ValueError(f"quantiles: expected numbers from 0 to 1, got {share}")
    parts = [fractions.Fraction(float(share)).limit_denominator(FINEST) for share in quantiles]
    return _score_statistics(scores, where, tuple((q.numerator, q.denominator) for q in parts))


# Compiled once also where it is called outside of a `jit`.
@functools.partial(jax.jit, static_argnums=2)
def _score_statistics(scores, where, quantiles) -> ScoreStatistics:
    rows, counted, unordered = _maps.rows_of(scores, where)
    keys = _maps.sorted_keys(rows, counted)
    number = jnp.sum(counted, axis=1, dtype=jnp.int32)
    ends = ((0, 1), (1, 1))
    ordered = _quantiles(keys, number, ends + quantiles)
    every = jnp.concatenate([jnp.stack(_maps.mean_and_std(rows, counted), axis=1), ordered], axis=1)
    # The key of what does not count is that of NaN: all of a row without a score has it.
    every = jnp.where(unordered[:, None], jnp.nan, every)
    undefined = jnp.sum(jnp.any(jnp.isnan(every), axis=1), dtype=jnp.int32)
    mean, std, least, largest = every[:, :4].T
    return ScoreStatistics(mean, std, least, largest, every[:, 4:], undefined)


def _quantiles(
    keys: UInt[Array, "rows n"], number: Int[Array, " rows"], shares: tuple[tuple[int, int], ...]
) -> Float[Array, "rows quantiles"]:
    """The quantiles of shares, which are fractions, of the first scores of each row, which fall."""
    above, of = jnp.array(shares, jnp.int32).T[:, None]
    last = jnp.maximum(number - 1, 0)[:, None]
    # above * last / of in integers, of which a large row has more than float32 tells apart.
    rest = above * (last % of)
    place, part = above * (last // of) + rest // of, rest % of
    at = lambda x: _ranks.scores_of(jnp.take_along_axis(keys, x, axis=1))  # noqa: E731
    lower, upper = at(last - place), at(jnp.maximum(last - place - 1, 0))
    weight = part.astype(lower.dtype) / of.astype(lower.dtype)
    # Infinity times 0 would be NaN.
    exact = (part == 0) | (lower == upper)
    between = jnp.clip((1 - weight) * lower + weight * upper, lower, upper)
    return jnp.where(exact, lower, between)
