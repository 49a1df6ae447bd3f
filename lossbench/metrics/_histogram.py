"""Scores of a stream, counted in a fixed number of bins that follow the range they have.

A bin holds the scores whose keys (`_ranks.keys_of`) agree in all but the lowest `level` bits, so a
bin of one level is two of the level below. The level is the lowest at which the bins reach from the
least key seen to the largest: where the range grows, bins are added to each other. What comes of it
is a function of the set of scores, whatever their order, batches and merging.

Scores above 0 and scores below have half of the bins each, with a level each, and 0 has its own:
between it and the smallest of them lies a range of keys, which no score uses, larger than the rest.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Shaped, UInt

from lossbench import _checks
from lossbench.metrics import _cell_sums, _ranks, _sums
from lossbench.metrics._cases import check_alike, static

SIDES = 2
LAST = jnp.iinfo(jnp.uint32).max
ZERO = LAST // 2  # the key of 0


class Keys(NamedTuple):
    """What is known of the keys that were seen on each side of 0; any two of these make one.

    Attributes:
        least: the smallest.
        largest: the largest.
        in_all: the bits that all of them have.
        in_any: the bits that any of them has.
    """

    least: UInt[Array, " sides"]
    largest: UInt[Array, " sides"]
    in_all: UInt[Array, " sides"]
    in_any: UInt[Array, " sides"]


# Of one side: what is known of no key, and how two of each make one.
NOTHING = (LAST, 0, LAST, 0)
JOIN = (jnp.minimum, jnp.maximum, jnp.bitwise_and, jnp.bitwise_or)


class Cells(NamedTuple):
    """All bins, in falling order of their scores.

    Attributes:
        sums: what each holds of every kind.
        used: which hold anything; the keys of the others mean nothing.
        highest: key of the highest score that a bin may hold: its least key.
        lowest: key of the lowest one: its largest key.
    """

    sums: _sums.RunningSum
    used: Bool[Array, " bins"]
    highest: UInt[Array, " bins"]
    lowest: UInt[Array, " bins"]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ScoreHistogram:
    """Scores of one or more kinds, such as negatives and positives, in bins.

    The relative width of a bin is `2^(level - 23)`. With 2^16 bins that is 1e-3 or better for
    scores, on either side of 0, that span 7 powers of 10 in size, and 8e-3 in the worst case. But
    where no score has bits that fine a bin holds one score alone, as often as it came: so it is of
    bfloat16, of float16 that is finite and at least 2^-14 in size or 0, and of integers up to 4096.
    """

    # A table `kinds sides bins`, and how much is 0, one sum a kind. Not annotated so: JAX builds
    # trees of other leaves (NumPy, `vmap`) with it.
    sums: Any
    zeros: Any
    keys: Any
    # Whether a NaN that counts was seen.
    unordered: Any
    name: str = static("score_histogram")

    @classmethod
    def empty(cls, *, bins: int = 2**16, kinds: int = 2) -> "ScoreHistogram":
        """A histogram that has seen nothing.

        Args:
            bins: how many there are besides that of 0, a power of two.
            kinds: how many kinds of scores are told apart.

        Raises:
            ValueError: if `bins` is no power of two, or below 4.
        """
        if bins < 4 or bins & (bins - 1):
            raise ValueError(f"bins: expected a power of two, at least 4, got {bins}")
        keys = Keys(*(jnp.full((SIDES,), key, jnp.uint32) for key in NOTHING))
        sums, zeros = _sums.zeros((kinds, SIDES, bins // SIDES)), _sums.zeros((kinds,))
        return cls(sums, zeros, keys, jnp.zeros((), bool))

    def add(
        self,
        scores: Float[Array, "*shape"],
        kind: Shaped[Array, "*shape"],
        *,
        where: Bool[Array, "*shape"] | None = None,
        weights: Float[Array, "*shape"] | None = None,
    ) -> "ScoreHistogram":
        """Counts scores.

        Args:
            scores: higher is more anomalous; any range, infinities included.
            kind: of each score, 0 <= kind < kinds; bool is 0 and 1.
            where: true = counted.
            weights: what each score counts, at least 0. Those of a batch are added up to 2^-40 of
                the largest one, in any order.
        """
        return _add(self, scores, kind, where, weights)

    def merge(self, other: "ScoreHistogram") -> "ScoreHistogram":
        """The histogram that has counted what both have.

        Raises:
            ValueError: if the other has other bins or kinds.
        """
        check_alike(self, other)
        shape = self.sums.high.shape
        _checks.shape("other", other.sums.high, shape, "kinds, sides, bins of a side")
        return _merge(self, other)

    def cells(self) -> Cells:
        """The bins one after the other."""
        bins = self.sums.high.shape[-1]
        level, start = (x[:, None] for x in _windows(self.keys, bins))
        least, largest, in_all, in_any = (x[:, None] for x in self.keys)
        first = (start + lax.broadcasted_iota(jnp.uint32, (SIDES, bins), 1)) << level
        # Of the bits below the level, a key has those that all have, and none that no one has.
        below = (jnp.uint32(1) << level) - 1
        ends = (jnp.clip(first | (x & below), least, largest) for x in (in_all, in_any))
        zero = jnp.full((1,), ZERO, jnp.uint32)
        highest, lowest = (jnp.concatenate([x[0], zero, x[1]]) for x in ends)

        def in_line(sides: Array, zero: Array) -> Array:
            return jnp.concatenate([sides[:, 0], zero[:, None], sides[:, 1]], axis=1)

        sums = jax.tree.map(in_line, self.sums, self.zeros)
        return Cells(sums, jnp.any(sums.high > 0, axis=0), highest, lowest)

    def next_below(self, place: Int[Array, "*shape"]) -> UInt[Array, "*shape"]:
        """Key of the highest score that the next bin below a place may hold, of those in use.

        That of no score, the largest integer, if there is none.
        """
        cells = self.cells()
        no_key = jnp.full((1,), LAST, jnp.uint32)
        keys = lax.cummin(jnp.where(cells.used, cells.highest, no_key), reverse=True)
        return jnp.concatenate([keys, no_key])[place + 1]

    def ranked(self) -> _ranks.Ranked:
        """One row of thresholds, the lowest score of each bin, of negatives and positives.

        Kind 1 is positive and kind 0 negative.
        """
        cells = self.cells()
        here = cells.sums.high
        upto = _sums.cumulative(cells.sums).high
        before = jnp.pad(upto[:, :-1], ((0, 0), (1, 0)))
        row = lambda x: x[None]  # noqa: E731
        return _ranks.Ranked(
            keys=row(jnp.where(cells.used, cells.lowest, jnp.uint32(LAST))),
            ends=row(cells.used),
            tp=upto[1:],
            fp=upto[:1],
            tp_before=before[1:],
            fp_before=before[:1],
            tp_here=here[1:],
            fp_here=here[:1],
            equal=row(cells.highest == cells.lowest),
            positives=upto[1:, -1],
            negatives=upto[:1, -1],
        )


# Compiled once also where they are called outside of a `jit`.
@jax.jit
def _add(histogram, scores, kind, where, weights) -> ScoreHistogram:
    row = lambda x: None if x is None else x.reshape(1, -1)  # noqa: E731
    scores, weights = scores.astype(jnp.float32).reshape(1, -1), row(weights)
    counted, unordered = _ranks.counted_of(scores, row(where), weights)
    keys, counted = _ranks.keys_of(scores)[0], counted[0]
    histogram = _widened(histogram, _seen(keys, counted))
    kinds, _, bins = histogram.sums.high.shape
    level, start = _windows(histogram.keys, bins)
    side, kind = keys > ZERO, kind.reshape(-1).astype(jnp.int32)
    place = (keys >> jnp.where(side, level[1], level[0])) - jnp.where(side, start[1], start[0])
    index = (kind * SIDES + side.astype(jnp.int32)) * bins + place.astype(jnp.int32)
    # Behind the table are the zeros of each kind. What lies behind these is dropped: that is where
    # goes what does not count.
    cells = kinds * SIDES * bins
    index = jnp.where(keys == ZERO, cells + kind, index)
    index = jnp.where(counted, index, cells + kinds)
    if weights is None:
        batch = _cell_sums.counts(index, cells + kinds)
    else:
        weights = jnp.where(counted, weights[0], 0).astype(jnp.float32)
        batch = _cell_sums.weights(index, weights, cells + kinds)
    table = jax.tree.map(lambda x: x[:cells].reshape(kinds, SIDES, bins), batch)
    return dataclasses.replace(
        histogram,
        sums=_sums.add(histogram.sums, table),
        zeros=_sums.add(histogram.zeros, jax.tree.map(lambda x: x[cells:], batch)),
        unordered=histogram.unordered | unordered[0],
    )


@jax.jit
def _merge(ours, theirs) -> ScoreHistogram:
    ours = _widened(ours, theirs.keys)
    theirs = _widened(theirs, ours.keys)
    return dataclasses.replace(
        ours,
        sums=_sums.add(ours.sums, theirs.sums),
        zeros=_sums.add(ours.zeros, theirs.zeros),
        unordered=ours.unordered | theirs.unordered,
    )


def _seen(keys: UInt[Array, " n"], counted: Bool[Array, " n"]) -> Keys:
    """What is known of keys: in one pass, where several reductions would be as many."""
    nothing = [jnp.uint32(x) for x in NOTHING]
    sides = (counted & (keys < ZERO), counted & (keys > ZERO))
    values = tuple(jnp.where(side, keys, x) for side in sides for x in nothing)

    def step(a: tuple[Array, ...], b: tuple[Array, ...]) -> tuple[Array, ...]:
        return tuple(f(x, y) for f, x, y in zip(JOIN * SIDES, a, b, strict=True))

    found = lax.reduce(values, tuple(nothing) * SIDES, step, (0,))
    return Keys(*(jnp.stack(found[i :: len(JOIN)]) for i in range(len(JOIN))))


def _windows(keys: Keys, bins: int) -> tuple[UInt[Array, " sides"], UInt[Array, " sides"]]:
    """The lowest level of each side at which its bins reach across it, and the first of these."""
    levels = jnp.arange(32, dtype=jnp.uint32)[None]
    span = (keys.largest[:, None] >> levels) - (keys.least[:, None] >> levels)
    level = jnp.argmax(span < bins, axis=1).astype(jnp.uint32)
    # A side without a key has nothing that would have to be folded up to another level.
    level = jnp.where(keys.least > keys.largest, jnp.uint32(31), level)
    return level, keys.least >> level


def _widened(histogram: ScoreHistogram, keys: Keys) -> ScoreHistogram:
    """The same counts in bins that reach across these keys too."""
    bins = histogram.sums.high.shape[-1]
    keys = Keys(*(f(x, y) for f, x, y in zip(JOIN, histogram.keys, keys, strict=True)))
    windows = [_windows(x, bins) for x in (histogram.keys, keys)]
    fold = jax.vmap(_folded, in_axes=(1, 0, 0), out_axes=1)
    return dataclasses.replace(histogram, sums=fold(histogram.sums, *windows), keys=keys)


def _folded(sums: _sums.RunningSum, here: tuple, there: tuple) -> _sums.RunningSum:
    """Moves tables `kinds bins` from one window to a wider one: two bins make one, and so on."""
    (level, start), (level_there, start_there) = here, there
    kinds, bins = sums.high.shape

    def halved(_, carry: tuple) -> tuple:
        sums, start = carry

        def pair(x: Array) -> Array:
            # A bin with an odd number is the second of its pair.
            padded = jnp.pad(x, ((0, 0), (1, 2)))
            odd = (start & 1).astype(jnp.int32)
            aligned = lax.dynamic_slice_in_dim(padded, 1 - odd, bins + 2, axis=1)
            return aligned.reshape(kinds, -1, 2)

        pairs = jax.tree.map(pair, sums)
        both = _sums.add(*(jax.tree.map(lambda x, i=i: x[..., i], pairs) for i in (0, 1)))
        width = bins // 2 + 1
        return jax.tree.map(lambda x: jnp.pad(x, ((0, 0), (0, bins - width))), both), start >> 1

    steps = jnp.maximum(level_there.astype(jnp.int32) - level.astype(jnp.int32), 0)
    sums, start = lax.fori_loop(0, steps, halved, (sums, start))
    # Of a side without a key the start means nothing.
    offset = jnp.minimum(start - start_there, bins).astype(jnp.int32)
    move = lambda x: lax.dynamic_slice_in_dim(  # noqa: E731
        jnp.pad(x, ((0, 0), (bins, 0))), bins - offset, bins, axis=1
    )
    return jax.tree.map(move, sums)
