"""Deciders that are fitted on a stream: on the histogram of scores that were not kept.

It is that of any ranking state, `RocAuc.empty().update(scores, labels).histogram`, so one pass
gives the metrics of a split and its threshold. A bin is flagged as a whole or not at all: what a
threshold promises holds of the scores as they came, but it lies above the lowest that keeps it by
up to the width of a bin. See `ScoreHistogram` for how wide that is.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lossbench.metrics import _maps, _ranked_values, _ranks
from lossbench.metrics._histogram import ScoreHistogram
from lossbench.metrics.deciders import Threshold, fitted
from lossbench.metrics.thresholds import check_share

ROUNDING = 2.0**-22


def fit_fpr_streamed(
    histogram: ScoreHistogram, *, fpr: float | int | Float[Array, ""], split: str
) -> Threshold:
    """The lowest threshold between two bins with a false positive rate of at most `fpr`.

    `FP / N <= fpr`; see `fpr_threshold`.

    Args:
        histogram: that of a ranking state; anomalous scores change nothing.
        fpr: 0 to 1; may be traced.
        split: the name of the data that the scores come from.

    Returns:
        The threshold. Inside `jit` it is NaN where there is none: without a normal score, with a
        NaN that counts, or where infinity must not be flagged.

    Raises:
        ValueError: for options that do not fit; outside of `jit` also where there is no threshold.

    Example:
        >>> import jax.numpy as jnp
        >>> from lossbench.metrics.ranking_stream import RocAuc
        >>> state = RocAuc.empty()
        >>> for scores, labels in (([1.0, 2.0], [0, 0]), ([3.0, 4.0], [0, 1])):  # two batches
        ...     state = state.update(jnp.array([scores]), jnp.array([labels], bool))
        >>> threshold = fit_fpr_streamed(state.histogram, fpr=0.5, split="validation")
        >>> print(round(float(threshold.value), 2))  # just above 2
        2.0

    Reference: as of `fpr_threshold`.
    """
    check_share("fpr", fpr)
    return fitted("fpr", split, *_fpr(histogram, jnp.float32(fpr)))


def fit_nu_streamed(
    histogram: ScoreHistogram, *, nu: float | int | Float[Array, ""], split: str
) -> Threshold:
    """The lowest threshold between two bins that flags at most a share `nu` of all scores.

    See `nu_threshold`.

    Args:
        histogram: that of a ranking state; whatever the labels of the training scores are.
        nu: 0 to 1; may be traced.
        split: the name of the data that the scores come from.

    Returns:
        The threshold. Inside `jit` it is NaN where there is none: without a score, with a NaN that
        counts, or where infinity must not be flagged.

    Raises:
        ValueError: for options that do not fit; outside of `jit` also where there is no threshold.

    Example:
        >>> import jax.numpy as jnp
        >>> from lossbench.metrics.ranking_stream import RocAuc
        >>> scores = jnp.array([[1.0, 2.0, 3.0, 40.0]])
        >>> state = RocAuc.empty().update(scores, jnp.zeros(scores.shape, bool))
        >>> threshold = fit_nu_streamed(state.histogram, nu=0.25, split="train")
        >>> print(threshold.decide(scores))
        [[False False False  True]]

    Reference: as of `nu_threshold`.
    """
    check_share("nu", nu)
    return fitted("nu", split, *_nu(histogram, jnp.float32(nu)))


def fit_f1_streamed(histogram: ScoreHistogram, *, split: str) -> Threshold:
    """The threshold with the largest F1 of those between two bins, in the middle of its plateau.

    It is that of the state `F1Max`.

    Args:
        histogram: that of a ranking state.
        split: the name of the data that the scores come from.

    Returns:
        The threshold. Inside `jit` it is NaN where there is none: without an anomalous or without a
        normal score, or with a NaN that counts.

    Raises:
        ValueError: for options that do not fit; outside of `jit` also where there is no threshold.

    Example:
        >>> import jax.numpy as jnp
        >>> from lossbench.metrics.ranking_stream import RocAuc
        >>> scores, labels = jnp.array([[0.0, 1.0, 2.0, 3.0]]), jnp.array([[0, 0, 1, 1]], bool)
        >>> state = RocAuc.empty().update(scores, labels)
        >>> threshold = fit_f1_streamed(state.histogram, split="validation")
        >>> print(round(float(threshold.value), 3))
        1.5

    Reference: as of `f1_threshold`.
    """
    return fitted("f1", split, *_f1(histogram))


def _sparing(histogram: ScoreHistogram, ranks: _ranks.Ranked, upto: Array, share: Array) -> Array:
    """The lowest threshold between two bins that flags at most a share of what counts."""
    total = upto[0, -1]
    # The sum, the share and the product are rounded: a share that is met exactly is met.
    too_many = ranks.ends[0] & (upto[0] > share * total * (1 + ROUNDING))
    # The first bin with too many is spared up to its highest score.
    spared = histogram.next_below(jnp.argmax(too_many) - 1)
    above = _ranks.scores_of(_maps.just_above(spared))
    value = jnp.where(jnp.any(too_many), above, -jnp.inf)
    return jnp.where((total > 0) & ~histogram.unordered, value, jnp.nan)


# Compiled once also where they are called outside of a `jit`.
@jax.jit
def _fpr(histogram: ScoreHistogram, share: Array) -> tuple[Array, Array, Array]:
    ranks = histogram.ranked()
    value = _sparing(histogram, ranks, ranks.fp, share)
    return value, ranks.negatives[0], ranks.positives[0]


@jax.jit
def _nu(histogram: ScoreHistogram, share: Array) -> tuple[Array, Array, Array]:
    ranks = histogram.ranked()
    value = _sparing(histogram, ranks, ranks.tp + ranks.fp, share)
    return value, ranks.negatives[0], ranks.positives[0]


@jax.jit
def _f1(histogram: ScoreHistogram) -> tuple[Array, Array, Array]:
    ranks = histogram.ranked()
    _, best = _ranked_values.f1_max(ranks)
    value = _ranked_values.threshold_between(ranks.keys[0, best], histogram.next_below(best))[0]
    undefined = histogram.unordered | _ranked_values.one_class(ranks)[0]
    return jnp.where(undefined, jnp.nan, value), ranks.negatives[0], ranks.positives[0]
