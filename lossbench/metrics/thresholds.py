"""Thresholds for raw scores, chosen by scores: what is `scores >= threshold` is anomalous.

One threshold an example, so every image may have its own. `deciders` fits one for all images; so
does a reshape to one example: `fpr_threshold(scores.reshape(1, -1), ...)`.

A threshold that may flag a share of some scores lies just above the highest of those that it has to
spare. Equal scores are flagged together or not at all, and nothing of a constant map is. Just above
is the next float but for those between 0 and the smallest normal ones, about 1e-38, which are
skipped: XLA's CPU backend compares them as 0.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from lossbench import _checks
from lossbench.metrics import _maps, _ranks, ranking


class Thresholds(NamedTuple):
    """Thresholds of a batch: `scores >= threshold` is anomalous.

    Attributes:
        values: one an example; NaN, which flags nothing, where there is none.
        undefined: number of examples for which there is none.
    """

    values: Float[Array, " batch"]
    undefined: Int[Array, ""]


def decide(
    scores: Float[Array, " batch *space"], threshold: float | int | Float[Array, "*batch"]
) -> Bool[Array, " batch *space"]:
    """Which scores are anomalous: `scores >= threshold`.

    Args:
        scores: higher is more anomalous.
        threshold: one for all, or one an example; may be traced.

    Returns:
        A mask; false for a score that is NaN, and for all where the threshold is.

    Raises:
        ValueError: for shapes or dtypes that do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> print(decide(jnp.array([[0.1, 0.9], [2.0, 3.0]]), jnp.array([0.5, 3.0])))
        [[False  True]
         [False  True]]

    Reference: Fawcett, An Introduction to ROC Analysis, Pattern Recognition Letters 2006.
    """
    _checks.floating(scores=scores)
    check_threshold("threshold", threshold, scores)
    given = getattr(threshold, "dtype", _checks.compute_dtype(scores))
    # A float64 of NumPy is what JAX makes of it, without a warning.
    at = jnp.asarray(threshold, jax.dtypes.canonicalize_dtype(given))
    # Neither is rounded: a threshold lies as close to a score as a float can.
    dtype = jnp.promote_types(_checks.compute_dtype(scores), at.dtype)
    at = at.reshape(at.shape + (1,) * (scores.ndim - 1) * at.ndim)
    return scores.astype(dtype) >= at.astype(dtype)


def check_threshold(name: str, threshold: float | int | Array, scores: Array) -> None:
    """Raises unless a threshold is one number, or one an example."""
    if jnp.shape(threshold) not in ((), scores.shape[:1]):
        raise ValueError(
            f"{name}: expected one number, or one an example {scores.shape[:1]}, "
            f"got {jnp.shape(threshold)}"
        )


def quantile_threshold(
    scores: Float[Array, " batch *space"],
    *,
    quantile: float | int,
    where: Bool[Array, " batch *space"] | None = None,
) -> Thresholds:
    """The lowest threshold that flags at most `1 - quantile` of the scores of each example.

    With no ties it flags `floor((1 - quantile) n)` of n scores, whether the image is normal or not:
    the quantile is a guess of how much is anomalous, and of a normal image all of it is wrong.
    Nothing is interpolated, and there is no limit on n.

    Args:
        scores: higher is more anomalous; any range, infinities included.
        quantile: 0 to 1; a number and not traced.
        where: true = counted.

    Returns:
        One threshold an example. NaN, and counted: where nothing counts, where a NaN does, and
        where infinity must not be flagged, above which there is no number.

    Raises:
        ValueError: for shapes, dtypes or a quantile that do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> scores = jnp.array([[5.0, 1.0, 2.0, 9.0], [3.0, 3.0, 3.0, 3.0]])
        >>> found = quantile_threshold(scores, quantile=0.75)
        >>> print(decide(scores, found.values))
        [[False False False  True]
         [False False False False]]

    Reference: Hyndman and Fan, Sample Quantiles in Statistical Packages, The American Statistician
    1996.
    """
    _maps.check_maps(scores, where)
    check_share("quantile", quantile)
    # In double precision: a share near 0 keeps more digits in float32 than a quantile near 1.
    return _sparing(scores, where, jnp.float32(1 - quantile))


def fpr_threshold(
    scores: Float[Array, " batch *space"],
    labels: Bool[Array, " batch *space"],
    *,
    fpr: float | int | Float[Array, ""],
    where: Bool[Array, " batch *space"] | None = None,
) -> Thresholds:
    """The lowest threshold at which the false positive rate `FP / N` is at most `fpr`.

    Of normal scores alone; what the anomalous ones are changes nothing.

    Args:
        scores: higher is more anomalous; any range, infinities included.
        labels: true = anomalous.
        fpr: 0 to 1; may be traced. With 0 it is just above the highest normal score.
        where: true = counted.

    Returns:
        One threshold an example. NaN, and counted: where no normal score counts, where a NaN of one
        does, and where infinity must not be flagged, above which there is no number.

    Raises:
        ValueError: for shapes, dtypes or an `fpr` that do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> scores = jnp.array([[1.0, 2.0, 3.0, 4.0, 2.5]])
        >>> labels = jnp.array([[0, 0, 0, 0, 1]], bool)
        >>> found = fpr_threshold(scores, labels, fpr=0.25)
        >>> print(found.values, decide(scores, found.values))
        [3.0000002] [[False False False  True False]]

    Reference: Neyman and Pearson, On the Problem of the Most Efficient Tests of Statistical
    Hypotheses, Philosophical Transactions of the Royal Society A 1933.
    """
    _ranks.check_rankings(scores, labels, where)
    check_share("fpr", fpr)
    return _sparing(scores, ~labels if where is None else where & ~labels, jnp.float32(fpr))


def nu_threshold(
    scores: Float[Array, " batch *space"],
    *,
    nu: float | int | Float[Array, ""],
    where: Bool[Array, " batch *space"] | None = None,
) -> Thresholds:
    """The lowest threshold that flags at most a share `nu` of the training scores.

    Of scores that are normal but for a few: nu is the share of them that may be outliers, as in a
    one-class SVM and in Deep SVDD, whose squared radius is the `1 - nu` quantile of the distances.

    Args:
        scores: of the training data; higher is more anomalous; any range, infinities included.
        nu: 0 to 1; may be traced.
        where: true = counted.

    Returns:
        One threshold an example. NaN, and counted: where nothing counts, where a NaN does, and
        where infinity must not be flagged, above which there is no number.

    Raises:
        ValueError: for shapes, dtypes or a `nu` that do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> print(nu_threshold(jnp.array([[1.0, 2.0, 3.0, 40.0]]), nu=0.25).values)
        [3.0000002]

    Reference: Schölkopf et al., Estimating the Support of a High-Dimensional Distribution, Neural
    Computation 2001.
    """
    _maps.check_maps(scores, where)
    check_share("nu", nu)
    return _sparing(scores, where, jnp.float32(nu))


def gaussian_threshold(
    scores: Float[Array, " batch *space"],
    *,
    fpr: float | int | Float[Array, ""],
    where: Bool[Array, " batch *space"] | None = None,
) -> Thresholds:
    """The threshold that a share `fpr` of the scores would be above if they were Gaussian.

    `mean + z std`, and just above it, with the standard deviation of a sample (n - 1) and z the
    `1 - fpr` quantile of the normal distribution: 2.33 for 0.01. It reaches tails that a sample is
    too small for, as far as they are Gaussian: those of distances are not, nor is a sample with
    outliers, of which a few move mean and deviation as far as they like.

    Args:
        scores: normal ones; higher is more anomalous.
        fpr: above 0 and below 1; may be traced.
        where: true = counted.

    Returns:
        One threshold an example. NaN, and counted: where fewer than two scores count, or where one
        does that is NaN or infinite.

    Raises:
        ValueError: for shapes, dtypes or an `fpr` that do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> scores = jnp.array([[-1.0, 0.0, 1.0]])  # the standard deviation is 1
        >>> print(gaussian_threshold(scores, fpr=0.025).values)
        [1.95996...]

    Reference: Chandola, Banerjee and Kumar, Anomaly Detection: A Survey, ACM Computing Surveys
    2009.
    """
    _maps.check_maps(scores, where)
    if isinstance(fpr, float | int) and not 0 < fpr < 1:
        raise ValueError(f"fpr: expected above 0 and below 1, got {fpr}")
    return _gaussian(scores, where, jnp.float32(fpr))


def f1_threshold(
    scores: Float[Array, " batch *space"],
    labels: Bool[Array, " batch *space"],
    *,
    where: Bool[Array, " batch *space"] | None = None,
) -> Thresholds:
    """The threshold with the largest F1, that of `f1_max`: in the middle of its plateau.

    Chosen with the labels at hand, so what is measured on the same data is too good.

    Args:
        scores: higher is more anomalous; any range, infinities included.
        labels: true = anomalous.
        where: true = counted.

    Returns:
        One threshold an example. NaN, and counted: without an anomalous or without a normal score,
        and with a NaN that counts.

    Raises:
        ValueError: for shapes or dtypes that do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> scores, labels = jnp.array([[0.0, 1.0, 2.0, 3.0]]), jnp.array([[0, 0, 1, 1]], bool)
        >>> print(f1_threshold(scores, labels).values)
        [1.5]

    Reference: Lipton et al., Optimal Thresholding of Classifiers to Maximize F1 Measure, ECML PKDD
    2014.
    """
    found = ranking.f1_max(scores, labels, where=where)
    normal = ~labels if where is None else where & ~labels
    any_normal = jnp.any(normal.reshape(len(normal), -1), axis=1)
    return _thresholds(jnp.where(any_normal, found.thresholds, jnp.nan))


def check_share(name: str, value: float | int | Array) -> None:
    """Raises unless a number is a share, 0 included; one that is traced is not known yet."""
    if isinstance(value, float | int) and not 0 <= value <= 1:
        raise ValueError(f"{name}: expected 0 to 1, got {value}")


def _thresholds(values: Float[Array, " batch"]) -> Thresholds:
    return Thresholds(values, jnp.sum(jnp.isnan(values), dtype=jnp.int32))


# Compiled once also where they are called outside of a `jit`.
@jax.jit
def _sparing(scores, where, share) -> Thresholds:
    """The lowest thresholds that flag at most a share of what counts."""
    rows, counted, unordered = _maps.rows_of(scores, where)
    keys = _maps.sorted_keys(rows, counted)
    number = jnp.sum(counted, axis=1, dtype=jnp.int32)
    allowed = _maps.at_most(share, number)
    last = keys.shape[1] - 1
    spared = jnp.take_along_axis(keys, jnp.minimum(allowed, last)[:, None], axis=1)[:, 0]
    above = _ranks.scores_of(_maps.just_above(spared))
    values = jnp.where(allowed < number, above, -jnp.inf)
    return _thresholds(jnp.where(unordered | (number == 0), jnp.nan, values))


@jax.jit
def _gaussian(scores, where, fpr) -> Thresholds:
    rows, counted, unordered = _maps.rows_of(scores, where)
    mean, std = _maps.mean_and_std(rows, counted)
    at = mean - jax.scipy.special.ndtri(fpr).astype(rows.dtype) * std
    # Just above, so that a constant map, all of which is at the mean, is not flagged.
    keys = _maps.just_above(_ranks.keys_of(at[:, None]))[:, 0]
    undefined = unordered | ~jnp.isfinite(at)
    return _thresholds(jnp.where(undefined, jnp.nan, _ranks.scores_of(keys)))
