"""AUPIMO: how much of each anomalous image is found while next to nothing of normal ones is."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Shaped

from lossbench.metrics import _ranks
from lossbench.metrics._images import images_of
from lossbench.ops.sums import sum_pixels


class ImageAreas(NamedTuple):
    """AUPIMO of each anomalous image of a batch.

    Attributes:
        values: one an image, in [0, 1]; NaN for one that is normal or has no value.
        mean: mean over the anomalous images: NaN with one that has no value, or without any.
        undefined: number of anomalous images that have no value.
        anomalous: number of anomalous images.
        levels: how many false positive rates there are from the lower to the upper bound.
    """

    values: Float[Array, " batch"]
    mean: Float[Array, ""]
    undefined: Int[Array, ""]
    anomalous: Int[Array, ""]
    levels: Int[Array, ""]


def aupimo(
    scores: Float[Array, " batch *space"],
    labels: Bool[Array, " batch *space"],
    *,
    lower: float | int | Float[Array, ""] = 1e-5,
    upper: float | int | Float[Array, ""] = 1e-4,
    where: Bool[Array, " batch *space"] | None = None,
) -> ImageAreas:
    """Area under each image's overlap (PIMO) against a false positive rate that all images share.

    `1 / log(U / L) * integral of T_i(z) / z over z from L to U`: T_i is the share of the labeled
    pixels of image i that is found, at the threshold at which the mean over all normal images of
    the share that is found of each is z. Normal is an image without a label; what is unlabeled in
    an anomalous image, whose borders nobody knows to a pixel, is not looked at.

    Every distinct score is a threshold, with a straight line in z between two, and the bounds are
    met exactly. A rate cannot be told from fewer pixels than one over it, so no image has a value
    if the normal ones have fewer than 1 / L pixels together. From there on `levels` says how fine
    the steps are; the authors' code refuses 30 or fewer thresholds between the bounds, and warns
    below 300.

    Args:
        scores: anomaly maps, higher is more anomalous; any range, infinities included.
        labels: masks of what is anomalous.
        lower: L, the bound of the false positive rate from below, above 0; may be traced.
        upper: U, that from above, above L to 1; may be traced.
        where: true = counted. An image is anomalous if a labeled pixel of it counts.

    Returns:
        One value an image, their mean over the anomalous ones, and how many of these are undefined,
        which are NaN: all of them with too few normal pixels or a NaN in these, else those with a
        NaN in a labeled pixel.

    Raises:
        ValueError: for shapes, dtypes or bounds that do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> labels = jnp.array([[0, 0, 0, 0, 0, 0, 0, 0], [1, 1, 1, 1, 0, 0, 0, 0]], bool)
        >>> scores = jnp.array([[7, 6, 5, 4, 3, 2, 1, 0], [9, 6.5, 5.5, 2.5, 9, 9, 9, 9.0]])
        >>> found = aupimo(scores, labels, lower=1 / 8, upper=1 / 2)
        >>> print(found.values)  # of labeled pixels with 0, 1, 2 and 5 false ones above
        [  nan 0.625]
        >>> print(found.mean, found.levels)
        0.625 4

    Reference: Bertoldo et al., AUPIMO: Redefining Visual Anomaly Detection Benchmarks with High
    Speed and Low Tolerance, BMVC 2024.
    """
    _ranks.check_scores(scores, labels, where)
    check_bounds(lower, upper)
    return _aupimo(scores, labels, where, jnp.float32(lower), jnp.float32(upper))


def check_bounds(lower: float | int | Array, upper: float | int | Array) -> None:
    """Raises unless these are shares, one below the other; those traced are not known yet."""
    _ranks.check_share("lower", lower)
    _ranks.check_share("upper", upper)
    if isinstance(lower, float | int) and isinstance(upper, float | int) and lower >= upper:
        raise ValueError(f"lower: expected below upper, which is {upper}, got {lower}")


def credit(
    above: Float[Array, "*n"],
    equal: Float[Array, "*n"],
    lower: Float[Array, ""],
    upper: Float[Array, ""],
) -> Float[Array, "*n"]:
    """What a labeled pixel adds to the area of its image, from 0 to 1.

    It is found at rates beyond that of the normal scores above its own; the more, the further z is
    on its way through those equal to it: `1 / log(U / L) * integral from L to U of
    clip((z - above) / equal, 0, 1) / z`. The mean over the labeled pixels of an image is the area.

    Args:
        above: the false positive rate of the scores above.
        equal: what the equal ones add to it.
        lower: L.
        upper: U.
    """
    # From `first` to `last` beyond `above` the pixel is found in part, and thereafter wholly.
    first, last = (jnp.clip(bound - above, 0, equal) for bound in (lower, upper))
    tied = equal > 0
    start = jnp.where(tied, above + first, 1)
    in_part = (last - first) - above * jnp.log1p((last - first) / start)
    in_part = jnp.where(tied, in_part / jnp.where(tied, equal, 1), 0)
    wholly = jnp.log(upper / jnp.clip(above + equal, lower, upper))
    return jnp.clip((in_part + wholly) / jnp.log(upper / lower), 0, 1)


def areas(
    values: Float[Array, " images"],
    labeled: Bool[Array, " images"],
    undefined: Bool[Array, " images"],
    levels: Int[Array, ""],
) -> ImageAreas:
    """The areas of the anomalous images among all."""
    undefined = labeled & undefined
    count, missing = (jnp.sum(x, dtype=jnp.int32) for x in (labeled, undefined))
    mean = jnp.sum(jnp.where(labeled, values, 0)) / _at_least_one(count)
    return ImageAreas(
        jnp.where(labeled & ~undefined, values, jnp.nan),
        jnp.where((count > 0) & (missing == 0), mean, jnp.nan),
        missing,
        count,
        levels,
    )


def too_few(pixels: Shaped[Array, ""], lower: Float[Array, ""]) -> Bool[Array, ""]:
    """Whether a rate as low cannot be told from so many pixels."""
    # Both sides are the nearest float32: 100 000 pixels are enough for 1e-5.
    return (pixels == 0) | (1 / _at_least_one(pixels) > lower)


# Compiled once also where it is called outside of a `jit`.
@jax.jit
def _aupimo(scores, labels, where, lower, upper) -> ImageAreas:
    images = images_of(labels, where)
    scores = scores.reshape(images.true.shape)
    no_number = jnp.isnan(scores)
    used = (images.true | images.false) & ~no_number

    # Every score is sorted with the place it came from: from 1 on of true, from -1 down of false.
    place = lax.broadcasted_iota(jnp.int32, (1, scores.size), 1) + 1
    row = lambda x: x.reshape(1, -1)  # noqa: E731
    signed = jnp.where(row(images.true), place, -place)
    keys, signed = _ranks.sorted_with(row(_ranks.keys_of(scores)), signed, row(used))
    if where is None:
        # The mean over images is that over pixels, and these are counted.
        false = jnp.cumsum(signed < 0, axis=1, dtype=jnp.int32)
    else:
        share = 1 / _at_least_one(images.sizes)
        image = jnp.maximum(-signed - 1, 0) // scores.shape[1]
        false = _ranks.running(jnp.where(signed < 0, share[image], 0))
    ends = _ranks.ends_of(keys)
    above, through = _around(false, ends)
    total = false[:, -1]
    equal, rate = _ranks.share_of(through - above, total), _ranks.share_of(through, total)
    levels = ends & (equal > 0) & (rate >= lower) & (rate <= upper)
    # Back to the places they came from, there to be summed image by image.
    back = jnp.where(signed > 0, signed - 1, scores.size)[0]
    each = jnp.zeros((scores.size,), jnp.float32)
    found = credit(_ranks.share_of(above, total), equal, lower, upper)
    each = each.at[back].set(found[0], mode="drop").reshape(scores.shape)
    values = sum_pixels(each) / _at_least_one(images.labeled)

    few = too_few(jnp.sum(images.false, dtype=jnp.int32), lower)
    unordered = jnp.any(images.true & no_number, axis=1)
    undefined = unordered | few | jnp.any(images.false & no_number)
    return areas(values, images.labeled > 0, undefined, jnp.sum(levels, dtype=jnp.int32))


def _around(
    count: Shaped[Array, "1 n"], ends: Bool[Array, "1 n"]
) -> tuple[Shaped[Array, "1 n"], Shaped[Array, "1 n"]]:
    """A rising count before the equal scores that a place is among, and after them."""
    before = jnp.pad(lax.cummax(jnp.where(ends, count, 0), axis=1)[:, :-1], ((0, 0), (1, 0)))
    after = lax.cummin(jnp.where(ends, count, count[:, -1:]), axis=1, reverse=True)
    return before, after


def _at_least_one(count: Shaped[Array, "*n"]) -> Float[Array, "*n"]:
    return jnp.maximum(count, 1).astype(jnp.float32)
