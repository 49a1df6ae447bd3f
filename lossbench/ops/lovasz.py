"""The Lovász extension of the Jaccard loss, by sorting."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from lossbench.ops.sums import sum_pixels


def lovasz_extension(
    errors: Float[Array, "rows pixels"], members: Bool[Array, "rows pixels"]
) -> Float[Array, " rows"]:
    """`sum_k e_(k) (J_k - J_(k-1))`, the errors in descending order.

    J_k is the Jaccard loss if exactly the k largest errors were made, `1 - (T - F) / (T + B)`, with
    F members and B others among them and T members in all. A pixel that shall not count has the
    error 0 and is no member.

    Args:
        errors: at least 0, finite.
        members: which pixel belongs to the class.

    The derivative holds the weights of the ranks constant.
    """
    return sum_pixels(lovasz_weights(errors, members) * errors)


def lovasz_weights(
    errors: Float[Array, "rows pixels"], members: Bool[Array, "rows pixels"]
) -> Float[Array, "rows pixels"]:
    """`J_k - J_(k-1)` of each pixel's rank k; among equal errors of a kind their mean.

    Constants for differentiation.
    """
    keys = _keys(lax.stop_gradient(errors), members)
    ordered = lax.sort(keys, dimension=-1)
    weights = _weights(ordered, members, errors.dtype)
    # A binary search of every key is several times faster than to sort the pixels' numbers along.
    rank = jax.vmap(jnp.searchsorted)(ordered, keys)
    return jnp.take_along_axis(weights, rank, axis=-1, mode="clip")


def _unsigned(dtype) -> jnp.dtype:
    return jnp.dtype({4: jnp.uint32, 8: jnp.uint64}[jnp.dtype(dtype).itemsize])


def _keys(errors: Array, members: Array) -> Array:
    """One unsigned integer a pixel whose ascending order is the descending order of errors.

    The bits of a float at least 0 are ordered as it is, and leave the sign bit free: shifted, they
    carry the membership in the last one. XLA sorts plain integers much faster than pairs.
    """
    unsigned = _unsigned(errors.dtype)
    bits = lax.bitcast_convert_type(jnp.abs(errors), unsigned)
    return ~((bits << unsigned.type(1)) | members.astype(unsigned))


def _weights(ordered: Array, members: Array, dtype) -> Array:
    """At the first rank of equal keys, their mean weight.

    Of closed formulas, as a difference of neighboring J would keep no digit of a large image: a
    member adds `1 / (T + B)`, another pixel `(T - F) / ((T + B) (T + B + 1))`, and the m others of
    a tie together `m (T - F) / ((T + B) (T + B + m))`.
    """
    pixels = ordered.shape[-1]
    is_member = (~ordered & ordered.dtype.type(1)) == 1
    found = is_member.astype(jnp.int32)
    before = lax.associative_scan(jnp.add, found, axis=1) - found  # F before the pixel
    rank = jnp.arange(pixels, dtype=jnp.int32)[None]
    members_in_all = jnp.sum(members, axis=-1, dtype=jnp.int32)[:, None]
    left = (members_in_all - before).astype(dtype)
    union = (members_in_all + rank - before).astype(dtype)

    starts = jnp.concatenate(
        [jnp.ones_like(is_member[:, :1]), ordered[:, 1:] != ordered[:, :-1]], axis=-1
    )
    start = jnp.where(starts, rank, pixels)
    following = lax.associative_scan(jnp.minimum, start, axis=1, reverse=True)[:, 1:]
    end = jnp.concatenate([following, jnp.full_like(start[:, :1], pixels)], axis=-1)
    ties = (end - rank).astype(dtype)
    nothing = members_in_all == 0  # then J is 1 from the first error on
    other = left / (jnp.where(nothing, 1, union) * (union + ties))
    other = jnp.where(nothing, jnp.where(rank == 0, 1 / ties, 0), other)
    return jnp.where(is_member, 1 / jnp.maximum(union, 1), other)
