"""Ranking metrics of raw scores, exact: areas under curves, and points on them.

Every distinct score is a threshold, found in one sort. Scores are taken as they are: nothing is
squashed or binned, and any rising map of them gives the same. One value an example; for one value
of all pixels of a batch make it one example: `roc_auc(scores.reshape(1, -1), ...)`.

Weights have to be carried along in the sort, which takes several times as long on the CPU. Several
of these functions in one `jit`, of the same scores, share one sort.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from lossbench.metrics import _ranked_values, _ranks
from lossbench.metrics._examples import PerExample, values_of


class PartialArea(NamedTuple):
    """The area under the start of the ROC curve.

    Attributes:
        raw: the area itself, from 0 to `max_fpr`.
        standardized: McClish's: 0.5 for scores that tell nothing, 1 for perfect ones.
    """

    raw: PerExample
    standardized: PerExample


class BestF1(NamedTuple):
    """The best F1 that a threshold can reach.

    Attributes:
        values: one F1 an example.
        mean: mean over the batch, NaN with a NaN.
        undefined: number of examples for which there is no value.
        thresholds: one an example: `scores >= threshold` has this F1.
    """

    values: Float[Array, " batch"]
    mean: Float[Array, ""]
    undefined: Int[Array, ""]
    thresholds: Float[Array, " batch"]


def roc_auc(
    scores: Float[Array, " batch *space"],
    labels: Bool[Array, " batch *space"],
    *,
    where: Bool[Array, " batch *space"] | None = None,
    weights: Float[Array, " batch *space"] | None = None,
) -> PerExample:
    """Area under the ROC curve: the chance that a positive scores above a negative.

    `P(s+ > s-) + P(s+ = s-) / 2`, over all pairs of a positive and a negative of an example.

    Args:
        scores: higher is more likely positive; any range, infinities included.
        labels: true = positive.
        where: true = counted.
        weights: what each score counts, at least 0; those of weight 0 are left out. Without them,
            counts are integers, exact up to 2^31.

    Returns:
        In [0, 1], one value an example; their mean; and how many are undefined, which are NaN:
        those without a positive or without a negative, and those with a NaN that counts.

    Raises:
        ValueError: for shapes or dtypes that do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> scores = jnp.array([[-3.0, 0.5, 0.5, 7.0], [0.1, 0.2, 0.3, 0.4]])
        >>> labels = jnp.array([[0, 0, 1, 1], [0, 1, 0, 0]], bool)
        >>> print(roc_auc(scores, labels).values)
        [0.875      0.33333334]
        >>> print(roc_auc(scores.reshape(1, -1), labels.reshape(1, -1)).values)  # all pixels
        [0.7666667]

    Reference: Hanley and McNeil, The Meaning and Use of the Area under a Receiver Operating
    Characteristic (ROC) Curve, Radiology 1982.
    """
    _ranks.check_rankings(scores, labels, where, weights)
    return _roc_auc(scores, labels, where, weights)


def average_precision(
    scores: Float[Array, " batch *space"],
    labels: Bool[Array, " batch *space"],
    *,
    where: Bool[Array, " batch *space"] | None = None,
    weights: Float[Array, " batch *space"] | None = None,
) -> PerExample:
    """Average precision: the precision at each threshold, weighted by what recall it adds.

    `sum_k (R_k - R_(k-1)) P_k` over falling thresholds, which is a sum of steps, as in
    scikit-learn; straight lines between the points would promise too much.

    Args:
        scores: higher is more likely positive; any range, infinities included.
        labels: true = positive.
        where: true = counted.
        weights: what each score counts, at least 0; those of weight 0 are left out.

    Returns:
        In [0, 1], one value an example; their mean; and how many are undefined, which are NaN:
        those without a positive, and those with a NaN that counts.

    Raises:
        ValueError: for shapes or dtypes that do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> scores = jnp.array([[-3.0, 0.5, 0.5, 7.0]])
        >>> labels = jnp.array([[0, 0, 1, 1]], bool)
        >>> print(average_precision(scores, labels).values)  # 1 / 2 * 1 + 1 / 2 * 2 / 3
        [0.8333334]

    Reference: Davis and Goadrich, The Relationship Between Precision-Recall and ROC Curves, ICML
    2006.
    """
    _ranks.check_rankings(scores, labels, where, weights)
    return _average_precision(scores, labels, where, weights)


def partial_auc(
    scores: Float[Array, " batch *space"],
    labels: Bool[Array, " batch *space"],
    *,
    max_fpr: float | int | Float[Array, ""],
    where: Bool[Array, " batch *space"] | None = None,
    weights: Float[Array, " batch *space"] | None = None,
) -> PartialArea:
    """Area A under the ROC curve up to a false positive rate m, and what it is on a fixed scale.

    `(1 + (A - m^2 / 2) / (m - m^2 / 2)) / 2` is the standardized one, which scikit-learn's
    `roc_auc_score(max_fpr=m)` returns. The curve is cut at m on the line between two points.

    Args:
        scores: higher is more likely positive; any range, infinities included.
        labels: true = positive.
        max_fpr: m, above 0 to 1; may be traced.
        where: true = counted.
        weights: what each score counts, at least 0; those of weight 0 are left out.

    Returns:
        Both, one value an example; their mean; and how many are undefined, which are NaN: those
        without a positive or without a negative, and those with a NaN that counts.

    Raises:
        ValueError: for shapes, dtypes or a `max_fpr` that do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> scores = jnp.array([[0.1, 0.2, 0.3, 0.4, 0.5, 0.6]])
        >>> labels = jnp.array([[0, 0, 1, 0, 0, 1]], bool)
        >>> found = partial_auc(scores, labels, max_fpr=0.5)
        >>> print(found.raw.values, found.standardized.values)
        [0.25] [0.6666667]

    Reference: McClish, Analyzing a Portion of the ROC Curve, Medical Decision Making 1989.
    """
    _ranks.check_rankings(scores, labels, where, weights)
    _ranks.check_share("max_fpr", max_fpr)
    return _partial_auc(scores, labels, where, weights, jnp.float32(max_fpr))


def fpr_at_tpr(
    scores: Float[Array, " batch *space"],
    labels: Bool[Array, " batch *space"],
    *,
    tpr: float | int | Float[Array, ""] = 0.95,
    where: Bool[Array, " batch *space"] | None = None,
    weights: Float[Array, " batch *space"] | None = None,
) -> PerExample:
    """The false positive rate that it takes to find a share of the positives; lower is better.

    `FP / N` at the highest threshold at which `TP / P >= tpr`: a threshold that there is, with
    nothing interpolated.

    Args:
        scores: higher is more likely positive; any range, infinities included.
        labels: true = positive.
        tpr: the share, above 0 to 1; may be traced.
        where: true = counted.
        weights: what each score counts, at least 0; those of weight 0 are left out.

    Returns:
        In [0, 1], one value an example; their mean; and how many are undefined, which are NaN:
        those without a positive or without a negative, and those with a NaN that counts.

    Raises:
        ValueError: for shapes, dtypes or a `tpr` that do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> scores = jnp.array([[0.1, 0.2, 0.3, 0.4, 0.5, 0.6]])
        >>> labels = jnp.array([[0, 0, 1, 0, 0, 1]], bool)
        >>> print(fpr_at_tpr(scores, labels).values, fpr_at_tpr(scores, labels, tpr=0.5).values)
        [0.5] [0.]

    Reference: Hendrycks et al., Deep Anomaly Detection with Outlier Exposure, ICLR 2019.
    """
    _ranks.check_rankings(scores, labels, where, weights)
    _ranks.check_share("tpr", tpr)
    return _fpr_at_tpr(scores, labels, where, weights, jnp.float32(tpr))


def f1_max(
    scores: Float[Array, " batch *space"],
    labels: Bool[Array, " batch *space"],
    *,
    where: Bool[Array, " batch *space"] | None = None,
    weights: Float[Array, " batch *space"] | None = None,
) -> BestF1:
    """The largest F1 over all thresholds, `2 TP / (2 TP + FP + FN)`, and where it is reached.

    It is chosen with the labels at hand, so it bounds from above what a threshold that was fixed
    beforehand can reach.

    Args:
        scores: higher is more likely positive; any range, infinities included.
        labels: true = positive.
        where: true = counted.
        weights: what each score counts, at least 0; those of weight 0 are left out.

    Returns:
        In [0, 1], one value an example; their mean; and how many are undefined, which are NaN:
        those without a positive, and those with a NaN that counts. And the threshold: the middle
        between the lowest score above it and the highest below, over which F1 stays the same. It is
        the lowest score itself if no score is below, or no number in between; and of several with
        the same F1 the highest.

    Raises:
        ValueError: for shapes or dtypes that do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> found = f1_max(jnp.array([[0.0, 1.0, 2.0, 3.0]]), jnp.array([[0, 0, 1, 1]], bool))
        >>> print(found.values, found.thresholds)
        [1.] [1.5]

    Reference: Lipton et al., Optimal Thresholding of Classifiers to Maximize F1 Measure, ECML PKDD
    2014.
    """
    _ranks.check_rankings(scores, labels, where, weights)
    return _f1_max(scores, labels, where, weights)


# Compiled once also where they are called outside of a `jit`.
@jax.jit
def _roc_auc(scores, labels, where, weights) -> PerExample:
    ranks, unordered = _ranks.of_examples(scores, labels, where, weights)
    return values_of(_ranks.area(ranks), unordered | _ranked_values.one_class(ranks))


@jax.jit
def _average_precision(scores, labels, where, weights) -> PerExample:
    ranks, unordered = _ranks.of_examples(scores, labels, where, weights)
    value = _ranked_values.average_precision(ranks).value
    return values_of(value, unordered | (ranks.positives == 0))


@jax.jit
def _partial_auc(scores, labels, where, weights, max_fpr) -> PartialArea:
    ranks, unordered = _ranks.of_examples(scores, labels, where, weights)
    raw = _ranks.area(ranks, max_fpr)
    undefined = unordered | _ranked_values.one_class(ranks)
    values = (raw, _ranked_values.standardized(raw, max_fpr))
    return PartialArea(*(values_of(x, undefined) for x in values))


@jax.jit
def _fpr_at_tpr(scores, labels, where, weights, tpr) -> PerExample:
    ranks, unordered = _ranks.of_examples(scores, labels, where, weights)
    value = _ranked_values.fpr_at_tpr(ranks, tpr).value
    return values_of(value, unordered | _ranked_values.one_class(ranks))


@jax.jit
def _f1_max(scores, labels, where, weights) -> BestF1:
    ranks, unordered = _ranks.of_examples(scores, labels, where, weights)
    f1, best = _ranked_values.f1_max(ranks)
    at = lambda keys: jnp.take_along_axis(keys, best[:, None], axis=1)[:, 0]  # noqa: E731
    thresholds = _ranked_values.threshold_between(at(ranks.keys), at(_ranks.after(ranks.keys)))
    undefined = unordered | (ranks.positives == 0)
    each = values_of(f1.value, undefined)
    return BestF1(*each, thresholds=jnp.where(undefined, jnp.nan, thresholds))
