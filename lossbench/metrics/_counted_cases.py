"""A stream of cases of which pixels are counted: counts of the pieces of a case add up."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Shaped

from lossbench import _checks
from lossbench.metrics._cases import (
    Scores,
    Stream,
    check_alike,
    rows_of,
    scores,
    scores_of_all_classes,
    static,
)

# Not `Self`: beartype, which checks annotations in tests, takes it in classes only, not in methods.
State = TypeVar("State", bound="CountedCases")


@dataclasses.dataclass(frozen=True)
class CountedCases:
    """Counts of pixels, one row a case, that add up.

    A case may come in several pieces (the patches of a volume), in any order, on any device: its
    counts are summed before any ratio is taken. `merge` is associative and commutative.
    """

    whole_cases = False

    # Of predictions, labels, num_classes and where to tables with one row an example.
    count: ClassVar[Callable[..., Any]]

    counts: Any
    # Bool, one a case. Not annotated so: JAX builds trees of other leaves (NumPy, `vmap`) with it.
    seen: Any
    # Static, and another for each class: JAX compares the structures of two dataclasses by their
    # static fields and not by their class, so `jit` may take the one for the other.
    name: str = static("")

    @property
    def made_of(self) -> Any:
        """What is counted: metrics of the same counts have the same sums."""
        return self.count

    @classmethod
    def empty(
        cls: type[State],
        *,
        cases: int,
        num_classes: int,
        spacing: Sequence[float | int] | None = None,
    ) -> State:
        """A state that has seen nothing.

        Args:
            cases: how many there is room for.
            num_classes: number of classes, background included.
            spacing: size of a pixel, which every stream takes; counts have no use for it.
        """
        return cls._begin(cases, num_classes)

    @classmethod
    def _begin(cls: type[State], cases: int, num_classes: int, **options: Any) -> State:
        without_pixels = jnp.zeros((cases, 0), jnp.int32)
        counts = cls.count(without_pixels, without_pixels, num_classes=num_classes)
        return cls(counts, jnp.zeros((cases,), bool), **options)

    def update(
        self: State,
        predictions: Shaped[Array, " batch *space"],
        labels: Shaped[Array, " batch *space"],
        *,
        case: Int[Array, " batch"],
        where: Bool[Array, " batch *space"] | None = None,
        weights: Float[Array, " batch"] | None = None,
    ) -> State:
        """Adds a batch.

        Args:
            predictions: class ids; never logits.
            labels: class ids.
            case: which case each example belongs to, 0 <= case < cases.
            where: true = counted.
            weights: 0 for an example that only pads the batch, else 1.
        """
        cases, *_, num_classes = _table(self.counts).shape
        batch = self.count(predictions, labels, num_classes=num_classes, where=where)
        # A row outside the table is dropped: that is where padding goes.
        rows = rows_of(case, weights, cases)
        add = lambda table, new: table.at[rows].add(new, mode="drop")  # noqa: E731
        return dataclasses.replace(
            self,
            counts=jax.tree.map(add, self.counts, batch),
            seen=self.seen.at[rows].set(True, mode="drop"),
        )

    def merge(self: State, other: State) -> State:
        """The state that has seen what both have.

        Raises:
            ValueError: if the other is another metric, has other options, or has room for other
                cases or classes.
        """
        check_alike(self, other)
        ours = _table(self.counts)
        axes = ", ".join(["cases", "classes", "classes"][: ours.ndim])
        _checks.shape("other", _table(other.counts), ours.shape, axes)
        return dataclasses.replace(
            self,
            counts=jax.tree.map(jnp.add, self.counts, other.counts),
            seen=self.seen | other.seen,
        )


@dataclasses.dataclass(frozen=True)
class CountStream(CountedCases, Stream):
    """A metric made of counts: one value a case and class."""

    higher_is_better = True
    is_length = False

    def score(self, counts: Any) -> Array:
        """The metric of tables of counts."""
        raise TypeError("abstract: use a metric such as Dice")

    def pooled(self) -> Any:
        """The counts of all cases together."""
        # int32 sums of many large volumes would overflow; a float sum of counts keeps 7 digits.
        return jax.tree.map(lambda n: jnp.sum(n.astype(jnp.float32), axis=0), self.counts)

    def compute(self) -> Scores:
        """The scores of what was seen. Pure: calling it twice changes nothing."""
        return scores(self.score(self.counts), self.seen, self.score(self.pooled()))


@dataclasses.dataclass(frozen=True)
class NumberStream(CountStream):
    """A metric made of counts that is one number a case, of all classes together.

    Its scores have one column, which is no class; the mean is that over cases.
    """

    by_class = False

    def compute(self) -> Scores:
        """The scores of what was seen. Pure: calling it twice changes nothing."""
        values, pooled = self.score(self.counts), self.score(self.pooled())
        return scores_of_all_classes(values, self.seen, pooled)


def _table(counts: Any) -> Array:
    return jax.tree.leaves(counts)[0]
