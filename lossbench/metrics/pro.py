"""AUPRO: how much of every anomalous region is found, over all thresholds of a score."""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from lossbench.metrics import _ranks
from lossbench.metrics._cases import static
from lossbench.metrics._histogram import ScoreHistogram
from lossbench.metrics._images import without_padding
from lossbench.metrics._ranked_stream import RankedStream, ranking_score
from lossbench.metrics.regions import region_weights


class RegionArea(NamedTuple):
    """AUPRO of all images of a batch.

    Attributes:
        value: one number, in [0, 1].
        undefined: 1 if there is none, else 0.
        regions: how many there are in the batch.
    """

    value: Float[Array, ""]
    undefined: Int[Array, ""]
    regions: Int[Array, ""]


class RegionScore(NamedTuple):
    """AUPRO of all images of a stream.

    Attributes:
        value: that of scores rounded to their bins.
        lower: at most that of the scores as they came.
        upper: at least that.
        undefined: 1 if there is no value, else 0.
        regions: how many there are, to the 7 digits of a float32.
    """

    value: Float[Array, ""]
    lower: Float[Array, ""]
    upper: Float[Array, ""]
    undefined: Int[Array, ""]
    regions: Float[Array, ""]


def aupro(
    scores: Float[Array, " batch *space"],
    labels: Bool[Array, " batch *space"],
    *,
    limit: float | int | Float[Array, ""] = 0.3,
    connectivity: int | None = None,
    where: Bool[Array, " batch *space"] | None = None,
) -> RegionArea:
    """Area under the per-region overlap (PRO) against the false positive rate, up to a limit.

    `1 / limit * integral of PRO over FPR from 0 to limit`: PRO is the mean over all true regions of
    the share that is predicted, FPR the share of the pixels outside of all that is. Both are taken
    at every distinct score, with a straight line in between that is cut at the limit.

    Regions and pixels of all images are pooled under one threshold, as in MVTec's evaluation, so
    there is one value for a batch, which may be the whole test set; the mean over batches is
    another number. Images without a region belong in it: their pixels make false positives.

    Args:
        scores: anomaly maps, higher is more anomalous; any range, infinities included.
        labels: masks of the anomalous regions.
        limit: the false positive rate up to which the curve counts, above 0 to 1; may be traced.
        connectivity: two pixels are neighbors if they differ by one step along at most so many
            axes: 1 is 4 neighbors in 2D and 6 in 3D; None is all, 8 and 26, as in MVTec's code.
        where: true = counted; what is not counted is in no region.

    Returns:
        The value; whether it is undefined, which is NaN: without a region, without a pixel outside
        of all, or with a NaN that counts; and the number of regions.

    Raises:
        ValueError: for shapes, dtypes or options that do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> labels = jnp.array([[1, 1, 0, 1, 0, 0, 0]], bool)  # regions of 2 pixels and of 1
        >>> scores = jnp.array([[9.0, 4.0, 1.0, 8.0, 6.0, 2.0, 3.0]])
        >>> print(aupro(scores, labels, limit=0.5).value)  # PRO is 3/4 up to FPR 1/4, then 1
        0.875

    Reference: Bergmann et al., The MVTec Anomaly Detection Dataset, IJCV 2021.
    """
    _ranks.check_scores(scores, labels, where)
    _ranks.check_share("limit", limit)
    if where is not None:
        labels = labels & where
    # Checks the connectivity, and what else regions need.
    weights, regions = region_weights(labels, connectivity=connectivity)
    return _aupro(scores, weights, regions, where, jnp.float32(limit))


# Compiled once also where it is called outside of a `jit`.
@jax.jit
def _aupro(scores, weights, regions, where, limit) -> RegionArea:
    row = functools.partial(jnp.reshape, shape=(1, -1))
    counted, unordered = _ranks.counted_of(row(scores), None if where is None else row(where), None)
    keys, shares = _ranks.sorted_with(_ranks.keys_of(row(scores)), row(weights), counted)
    # A pixel of a region counts one over its size, any other one as one.
    inside = jnp.cumsum(shares > 0, axis=1, dtype=jnp.int32)
    outside = _ranks.places(keys, counted) - inside
    ranks = _ranks.summed(keys, _ranks.running(shares), outside)
    undefined = unordered | (ranks.positives == 0) | (ranks.negatives == 0)
    value = jnp.where(undefined, jnp.nan, _ranks.area(ranks, limit) / limit)
    return RegionArea(value[0], undefined[0].astype(jnp.int32), jnp.sum(regions))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Aupro(RankedStream):
    """AUPRO of a stream of whole images (see `aupro`), of which a region is in one.

    Comes to a `RegionScore`, which is undefined as that of `aupro` is. The bounds: all pixels of a
    bin that are outside of regions are above those inside, or the other way about.

    Example:
        >>> import jax.numpy as jnp
        >>> state = Aupro.empty(limit=0.5)
        >>> for scores, labels in (([9.0, 4.0, 1.0, 2.0], [1, 1, 0, 0]), ([8.0, 6, 3], [1, 0, 0])):
        ...     state = state.update(jnp.array([scores]), jnp.array([labels], bool))
        >>> print(state.compute().value, state.compute().regions)
        0.875 2.0

    Reference: Bergmann et al., The MVTec Anomaly Detection Dataset, IJCV 2021.
    """

    limit: float = static(0.3)
    connectivity: int | None = static(None)
    name: str = static("aupro")

    @property
    def made_of(self) -> Any:
        """What is counted: pixels by the regions they are in, whatever the limit."""
        return type(self), self.connectivity

    @classmethod
    def empty(
        cls, *, limit: float | int = 0.3, connectivity: int | None = None, bins: int = 2**16
    ) -> "Aupro":
        """A state that has seen nothing.

        Args:
            limit: the false positive rate up to which the curve counts, above 0 to 1; not traced.
            connectivity: see `aupro`.
            bins: in how many the scores are counted; a power of two, at least 4.

        Raises:
            ValueError: for options that there are not.
        """
        _ranks.check_share("limit", float(limit))
        histogram = ScoreHistogram.empty(bins=bins)
        return cls(histogram, limit=float(limit), connectivity=connectivity)

    def update(
        self,
        scores: Float[Array, " batch *space"],
        labels: Bool[Array, " batch *space"],
        *,
        where: Bool[Array, " batch *space"] | None = None,
        weights: Float[Array, " batch"] | None = None,
    ) -> "Aupro":
        """Adds a batch of whole images.

        Args:
            scores: anomaly maps, higher is more anomalous; any range. Counted as float32.
            labels: masks of the anomalous regions.
            where: true = counted; what is not counted is in no region.
            weights: 0 for an example that only pads the batch, else 1.

        Raises:
            ValueError: for shapes, dtypes or a connectivity that do not fit.
        """
        _ranks.check_scores(scores, labels, where)
        where = without_padding(where, weights, labels)
        if where is not None:
            labels = labels & where
        shares, _ = region_weights(labels, connectivity=self.connectivity)
        # A pixel of a region counts one over its size, any other one as one.
        each = jnp.where(labels, shares, 1)
        histogram = self.histogram.add(scores, labels, where=where, weights=each)
        return dataclasses.replace(self, histogram=histogram)

    def score(self, ranks: _ranks.Ranked, unordered: Bool[Array, " rows"]) -> RegionScore:
        """The area up to the limit, as a share of the limit."""
        limit = jnp.float32(self.limit)
        found = _ranks.Between(*(x / limit for x in _ranks.areas(ranks, limit)))
        undefined = unordered | (ranks.positives == 0) | (ranks.negatives == 0)
        # Each region is the sum of its shares.
        regions = jnp.round(ranks.positives[0])
        return RegionScore(*ranking_score(found, undefined), regions=regions)
