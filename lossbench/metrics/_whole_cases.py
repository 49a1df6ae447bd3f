"""A stream of whole cases, of a metric that cannot be added up from pieces."""

import dataclasses
from typing import Any, TypeVar

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from lossbench import _checks
from lossbench.metrics._cases import Scores, Stream, check_alike, rows_of, scores, static
from lossbench.metrics._examples import EMPTY, PerExample
from lossbench.metrics.by_class import by_class

# Not `Self`: beartype, which checks annotations in tests, takes it in classes only, not in methods.
State = TypeVar("State", bound="WholeCases")


@dataclasses.dataclass(frozen=True)
class WholeCases(Stream):
    """Values of a metric of masks, one row a case. `merge` is associative and commutative."""

    whole_cases = True

    # Float, cases x classes; and how often each case came, which should be once. Not annotated so:
    # JAX builds trees of other leaves (NumPy, `vmap`) with them.
    values: Any
    pieces: Any
    when_empty: str = static("nan")
    # Another for each class, which JAX does not compare.
    name: str = static("")

    @classmethod
    def _begin(
        cls: type[State], cases: int, num_classes: int, *, empty: str, **options: Any
    ) -> State:
        _checks.choice("empty", empty, EMPTY)
        values = jnp.zeros((cases, num_classes), jnp.float32)
        return cls(values, jnp.zeros((cases,), jnp.int32), when_empty=empty, **options)

    def update(
        self: State,
        predictions: Int[Array, " batch *space"],
        labels: Int[Array, " batch *space"],
        *,
        case: Int[Array, " batch"],
        where: Bool[Array, " batch *space"] | None = None,
        weights: Float[Array, " batch"] | None = None,
    ) -> State:
        """Adds a batch of whole cases.

        Args:
            predictions: class ids; never logits.
            labels: class ids.
            case: which case each example is, 0 <= case < cases; one that comes twice is undefined.
            where: true = counted; a masked pixel belongs to no class.
            weights: 0 for an example that only pads the batch, else 1.
        """
        cases, num_classes = self.values.shape
        _checks.shape("predictions", predictions, labels.shape, "the shape of labels")
        _checks.where(where, labels.shape, "the shape of labels")
        counted = jnp.ones((), bool) if where is None else where

        def of_class(predicted: Array, true: Array) -> Array:
            return self.measure(predicted & counted, true & counted).values

        batch = by_class(of_class, predictions, labels, num_classes=num_classes).T
        # A row outside the table is dropped: that is where padding goes.
        rows = rows_of(case, weights, cases)
        return self._with(
            self.values.at[rows].add(batch, mode="drop"), self.pieces.at[rows].add(1, mode="drop")
        )

    def merge(self: State, other: State) -> State:
        """The state that has seen what both have.

        Raises:
            ValueError: if the other is another metric, has other options, or has room for other
                cases or classes.
        """
        check_alike(self, other)
        _checks.shape("other", other.values, self.values.shape, "cases, classes")
        return self._with(self.values + other.values, self.pieces + other.pieces)

    def _with(self: State, values: Array, pieces: Array) -> State:
        """The state of these sums; a case that came more than once has no value."""
        _checks.value(jnp.all(pieces <= 1), "case: a case came more than once, or in pieces")
        values = jnp.where(pieces[..., None] > 1, jnp.nan, values)
        return dataclasses.replace(self, values=values, pieces=pieces)

    def measure(
        self, predicted: Bool[Array, " batch *space"], true: Bool[Array, " batch *space"]
    ) -> PerExample:
        """The metric of two masks."""
        raise TypeError("abstract: use a metric such as Hd95")

    def compute(self) -> Scores:
        """The scores of what was seen. Pure: calling it twice changes nothing."""
        nothing_to_pool = jnp.full(self.values.shape[1:], jnp.nan)
        return scores(self.values, self.pieces > 0, nothing_to_pool)
