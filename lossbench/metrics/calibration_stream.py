"""Calibration of all pixels of a stream, pooled.

What a state holds does not grow, and all of it is counts: whatever the order of the examples, the
batches, the padding, the devices, it comes to the same, to the last bit.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

from lossbench import _checks
from lossbench.metrics import _reliability
from lossbench.metrics._cases import check_alike, static
from lossbench.metrics._confidence import (
    Judged,
    Pooled,
    check,
    each_class,
    pooled,
    read,
    top_label,
)
from lossbench.metrics.calibration import ClassErrors, Reliability, class_errors, diagrams_of

# Not `Self`: beartype, which checks annotations in tests, takes it in classes only, not in methods.
State = TypeVar("State", bound="_Binned")


@dataclasses.dataclass(frozen=True)
class _Binned:
    """Confidences in bins: in one row, or in one a class. `merge` is associative, commutative."""

    # How confidence is read from probabilities, and in which bins it is counted.
    judge: ClassVar[Callable[..., Judged]] = staticmethod(top_label)
    by_class: ClassVar[bool] = False

    # Bins; and Bool, one a row. Not annotated so: JAX builds trees of other leaves (NumPy, `vmap`)
    # with them.
    counted: Any
    invalid: Any
    bins: int = static(15)
    # Another for each class, which JAX does not compare.
    name: str = static("")

    @property
    def made_of(self) -> Any:
        """What is counted: states of the same bins have the same sums."""
        return (type(self).judge, type(self).in_bins)

    @classmethod
    def _begin(cls: type[State], rows: int, bins: int, cells: int, **options: Any) -> State:
        return cls(
            _reliability.no_bins(rows, cells), jnp.zeros((rows,), bool), bins=bins, **options
        )

    def in_bins(self, x: Judged) -> _reliability.Bins:
        """Counts what was said."""
        return _reliability.equal_width(x, self.bins)

    def update(
        self: State,
        probabilities: Float[Array, "batch *space classes"],
        labels: Shaped[Array, "batch ..."],
        *,
        where: Bool[Array, " batch *space"] | None = None,
        weights: Float[Array, " batch"] | None = None,
    ) -> State:
        """Adds a batch.

        Args:
            probabilities: after the softmax or sigmoid; never logits.
            labels: class ids, or a mask (bool) for one or two classes; for an error of each class
                also one mask a class. A pixel whose label is no class is not counted.
            where: true = counted.
            weights: 0 for an example that only pads the batch, else 1.

        Raises:
            ValueError: for shapes or dtypes that do not fit.
        """
        check(probabilities, labels, where, weights, masks=self.by_class)
        rows = len(self.invalid)
        if self.by_class and probabilities.shape[-1] != rows:
            raise ValueError(
                f"probabilities: expected {rows} classes on the last axis, got shape "
                f"{probabilities.shape}"
            )
        return _updated(self, probabilities, labels, where, weights)

    def merge(self: State, other: State) -> State:
        """The state that has seen what both have.

        Raises:
            ValueError: if the other is another metric, or has other options or classes.
        """
        check_alike(self, other)
        _checks.shape("other", other.invalid, self.invalid.shape, "classes")
        return self._with(other.counted, other.invalid)

    def _with(self: State, counted: _reliability.Bins, invalid: Array) -> State:
        both = _reliability.both(self.counted, counted)
        return dataclasses.replace(self, counted=both, invalid=self.invalid | invalid)


# Compiled once also where they are called outside of a `jit`.
@jax.jit
def _updated(state: State, probabilities, labels, where, weights) -> State:
    judged = state.judge(read(probabilities, labels, where, weights))
    rows = len(state.invalid)
    # Of a batch of rows of classes, those of each class in one row.
    of_rows = lambda x: jnp.moveaxis(x.reshape(-1, rows, *x.shape[1:]), 0, 1)  # noqa: E731
    confidence, right, counted = (of_rows(x).reshape(rows, -1) for x in judged[:3])
    invalid = jnp.any(of_rows(judged.invalid), axis=1)
    return state._with(state.in_bins(Judged(confidence, right, counted, invalid)), invalid)


_joined = jax.jit(_reliability.joined, static_argnums=1)


@jax.jit
def _diagram(counted: _reliability.Bins, invalid: Array) -> Reliability:
    found = diagrams_of(counted, invalid)
    return Reliability(*(x[0] for x in found[:3]), undefined=found.undefined)


@functools.partial(jax.jit, static_argnums=2)
def _error(counted: _reliability.Bins, invalid: Array, norm: str) -> Pooled:
    value = _reliability.error_of(counted, norm)[0]
    return pooled(value, invalid[0] | jnp.isnan(value))


@functools.partial(jax.jit, static_argnums=2)
def _class_errors(counted: _reliability.Bins, invalid: Array, norm: str) -> ClassErrors:
    return class_errors(_reliability.error_of(counted, norm), jnp.any(invalid))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ReliabilityDiagram(_Binned):
    """Reliability diagram of all pixels of a stream.

    Example:
        >>> import jax.numpy as jnp
        >>> state = ReliabilityDiagram.empty(bins=2)
        >>> for p, label in ((0.25, False), (0.75, True), (1.0, False)):
        ...     state = state.update(jnp.array([[p]]), jnp.array([label]))  # one class
        >>> found = state.compute()
        >>> print(found.confidence, found.accuracy, found.number)
        [0.25  0.875] [0.  0.5] [1 2]
    """

    name: str = static("reliability_diagram")

    @classmethod
    def empty(cls, *, bins: int = 15) -> "ReliabilityDiagram":
        """A state that has seen nothing.

        Args:
            bins: how many; a confidence on an edge is in the bin above, and 1 in the last one.
        """
        _reliability.check_bins(bins)
        return cls._begin(1, bins, bins)

    def compute(self) -> Reliability:
        """The points of what was seen. Pure: calling it twice changes nothing."""
        return _diagram(self.counted, self.invalid)


@dataclasses.dataclass(frozen=True)
class _Error(_Binned):
    """The gaps of all bins, put together."""

    norm: str = static("l1")

    def compute(self) -> Pooled:
        """The error of what was seen. Pure: calling it twice changes nothing."""
        return _error(self.counted, self.invalid, self.norm)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ExpectedCalibrationError(_Error):
    """Expected calibration error (ECE) of the top label, of all pixels of a stream.

    Example:
        >>> import jax.numpy as jnp
        >>> state = ExpectedCalibrationError.empty(bins=2)
        >>> for p, label in ((0.25, False), (0.75, True), (1.0, False)):
        ...     state = state.update(jnp.array([[p]]), jnp.array([label]))  # one class
        >>> print(state.compute().value)  # 1 / 3 * 0.25 + 2 / 3 * (0.875 - 0.5)
        0.33333334
    """

    name: str = static("expected_calibration_error")

    @classmethod
    def empty(cls, *, bins: int = 15, norm: str = "l1") -> "ExpectedCalibrationError":
        """A state that has seen nothing.

        Args:
            bins: how many; a confidence on an edge is in the bin above, and 1 in the last one.
            norm: "l1", "l2", "max" or "mean": see `expected_calibration_error`.
        """
        _reliability.check_bins(bins)
        _reliability.check_norm(norm)
        return cls._begin(1, bins, bins, norm=norm)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class AdaptiveCalibrationError(_Error):
    """Calibration error of the top label over bins that hold equally many pixels of a stream.

    They are made of 5891 finer ones, in which counts and confidences are exact, so it is the error
    of bins whose edges are off by no more than 1/128 of their distance from 0, or from 1 if that is
    nearer.

    Example:
        >>> import jax.numpy as jnp
        >>> state = AdaptiveCalibrationError.empty(bins=2)
        >>> for p, label in ((0.97, False), (0.98, True), (0.96, True), (0.99, True)):
        ...     state = state.update(jnp.array([[p]]), jnp.array([label]))  # one class
        >>> print(f"{state.compute().value:.3f}")  # of 0.96 and 0.97, and of 0.98 and 0.99
        0.240
    """

    name: str = static("adaptive_calibration_error")

    @classmethod
    def empty(cls, *, bins: int = 15, norm: str = "l1") -> "AdaptiveCalibrationError":
        """A state that has seen nothing.

        Args:
            bins: how many, at most.
            norm: "l1", "l2", "max" or "mean": see `expected_calibration_error`.
        """
        _reliability.check_bins(bins)
        _reliability.check_norm(norm)
        return cls._begin(1, bins, _reliability.FINE, norm=norm)

    def in_bins(self, x: Judged) -> _reliability.Bins:
        """Counts what was said."""
        return _reliability.fine(x)

    def compute(self) -> Pooled:
        """The error of what was seen. Pure: calling it twice changes nothing."""
        return _error(_joined(self.counted, self.bins), self.invalid, self.norm)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ClasswiseCalibrationError(_Binned):
    """Calibration error of each class by itself, of all pixels of a stream.

    Example:
        >>> import jax.numpy as jnp
        >>> state = ClasswiseCalibrationError.empty(num_classes=2, bins=2)
        >>> for p, label in ((0.25, 0), (0.75, 1), (1.0, 0)):
        ...     state = state.update(jnp.array([[1 - p, p]]), jnp.array([label]))
        >>> print(state.compute().values)
        [0.33333334 0.33333334]
    """

    judge = staticmethod(each_class)
    by_class = True

    norm: str = static("l1")
    name: str = static("classwise_calibration_error")

    @classmethod
    def empty(
        cls, *, num_classes: int, bins: int = 15, norm: str = "l1"
    ) -> "ClasswiseCalibrationError":
        """A state that has seen nothing.

        Args:
            num_classes: number of classes, background included.
            bins: how many; a probability on an edge is in the bin above, and 1 in the last one.
            norm: "l1", "l2", "max" or "mean": see `expected_calibration_error`.
        """
        _reliability.check_bins(bins)
        _reliability.check_norm(norm)
        return cls._begin(num_classes, bins, bins, norm=norm)

    def compute(self) -> ClassErrors:
        """The errors of what was seen. Pure: calling it twice changes nothing."""
        return _class_errors(self.counted, self.invalid, self.norm)
