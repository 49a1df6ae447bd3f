"""ROC and precision-recall curves over a stream of scores, in memory that does not grow.

A point for every bin that holds scores (see `ranking_stream`). These are points of the curve of the
scores as they came, which holds more of them between two of these: it rises from the one to the
other, no further.
"""

import dataclasses

import jax
from jaxtyping import Array, Bool

from lossbench.metrics import _ranks
from lossbench.metrics._cases import static
from lossbench.metrics._ranked_stream import PlainStream
from lossbench.metrics.curves import PrPoints, RocPoints, pr_points, roc_points


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class RocCurve(PlainStream):
    """The ROC curve of a stream of scores (see `roc_curve`).

    Comes to `RocPoints` of one row, with one place more than there are bins.

    Example:
        >>> import jax.numpy as jnp
        >>> state = RocCurve.empty(bins=4)
        >>> for scores, labels in (([1.0, 2.0], [0, 0]), ([2.0], [1])):  # two batches
        ...     state = state.update(jnp.array([scores]), jnp.array([labels], bool))
        >>> curve = state.compute()
        >>> print(curve.fpr[curve.points], curve.tpr[curve.points], curve.thresholds[curve.points])
        [0.  0.5 1. ] [0. 1. 1.] [inf  2.  1.]

    Reference: Fawcett, An Introduction to ROC Analysis, Pattern Recognition Letters 2006.
    """

    name: str = static("roc_curve")

    def score(self, ranks: _ranks.Ranked, unordered: Bool[Array, " rows"]) -> RocPoints:
        """The points."""
        return roc_points(ranks, unordered)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class PrCurve(PlainStream):
    """The precision-recall curve of a stream of scores (see `pr_curve`).

    Comes to `PrPoints` of one row, with one place more than there are bins. Between two of them
    the precision may go down and up again, as it does in `pr_curve`.

    Example:
        >>> import jax.numpy as jnp
        >>> state = PrCurve.empty(bins=4)
        >>> for scores, labels in (([1.0, 2.0], [0, 0]), ([2.0], [1])):  # two batches
        ...     state = state.update(jnp.array([scores]), jnp.array([labels], bool))
        >>> curve = state.compute()
        >>> print(curve.precision[curve.points], curve.recall[curve.points])
        [1.         0.5        0.33333334] [0. 1. 1.]

    Reference: Davis and Goadrich, The Relationship Between Precision-Recall and ROC Curves, ICML
    2006.
    """

    name: str = static("pr_curve")

    def score(self, ranks: _ranks.Ranked, unordered: Bool[Array, " rows"]) -> PrPoints:
        """The points."""
        return pr_points(ranks, unordered)
