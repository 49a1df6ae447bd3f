"""Similarities of spectra over a stream: means over examples, of which no table is kept."""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from lossbench import _checks
from lossbench.metrics import _sums, spectra
from lossbench.metrics._cases import check_alike, ratio, static
from lossbench.metrics._examples import PerExample
from lossbench.ops.sums import sum_pixels

# Not `Self`: beartype, which checks annotations in tests, takes it in classes only, not in methods.
State = TypeVar("State", bound="_Similarity")


class SpectraMean(NamedTuple):
    """A mean over the spectra of a stream.

    Attributes:
        mean: over the examples that have a value, NaN if none has. Who predicts nothing of an
            example is spared it: compare the counts, too.
        counted: number of those; 2^31 - 1 if there are more.
        undefined: number of examples without a value; likewise.
    """

    mean: Float[Array, ""]
    counted: Int[Array, ""]
    undefined: Int[Array, ""]


@dataclasses.dataclass(frozen=True)
class _Similarity:
    """Sums over examples. `merge` is associative and commutative, to about 1e-7."""

    # Of predicted, observed and where to one value an example.
    measure: ClassVar[Callable[..., PerExample]]

    # `RunningSum` each. Not annotated so: JAX builds trees of other leaves (NumPy, `vmap`) with it.
    total: Any
    weight: Any
    counted: Any
    undefined: Any
    # Another for each class, which JAX does not compare.
    name: str = static("")

    @classmethod
    def empty(cls: type[State]) -> State:
        """A state that has seen nothing."""
        return cls._begin()

    @classmethod
    def _begin(cls: type[State], **options: Any) -> State:
        zero = _sums.zeros(())
        return cls(zero, zero, zero, zero, **options)

    def _options(self) -> dict[str, Any]:
        return {}

    def update(
        self: State,
        predicted: Float[Array, "batch peaks"],
        observed: Float[Array, "batch peaks"],
        *,
        where: Bool[Array, "batch peaks"] | None = None,
        weights: Float[Array, " batch"] | None = None,
    ) -> State:
        """Adds a batch.

        Args:
            predicted: intensities, in any unit.
            observed: intensities, in any unit.
            where: true = counted.
            weights: what each example counts, at least 0, which is for one that only pads the
                batch; 1 by default.
        """
        values = type(self).measure(predicted, observed, where=where, **self._options()).values
        if weights is None:
            weights = jnp.ones(values.shape, jnp.float32)
        _checks.shape("weights", weights, values.shape, "batch")
        _checks.value(jnp.all(weights >= 0), "weights: a weight is negative or NaN")
        real, undefined = weights > 0, jnp.isnan(values)
        defined = real & ~undefined
        weights = jnp.where(defined, weights.astype(jnp.float32), 0)
        number = lambda of: jnp.sum(of, dtype=jnp.int32)  # noqa: E731
        return dataclasses.replace(
            self,
            total=_plus(self.total, sum_pixels(weights * jnp.where(defined, values, 0))),
            weight=_plus(self.weight, sum_pixels(weights)),
            counted=_sums.add_counts(self.counted, number(defined)),
            undefined=_sums.add_counts(self.undefined, number(real & undefined)),
        )

    def merge(self: State, other: State) -> State:
        """The state that has seen what both have.

        Raises:
            ValueError: if the other is another metric or has other options.
        """
        check_alike(self, other)
        return dataclasses.replace(
            self,
            total=_sums.add(self.total, other.total),
            weight=_sums.add(self.weight, other.weight),
            counted=_sums.add(self.counted, other.counted),
            undefined=_sums.add(self.undefined, other.undefined),
        )

    def compute(self) -> SpectraMean:
        """The mean of what was seen. Pure: calling it twice changes nothing."""
        counts = map(_sums.as_counts, (self.counted, self.undefined))
        return SpectraMean(ratio(self.total.high, self.weight.high), *counts)


def _plus(a: _sums.RunningSum, b: Float[Array, ""]) -> _sums.RunningSum:
    return _sums.add(a, _sums.RunningSum(b, jnp.zeros_like(b)))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class SpectralCosine(_Similarity):
    """Mean cosine over a stream of spectra; higher is better. See `metrics.spectral_cosine`.

    Example:
        >>> import jax.numpy as jnp
        >>> observed = jnp.array([[3.0, 4.0], [0.0, 0.0]])  # nothing in the second
        >>> predicted = jnp.array([[1.0, 0.0], [1.0, 0.0]])
        >>> found = SpectralCosine.empty().update(predicted, observed).compute()
        >>> print(round(float(found.mean), 4), found.counted, found.undefined)
        0.6 1 1
    """

    measure = staticmethod(spectra.spectral_cosine)

    name: str = static("spectral_cosine")


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class SpectralAngle(_Similarity):
    """Mean angle over a stream of spectra, in radians; lower is better. See `spectral_angle`.

    Example:
        >>> import jax.numpy as jnp
        >>> state = SpectralAngle.empty()
        >>> for observed in ([[2.0, 2.0]], [[0.0, 3.0]]):
        ...     state = state.update(jnp.array([[1.0, 1.0]]), jnp.array(observed))
        >>> print(round(float(state.compute().mean), 4))  # pi / 8
        0.3927
    """

    measure = staticmethod(spectra.spectral_angle)

    name: str = static("spectral_angle")


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class NormalizedSpectralAngle(_Similarity):
    """Mean normalized spectral contrast angle over a stream of spectra; higher is better.

    See `metrics.normalized_spectral_angle`.

    Example:
        >>> import jax.numpy as jnp
        >>> state = NormalizedSpectralAngle.empty()
        >>> for observed in ([[2.0, 2.0]], [[0.0, 3.0]]):
        ...     state = state.update(jnp.array([[1.0, 1.0]]), jnp.array(observed))
        >>> print(round(float(state.compute().mean), 4))
        0.75
    """

    measure = staticmethod(spectra.normalized_spectral_angle)

    name: str = static("normalized_spectral_angle")


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class SpectralEntropySimilarity(_Similarity):
    """Mean spectral entropy similarity over a stream of spectra; higher is better.

    See `metrics.spectral_entropy_similarity`.

    Example:
        >>> import jax.numpy as jnp
        >>> state = SpectralEntropySimilarity.empty()
        >>> for observed in ([[2.0, 2.0]], [[0.0, 3.0]]):
        ...     state = state.update(jnp.array([[1.0, 1.0]]), jnp.array(observed))
        >>> print(round(float(state.compute().mean), 4))
        0.8444
    """

    measure = staticmethod(spectra.spectral_entropy_similarity)

    weighted: bool = static(True)
    name: str = static("spectral_entropy_similarity")

    @classmethod
    def empty(cls, *, weighted: bool = True) -> "SpectralEntropySimilarity":
        """A state that has seen nothing.

        Args:
            weighted: whether spectra of few peaks are raised; see `spectral_entropy_similarity`.
        """
        return cls._begin(weighted=weighted)

    def _options(self) -> dict[str, Any]:
        return {"weighted": self.weighted}


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Pearson(_Similarity):
    """Mean correlation over a stream of spectra; higher is better. See `metrics.pearson`.

    Example:
        >>> import jax.numpy as jnp
        >>> state = Pearson.empty()
        >>> for observed in ([[1.0, 2.0, 3.0]], [[10.0, 30.0, 20.0]]):
        ...     state = state.update(jnp.array([[1.0, 2.0, 3.0]]), jnp.array(observed))
        >>> print(round(float(state.compute().mean), 4))
        0.75
    """

    measure = staticmethod(spectra.pearson)

    name: str = static("pearson")


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class MatchedPeakShare(_Similarity):
    """Mean share of the observed peaks that are predicted, over a stream of spectra.

    Higher is better. See `metrics.matched_peak_share`.

    Example:
        >>> import jax.numpy as jnp
        >>> state = MatchedPeakShare.empty(threshold=0.1)
        >>> state = state.update(jnp.array([[1.0, 0.05, 0.2]]), jnp.array([[3.0, 2.0, 0.0]]))
        >>> print(state.compute().mean)
        0.5
    """

    measure = staticmethod(spectra.matched_peak_share)

    threshold: float = static(0.01)
    name: str = static("matched_peak_share")

    @classmethod
    def empty(cls, *, threshold: float | int = 0.01) -> "MatchedPeakShare":
        """A state that has seen nothing.

        Args:
            threshold: above which share of the largest intensity is a peak, a number and not
                traced; see `matched_peak_share`.

        Raises:
            ValueError: for a threshold below 0, or of 1 or more.
        """
        threshold = float(threshold)
        spectra.check_threshold(threshold)
        return cls._begin(threshold=threshold)

    def _options(self) -> dict[str, Any]:
        return {"threshold": self.threshold}
