"""Instances of two images, and which overlap: what metrics per lesion or segment are made of."""

import itertools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Int, Shaped

from lossbench import _checks
from lossbench.ops.components import connected_components


class Instances(NamedTuple):
    """The instances of every example.

    Attributes:
        ids: 1 to n, 0 for the background; space flat.
        number: n.
        most: the largest n that there can be, a number.
    """

    ids: Int[Array, "batch pixels"]
    number: Int[Array, " batch"]
    most: int

    def sum(self, values: Shaped[Array, "batch pixels"]) -> Int[Array, "batch instances"]:
        """How many pixels of each instance, from 1 to `most`, are true, or what they add up to."""
        return totals(values, self.ids, self.most)

    def sizes(self) -> Int[Array, "batch instances"]:
        """Pixels of each instance; 0 for those beyond n."""
        return self.sum(jnp.ones(self.ids.shape, bool))


class Pairs(NamedTuple):
    """The pairs of a predicted and a true instance that overlap, each once, in arrays with gaps.

    Attributes:
        predicted: its number; 0 in a gap.
        true: its number; 0 in a gap.
        pixels: how many they share; 0 in a gap.
    """

    predicted: Int[Array, "batch pixels"]
    true: Int[Array, "batch pixels"]
    pixels: Int[Array, "batch pixels"]


def components_of(mask: Bool[Array, " batch *space"], connectivity: int | None) -> Instances:
    """The connected components of masks."""
    axes = mask.ndim - 1
    near = axes if connectivity is None else connectivity
    ids, count = connected_components(mask, connectivity=near)
    return Instances(ids.reshape(len(mask), -1), count, _most_components(mask.shape[1:], near))


def numbered(ids: Shaped[Array, " batch *space"]) -> Instances:
    """Instances with any integer ids but 0, in the order of these."""
    flat = ids.reshape(len(ids), -1)
    in_order = lax.sort(flat, dimension=1)  # and no places with them: that takes far longer
    place = lax.broadcasted_iota(jnp.int32, flat.shape, 1)
    new = ((in_order != _before(in_order)) | (place == 0)) & (in_order != 0)
    rank = jnp.cumsum(new, axis=1, dtype=jnp.int32)
    rank_of = jax.vmap(lambda rank, ids, each: rank[jnp.searchsorted(ids, each)])
    ranks = jnp.where(flat == 0, 0, rank_of(rank, in_order, flat))
    return Instances(ranks, jnp.sum(new, axis=1, dtype=jnp.int32), flat.shape[1])


def pairs(predicted: Instances, true: Instances) -> Pairs:
    """Finds the pairs that overlap: the pixels of both in the order of their pairs."""
    both = (predicted.ids > 0) & (true.ids > 0)
    p, t = jnp.where(both, predicted.ids, 0), jnp.where(both, true.ids, 0)
    p, t = _sorted(p, t, predicted.most + 1, true.most + 1)
    place = lax.broadcasted_iota(jnp.int32, p.shape, 1)
    new = (p != _before(p)) | (t != _before(t)) | (place == 0)
    # Of each first pixel, the place of the next first one; of the last, that of the end.
    ahead = lax.cummin(jnp.where(new, place, p.shape[1]), axis=1, reverse=True)
    ahead = jnp.pad(ahead[:, 1:], ((0, 0), (0, 1)), constant_values=p.shape[1])[:, : p.shape[1]]
    first = new & (p > 0)
    return Pairs(*(jnp.where(first, x, 0) for x in (p, t, ahead - place)))


def look_up(
    values: Shaped[Array, "batch instances"], ids: Int[Array, "batch n"]
) -> Shaped[Array, "batch n"]:
    """The value of each instance, numbered from 1; 0 for the number 0."""
    padded = jnp.pad(values, ((0, 0), (1, 0)))
    return jax.vmap(lambda x, at: x.at[at].get(mode="promise_in_bounds"))(padded, ids)


def totals(
    values: Shaped[Array, "batch n"], ids: Int[Array, "batch n"], most: int
) -> Shaped[Array, "batch most"]:
    """The sum of the values with each number from 1 to `most`; booleans are counted."""
    values = values.astype(jnp.int32) if values.dtype == jnp.bool_ else values
    add = lambda x, at: jnp.zeros((most + 1,), x.dtype).at[at].add(x)  # noqa: E731
    return jax.vmap(add)(values, ids)[:, 1:]


def number_of(which: Bool[Array, "batch n"]) -> Int[Array, " batch"]:
    """How many of each example are true."""
    return jnp.sum(which, axis=1, dtype=jnp.int32)


def check_masks(predictions: Array | None, labels: Array, connectivity: int | None) -> None:
    """Raises unless these are masks of one shape with neighbors to connect."""
    for name, mask in (("predictions", predictions), ("labels", labels)):
        if mask is not None and mask.dtype != jnp.bool_:
            raise ValueError(
                f"{name}: expected a mask (bool), got {mask.dtype}; of class ids take `ids == c`, "
                "of logits `logits > 0`"
            )
    check_space(predictions, labels)
    axes = labels.ndim - 1
    if connectivity is not None and not 1 <= connectivity <= axes:
        raise ValueError(f"connectivity: expected 1 to {axes} or None, got {connectivity}")


def check_space(predictions: Array | None, labels: Array) -> None:
    """Raises unless both have one shape with an axis of space."""
    if predictions is not None:
        _checks.shape("predictions", predictions, labels.shape, "the shape of labels")
    if labels.ndim < 2:
        raise ValueError(f"labels: expected shape (batch, *space), got {labels.shape}")


def _before(x: Array) -> Array:
    """The value one place before; 0 at the first."""
    return jnp.pad(x[:, :-1], ((0, 0), (1, 0)))[:, : x.shape[1]]


def _sorted(p: Array, t: Array, many_p: int, many_t: int) -> tuple[Array, Array]:
    """Pairs of numbers below `many` in order; as one number, if it fits, six times faster."""
    if many_p * many_t > 2**32:
        p, t = lax.sort((p, t), dimension=1, num_keys=2)
        return p, t
    many = jnp.uint32(many_t)
    key = lax.sort(p.astype(jnp.uint32) * many + t.astype(jnp.uint32), dimension=1)
    return (key // many).astype(jnp.int32), (key % many).astype(jnp.int32)


def _most_components(space: tuple[int, ...], connectivity: int) -> int:
    """Of the pixels of a box, two along each of so many axes, all are neighbors."""
    choices = itertools.combinations(range(len(space)), connectivity)
    halved = ([-(-n // 2) if axis in box else n for axis, n in enumerate(space)] for box in choices)
    return min(math.prod(sizes) for sizes in halved)
