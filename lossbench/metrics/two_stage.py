"""Decisions in two stages: which images are anomalous, and in these which pixels.

A threshold for pixels alone flags a few of every normal image. Here an image must be anomalous as a
whole before any of its pixels is.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from lossbench.metrics import _maps, _ranks
from lossbench.metrics._cases import static
from lossbench.metrics._examples import PerExample, values_of
from lossbench.metrics.deciders import ImageQuantile, Threshold
from lossbench.metrics.thresholds import check_threshold, decide
from lossbench.ops.sums import sum_pixels

SHARE = 0.001


class TwoStageDecisions(NamedTuple):
    """What is anomalous.

    Attributes:
        pixels: which pixels; none of an image that is not.
        images: which images.
    """

    pixels: Bool[Array, " batch *space"]
    images: Bool[Array, " batch"]


def top_mean(
    scores: Float[Array, " batch *space"],
    *,
    share: float | int | Float[Array, ""] = SHARE,
    where: Bool[Array, " batch *space"] | None = None,
) -> PerExample:
    """One score an image: the mean of its highest scores, `ceil(share n)` of n.

    A small share sees small anomalies, but one that is too small sees noise: of a share below 1 / n
    it is the maximum.

    Args:
        scores: higher is more anomalous.
        share: above 0 to 1; may be traced.
        where: true = counted.

    Returns:
        In the scores' unit, one value an example, infinite where the sum of the scores is; their
        mean; and how many are undefined, which are NaN: those in which nothing counts, or a NaN
        does, or the highest are infinities of both signs.

    Raises:
        ValueError: for shapes, dtypes or a share that do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> print(top_mean(jnp.array([[1.0, 4.0, 2.0, 3.0]]), share=0.5).values)
        [3.5]

    Reference: the node `TwoStageBinaryDecider` of cuvis-ai.
    """
    _maps.check_maps(scores, where)
    _ranks.check_share("share", share)
    return _top_mean(scores, where, jnp.float32(share))


def two_stage(
    scores: Float[Array, " batch *space"],
    *,
    image_threshold: float | int | Float[Array, ""],
    pixel_threshold: float | int | Float[Array, "*batch"],
    share: float | int | Float[Array, ""] = SHARE,
    where: Bool[Array, " batch *space"] | None = None,
) -> TwoStageDecisions:
    """Pixels with `score >= pixel_threshold`, of images whose score is at least its threshold.

    The score of an image is the mean of its highest: see `top_mean`.

    Args:
        scores: higher is more anomalous.
        image_threshold: for the score of an image; may be traced.
        pixel_threshold: for that of a pixel; one for all, or one an example, such as
            `quantile_threshold(scores, quantile=0.995).values`; may be traced.
        share: that of the pixels whose mean is the score of the image, above 0 to 1; may be traced.
        where: true = counted; what is not is not flagged.

    Returns:
        Both masks. Nothing is flagged where a threshold or the score of the image is NaN.

    Raises:
        ValueError: for shapes, dtypes or a share that do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> scores = jnp.array([[1.0, 4.0, 2.0, 3.0], [1.0, 3.5, 1.0, 1.0]])
        >>> found = two_stage(scores, image_threshold=3, pixel_threshold=2.5, share=0.5)
        >>> print(found.images)  # their scores are 3.5 and 2.25
        [ True False]
        >>> print(found.pixels)
        [[False  True False  True]
         [False False False False]]

    Reference: the node `TwoStageBinaryDecider` of cuvis-ai.
    """
    check_threshold("pixel_threshold", pixel_threshold, scores)
    check_threshold("image_threshold", image_threshold, scores)
    pixels = decide(scores, pixel_threshold)
    images = decide(top_mean(scores, share=share, where=where).values, image_threshold)
    return _gated(pixels if where is None else pixels & where, images)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TwoStage:
    """Two deciders in a row.

    Attributes:
        image: for the scores of images, fitted on `top_mean` with the same share.
        pixel: for the scores of pixels: a `Threshold` or an `ImageQuantile`.
        share: that of the pixels whose mean is the score of the image.

    Example:
        >>> import jax.numpy as jnp
        >>> from lossbench.metrics.deciders import fit_f1, fit_nu
        >>> scores, labels = jnp.array([[1.0, 2.0], [2.0, 9.0]]), jnp.array([False, True])
        >>> gate = fit_f1(top_mean(scores, share=0.5).values, labels, split="validation")
        >>> both = TwoStage(gate, fit_nu(scores[:1], nu=0, split="train"), share=0.5)
        >>> print(both.decide(scores).pixels)
        [[False False]
         [False  True]]
    """

    image: Threshold
    pixel: Threshold | ImageQuantile
    share: float = static(SHARE)
    # Another for each class, which JAX does not compare.
    name: str = static("two_stage")

    def decide(
        self,
        scores: Float[Array, " batch *space"],
        *,
        where: Bool[Array, " batch *space"] | None = None,
    ) -> TwoStageDecisions:
        """What is anomalous.

        Args:
            scores: higher is more anomalous.
            where: true = counted; what is not is not flagged.
        """
        pixels = self.pixel.decide(scores, where=where)
        each = top_mean(scores, share=self.share, where=where).values
        return _gated(pixels, self.image.decide(each))


def _gated(pixels: Array, images: Array) -> TwoStageDecisions:
    return TwoStageDecisions(pixels & images.reshape(-1, *[1] * (pixels.ndim - 1)), images)


# Compiled once also where it is called outside of a `jit`.
@jax.jit
def _top_mean(scores, where, share) -> PerExample:
    rows, counted, unordered = _maps.rows_of(scores, where)
    keys = _maps.sorted_keys(rows, counted)
    number = jnp.sum(counted, axis=1, dtype=jnp.int32)
    taken = _maps.at_least(share, number)
    highest = jnp.arange(keys.shape[1], dtype=jnp.int32)[None] < taken[:, None]
    total = sum_pixels(jnp.where(highest, _ranks.scores_of(keys), 0))
    mean = total / jnp.maximum(taken, 1).astype(total.dtype)
    return values_of(mean, unordered | (number == 0) | jnp.isnan(mean))
