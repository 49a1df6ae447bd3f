"""Images with masks of what is anomalous: which are normal, and which only pad a batch."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from lossbench import _checks


class Images(NamedTuple):
    """What the pixels of each image are for.

    Attributes:
        false: pixels of normal images: those that count, of an image without a label.
        true: the labeled pixels that count.
        sizes: how many pixels of each image count.
        labeled: how many pixels of each image are true.
    """

    false: Bool[Array, "batch n"]
    true: Bool[Array, "batch n"]
    sizes: Int[Array, " batch"]
    labeled: Int[Array, " batch"]


def images_of(
    labels: Bool[Array, " batch *space"], where: Bool[Array, " batch *space"] | None
) -> Images:
    """Tells normal images from anomalous ones; one of which nothing counts is neither."""
    labels = labels.reshape(len(labels), -1)
    counted = jnp.ones(labels.shape, bool) if where is None else where.reshape(labels.shape)
    true = labels & counted
    sizes, labeled = (jnp.sum(x, axis=1, dtype=jnp.int32) for x in (counted, true))
    return Images(counted & (labeled == 0)[:, None], true, sizes, labeled)


def without_padding(
    where: Bool[Array, " batch *space"] | None,
    weights: Float[Array, " images"] | None,
    labels: Bool[Array, " batch *space"],
) -> Bool[Array, " batch *space"] | None:
    """What counts of images of which those of weight 0 only pad the batch."""
    if weights is None:
        return where
    _checks.shape("weights", weights, labels.shape[:1], "batch")
    real = (weights > 0).reshape(-1, *[1] * (labels.ndim - 1))
    return jnp.broadcast_to(real, labels.shape) if where is None else where & real
