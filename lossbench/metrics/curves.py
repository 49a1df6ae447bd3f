"""ROC and precision-recall curves of raw scores, with a point for every distinct score.

Shapes are fixed, so a curve has a place for every score and one for the threshold above all. Tied
scores are one threshold: their places hold the same point, and those after the last point repeat
it. So a plot or an area needs no mask; `curve.fpr[0, curve.points[0]]` is each point once.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from lossbench.metrics import _ranked_values, _ranks


class RocPoints(NamedTuple):
    """ROC curves, one row an example, in falling order of their thresholds.

    Attributes:
        fpr: false positive rate, rising from 0 to 1.
        tpr: true positive rate, likewise.
        thresholds: `scores >= threshold` has these rates; infinite for the first.
        points: true once for each point.
        undefined: number of examples without a positive or without a negative, of which that rate
            is NaN, or with a NaN that counts, of which all is.
    """

    fpr: Float[Array, "batch points"]
    tpr: Float[Array, "batch points"]
    thresholds: Float[Array, "batch points"]
    points: Bool[Array, "batch points"]
    undefined: Int[Array, ""]


class PrPoints(NamedTuple):
    """Precision-recall curves, one row an example, in falling order of their thresholds.

    Attributes:
        precision: 1 at the first place, where nothing is predicted.
        recall: rising from 0 to 1.
        thresholds: `scores >= threshold` has both; infinite for the first.
        points: true once for each point.
        undefined: number of examples without a positive, of which the recall is NaN, or with a NaN
            that counts, of which all is.
    """

    precision: Float[Array, "batch points"]
    recall: Float[Array, "batch points"]
    thresholds: Float[Array, "batch points"]
    points: Bool[Array, "batch points"]
    undefined: Int[Array, ""]


def roc_curve(
    scores: Float[Array, " batch *space"],
    labels: Bool[Array, " batch *space"],
    *,
    where: Bool[Array, " batch *space"] | None = None,
    weights: Float[Array, " batch *space"] | None = None,
) -> RocPoints:
    """True against false positive rate, `TP / P` and `FP / N`, at every threshold.

    The points are those of scikit-learn's `roc_curve` with `drop_intermediate=False`.

    Args:
        scores: higher is more likely positive; any range, infinities included.
        labels: true = positive.
        where: true = counted.
        weights: what each score counts, at least 0; those of weight 0 are left out.

    Returns:
        Rates, thresholds and points: one place more than an example has scores. What is undefined
        is NaN and counted.

    Raises:
        ValueError: for shapes or dtypes that do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> curve = roc_curve(jnp.array([[1.0, 2.0, 2.0]]), jnp.array([[0, 0, 1]], bool))
        >>> print(curve.fpr, curve.tpr)
        [[0.  0.5 0.5 1. ]] [[0. 1. 1. 1.]]
        >>> print(curve.thresholds, curve.points)
        [[inf  2.  2.  1.]] [[ True False  True  True]]

    Reference: Fawcett, An Introduction to ROC Analysis, Pattern Recognition Letters 2006.
    """
    _ranks.check_rankings(scores, labels, where, weights)
    return _roc_curve(scores, labels, where, weights)


def pr_curve(
    scores: Float[Array, " batch *space"],
    labels: Bool[Array, " batch *space"],
    *,
    where: Bool[Array, " batch *space"] | None = None,
    weights: Float[Array, " batch *space"] | None = None,
) -> PrPoints:
    """Precision against recall, `TP / (TP + FP)` and `TP / P`, at every threshold.

    The points are those of scikit-learn's `precision_recall_curve`, which has them in the opposite
    order.

    Args:
        scores: higher is more likely positive; any range, infinities included.
        labels: true = positive.
        where: true = counted.
        weights: what each score counts, at least 0; those of weight 0 are left out.

    Returns:
        Precision, recall, thresholds and points: one place more than an example has scores. What
        is undefined is NaN and counted.

    Raises:
        ValueError: for shapes or dtypes that do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> curve = pr_curve(jnp.array([[1.0, 2.0, 2.0]]), jnp.array([[0, 0, 1]], bool))
        >>> print(curve.precision, curve.recall)
        [[1.         0.5        0.5        0.33333334]] [[0. 1. 1. 1.]]

    Reference: Davis and Goadrich, The Relationship Between Precision-Recall and ROC Curves, ICML
    2006.
    """
    _ranks.check_rankings(scores, labels, where, weights)
    return _pr_curve(scores, labels, where, weights)


class _Steps(NamedTuple):
    """At every place what its threshold has, and none at the first."""

    tp: Array
    fp: Array
    thresholds: Array
    points: Array


def _steps(ranks: _ranks.Ranked) -> _Steps:
    # The places of a tie look ahead to its last; those of what does not count, back.
    place = lax.broadcasted_iota(jnp.int32, ranks.ends.shape, 1)
    last = jnp.max(jnp.where(ranks.ends, place, 0), axis=1, keepdims=True)
    end = jnp.minimum(lax.cummin(jnp.where(ranks.ends, place, last), axis=1, reverse=True), last)
    at_end = lambda x: jnp.take_along_axis(x, end, axis=1)  # noqa: E731
    first = lambda x, value: jnp.pad(x, ((0, 0), (1, 0)), constant_values=value)  # noqa: E731
    thresholds = _ranks.scores_of(at_end(ranks.keys))
    return _Steps(
        first(at_end(ranks.tp), 0),
        first(at_end(ranks.fp), 0),
        first(thresholds, jnp.inf),
        first(ranks.ends, True),
    )


def _rate(part: Array, whole: Array, undefined: Array) -> Array:
    share = _ranks.share_of(part, whole)
    return jnp.where(undefined[:, None] | (whole == 0)[:, None], jnp.nan, share)


def roc_points(ranks: _ranks.Ranked, unordered: Bool[Array, " batch"]) -> RocPoints:
    """The curve of what lies above each threshold."""
    steps = _steps(ranks)
    undefined = unordered | _ranked_values.one_class(ranks)
    return RocPoints(
        _rate(steps.fp, ranks.negatives, unordered),
        _rate(steps.tp, ranks.positives, unordered),
        jnp.where(unordered[:, None], jnp.nan, steps.thresholds),
        steps.points,
        jnp.sum(undefined, dtype=jnp.int32),
    )


def pr_points(ranks: _ranks.Ranked, unordered: Bool[Array, " batch"]) -> PrPoints:
    """The curve of what lies above each threshold."""
    steps = _steps(ranks)
    tp, predicted = steps.tp.astype(jnp.float32), (steps.tp + steps.fp).astype(jnp.float32)
    precision = jnp.where(predicted > 0, tp / jnp.where(predicted > 0, predicted, 1), 1)
    return PrPoints(
        jnp.where(unordered[:, None], jnp.nan, precision),
        _rate(steps.tp, ranks.positives, unordered),
        jnp.where(unordered[:, None], jnp.nan, steps.thresholds),
        steps.points,
        jnp.sum(unordered | (ranks.positives == 0), dtype=jnp.int32),
    )


# Compiled once also where they are called outside of a `jit`.
@jax.jit
def _roc_curve(scores, labels, where, weights) -> RocPoints:
    return roc_points(*_ranks.of_examples(scores, labels, where, weights))


@jax.jit
def _pr_curve(scores, labels, where, weights) -> PrPoints:
    return pr_points(*_ranks.of_examples(scores, labels, where, weights))
