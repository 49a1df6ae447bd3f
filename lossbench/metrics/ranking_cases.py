"""Ranking metrics of a stream of cases: the scores of a case are one ranking, however they come.

A configuration asks for them by name. They count as the states of `ranking_stream` do, a histogram
for each case, and come to a table as the metrics of class ids do.
"""

import dataclasses
from typing import Any, ClassVar, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Shaped

from lossbench.metrics._cases import (
    Scores,
    Stream,
    check_alike,
    rows_of,
    scores_of_all_classes,
    static,
)
from lossbench.metrics._ranked_stream import PlainStream, RankedStream
from lossbench.metrics.ranking_stream import AveragePrecision, F1Max, FprAtTpr, PartialAuc, RocAuc

# Not `Self`: beartype, which checks annotations in tests, takes it in classes only, not in methods.
State = TypeVar("State", bound="RankedCases")
Plain = TypeVar("Plain", bound="PlainCases")


@dataclasses.dataclass(frozen=True)
class RankedCases(Stream):
    """A ranking metric of each case. `merge` is associative and commutative.

    Attributes:
        ranked: the states of all cases, stacked.
        seen: which cases were seen.
    """

    is_length = False
    whole_cases = False
    by_class = False
    ranks_scores = True

    ranked: Any
    seen: Any
    # Another for each class, which JAX does not compare.
    name: str = static("")

    @property
    def made_of(self) -> Any:
        """What is counted: metrics of the same histograms have the same sums."""
        return RankedCases, type(self.ranked.histogram)

    @classmethod
    def _begin(cls: type[State], cases: int, one: RankedStream) -> State:
        ranked = jax.tree.map(lambda x: jnp.broadcast_to(x[None], (cases, *x.shape)), one)
        return cls(ranked, jnp.zeros((cases,), bool))

    def update(
        self: State,
        scores: Float[Array, " batch *space"],
        labels: Shaped[Array, " batch *space"],
        *,
        case: Int[Array, " batch"],
        where: Shaped[Array, " batch *space"] | None = None,
        weights: Float[Array, " batch"] | None = None,
    ) -> State:
        """Adds a batch.

        Args:
            scores: raw; higher is more anomalous.
            labels: true, or a class id other than 0, = anomalous.
            case: which case each example is of, 0 <= case < cases.
            where: true = counted.
            weights: 0 for an example that only pads the batch, else 1.
        """
        anomalous = labels if labels.dtype == bool else labels != 0
        counted = jnp.ones(scores.shape, bool) if where is None else where
        cases = self.seen.shape[0]
        rows = rows_of(case, weights, cases)
        seen = self.seen.at[rows].set(True, mode="drop")
        along = [1] * (scores.ndim - 1)

        def of_case(state: RankedStream, number: Array) -> RankedStream:
            mine = (rows == number).reshape(-1, *along)
            return state.update(scores, anomalous, where=counted & mine)

        def of_example(states: Any, example: Any) -> tuple[Any, None]:
            row, *arrays = example
            row_scores, row_labels, row_where = (x[None] for x in arrays)
            state = jax.tree.map(lambda x: x[jnp.minimum(row, cases - 1)], states)
            added = state.update(row_scores, row_labels, where=row_where)
            return jax.tree.map(lambda x, new: x.at[row].set(new, mode="drop"), states, added), None

        if cases == 1:  # a table: many examples, one ranking
            ranked = jax.tree.map(
                lambda x: x[None], of_case(jax.tree.map(lambda x: x[0], self.ranked), jnp.array(0))
            )
        else:  # scenes: few examples, each of many pixels
            ranked, _ = jax.lax.scan(of_example, self.ranked, (rows, scores, anomalous, counted))
        return dataclasses.replace(self, ranked=ranked, seen=seen)

    def merge(self: State, other: State) -> State:
        """The state that has seen what both have.

        Raises:
            ValueError: if the other is another metric, or has other options or cases.
        """
        check_alike(self, other)
        ranked = jax.vmap(lambda a, b: a.merge(b))(self.ranked, other.ranked)
        return dataclasses.replace(self, ranked=ranked, seen=self.seen | other.seen)

    def value(self, computed: Any) -> Array:
        """The number of what one case comes to."""
        return computed.value

    def compute(self) -> Scores:
        """The metric of each case, and of all scores as one ranking under `pooled`.

        Pure: calling it twice changes nothing.
        """
        values = jax.lax.map(lambda state: self.value(state.compute()), self.ranked)
        first = jax.tree.map(lambda x: x[0], self.ranked)
        rest = jax.tree.map(lambda x: x[1:], self.ranked)
        together, _ = jax.lax.scan(lambda a, b: (a.merge(b), None), first, rest)
        pooled = self.value(together.compute())
        return scores_of_all_classes(values, self.seen, pooled)


@dataclasses.dataclass(frozen=True)
class PlainCases(RankedCases):
    """One that has no options of its own.

    Attributes:
        stream: the metric of one case.
    """

    stream: ClassVar[type[PlainStream]]

    @classmethod
    def empty(
        cls: type[Plain],
        *,
        cases: int,
        num_classes: int = 2,
        spacing: Any = None,
        bins: int = 2**16,
    ) -> Plain:
        """A state that has seen nothing.

        Args:
            cases: how many.
            num_classes: without meaning here, as all class ids but 0 are anomalous.
            spacing: likewise.
            bins: in how many the scores of a case are counted; a power of two, at least 4.
        """
        return cls._begin(cases, cls.stream.empty(bins=bins))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class RocAucOfCases(PlainCases):
    """Area under the ROC curve of the scores of each case (see `roc_auc`)."""

    higher_is_better = True
    stream = RocAuc

    name: str = static("roc_auc_of_cases")


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class AveragePrecisionOfCases(PlainCases):
    """Average precision of the scores of each case (see `average_precision`)."""

    higher_is_better = True
    stream = AveragePrecision

    name: str = static("average_precision_of_cases")


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class F1MaxOfCases(PlainCases):
    """The largest F1 over all thresholds, of the scores of each case (see `f1_max`)."""

    higher_is_better = True
    stream = F1Max

    name: str = static("f1_max_of_cases")


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class FprAtTprOfCases(RankedCases):
    """The false positive rate that it takes to find a share of the anomalies of each case."""

    higher_is_better = False

    name: str = static("fpr_at_tpr_of_cases")

    @classmethod
    def empty(
        cls: type["FprAtTprOfCases"],
        *,
        cases: int,
        num_classes: int = 2,
        spacing: Any = None,
        tpr: float | int = 0.95,
        bins: int = 2**16,
    ) -> "FprAtTprOfCases":
        """A state that has seen nothing; see `PlainCases.empty` and `FprAtTpr.empty`."""
        return cls._begin(cases, FprAtTpr.empty(tpr=tpr, bins=bins))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class PartialAucOfCases(RankedCases):
    """McClish's standardized area under the start of the ROC curve of each case."""

    higher_is_better = True

    name: str = static("partial_auc_of_cases")

    @classmethod
    def empty(
        cls: type["PartialAucOfCases"],
        *,
        cases: int,
        max_fpr: float | int,
        num_classes: int = 2,
        spacing: Any = None,
        bins: int = 2**16,
    ) -> "PartialAucOfCases":
        """A state that has seen nothing; see `PlainCases.empty` and `PartialAuc.empty`."""
        return cls._begin(cases, PartialAuc.empty(max_fpr=max_fpr, bins=bins))

    def value(self, computed: Any) -> Array:
        """The standardized area."""
        return computed.standardized.value
