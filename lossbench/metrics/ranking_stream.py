"""Ranking metrics over a stream of scores, in memory that does not grow, with bounds.

All scores of the stream are pooled. They are counted in bins (see `_histogram`), each of which ties
the scores in it: the value is that of scores rounded to their bins, and next to it stand bounds
between which that of the scores as they came lies, up to rounding. Neither depends on the order,
the batches or the devices on which they came.

A value is as good as its bins are narrow, and a bin costs 16 bytes. The width is relative to a
score: 2^16 bins are a thousandth wide or less for scores that span 7 powers of 10 in size. Scores
with few bits have a bin each, and are exact: those of bfloat16, those of float16 that are finite
and at least 2^-14 in size or 0, and integers up to 4096 in size.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from lossbench.metrics import _ranked_values, _ranks
from lossbench.metrics._cases import static
from lossbench.metrics._histogram import ScoreHistogram
from lossbench.metrics._ranked_stream import (
    PlainStream,
    RankedStream,
    RankingScore,
    ranking_score,
)


class PartialAucScore(NamedTuple):
    """The area under the start of the ROC curve.

    Attributes:
        raw: the area itself, from 0 to `max_fpr`.
        standardized: McClish's: 0.5 for scores that tell nothing, 1 for perfect ones.
    """

    raw: RankingScore
    standardized: RankingScore


class F1MaxScore(NamedTuple):
    """The best F1 that a threshold can reach.

    Attributes:
        value: the best of the thresholds that lie between two bins, so one that can be reached.
        lower: the same.
        upper: at least the best of all thresholds.
        undefined: 1 if there is no value, else 0.
        threshold: `scores >= threshold` has this value.
    """

    value: Float[Array, ""]
    lower: Float[Array, ""]
    upper: Float[Array, ""]
    undefined: Int[Array, ""]
    threshold: Float[Array, ""]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class RocAuc(PlainStream):
    """Area under the ROC curve of a stream of scores (see `roc_auc`).

    Comes to a `RankingScore`; it is undefined without a positive, without a negative, and with a
    NaN that counts. The bounds: all pairs of two scores of a bin are wrong, or all are right.

    Example:
        >>> import jax.numpy as jnp
        >>> state = RocAuc.empty(bins=8)
        >>> for scores, labels in (([-3.0, 0.5], [0, 0]), ([0.5, 7.0], [1, 1])):  # two batches
        ...     state = state.update(jnp.array([scores]), jnp.array([labels], bool))
        >>> print(state.compute().value)
        0.875

    Reference: Hanley and McNeil, The Meaning and Use of the Area under a Receiver Operating
    Characteristic (ROC) Curve, Radiology 1982.
    """

    name: str = static("roc_auc")

    def score(self, ranks: _ranks.Ranked, unordered: Bool[Array, " rows"]) -> RankingScore:
        """The area."""
        undefined = unordered | _ranked_values.one_class(ranks)
        return ranking_score(_ranks.areas(ranks), undefined)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class AveragePrecision(PlainStream):
    """Average precision of a stream of scores (see `average_precision`).

    Comes to a `RankingScore`; it is undefined without a positive, and with a NaN that counts. The
    bounds: all negatives of a bin are above its positives, or all positives are above.

    Example:
        >>> import jax.numpy as jnp
        >>> state = AveragePrecision.empty(bins=8)
        >>> for scores, labels in (([-3.0, 0.5], [0, 0]), ([0.5, 7.0], [1, 1])):  # two batches
        ...     state = state.update(jnp.array([scores]), jnp.array([labels], bool))
        >>> print(state.compute().value)
        0.8333334

    Reference: Davis and Goadrich, The Relationship Between Precision-Recall and ROC Curves, ICML
    2006.
    """

    name: str = static("average_precision")

    def score(self, ranks: _ranks.Ranked, unordered: Bool[Array, " rows"]) -> RankingScore:
        """The mean precision."""
        undefined = unordered | (ranks.positives == 0)
        return ranking_score(_ranked_values.average_precision(ranks), undefined)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class PartialAuc(RankedStream):
    """Area under the ROC curve of a stream up to a false positive rate (see `partial_auc`).

    Comes to a `PartialAucScore`; both are undefined without a positive, without a negative, and
    with a NaN that counts. The bounds are those of `RocAuc`.

    Example:
        >>> import jax.numpy as jnp
        >>> state = PartialAuc.empty(max_fpr=0.5)
        >>> scores = jnp.array([[0.1, 0.2, 0.3, 0.4, 0.5, 0.6]])
        >>> state = state.update(scores, jnp.array([[0, 0, 1, 0, 0, 1]], bool))
        >>> print(state.compute().raw.value)
        0.25

    Reference: McClish, Analyzing a Portion of the ROC Curve, Medical Decision Making 1989.
    """

    max_fpr: float = static(1.0)
    name: str = static("partial_auc")

    @classmethod
    def empty(cls: type["PartialAuc"], *, max_fpr: float | int, bins: int = 2**16) -> "PartialAuc":
        """A state that has seen nothing.

        Args:
            max_fpr: the false positive rate up to which the area counts, above 0 to 1.
            bins: in how many the scores are counted; a power of two, at least 4.
        """
        _ranks.check_share("max_fpr", float(max_fpr))
        return cls(ScoreHistogram.empty(bins=bins), max_fpr=float(max_fpr))

    def score(self, ranks: _ranks.Ranked, unordered: Bool[Array, " rows"]) -> PartialAucScore:
        """The area up to the limit, and on a fixed scale, on which it rises."""
        undefined, limit = unordered | _ranked_values.one_class(ranks), jnp.float32(self.max_fpr)
        raw = _ranks.areas(ranks, limit)
        scaled = _ranks.Between(*(_ranked_values.standardized(x, limit) for x in raw))
        return PartialAucScore(*(ranking_score(x, undefined) for x in (raw, scaled)))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class FprAtTpr(RankedStream):
    """The false positive rate that it takes to find a share of the positives (see `fpr_at_tpr`).

    Comes to a `RankingScore`; it is undefined without a positive, without a negative, and with a
    NaN that counts. The bounds: the rate above the bin in which the share is met, and below it.

    Example:
        >>> import jax.numpy as jnp
        >>> state = FprAtTpr.empty(tpr=1)
        >>> scores = jnp.array([[0.1, 0.2, 0.3, 0.4, 0.5, 0.6]])
        >>> state = state.update(scores, jnp.array([[0, 0, 1, 0, 0, 1]], bool))
        >>> print(state.compute().value)
        0.5

    Reference: Hendrycks et al., Deep Anomaly Detection with Outlier Exposure, ICLR 2019.
    """

    tpr: float = static(0.95)
    name: str = static("fpr_at_tpr")

    @classmethod
    def empty(cls: type["FprAtTpr"], *, tpr: float | int = 0.95, bins: int = 2**16) -> "FprAtTpr":
        """A state that has seen nothing.

        Args:
            tpr: the share of the positives that is to be found, above 0 to 1.
            bins: in how many the scores are counted; a power of two, at least 4.
        """
        _ranks.check_share("tpr", float(tpr))
        return cls(ScoreHistogram.empty(bins=bins), tpr=float(tpr))

    def score(self, ranks: _ranks.Ranked, unordered: Bool[Array, " rows"]) -> RankingScore:
        """The rate."""
        undefined = unordered | _ranked_values.one_class(ranks)
        return ranking_score(_ranked_values.fpr_at_tpr(ranks, jnp.float32(self.tpr)), undefined)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class F1Max(PlainStream):
    """The largest F1 over all thresholds of a stream of scores, and where it is (see `f1_max`).

    Comes to an `F1MaxScore`; it is undefined without a positive, and with a NaN that counts. The
    threshold is the middle between the bin above it and the next one below that holds anything.

    Example:
        >>> import jax.numpy as jnp
        >>> state = F1Max.empty()
        >>> state = state.update(jnp.array([[1.0, 2.0, 3.0]]), jnp.array([[0, 0, 1]], bool))
        >>> print(state.compute().value, state.compute().threshold)
        1.0 2.5

    Reference: Lipton et al., Optimal Thresholding of Classifiers to Maximize F1 Measure, ECML PKDD
    2014.
    """

    name: str = static("f1_max")

    def score(self, ranks: _ranks.Ranked, unordered: Bool[Array, " rows"]) -> F1MaxScore:
        """The best F1 and its threshold."""
        found, best = _ranked_values.f1_max(ranks)
        undefined = unordered | (ranks.positives == 0)
        threshold = _ranked_values.threshold_between(
            ranks.keys[0, best], self.histogram.next_below(best)
        )
        threshold = jnp.where(undefined, jnp.nan, threshold)[0]
        return F1MaxScore(*ranking_score(found, undefined), threshold=threshold)
