"""The panel of an anomaly detector over a stream of images, in memory that does not grow."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from lossbench import _checks
from lossbench.metrics import _sums, panel, ranking
from lossbench.metrics._cases import check_alike, ratio, static
from lossbench.metrics._images import without_padding
from lossbench.metrics._ranked_stream import RankingScore
from lossbench.metrics.panel import Hits
from lossbench.metrics.ranking_stream import AveragePrecision


class StreamedScores(NamedTuple):
    """What decisions, and scores, come to: see `DetectionScores`.

    Attributes:
        precision: NaN where nothing is flagged.
        recall: NaN where nothing is anomalous.
        f1: NaN where nothing is either.
        iou: likewise.
        average_precision: of scores rounded to bins, with bounds for that of the scores as they
            came; NaN where nothing is anomalous, a score is NaN, or any image had no scores.
    """

    precision: Float[Array, ""]
    recall: Float[Array, ""]
    f1: Float[Array, ""]
    iou: Float[Array, ""]
    average_precision: RankingScore


class OverImages(NamedTuple):
    """One number for each of the scores that a single image has: see `PerImage`.

    Attributes:
        precision: of each image.
        recall: likewise.
        f1: likewise.
        iou: likewise.
        average_precision: likewise, from the scores as they came.
    """

    precision: Float[Array, ""]
    recall: Float[Array, ""]
    f1: Float[Array, ""]
    iou: Float[Array, ""]
    average_precision: Float[Array, ""]


class StreamedReport(NamedTuple):
    """The decisions on a stream of images.

    Attributes:
        pixel: of all pixels together.
        mean: over the images that have a value; NaN where none has.
        undefined: how many images have none; exact to 2^24, and rounded beyond.
        image: of all images, each of which is one decision.
    """

    pixel: StreamedScores
    mean: OverImages
    undefined: OverImages
    image: StreamedScores


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class AnomalyDetection:
    """Precision, recall, F1, IoU and average precision over a stream of images.

    It comes to a `StreamedReport`. Counts are integers, so no bit of the decisions' scores depends
    on order, batches or devices; sums over images are rounded to about 1e-7. `merge` is associative
    and commutative. Images must come whole.

    Example:
        >>> import jax.numpy as jnp
        >>> state = AnomalyDetection.empty(bins=64)
        >>> targets = jnp.array([[0, 0, 1, 1], [0, 0, 0, 0]], bool)
        >>> scores = jnp.array([[0.1, 0.6, 0.8, 0.9], [0.2, 0.3, 0.1, 0.7]])
        >>> for i in range(2):  # one image a batch
        ...     one = scores[i : i + 1]
        ...     state = state.update(one > 0.5, targets[i : i + 1], one)
        >>> found = state.compute()
        >>> print(found.pixel.precision, found.mean.precision, found.image.precision)
        0.5 0.33333334 0.5
        >>> print(found.pixel.average_precision.value, found.undefined.recall)
        1.0 1.0

    Reference: Powers, Evaluation: From Precision, Recall and F-Measure to ROC, Informedness,
    Markedness and Correlation, 2011.
    """

    # TP, FP and FN, a sum of three, of pixels and of images. No field is annotated as what it is:
    # JAX builds trees of other leaves (NumPy, `vmap`) with them.
    pixels: Any
    images: Any
    # One column for each score of an image: the sum, and of how many images.
    totals: Any
    defined: Any
    undefined: Any
    # How many images came without scores.
    unscored: Any
    ranked_pixels: Any
    ranked_images: Any
    # Another for each class, which JAX does not compare.
    name: str = static("anomaly_detection")

    @classmethod
    def empty(cls, *, bins: int = 2**16) -> "AnomalyDetection":
        """A state that has seen nothing.

        Args:
            bins: in how many the scores are counted; a power of two, at least 4.
        """
        # Each has buffers of its own: none may be donated twice.
        hits = lambda: _sums.zeros((3,))  # noqa: E731
        each = lambda: _sums.zeros((len(OverImages._fields),))  # noqa: E731
        ranked = lambda: AveragePrecision.empty(bins=bins)  # noqa: E731
        return cls(hits(), hits(), each(), each(), each(), _sums.zeros(()), ranked(), ranked())

    def update(
        self,
        decisions: Bool[Array, " batch *space"],
        targets: Bool[Array, " batch *space"],
        scores: Float[Array, " batch *space"] | None = None,
        *,
        where: Bool[Array, " batch *space"] | None = None,
        weights: Float[Array, " batch"] | None = None,
    ) -> "AnomalyDetection":
        """Adds a batch.

        Args:
            decisions: what was flagged.
            targets: true = anomalous.
            scores: higher is more anomalous; for all batches or for none.
            where: true = counted.
            weights: 0 for an example that only pads the batch, else 1.

        Raises:
            ValueError: for shapes or dtypes that do not fit.
        """
        panel.check_panel(decisions, targets, scores, where)
        if weights is not None:
            _checks.shape("weights", weights, decisions.shape[:1], "batch")
        return _update(self, decisions, targets, scores, where, weights)

    def merge(self, other: "AnomalyDetection") -> "AnomalyDetection":
        """The state that has seen what both have.

        Raises:
            ValueError: if the other is another metric, or has other bins.
        """
        check_alike(self, other)
        summed = ("pixels", "images", "totals", "defined", "undefined", "unscored")
        ranked = ("ranked_pixels", "ranked_images")
        both = lambda name: (getattr(self, name), getattr(other, name))  # noqa: E731
        return dataclasses.replace(
            self,
            **{name: _sums.add(*both(name)) for name in summed},
            **{name: both(name)[0].merge(both(name)[1]) for name in ranked},
        )

    def compute(self) -> StreamedReport:
        """What was seen comes to this. Pure: calling it twice changes nothing."""
        return _compute(self)


# Compiled once also where they are called outside of a `jit`.
@jax.jit
def _update(state, decisions, targets, scores, where, weights) -> AnomalyDetection:
    where = without_padding(where, weights, targets)
    real = (jnp.ones(len(targets), bool) if weights is None else weights > 0)[None]
    pixels = panel.hits_of_pixels(decisions, targets, where)
    images = panel.images_decided(decisions, targets, where)
    each = [*panel.rates(pixels), jnp.full(len(targets), jnp.nan)]
    ranked_pixels, ranked_images = state.ranked_pixels, state.ranked_images
    unscored = jnp.sum(real, dtype=jnp.int32)
    if scores is not None:
        each[-1] = ranking.average_precision(scores, targets, where=where).values
        ranked_pixels = ranked_pixels.update(scores, targets, where=where)
        highest = panel.highest_of(scores, where)
        ranked_images = ranked_images.update(highest, images.targets, where=images.counted)
        unscored = jnp.zeros((), jnp.int32)
    values = jnp.stack(each)
    defined = ~jnp.isnan(values) & real
    total = jnp.sum(jnp.where(defined, values, 0), axis=1)
    number = jnp.sum(defined, axis=1, dtype=jnp.int32)
    missing = jnp.sum(~defined & real, axis=1, dtype=jnp.int32)
    return AnomalyDetection(
        _sums.add_counts(state.pixels, jnp.stack([jnp.sum(x, dtype=jnp.int32) for x in pixels])),
        _sums.add_counts(state.images, jnp.stack(panel.hits_of_images(images))),
        _sums.add(state.totals, _sums.RunningSum(total, jnp.zeros_like(total))),
        _sums.add_counts(state.defined, number),
        _sums.add_counts(state.undefined, missing),
        _sums.add_counts(state.unscored, unscored),
        ranked_pixels,
        ranked_images,
    )


@jax.jit
def _compute(state) -> StreamedReport:
    def scores(hits: _sums.RunningSum, ranked: AveragePrecision) -> StreamedScores:
        found = ranked.compute()
        unscored = state.unscored.high > 0
        value, lower, upper = (jnp.where(unscored, jnp.nan, x) for x in found[:3])
        precision = RankingScore(value, lower, upper, jnp.where(unscored, 1, found.undefined))
        return StreamedScores(*panel.rates(Hits(*hits.high)), precision)

    return StreamedReport(
        scores(state.pixels, state.ranked_pixels),
        OverImages(*ratio(state.totals.high, state.defined.high)),
        OverImages(*state.undefined.high),
        scores(state.images, state.ranked_images),
    )
