"""Marks along a row, counted up to every place: 32 of them as the bits of one word.

A running sum of n marks takes XLA's CPU backend about log n passes. Here that is left for the n/32
words alone, and every place counts the bits of its word that are up to it.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Int, UInt

WIDTH = 32


class UpTo(NamedTuple):
    """What is marked up to every place of a row.

    Attributes:
        marks: how many.
        marks_before: how many up to the last end before the place; 0 if there is none.
        places_before: how many places up to that end.
    """

    marks: Int[Array, "rows n"]
    marks_before: Int[Array, "rows n"]
    places_before: Int[Array, "rows n"]


def up_to(marks: Bool[Array, "rows n"], ends: Bool[Array, "rows n"]) -> UpTo:
    """Counts marks, at each place and at the end before it.

    Args:
        marks: what to count.
        ends: where a part of the row ends.
    """
    shape, all_bits = marks.shape, jnp.uint32(2**WIDTH - 1)
    marks, ends = _words(marks), _words(ends)
    number = _count(marks)
    first = jnp.cumsum(number, axis=1) - number
    place = lax.broadcasted_iota(jnp.int32, marks.shape, 1) * WIDTH

    def at_last(ends: Array, marks: Array, first: Array, place: Array) -> tuple[Array, Array]:
        """Marks and places up to the last end of a word that has one."""
        after = lax.clz(ends)
        return first + _count(marks & (all_bits >> after)), place + WIDTH - after.astype(jnp.int32)

    # Both rise, so the largest so far is that of the last end.
    found = at_last(ends, marks, first, place)
    before = [_shifted(lax.cummax(jnp.where(ends > 0, x, 0), axis=1)) for x in found]

    bit = lax.broadcasted_iota(jnp.uint32, (*marks.shape, WIDTH), 2)
    marks, ends, first, place, *before = (
        jnp.broadcast_to(x[..., None], bit.shape) for x in (marks, ends, first, place, *before)
    )
    earlier = ends & ~(all_bits << bit)
    inside = at_last(earlier, marks, first, place)
    here = first + _count(marks & (all_bits >> (WIDTH - 1 - bit)))
    last = (jnp.where(earlier > 0, x, y) for x, y in zip(inside, before, strict=True))
    return UpTo(*(x.reshape(shape[0], -1)[:, : shape[1]] for x in (here, *last)))


def _words(marks: Bool[Array, "rows n"]) -> UInt[Array, "rows words"]:
    """The marks as bits, the first one lowest."""
    marks = jnp.pad(marks, ((0, 0), (0, -marks.shape[1] % WIDTH))).astype(jnp.uint32)
    bits = marks.reshape(len(marks), -1, WIDTH)
    place = lax.broadcasted_iota(jnp.uint32, bits.shape, 2)
    return jnp.sum(bits << place, axis=2, dtype=jnp.uint32)


def _count(words: UInt[Array, "..."]) -> Int[Array, "..."]:
    return lax.population_count(words).astype(jnp.int32)


def _shifted(x: Int[Array, "rows words"]) -> Int[Array, "rows words"]:
    return jnp.pad(x[:, :-1], ((0, 0), (1, 0)))
