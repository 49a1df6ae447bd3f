"""Scores of bands by labels: how well each tells anomalous pixels from normal ones.

They are for choosing bands, on labelled data that are not those of the test.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Shaped

from lossbench import _checks
from lossbench.anomaly._inputs import is_known, rows_of
from lossbench.anomaly.statistics import Covariance, Moments
from lossbench.metrics.ranking import roc_auc

BINS = 10


class SelectedBands(NamedTuple):
    """Bands that were chosen.

    Attributes:
        bands: their numbers, from 0 on, in the order in which they were chosen.
        scores: of every band, by labels alone, in standard deviations over bands.
    """

    bands: Int[Array, " count"]
    scores: Float[Array, " channels"]


def fisher_scores(
    x: Shaped[Array, "*space channels"],
    labels: Bool[Array, "*space"],
    *,
    where: Bool[Array, "*space"] | None = None,
) -> Float[Array, " channels"]:
    """Fisher's score: how far apart the two means are, in units of the variances.

    `(m1 - m0)^2 / (v1 + v0)`, the variances over n.

    Args:
        x: pixels, floats or integers.
        labels: true = anomalous.
        where: true = counted.

    Returns:
        At least 0; infinite for a band that is constant in each class, and another constant; 0 for
        one that is constant. NaN inside of `jit` if a class is absent, or for a band with a NaN.

    Raises:
        ValueError: for shapes or dtypes that do not fit; and outside of `jit`, if a class is
            absent.

    Example:
        >>> import jax.numpy as jnp
        >>> x = jnp.array([[0.0, 5], [2, 5], [4, 5], [6, 5]])
        >>> print(fisher_scores(x, jnp.array([0, 0, 1, 1], bool)))
        [8. 0.]

    Reference: Bishop, Pattern Recognition and Machine Learning, 2006, section 4.1.4.
    """
    return _fisher(*_labelled(x, labels, where))


def auc_scores(
    x: Shaped[Array, "*space channels"],
    labels: Bool[Array, "*space"],
    *,
    where: Bool[Array, "*space"] | None = None,
) -> Float[Array, " channels"]:
    """The area under the ROC curve of each band, folded: `max(a, 1 - a)`.

    A band in which anomalies are dark is worth as much as one in which they are bright. cuvis-ai
    does not fold, and puts such bands last.

    Args:
        x: pixels, floats or integers.
        labels: true = anomalous.
        where: true = counted.

    Returns:
        From 0.5, which tells nothing and is that of a constant band, to 1; undefined as of
        `fisher_scores`.

    Raises:
        ValueError: as of `fisher_scores`.

    Example:
        >>> import jax.numpy as jnp
        >>> x = jnp.array([[0.0, 5, 3], [2, 5, 1], [4, 5, 2], [6, 5, 0]])
        >>> print(auc_scores(x, jnp.array([0, 0, 1, 1], bool)))
        [1.   0.5  0.75]

    Reference: Hanley and McNeil, The Meaning and Use of the Area under a Receiver Operating
    Characteristic (ROC) Curve, Radiology 1982.
    """
    return _auc(*_labelled(x, labels, where))


def mutual_information_scores(
    x: Shaped[Array, "*space channels"],
    labels: Bool[Array, "*space"],
    *,
    where: Bool[Array, "*space"] | None = None,
    bins: int = BINS,
) -> Float[Array, " channels"]:
    """Mutual information, in bits, between the label and the bin that a value is in.

    `sum p(b, y) log2(p(b, y) / (p(b) p(y)))` over bins of equal width from the smallest value of
    the band to the largest, which belongs to the last bin.

    Args:
        x: pixels, floats or integers.
        labels: true = anomalous.
        where: true = counted.
        bins: how many.

    Returns:
        From 0 to the entropy of the labels, at most 1; 0 for a constant band; undefined as of
        `fisher_scores`.

    Raises:
        ValueError: as of `fisher_scores`.

    Example:
        >>> import jax.numpy as jnp
        >>> x = jnp.array([[0.0, 5], [2, 5], [4, 5], [6, 5]])
        >>> print(mutual_information_scores(x, jnp.array([0, 0, 1, 1], bool)))
        [1. 0.]

    Reference: Cover and Thomas, Elements of Information Theory, 2nd edition, 2006, section 2.3.
    """
    if bins < 2:
        raise ValueError(f"bins: expected at least 2, got {bins}")
    return _mutual_information(*_labelled(x, labels, where), bins)


def select_bands(
    x: Shaped[Array, "*space channels"],
    labels: Bool[Array, "*space"],
    *,
    count: int,
    method: str = "fisher",
    redundancy: float | Float[Array, ""] = 0.5,
    where: Bool[Array, "*space"] | None = None,
) -> SelectedBands:
    """Chooses bands that tell the classes apart and are not alike, one after the other.

    The next one has the largest `z - redundancy max |r|`: z is its score in standard deviations
    from the mean score, r its correlations, over all pixels that count, with those already chosen.
    Without the second term the choice would be neighbors of the best band, which say the same. Of
    equal ones, the first is taken.

    Args:
        x: pixels, floats or integers.
        labels: true = anomalous.
        count: how many bands.
        method: "fisher", "auc", "mutual_information", or "sum" of the z of all three.
        redundancy: what a correlation of 1 costs; 0 takes the best whatever they are like.
        where: true = counted.

    Returns:
        The bands and all scores, z. A band without a correlation, as a constant one, has one of 0.
        Infinite scores are taken as the largest finite one. All NaN inside of `jit` if a class is
        absent.

    Raises:
        ValueError: for shapes, dtypes or options that do not fit; and outside of `jit`, if a class
            is absent.

    Example:
        >>> import jax.numpy as jnp
        >>> x = jnp.array([[0.0, 1, 2], [2, 5, 1], [4, 9, 1], [6, 13, 2]])
        >>> labels = jnp.array([0, 0, 1, 1], bool)
        >>> print(select_bands(x, labels, count=2).bands)
        [0 1]
        >>> print(select_bands(x, labels, count=2, redundancy=3.0).bands)  # 1 says what 0 does
        [0 2]

    Reference: Ding and Peng, Minimum Redundancy Feature Selection from Microarray Gene Expression
    Data, JBCB 2005.
    """
    _checks.choice("method", method, (*METHODS, "sum"))
    rows, truth, counted = _labelled(x, labels, where)
    channels = rows.shape[1]
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= channels:
        raise ValueError(f"count: expected 1 to {channels}, the bands there are, got {count}")
    if is_known(redundancy) and not float(redundancy) >= 0:
        raise ValueError(f"redundancy: expected a number of at least 0, got {redundancy}")
    redundancy = jnp.asarray(redundancy, jnp.float32)
    return _select(rows, truth, counted, redundancy, count, method)


def _labelled(
    x: Array, labels: Array, where: Array | None
) -> tuple[Float[Array, "n channels"], Bool[Array, " n"], Bool[Array, " n"]]:
    """Rows, which of them are anomalous, and which count."""
    rows, counted = rows_of(x, where)
    labels = jnp.asarray(labels)
    if labels.dtype != jnp.bool_:
        raise ValueError(f"labels: expected bool (true = anomalous), got {labels.dtype}")
    _checks.shape("labels", labels, jnp.shape(x)[:-1], "the space of x")
    truth = labels.reshape(-1)
    numbers = jnp.stack([jnp.sum(counted & truth), jnp.sum(counted & ~truth)])
    if is_known(numbers) and not jnp.all(numbers > 0):
        raise ValueError(
            "labels: expected anomalous and normal pixels that count, got "
            f"{numbers[0]} and {numbers[1]}"
        )
    return rows, truth, counted


# Compiled once also where they are called outside of a `jit`.
@jax.jit
def _fisher(rows: Array, truth: Array, counted: Array) -> Array:
    empty = Moments.empty(rows.shape[1])
    anomalous, normal = (empty.update(rows, counted & of).compute(ddof=0) for of in (truth, ~truth))
    away = jnp.square(anomalous.mean - normal.mean)
    spread = anomalous.variance + normal.variance
    # Of constants, the means are all there is: roundings of them are no distance.
    none = (spread == 0) & (jnp.sqrt(away) <= 1e-6 * jnp.abs(normal.mean))
    return jnp.where(none, 0, away / spread)


@jax.jit
def _auc(rows: Array, truth: Array, counted: Array) -> Array:
    spread = lambda x: jnp.broadcast_to(x[None], rows.T.shape)  # noqa: E731
    area = roc_auc(rows.T, spread(truth), where=spread(counted)).values
    return jnp.maximum(area, 1 - area)


@functools.partial(jax.jit, static_argnums=3)
def _mutual_information(rows: Array, truth: Array, counted: Array, bins: int = BINS) -> Array:
    on = counted[:, None]
    low = jnp.min(jnp.where(on, rows, jnp.inf), axis=0)
    high = jnp.max(jnp.where(on, rows, -jnp.inf), axis=0)
    wide = jnp.where(high > low, high - low, 1)
    place = jnp.floor((rows - low[None]) / wide[None] * bins)
    # NaN, as a number, would be a bin.
    place = jnp.where(jnp.isnan(place), 0, jnp.clip(place, 0, bins - 1)).astype(jnp.int32)

    def joint(place: Array) -> Array:
        here = (place * 2 + truth)[:, None] == jnp.arange(2 * bins)[None]
        table = jnp.sum(here & on, axis=0, dtype=jnp.int32)
        return table.reshape(bins, 2).astype(jnp.float32)

    table = lax.map(joint, place.T)
    number = jnp.sum(table, axis=(1, 2), keepdims=True)
    share = table / number
    apart = jnp.sum(share, 1, keepdims=True) * jnp.sum(share, 2, keepdims=True)
    some = share > 0
    bits = jnp.where(some, share * jnp.log2(jnp.where(some, share / apart, 1)), 0)
    found = jnp.maximum(jnp.sum(bits, axis=(1, 2)), 0)
    present = jnp.all(jnp.sum(table, axis=1) > 0, axis=1) & ~jnp.isnan(high - low)
    return jnp.where(present, found, jnp.nan)


METHODS: dict[str, Callable[..., Array]] = {
    "fisher": _fisher,
    "auc": _auc,
    "mutual_information": _mutual_information,
}


def _standardized(scores: Float[Array, " channels"]) -> Float[Array, " channels"]:
    """In standard deviations from the mean; 0 if all are the same."""
    largest = jnp.max(jnp.where(jnp.isinf(scores), -jnp.inf, scores))
    scores = jnp.where(jnp.isinf(scores), jnp.where(jnp.isinf(largest), 1, largest), scores)
    d = scores - jnp.mean(scores)
    std = jnp.sqrt(jnp.mean(d * d))
    return d / jnp.where(std > 0, std, 1)


@functools.partial(jax.jit, static_argnums=(4, 5))
def _select(rows, truth, counted, redundancy, count, method) -> SelectedBands:
    names = METHODS if method == "sum" else (method,)
    every = [_standardized(METHODS[name](rows, truth, counted)) for name in names]
    scores = jnp.sum(jnp.stack(every), axis=0)
    covariance = Covariance.empty(rows.shape[1]).update(rows, counted).compute(ddof=0).covariance
    variance = jnp.diagonal(covariance)
    root = jnp.sqrt(jnp.where(variance > 0, variance, 1))
    alike = jnp.abs(covariance) / (root[:, None] * root[None])
    alike = jnp.where((variance > 0)[:, None] & (variance > 0)[None], alike, 0)

    def choose(carry: tuple[Array, Array], _) -> tuple[tuple[Array, Array], Array]:
        worst, free = carry
        best = jnp.argmax(jnp.where(free, scores - redundancy * worst, -jnp.inf))
        return (jnp.maximum(worst, alike[best]), free.at[best].set(False)), best

    start = (jnp.zeros_like(scores), jnp.ones(scores.shape, bool))
    _, bands = lax.scan(choose, start, length=count)
    return SelectedBands(bands, scores)
