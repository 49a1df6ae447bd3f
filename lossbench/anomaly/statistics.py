"""Statistics of channels over a stream of pixels: moments, covariance, range and quantiles.

Each is a state: `empty(channels)`, `update(x, where=...)`, `merge(other)`, `compute()`. What comes
of it is that of all pixels together in float64, to 1e-5 or better, however they were batched and
merged. Sums are taken in float32 about a number near the mean, in blocks, and added up in pairs of
float32; the sum of two states is Chan's. A NaN that counts makes the statistics of its channel NaN.
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

from lossbench import _checks
from lossbench.anomaly import _blocks, _pairs
from lossbench.anomaly._inputs import check_channels, is_known, rows_of
from lossbench.metrics import _sums
from lossbench.metrics._cases import check_alike, static
from lossbench.metrics._histogram import ScoreHistogram


class ChannelMoments(NamedTuple):
    """The first two moments of each channel.

    Attributes:
        number: pixels that counted, exact up to 2^24.
        mean: NaN without a pixel.
        variance: NaN without more than `ddof` pixels.
        std: its square root.
    """

    number: Float[Array, ""]
    mean: Float[Array, " channels"]
    variance: Float[Array, " channels"]
    std: Float[Array, " channels"]


class ChannelCovariance(NamedTuple):
    """The mean spectrum, and how channels vary together.

    Attributes:
        number: pixels that counted, exact up to 2^24.
        mean: NaN without a pixel.
        covariance: NaN without more than `ddof` pixels.
    """

    number: Float[Array, ""]
    mean: Float[Array, " channels"]
    covariance: Float[Array, "channels channels"]


class ChannelRange(NamedTuple):
    """Where the values of each channel lie.

    Attributes:
        low: the smallest; NaN without a pixel.
        high: the largest.
    """

    low: Float[Array, " channels"]
    high: Float[Array, " channels"]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Moments:
    """Mean and variance of each channel.

    `mean = sum x / n`, `variance = sum (x - mean)^2 / (n - ddof)`.

    Example:
        >>> import jax.numpy as jnp
        >>> state = Moments.empty(2)
        >>> for batch in ([[1.0, 10.0], [2.0, 20.0]], [[6.0, 60.0]]):
        ...     state = state.update(jnp.array(batch))
        >>> print(state.compute().mean, state.compute().variance)
        [ 3. 30.] [  7. 700.]

    Reference: Chan, Golub and LeVeque, Algorithms for Computing the Sample Variance, The American
    Statistician 1983.
    """

    count: Any
    mean: Any
    scatter: Any

    @classmethod
    def empty(cls, channels: int) -> "Moments":
        """A state that has seen nothing."""
        return cls(_sums.zeros(()), _sums.zeros((channels,)), _sums.zeros((channels,)))

    def update(
        self,
        x: Shaped[Array, "*space channels"],
        where: Bool[Array, "*space"] | None = None,
    ) -> "Moments":
        """The state that has also seen these pixels.

        Args:
            x: floats or integers; taken as float32.
            where: true = counted.

        Raises:
            ValueError: for shapes or dtypes that do not fit.
        """
        check_channels(x, self.mean.high.shape[0])
        return _update(self, *rows_of(x, where))

    def merge(self, other: "Moments") -> "Moments":
        """The state that has seen what both have.

        Raises:
            ValueError: if the other is one of other channels.
        """
        _check_same(self, other, "mean")
        return _merged(self, other)

    def compute(self, *, ddof: int = 1) -> ChannelMoments:
        """Mean, variance and standard deviation; undefined is NaN.

        Args:
            ddof: the variance is over `count - ddof`.
        """
        mean, variance = _normalized(self, ddof)
        return ChannelMoments(
            self.count.high, mean.high, variance.high, jnp.sqrt(jnp.maximum(variance.high, 0))
        )


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Covariance:
    """The mean spectrum and the covariance of channels.

    `S = sum (x - mean) (x - mean)^T / (n - ddof)`.

    Products are split into a part that float32 adds up exactly and a small rest, so that `S` is
    known, in its two floats, to about 1e-9 of `s_i s_j`: neighboring bands are nearly the same, and
    the smallest eigenvalues, on which Mahalanobis distances hang, are 1e-9 of the largest. That
    takes the time of two products of matrices where one would be worth 1e-6.

    Example:
        >>> import jax.numpy as jnp
        >>> state = Covariance.empty(2).update(jnp.array([[1.0, 5.0], [3.0, 1.0]]))
        >>> print(state.compute().covariance)
        [[ 2. -4.]
         [-4.  8.]]

    Reference: Chan, Golub and LeVeque, Algorithms for Computing the Sample Variance, The American
    Statistician 1983; Ozaki et al., Error-Free Transformations of Matrix Multiplication, Numerical
    Algorithms 2012.
    """

    count: Any
    mean: Any
    scatter: Any

    @classmethod
    def empty(cls, channels: int) -> "Covariance":
        """A state that has seen nothing."""
        return cls(_sums.zeros(()), _sums.zeros((channels,)), _sums.zeros((channels, channels)))

    def update(
        self,
        x: Shaped[Array, "*space channels"],
        where: Bool[Array, "*space"] | None = None,
    ) -> "Covariance":
        """The state that has also seen these pixels; as of `Moments`."""
        check_channels(x, self.mean.high.shape[0])
        return _update(self, *rows_of(x, where))

    def merge(self, other: "Covariance") -> "Covariance":
        """The state that has seen what both have; as of `Moments`."""
        _check_same(self, other, "mean")
        return _merged(self, other)

    def compute(self, *, ddof: int = 1) -> ChannelCovariance:
        """Mean and covariance; undefined is NaN.

        Args:
            ddof: the covariance is over `count - ddof`.
        """
        mean, covariance = _normalized(self, ddof)
        return ChannelCovariance(self.count.high, mean.high, covariance.high)

    def pairs(self, *, ddof: int = 1) -> tuple[_sums.RunningSum, _sums.RunningSum]:
        """Mean and covariance, each as two float32 (`high + low`), which hold 14 digits."""
        return _normalized(self, ddof)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Range:
    """The smallest and the largest value of each channel.

    Example:
        >>> import jax.numpy as jnp
        >>> state = Range.empty(2).update(jnp.array([[1.0, 5.0], [3.0, -1.0]]))
        >>> print(state.compute())
        ChannelRange(low=Array([ 1., -1.], dtype=float32), high=Array([3., 5.], dtype=float32))
    """

    low: Any
    high: Any

    @classmethod
    def empty(cls, channels: int) -> "Range":
        """A state that has seen nothing."""
        return cls(jnp.full((channels,), jnp.inf), jnp.full((channels,), -jnp.inf))

    def update(
        self,
        x: Shaped[Array, "*space channels"],
        where: Bool[Array, "*space"] | None = None,
    ) -> "Range":
        """The state that has also seen these pixels; as of `Moments`."""
        check_channels(x, self.low.shape[0])
        rows, counted = rows_of(x, where)
        low, high = _range_of(rows, counted)
        return self.merge(Range(low, high))

    def merge(self, other: "Range") -> "Range":
        """The state that has seen what both have; as of `Moments`."""
        _check_same(self, other, "low")
        return Range(jnp.minimum(self.low, other.low), jnp.maximum(self.high, other.high))

    def compute(self) -> ChannelRange:
        """The range; NaN where nothing was seen."""
        seen = ~(self.low > self.high)
        return ChannelRange(jnp.where(seen, self.low, jnp.nan), jnp.where(seen, self.high, jnp.nan))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Quantiles:
    """Quantiles of each channel, or of all together, in a fixed memory.

    Values are counted in bins that follow the range there is (see `metrics._histogram`). With 2^14
    bins a channel, the value found is within 2^-6 of the true one relative to its size in the worst
    case, and within 1e-3 where values of either sign span less than three powers of 10. Integers up
    to 1000 are told apart. Beyond 2^24 pixels, ranks are rounded.

    Example:
        >>> import jax.numpy as jnp
        >>> state = Quantiles.empty(1).update(jnp.arange(101.0)[:, None])
        >>> print(state.compute((0.02, 0.5)))
        [[ 2. 50.]]

    Reference: Hyndman and Fan, Sample Quantiles in Statistical Packages, The American Statistician
    1996, definition 7.
    """

    histogram: Any
    per_channel: bool = static(True)
    channels: int = static(1)

    @classmethod
    def empty(cls, channels: int, *, per_channel: bool = True, bins: int = 2**14) -> "Quantiles":
        """A state that has seen nothing.

        Args:
            channels: of the pixels that will come.
            per_channel: false for quantiles of all channels together.
            bins: how many, a power of two.
        """
        kinds = channels if per_channel else 1
        return cls(ScoreHistogram.empty(bins=bins, kinds=kinds), per_channel, channels)

    def update(
        self,
        x: Shaped[Array, "*space channels"],
        where: Bool[Array, "*space"] | None = None,
    ) -> "Quantiles":
        """The state that has also seen these pixels; as of `Moments`."""
        check_channels(x, self.channels)
        rows, counted = rows_of(x, where)
        kind = jnp.arange(self.channels) if self.per_channel else jnp.zeros(self.channels, int)
        kind = jnp.broadcast_to(kind[None], rows.shape)
        counted = jnp.broadcast_to(counted[:, None], rows.shape)
        histogram = self.histogram.add(rows, kind, where=counted)
        return dataclasses.replace(self, histogram=histogram)

    def merge(self, other: "Quantiles") -> "Quantiles":
        """The state that has seen what both have; as of `Moments`."""
        check_alike(self, other)
        return dataclasses.replace(self, histogram=self.histogram.merge(other.histogram))

    def compute(self, shares: tuple[float, ...]) -> Float[Array, "kinds quantiles"]:
        """The quantiles, a row for each channel, or one for all; NaN where nothing was seen.

        Args:
            shares: which, 0 to 1.

        Raises:
            ValueError: if one is outside of that.
        """
        for share in shares:
            if not 0 <= share <= 1:
                raise ValueError(f"shares: expected numbers from 0 to 1, got {share}")
        return _blocks.quantiles_of(self.histogram, tuple(float(share) for share in shares))


def covariance_of(
    x: Shaped[Array, "*space channels"] | Covariance, where: Bool[Array, "*space"] | None
) -> Covariance:
    """The covariance of pixels, or the one given.

    Raises:
        ValueError: for a mask beside a covariance; and outside of `jit`, for no more than one
            pixel.
    """
    if isinstance(x, Covariance):
        if where is not None:
            raise ValueError("where: a Covariance has its pixels already; give it to its update")
        state = x
    else:
        rows, counted = rows_of(x, where)
        state = Covariance.empty(rows.shape[1]).update(rows, counted)
    if is_known(state.count.high) and state.count.high < 2:
        raise ValueError(
            f"x: expected at least 2 pixels that count, got {float(state.count.high):.0f}"
        )
    return state


def _check_same(ours: Any, theirs: Any, field: str) -> None:
    if type(theirs) is not type(ours):
        raise ValueError(f"other: expected {type(ours).__name__}, got {type(theirs).__name__}")
    mine, other = (jax.tree.leaves(getattr(state, field))[0] for state in (ours, theirs))
    _checks.shape("other", other, mine.shape, "channels")


# Compiled once also where they are called outside of a `jit`.
@jax.jit
def _range_of(rows: Array, counted: Array) -> tuple[Array, Array]:
    low = jnp.min(jnp.where(counted[:, None], rows, jnp.inf), axis=0)
    return low, jnp.max(jnp.where(counted[:, None], rows, -jnp.inf), axis=0)


@jax.jit
def _update(state: Any, rows: Array, counted: Array) -> Any:
    of_products = state.scatter.high.ndim == 2
    pivot, count, total, scatter = _blocks.sums_about_pivot(rows, counted, of_products)
    # About the mean instead of the pivot: n (mean - pivot)^2 less.
    offset = _pairs.divide(total, _at_least_one(count, total))
    mean = _sums.add(_pairs.exact(pivot), offset)
    scatter = _pairs.subtract(scatter, _outer(total, offset, of_products))
    return _merged(state, type(state)(count, mean, scatter))


@jax.jit
def _merged(a: Any, b: Any) -> Any:
    count = _sums.add(a.count, b.count)
    share = _pairs.divide(b.count, _at_least_one(count, b.count))
    delta = _pairs.subtract(b.mean, a.mean)
    mean = _sums.add(a.mean, _pairs.multiply(delta, _row(share, 1)))
    between = _pairs.multiply(delta, _row(_pairs.multiply(share, a.count), 1))
    scatter = _sums.add(a.scatter, b.scatter)
    scatter = _sums.add(scatter, _outer(delta, between, scatter.high.ndim == 2))
    merged = type(a)(count, mean, scatter)
    # One that has seen nothing changes nothing, not even by a rounding.
    pick = lambda empty, x, y: jax.tree.map(lambda p, q: jnp.where(empty, p, q), x, y)  # noqa: E731
    return pick(b.count.high == 0, a, pick(a.count.high == 0, b, merged))


def _outer(a: _sums.RunningSum, b: _sums.RunningSum, of_products: bool) -> _sums.RunningSum:
    """`a b^T`, or its diagonal; symmetric where one is a multiple of the other."""
    if not of_products:
        return _pairs.multiply(a, b)
    column = jax.tree.map(lambda x: x[:, None], a)
    product = _pairs.multiply(column, jax.tree.map(lambda x: x[None], b))
    mirrored = jax.tree.map(jnp.transpose, product)
    return jax.tree.map(lambda x: x / 2, _sums.add(product, mirrored))


def _row(a: _sums.RunningSum, rank: int) -> _sums.RunningSum:
    return jax.tree.map(lambda x: x.reshape((1,) * rank), a)


def _at_least_one(count: _sums.RunningSum, like: _sums.RunningSum) -> _sums.RunningSum:
    """The count as a divisor, in the shape of the dividend."""
    some = count.high > 0
    pair = _sums.RunningSum(jnp.where(some, count.high, 1), jnp.where(some, count.low, 0))
    return jax.tree.map(lambda x: jnp.broadcast_to(x, like.high.shape), pair)


@functools.partial(jax.jit, static_argnums=1)
def _normalized(state: Any, ddof: int) -> tuple[_sums.RunningSum, _sums.RunningSum]:
    """Mean, and scatter over `count - ddof`, in pairs."""
    less = _pairs.subtract(state.count, _pairs.exact(jnp.float32(ddof)))
    spread = _pairs.divide(state.scatter, _at_least_one(less, state.scatter))
    nan = lambda keep, pair: jax.tree.map(lambda x: jnp.where(keep, x, jnp.nan), pair)  # noqa: E731
    return nan(state.count.high > 0, state.mean), nan(less.high > 0, spread)
