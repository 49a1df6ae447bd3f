"""AUPIMO over a stream of whole images, in memory that only the number of images sets.

A false positive rate is shared by all images, so no area is known before the last normal one was
seen. Of normal images a histogram of their scores is kept, and of each anomalous one its quantiles.
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, UInt

from lossbench import _checks
from lossbench.metrics import _ranks, _sums, pimo
from lossbench.metrics._cases import check_alike, rows_of, static
from lossbench.metrics._histogram import ScoreHistogram
from lossbench.metrics._images import Images, images_of, without_padding

NO_KEY = jnp.iinfo(jnp.uint32).max
MOST = 2**15  # quantiles: the square of their number fits an int32


class ImageScores(NamedTuple):
    """AUPIMO of each anomalous image of a stream, with what it is known to lie between.

    Attributes:
        values: one a case, in [0, 1]; NaN for one that is normal, has no value, or was not seen.
        lower: the exact value of the scores as they were is at least this.
        upper: and at most this.
        mean: mean over the anomalous images: NaN with one that has no value, or without any.
        undefined: number of anomalous images that have no value.
        anomalous: number of anomalous images.
        levels: how many false positive rates there are from the lower to the upper bound of these,
            at the edges of bins.
    """

    values: Float[Array, " cases"]
    lower: Float[Array, " cases"]
    upper: Float[Array, " cases"]
    mean: Float[Array, ""]
    undefined: Int[Array, ""]
    anomalous: Int[Array, ""]
    levels: Int[Array, ""]


class _Credits(NamedTuple):
    """What a labeled pixel adds to the area of its image: at least, about, and at most."""

    low: Float[Array, "cases n"]
    middle: Float[Array, "cases n"]
    high: Float[Array, "cases n"]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Aupimo:
    """AUPIMO over a stream of whole images; higher is better. See `metrics.aupimo`.

    Of an image with at most `quantiles` labeled pixels all scores are kept, and of any other one so
    many of equal distance in rank, between which its area is known to `1 / quantiles`. The rest of
    what lies between the bounds comes from bins that hold several scores of normal images. Of 24
    images of 128 x 128 pixels, with scores of five distributions, the values were right to 2e-4,
    and the bounds at most 2e-3 apart.

    Example:
        >>> import jax.numpy as jnp
        >>> labels = jnp.array([[0, 0, 0, 0, 0, 0, 0, 0], [1, 1, 1, 1, 0, 0, 0, 0]], bool)
        >>> scores = jnp.array([[7, 6, 5, 4, 3, 2, 1, 0], [9, 6.5, 5.5, 2.5, 9, 9, 9, 9.0]])
        >>> state = Aupimo.empty(cases=2, lower=1 / 8, upper=1 / 2)
        >>> for i in (1, 0):
        ...     state = state.update(scores[i : i + 1], labels[i : i + 1], case=jnp.array([i]))
        >>> found = state.compute()
        >>> print(found.values, found.lower, found.upper)
        [  nan 0.625] [  nan 0.625] [  nan 0.625]
    """

    # A `ScoreHistogram` of normal images, each of weight 1, and the number of their pixels, a
    # `RunningSum`. Not annotated so: JAX builds trees of other leaves (NumPy, `vmap`) with it.
    false: Any
    pixels: Any
    # Of each case keys in falling order of the scores, the highest and then one of each group; the
    # number of labeled pixels; whether one is NaN; and how often the case came, which is once.
    keys: Any
    labeled: Any
    unordered: Any
    pieces: Any
    lower: float = static(1e-5)
    upper: float = static(1e-4)
    name: str = static("aupimo")

    @property
    def made_of(self) -> Any:
        """What is kept: of other bounds it is the same."""
        return Aupimo

    @classmethod
    def empty(
        cls,
        *,
        cases: int,
        lower: float | int = 1e-5,
        upper: float | int = 1e-4,
        quantiles: int = 1024,
        bins: int = 2**16,
    ) -> "Aupimo":
        """A state that has seen nothing.

        Args:
            cases: how many images there is room for, normal ones among them.
            lower: the bound of the false positive rate from below, above 0; not traced.
            upper: that from above, above `lower` to 1; not traced.
            quantiles: how many scores of each image are kept, of 4 bytes each; 1 to 2^15.
            bins: in how many the scores of normal images are counted; a power of two, at least 4.

        Raises:
            ValueError: for options that there are not.
        """
        pimo.check_bounds(float(lower), float(upper))
        if not 1 <= quantiles <= MOST:
            raise ValueError(f"quantiles: expected 1 to {MOST}, got {quantiles}")
        return cls(
            ScoreHistogram.empty(bins=bins, kinds=1),
            _sums.zeros(()),
            jnp.full((cases, quantiles + 1), NO_KEY, jnp.uint32),
            jnp.zeros((cases,), jnp.int32),
            jnp.zeros((cases,), bool),
            jnp.zeros((cases,), jnp.int32),
            lower=float(lower),
            upper=float(upper),
        )

    def update(
        self,
        scores: Float[Array, " batch *space"],
        labels: Bool[Array, " batch *space"],
        *,
        case: Int[Array, " batch"],
        where: Bool[Array, " batch *space"] | None = None,
        weights: Float[Array, " batch"] | None = None,
    ) -> "Aupimo":
        """Adds a batch of whole images.

        Args:
            scores: anomaly maps, higher is more anomalous; any range. Counted as float32.
            labels: masks of what is anomalous.
            case: which image each is, 0 <= case < cases. One that comes twice is undefined; and if
                it is normal, all are.
            where: true = counted.
            weights: 0 for an example that only pads the batch, else 1.

        Raises:
            ValueError: for shapes or dtypes that do not fit.
        """
        _ranks.check_scores(scores, labels, where)
        _checks.shape("case", case, scores.shape[:1], "batch")
        where = without_padding(where, weights, labels)
        # A row outside the table is dropped: that is where padding goes.
        rows = rows_of(case, weights, len(self.keys))
        batch = _add(self, scores, labels, where, rows)
        _checks.value(jnp.all(batch.pieces <= 1), "case: a case came more than once, or in pieces")
        return batch

    def merge(self, other: "Aupimo") -> "Aupimo":
        """The state that has seen what both have.

        Raises:
            ValueError: if the other is another metric, has other options, or has room for other
                cases.
        """
        check_alike(self, other)
        _checks.shape("other", other.keys, self.keys.shape, "cases, quantiles + 1")
        return dataclasses.replace(
            self,
            false=self.false.merge(other.false),
            pixels=_sums.add(self.pixels, other.pixels),
            # Of a case that only one has seen, what this one has.
            keys=jnp.minimum(self.keys, other.keys),
            labeled=jnp.maximum(self.labeled, other.labeled),
            unordered=self.unordered | other.unordered,
            pieces=self.pieces + other.pieces,
        )

    def compute(self) -> ImageScores:
        """The areas of what was seen. Pure: calling it twice changes nothing."""
        return _compute(self)


# Compiled once also where they are called outside of a `jit`.
@jax.jit
def _add(state: Aupimo, scores, labels, where, rows) -> Aupimo:
    images = images_of(labels, where)
    scores = scores.astype(jnp.float32).reshape(images.true.shape)
    share = 1 / jnp.maximum(images.sizes, 1).astype(jnp.float32)
    no_number = jnp.any(images.true & jnp.isnan(scores), axis=1)
    number = state.keys.shape[1] - 1
    return dataclasses.replace(
        state,
        false=state.false.add(
            scores,
            jnp.zeros(scores.shape, jnp.int32),
            where=images.false,
            weights=jnp.broadcast_to(share[:, None], scores.shape),
        ),
        pixels=_sums.add_counts(state.pixels, jnp.sum(images.false, dtype=jnp.int32)),
        keys=state.keys.at[rows].min(_kept(scores, images, number), mode="drop"),
        labeled=state.labeled.at[rows].max(images.labeled, mode="drop"),
        unordered=state.unordered.at[rows].max(no_number, mode="drop"),
        pieces=state.pieces.at[rows].add(1, mode="drop"),
    )


@jax.jit
def _compute(state: Aupimo) -> ImageScores:
    credits, levels = _credits(state)
    labeled = jnp.maximum(state.labeled, 1).astype(jnp.float32)
    ends = _ends(state.labeled, state.keys.shape[1] - 1)
    group = jnp.diff(ends, axis=1, prepend=0)
    last = jnp.minimum(group, 1).astype(jnp.float32)
    rest = group.astype(jnp.float32) - last

    def mean(of_last: Array, of_rest: Array) -> Float[Array, " cases"]:
        return jnp.sum(last * of_last + rest * of_rest, axis=1) / labeled

    # The last pixel of a group has the key that was kept, the rest are up to that of the group
    # before: credits fall along the keys, so those of the rest lie between both.
    low, middle, high = credits
    values = mean(middle[:, 1:], (middle[:, 1:] + middle[:, :-1]) / 2)
    lower = jnp.minimum(mean(low[:, 1:], low[:, 1:]), values)
    upper = jnp.maximum(mean(high[:, 1:], high[:, :-1]), values)

    few = pimo.too_few(state.pixels.high, jnp.float32(state.lower))
    true, twice = state.labeled > 0, state.pieces > 1
    undefined = state.unordered | twice | few | state.false.unordered | jnp.any(twice & ~true)
    found = pimo.areas(values, true, undefined, levels)
    lower, upper = (jnp.where(jnp.isnan(found.values), jnp.nan, x) for x in (lower, upper))
    return ImageScores(
        found.values, lower, upper, found.mean, found.undefined, found.anomalous, found.levels
    )


def _credits(state: Aupimo) -> tuple[_Credits, Int[Array, ""]]:
    """The credits at every key that was kept, and the number of rates within the bounds."""
    lower, upper = jnp.float32(state.lower), jnp.float32(state.upper)
    cells = state.false.cells()
    through, here = _sums.cumulative(cells.sums).high, cells.sums.high
    # Past the last bin everything is above.
    before = jnp.pad(through, ((0, 0), (1, 0)))
    here = jnp.pad(here, ((0, 0), (0, 1)))
    rates, shares = (_ranks.share_of(x, through[:, -1])[0] for x in (before, here))

    # The first bin that does not end above the key; if it begins below, the key is in none.
    ends = lax.cummax(jnp.where(cells.used, cells.lowest, 0))
    at = jnp.searchsorted(ends, state.keys)
    begins, single = jnp.pad(cells.highest, (0, 1)), jnp.pad(cells.highest == cells.lowest, (0, 1))
    inside = (at < len(ends)) & (begins[at] <= state.keys)
    above, equal = rates[at], jnp.where(inside, shares[at], 0)
    # Of several scores in a bin, any number may be above the key, equal to it or below.
    unknown = jnp.where(single[at], 0, equal)
    known = equal - unknown
    credit = functools.partial(pimo.credit, lower=lower, upper=upper)
    credits = _Credits(credit(above + unknown, known), credit(above, equal), credit(above, known))

    rate = rates[1:]
    levels = cells.used & (rate >= lower) & (rate <= upper)
    return credits, jnp.sum(levels, dtype=jnp.int32)


def _kept(
    scores: Float[Array, "batch n"], images: Images, number: int
) -> UInt[Array, "batch kept"]:
    """Of the labeled scores of each image the highest, and the lowest of each of so many groups."""
    used = images.true & ~jnp.isnan(scores)
    keys = jnp.sort(jnp.where(used, _ranks.keys_of(scores), jnp.uint32(NO_KEY)), axis=1)
    places = jnp.pad(_ends(images.labeled, number) - 1, ((0, 0), (1, 0)))
    return jnp.take_along_axis(keys, jnp.clip(places, 0, keys.shape[1] - 1), axis=1)


def _ends(labeled: Int[Array, " images"], number: int) -> Int[Array, "images groups"]:
    """Where each group ends: the same share of the scores in every one, to one score."""
    group = lax.broadcasted_iota(jnp.int32, (len(labeled), number), 1) + 1
    # In two parts, since the number of scores times that of groups may overflow.
    whole, rest = (x[:, None] for x in (labeled // number, labeled % number))
    return whole * group + rest * group // number
