"""A stream of scores, of which a metric knows how many are in which bin."""

import dataclasses
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from lossbench.metrics import _ranks
from lossbench.metrics._cases import check_alike, static
from lossbench.metrics._histogram import ScoreHistogram

# Not `Self`: beartype, which checks annotations in tests, takes it in classes only, not in methods.
State = TypeVar("State", bound="RankedStream")
Plain = TypeVar("Plain", bound="PlainStream")


class RankingScore(NamedTuple):
    """What a stream of scores comes to; NaN where it is undefined.

    Attributes:
        value: the metric of scores rounded to their bins.
        lower: at most the metric of the scores as they came.
        upper: at least that.
        undefined: 1 if there is no value, else 0.
    """

    value: Float[Array, ""]
    lower: Float[Array, ""]
    upper: Float[Array, ""]
    undefined: Int[Array, ""]


@dataclasses.dataclass(frozen=True)
class RankedStream:
    """A metric of the scores of a stream, by their histogram.

    `merge` is associative and commutative, and to the last bit so without weights.
    """

    # Not annotated so: JAX builds trees of other leaves (NumPy, `vmap`) with it.
    histogram: Any
    # Static, and another for each class: JAX compares the structures of two dataclasses by their
    # static fields and not by their class, so `jit` may take the one for the other.
    name: str = static("")

    @property
    def made_of(self) -> Any:
        """What is counted: metrics of the same histogram have the same sums."""
        return type(self.histogram)

    def update(
        self: State,
        scores: Float[Array, " batch *space"],
        labels: Bool[Array, " batch *space"],
        *,
        where: Bool[Array, " batch *space"] | None = None,
        weights: Float[Array, "..."] | None = None,
    ) -> State:
        """Adds a batch.

        Args:
            scores: higher is more likely positive; any range, infinities included. Counted as
                float32.
            labels: true = positive.
            where: true = counted.
            weights: what each score counts, at least 0, in the shape of scores; or of the batch,
                one an example, 0 for one that only pads it.

        Raises:
            ValueError: for shapes or dtypes that do not fit.
        """
        if weights is not None and weights.shape == scores.shape[:1]:
            along = weights.reshape(-1, *[1] * (scores.ndim - 1))
            weights = jnp.broadcast_to(along, scores.shape)
        elif weights is not None and weights.shape != scores.shape:
            raise ValueError(
                f"weights: expected shape {scores.shape} (the shape of scores) or "
                f"{scores.shape[:1]} (batch), got {weights.shape}"
            )
        _ranks.check_scores(scores, labels, where, weights)
        histogram = self.histogram.add(scores, labels, where=where, weights=weights)
        return dataclasses.replace(self, histogram=histogram)

    def merge(self: State, other: State) -> State:
        """The state that has seen what both have.

        Raises:
            ValueError: if the other is another metric, or has other options or bins.
        """
        check_alike(self, other)
        return dataclasses.replace(self, histogram=self.histogram.merge(other.histogram))

    def score(self, ranks: _ranks.Ranked, unordered: Bool[Array, " rows"]) -> Any:
        """The metric of what lies above each threshold, of one row, which may have a NaN."""
        raise TypeError("abstract: use a metric such as RocAuc")

    def compute(self) -> Any:
        """The metric of all that was seen. Pure: calling it twice changes nothing."""
        return _compute(self)


@dataclasses.dataclass(frozen=True)
class PlainStream(RankedStream):
    """One that has no options of its own."""

    @classmethod
    def empty(cls: type[Plain], *, bins: int = 2**16) -> Plain:
        """A state that has seen nothing.

        Args:
            bins: in how many the scores are counted; a power of two, at least 4.
        """
        return cls(ScoreHistogram.empty(bins=bins))


# Compiled once also where it is called outside of a `jit`.
@jax.jit
def _compute(state: RankedStream) -> Any:
    return state.score(state.histogram.ranked(), state.histogram.unordered[None])


def ranking_score(found: _ranks.Between, undefined: Bool[Array, " rows"]) -> RankingScore:
    """The only row, of which the bounds are in order also where they were rounded."""
    bounds = (jnp.minimum(found.lower, found.value), jnp.maximum(found.upper, found.value))
    numbers = (jnp.where(undefined, jnp.nan, x)[0] for x in (found.value, *bounds))
    return RankingScore(*numbers, undefined=undefined[0].astype(jnp.int32))
