"""Proper scores of probabilities, the mean over pixels: they are best for the true probabilities.

Probabilities are taken as they are: logits, which are no probabilities, come to NaN.
"""

import dataclasses
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

from lossbench.metrics import _sums
from lossbench.metrics._cases import check_alike, ratio, static
from lossbench.metrics._confidence import Forecast, Pooled, check, pooled, read
from lossbench.metrics._examples import PerExample, values_of
from lossbench.ops.classes import lookup
from lossbench.ops.sums import sum_pixels

# Not `Self`: beartype, which checks annotations in tests, takes it in classes only, not in methods.
State = TypeVar("State", bound="_Mean")


def brier(
    probabilities: Float[Array, "batch *space classes"],
    labels: Shaped[Array, "batch ..."],
    *,
    where: Bool[Array, " batch *space"] | None = None,
) -> PerExample:
    """Brier score: the squared error of the probabilities; lower is better.

    `1 / n sum_i sum_c (p_ic - t_ic)^2`, from 0 to 2. Of a single class it is `(p - t)^2`, from 0 to
    1: half of what the two classes `[1 - p, p]` give, as in scikit-learn.

    Args:
        probabilities: after the softmax or sigmoid; never logits.
        labels: class ids, or a mask (bool) for one or two classes. A pixel whose label is no class
            is not counted.
        where: true = counted.

    Returns:
        One value an example; their mean; and how many are undefined, which are NaN: those in which
        nothing is counted, and those with a probability that counts and is NaN or, by more than
        rounding, outside of 0 to 1.

    Raises:
        ValueError: for shapes or dtypes that do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> p = jnp.array([[[0.75, 0.25], [0.5, 0.5]]])
        >>> print(brier(p, jnp.array([[0, 1]])).values)  # 2 / 16 and 2 / 4
        [0.3125]

    Reference: Brier, Verification of Forecasts Expressed in Terms of Probability, Monthly Weather
    Review 1950.
    """
    check(probabilities, labels, where)
    return _brier(probabilities, labels, where)


def negative_log_likelihood(
    probabilities: Float[Array, "batch *space classes"],
    labels: Shaped[Array, "batch ..."],
    *,
    where: Bool[Array, " batch *space"] | None = None,
) -> PerExample:
    """Negative log-likelihood in nats, or log loss: the surprise at what is true; lower is better.

    `-1 / n sum_i log p_iy`; of a single class `-log p` where it is there and `-log(1 - p)` where it
    is not. Nothing is clipped: who gives what is true a probability of 0 has an infinite loss.

    Args:
        probabilities: after the softmax or sigmoid; never logits.
        labels: class ids, or a mask (bool) for one or two classes. A pixel whose label is no class
            is not counted.
        where: true = counted.

    Returns:
        At least 0 and perhaps infinite, one value an example; their mean; and how many are
        undefined, which are NaN: those in which nothing is counted, and those with a probability
        that counts and is NaN or, by more than rounding, outside of 0 to 1.

    Raises:
        ValueError: for shapes or dtypes that do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> p = jnp.array([[[0.75, 0.25], [0.5, 0.5]]])
        >>> found = negative_log_likelihood(p, jnp.array([[0, 1]]))
        >>> print(f"{found.values[0]:.4f}")  # the mean of log(4 / 3) and log(2)
        0.4904

    Reference: Good, Rational Decisions, Journal of the Royal Statistical Society B 1952.
    """
    check(probabilities, labels, where)
    return _negative_log_likelihood(probabilities, labels, where)


def _squares(x: Forecast) -> Float[Array, " batch"]:
    """The sum over pixels and classes of (p - t)^2."""
    error = x.probabilities - x.truth().astype(x.probabilities.dtype)
    squares = jnp.where(x.counted[..., None], error * error, 0)
    return sum_pixels(squares.reshape(len(squares), -1))


def _surprises(x: Forecast) -> Float[Array, " batch"]:
    """The sum over pixels of -log p of what is true."""
    if x.classes == 1:
        p = x.probabilities[..., 0]
        # 1 - p itself would be 1 for a p that is small.
        costs = -jnp.where(x.labels == 1, jnp.log(p), jnp.log1p(-p))
    else:
        costs = -jnp.log(lookup(x.probabilities, x.labels))
    return sum_pixels(jnp.where(x.counted, jnp.maximum(costs, 0), 0))


def _number(x: Forecast) -> Array:
    """How many pixels count in each example."""
    return jnp.sum(x.counted, axis=1, dtype=jnp.int32)


def _mean(sums: Float[Array, " batch"], x: Forecast) -> PerExample:
    number = _number(x)
    return values_of(ratio(sums, number.astype(sums.dtype)), x.invalid | (number == 0))


# Compiled once also where they are called outside of a `jit`.
@jax.jit
def _brier(probabilities, labels, where) -> PerExample:
    x = read(probabilities, labels, where)
    return _mean(_squares(x), x)


@jax.jit
def _negative_log_likelihood(probabilities, labels, where) -> PerExample:
    x = read(probabilities, labels, where)
    return _mean(_surprises(x), x)


@dataclasses.dataclass(frozen=True)
class _Mean:
    """The mean of a cost over all pixels of a stream. `merge` is associative and commutative."""

    # RunningSum of what is finite, and of pixels; and Float: 0, or infinite or NaN, which no sum
    # comes back from. Not annotated so: JAX builds trees of other leaves (NumPy, `vmap`) with them.
    total: Any
    number: Any
    beyond: Any
    # Another for each class, which JAX does not compare.
    name: str = static("")

    @classmethod
    def empty(cls: type[State]) -> State:
        """A state that has seen nothing."""
        return cls(_sums.zeros(()), _sums.zeros(()), jnp.zeros((), jnp.float32))

    def costs(self, x: Forecast) -> Float[Array, " batch"]:
        """The sum of the costs of each example."""
        raise TypeError("abstract: use a metric such as Brier")

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
            labels: class ids, or a mask (bool) for one or two classes. A pixel whose label is no
                class is not counted.
            where: true = counted.
            weights: 0 for an example that only pads the batch, else 1.

        Raises:
            ValueError: for shapes or dtypes that do not fit.
        """
        check(probabilities, labels, where, weights)
        return _updated(self, probabilities, labels, where, weights)

    def merge(self: State, other: State) -> State:
        """The state that has seen what both have.

        Raises:
            ValueError: if the other is another metric.
        """
        check_alike(self, other)
        return self._with(other.total, other.number, other.beyond)

    def _with(
        self: State, total: _sums.RunningSum, number: _sums.RunningSum, beyond: Array
    ) -> State:
        return dataclasses.replace(
            self,
            total=_sums.add(self.total, total),
            number=_sums.add(self.number, number),
            beyond=self.beyond + beyond,
        )

    def compute(self) -> Pooled:
        """The mean over what was seen. Pure: calling it twice changes nothing."""
        value = ratio(self.total.high, self.number.high) + self.beyond
        return pooled(value, jnp.isnan(value))


# Compiled once also where it is called outside of a `jit`.
@jax.jit
def _updated(state: State, probabilities, labels, where, weights) -> State:
    x = read(probabilities, labels, where, weights)
    costs = jnp.where(x.invalid, jnp.nan, state.costs(x).astype(jnp.float32))
    finite = jnp.isfinite(costs)
    of_examples = jnp.where(finite, costs, 0)
    sums = (_sums.RunningSum(of_examples, jnp.zeros_like(costs)), _sums.of_counts(_number(x)))
    total, number = (jax.tree.map(lambda y: y[-1], _sums.cumulative(y)) for y in sums)
    return state._with(total, number, jnp.sum(jnp.where(finite, 0, costs)))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Brier(_Mean):
    """Brier score of all pixels of a stream.

    Example:
        >>> import jax.numpy as jnp
        >>> state = Brier.empty()
        >>> for p, label in (([0.75, 0.25], 0), ([0.5, 0.5], 1)):
        ...     state = state.update(jnp.array([p]), jnp.array([label]))
        >>> print(state.compute().value)
        0.3125
    """

    name: str = static("brier")

    def costs(self, x: Forecast) -> Float[Array, " batch"]:
        """The sum of the squared errors of each example."""
        return _squares(x)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class NegativeLogLikelihood(_Mean):
    """Negative log-likelihood of all pixels of a stream, in nats.

    Example:
        >>> import jax.numpy as jnp
        >>> state = NegativeLogLikelihood.empty()
        >>> for p, label in (([0.75, 0.25], 0), ([0.5, 0.5], 1)):
        ...     state = state.update(jnp.array([p]), jnp.array([label]))
        >>> print(f"{state.compute().value:.4f}")
        0.4904
    """

    name: str = static("negative_log_likelihood")

    def costs(self, x: Forecast) -> Float[Array, " batch"]:
        """The sum of the surprises of each example."""
        return _surprises(x)
