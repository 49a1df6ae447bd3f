"""Dice and intersection over union of hard predictions: for a batch, and over a stream of cases."""

import dataclasses
from collections.abc import Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Shaped

from lossbench import _checks
from lossbench.metrics._cases import Scores, Stream, ratio, rows_of, scores
from lossbench.metrics._counts import Counts, count_pixels


def _dice(counts: Counts) -> Array:
    """2 TP / (2 TP + FP + FN)."""
    # As floats: twice a count may not fit into int32.
    true_positive, predicted, true = (n.astype(jnp.float32) for n in counts)
    return ratio(2 * true_positive, predicted + true)


def _iou(counts: Counts) -> Array:
    """TP / (TP + FP + FN)."""
    union = counts.predicted + counts.true - counts.true_positive
    return ratio(counts.true_positive, union)


def dice(
    predictions: Shaped[Array, " batch *space"],
    labels: Shaped[Array, " batch *space"],
    *,
    num_classes: int,
    where: Bool[Array, " batch *space"] | None = None,
) -> Float[Array, "batch classes"]:
    """Dice coefficient of each class: `2 TP / (2 TP + FP + FN)`.

    Args:
        predictions: class ids, or a mask (bool) with `num_classes=2`; never logits.
        labels: likewise.
        num_classes: number of classes, background included.
        where: true = counted.

    Returns:
        One value an example and class, in [0, 1]; NaN where a class is in neither of both.

    Raises:
        ValueError: for shapes or dtypes that do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> print(dice(jnp.array([[0, 1, 1, 0]]), jnp.array([[0, 1, 0, 0]]), num_classes=3))
        [[0.8  0.6666667  nan]]

    Reference: Dice, Measures of the Amount of Ecologic Association Between Species, 1945.
    """
    return _dice(count_pixels(predictions, labels, num_classes=num_classes, where=where))


def iou(
    predictions: Shaped[Array, " batch *space"],
    labels: Shaped[Array, " batch *space"],
    *,
    num_classes: int,
    where: Bool[Array, " batch *space"] | None = None,
) -> Float[Array, "batch classes"]:
    """Intersection over union (Jaccard index) of each class: `TP / (TP + FP + FN)`.

    Args:
        predictions: class ids, or a mask (bool) with `num_classes=2`; never logits.
        labels: likewise.
        num_classes: number of classes, background included.
        where: true = counted.

    Returns:
        One value an example and class, in [0, 1]; NaN where a class is in neither of both.

    Raises:
        ValueError: for shapes or dtypes that do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> print(iou(jnp.array([[0, 1, 1, 0]]), jnp.array([[0, 1, 0, 0]]), num_classes=2))
        [[0.6666667 0.5 ]]

    Reference: Jaccard, The Distribution of the Flora in the Alpine Zone, 1912.
    """
    return _iou(count_pixels(predictions, labels, num_classes=num_classes, where=where))


# Not `Self`: beartype, which checks annotations in tests, takes it in classes only, not in methods.
State = TypeVar("State", bound="_Overlap")


@dataclasses.dataclass(frozen=True)
class _Overlap(Stream):
    """Counts of pixels, one row a case, that add up.

    A case may come in several pieces (the patches of a volume), in any order, on any device: its
    counts are summed before any ratio is taken. `merge` is associative and commutative.
    """

    higher_is_better = True
    is_length = False
    whole_cases = False

    counts: Counts
    # Bool, one a case. Not annotated so: JAX builds trees of other leaves (NumPy, `vmap`) with it.
    seen: Any
    # Static, and another for each class: JAX compares the structures of two dataclasses by their
    # static fields and not by their class, so `jit` may take the one for the other.
    name: str = dataclasses.field(default="", metadata={"static": True})

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
        zeros = jnp.zeros((cases, num_classes), jnp.int32)
        return cls(Counts(zeros, zeros, zeros), jnp.zeros((cases,), bool))

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
        cases, num_classes = self.counts.true.shape
        batch = count_pixels(predictions, labels, num_classes=num_classes, where=where)
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
            ValueError: if the other is another metric, or has room for other cases or classes.
        """
        if type(other) is not type(self):
            raise ValueError(f"other: expected {type(self).__name__}, got {type(other).__name__}")
        _checks.shape("other", other.counts.true, self.counts.true.shape, "cases, classes")
        return dataclasses.replace(
            self,
            counts=jax.tree.map(jnp.add, self.counts, other.counts),
            seen=self.seen | other.seen,
        )

    @staticmethod
    def score(counts: Counts) -> Array:
        """The metric of a table of counts."""
        raise TypeError("abstract: use Dice or IoU")

    def compute(self) -> Scores:
        """The scores of what was seen. Pure: calling it twice changes nothing."""
        # int32 sums of many large volumes would overflow; a float sum of counts keeps 7 digits.
        pooled = jax.tree.map(lambda n: jnp.sum(n.astype(jnp.float32), axis=0), self.counts)
        return scores(self.score(self.counts), self.seen, self.score(pooled))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Dice(_Overlap):
    """Dice coefficient over a stream of cases; the mean leaves out class 0, the background.

    Example:
        >>> import jax.numpy as jnp
        >>> state = Dice.empty(cases=1, num_classes=2)
        >>> for piece in ([0, 1], [1, 0]):  # one case in two pieces
        ...     state = state.update(jnp.array([piece]), jnp.array([[0, 1]]), case=jnp.array([0]))
        >>> print(state.compute().mean)
        0.5
    """

    name: str = dataclasses.field(default="dice", metadata={"static": True})

    @staticmethod
    def score(counts: Counts) -> Array:
        """2 TP / (2 TP + FP + FN)."""
        return _dice(counts)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class IoU(_Overlap):
    """Intersection over union over a stream of cases; the mean leaves out class 0.

    Example:
        >>> import jax.numpy as jnp
        >>> state = IoU.empty(cases=2, num_classes=2)
        >>> state = state.update(
        ...     jnp.array([[0, 1], [1, 1]]), jnp.array([[0, 1], [0, 1]]), case=jnp.array([0, 1])
        ... )
        >>> print(state.compute().mean)
        0.75
    """

    name: str = dataclasses.field(default="iou", metadata={"static": True})

    @staticmethod
    def score(counts: Counts) -> Array:
        """TP / (TP + FP + FN)."""
        return _iou(counts)
