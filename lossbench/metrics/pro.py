"""AUPRO: how much of every anomalous region is found, over all thresholds of a score."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from lossbench.metrics import _ranks
from lossbench.metrics.regions import region_weights


class Aupro(NamedTuple):
    """AUPRO of all images of a batch.

    Attributes:
        value: one number, in [0, 1].
        undefined: 1 if there is none, else 0.
        regions: how many there are in the batch.
    """

    value: Float[Array, ""]
    undefined: Int[Array, ""]
    regions: Int[Array, ""]


def aupro(
    scores: Float[Array, " batch *space"],
    labels: Bool[Array, " batch *space"],
    *,
    limit: float | int | Float[Array, ""] = 0.3,
    connectivity: int | None = None,
    where: Bool[Array, " batch *space"] | None = None,
) -> Aupro:
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
def _aupro(scores, weights, regions, where, limit) -> Aupro:
    row = functools.partial(jnp.reshape, shape=(1, -1))
    counted, unordered = _ranks.counted_of(row(scores), None if where is None else row(where), None)
    keys, shares = _ranks.sorted_with(_ranks.keys_of(row(scores)), row(weights), counted)
    # A pixel of a region counts one over its size, any other one as one.
    inside = jnp.cumsum(shares > 0, axis=1, dtype=jnp.int32)
    outside = _ranks.places(keys, counted) - inside
    ranks = _ranks.summed(keys, _ranks.running(shares), outside)
    undefined = unordered | (ranks.positives == 0) | (ranks.negatives == 0)
    value = jnp.where(undefined, jnp.nan, _ranks.area(ranks, limit) / limit)
    return Aupro(value[0], undefined[0].astype(jnp.int32), jnp.sum(regions))
