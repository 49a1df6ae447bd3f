"""The steps of a pipeline: what each is called, its options, and the arrays that it is fitted to.

A step is a frozen dataclass of plain values, so that a pipeline is hashable and can be a constant
of a compiled program. Its fields that are no option are not in its configuration.
"""

import dataclasses
from typing import Any, ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from lossbench import _checks
from lossbench.anomaly import preprocessing
from lossbench.anomaly.pca_reconstruction import fit_pca_reconstruction
from lossbench.anomaly.statistics import Covariance, Moments, Quantiles, Range

Arrays = dict[str, Float[Array, "..."]]


@dataclasses.dataclass(frozen=True)
class Step:
    """What every step has; this one changes nothing."""

    fitted: ClassVar[bool] = False

    def channels(self, n: int) -> int:
        """How many channels come out where `n` go in."""
        return n

    def empty(self, channels: int) -> Any:
        """A stream of the statistics that the arrays are made of."""
        raise NotImplementedError

    def arrays(self, stream: Any) -> Arrays:
        """The arrays, once the stream has seen all."""
        raise NotImplementedError

    def init(self, channels: int) -> Arrays:
        """Arrays of the right shapes before there are data: as near to no change as can be."""
        return {}

    def apply(self, arrays: Arrays, x: Float[Array, "*space channels"]) -> Array:
        """The step itself."""
        return x


@dataclasses.dataclass(frozen=True)
class Bandpass(Step):
    """Keeps the bands from one wavelength to another, both included.

    Attributes:
        low: nm; None for no lower end.
        high: nm; None for no upper end.
        bands: the numbers of those that are kept.
        of: how many there were.
    """

    low: float | None = None
    high: float | None = None
    bands: tuple[int, ...] = dataclasses.field(default=(), metadata={"option": False})
    of: int = dataclasses.field(default=0, metadata={"option": False})

    def channels(self, n: int) -> int:
        """How many bands are kept.

        Raises:
            ValueError: if there are not as many channels as wavelengths.
        """
        if n != self.of:
            raise ValueError(f"bandpass: x has {n} channels, and there are {self.of} wavelengths")
        return len(self.bands)

    def apply(self, arrays: Arrays, x: Float[Array, "*space channels"]) -> Array:
        """See `preprocessing.take_bands`."""
        self.channels(x.shape[-1])
        return preprocessing.take_bands(x, self.bands)


@dataclasses.dataclass(frozen=True)
class UnitNorm(Step):
    """Each spectrum, centered, has length 1; see `preprocessing.unit_norm`.

    Attributes:
        eps: the least length that is divided by.
    """

    eps: float = 1e-8

    def __post_init__(self) -> None:
        """Checks the options."""
        _positive("unit_norm", "eps", self.eps)

    def apply(self, arrays: Arrays, x: Float[Array, "*space channels"]) -> Array:
        """See `preprocessing.unit_norm`."""
        return preprocessing.unit_norm(x, eps=self.eps)


@dataclasses.dataclass(frozen=True)
class ZScore(Step):
    """Each channel has mean 0 and deviation 1 over all pixels.

    Attributes:
        floor: the least deviation, as a share of the median of all channels'.
    """

    floor: float = preprocessing.DEAD
    fitted: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Checks the options."""
        _positive("z_score", "floor", self.floor)

    def empty(self, channels: int) -> Moments:
        """Of mean and variance."""
        return Moments.empty(channels)

    def arrays(self, stream: Moments) -> Arrays:
        """Means, and sample deviations (n - 1) of at least the floor."""
        found = stream.compute()
        # A single pixel has no deviation.
        std = jnp.where(stream.count.high == 1, 0, found.std)
        return {"mean": found.mean, "std": preprocessing.above_floor(std, floor=self.floor)}

    def init(self, channels: int) -> Arrays:
        """Mean 0, deviation 1."""
        return {"mean": jnp.zeros(channels), "std": jnp.ones(channels)}

    def apply(self, arrays: Arrays, x: Float[Array, "*space channels"]) -> Array:
        """See `preprocessing.z_score`."""
        return preprocessing.z_score(x, arrays["mean"], arrays["std"])


@dataclasses.dataclass(frozen=True)
class MinMax(Step):
    """The range of the training data becomes 0 to 1.

    Attributes:
        per: "channel", or "global": one range of all, which keeps the form of spectra.
        clip: true to cut off what is outside.
        floor: the least range of a channel, as a share of the median of all channels'.
    """

    per: str = "channel"
    clip: bool = False
    floor: float = preprocessing.DEAD
    fitted: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Checks the options."""
        _checks.choice("min_max: per", self.per, ("channel", "global"))
        _positive("min_max", "floor", self.floor)

    def empty(self, channels: int) -> Range:
        """Of the range."""
        return Range.empty(channels)

    def arrays(self, stream: Range) -> Arrays:
        """The ends of the range."""
        low, high = stream.compute()
        return _ends(low, high, self.per, self.floor)

    def init(self, channels: int) -> Arrays:
        """0 to 1."""
        shape = (channels,) if self.per == "channel" else (1,)
        return {"low": jnp.zeros(shape), "high": jnp.ones(shape)}

    def apply(self, arrays: Arrays, x: Float[Array, "*space channels"]) -> Array:
        """See `preprocessing.min_max`."""
        return preprocessing.min_max(x, arrays["low"], arrays["high"], clip=self.clip)


@dataclasses.dataclass(frozen=True)
class Percentile(Step):
    """The range between two percentiles of the training data becomes 0 to 1.

    Attributes:
        low: 0 to 100.
        high: above `low`.
        per: "channel", or "global".
        clip: true to cut off what is outside.
        floor: the least range of a channel, as a share of the median of all channels'.
    """

    low: float = 2.0
    high: float = 98.0
    per: str = "channel"
    clip: bool = True
    floor: float = preprocessing.DEAD
    fitted: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Checks the options."""
        if not 0 <= self.low < self.high <= 100:
            raise ValueError(
                "percentile: expected 0 <= low < high <= 100, got "
                f"low {self.low:g} and high {self.high:g}"
            )
        _checks.choice("percentile: per", self.per, ("channel", "global"))
        _positive("percentile", "floor", self.floor)

    def empty(self, channels: int) -> Quantiles:
        """Of quantiles."""
        each = self.per == "channel"
        return Quantiles.empty(channels, per_channel=each, bins=2**14 if each else 2**16)

    def arrays(self, stream: Quantiles) -> Arrays:
        """The ends of the range."""
        low, high = stream.compute((self.low / 100, self.high / 100)).T
        return _ends(low, high, "channel", self.floor)

    init = MinMax.init
    apply = MinMax.apply


@dataclasses.dataclass(frozen=True)
class Pca(Step):
    """Coordinates along the principal components of the training data.

    Attributes:
        n_components: how many.
        whiten: true for coordinates of deviation 1.
        floor: with `whiten`, the least deviation that is divided by, as a share of the largest.
    """

    n_components: int = 3
    whiten: bool = False
    floor: float = preprocessing.DEAD
    fitted: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Checks the options."""
        if isinstance(self.n_components, bool) or not isinstance(self.n_components, int):
            raise ValueError(f"pca: n_components: expected an integer, got {self.n_components!r}")
        _positive("pca", "floor", self.floor)

    def channels(self, n: int) -> int:
        """How many components there are.

        Raises:
            ValueError: if that is more than there are channels.
        """
        if not 1 <= self.n_components <= n:
            raise ValueError(
                f"pca: n_components: expected 1 to {n}, the channels there are, "
                f"got {self.n_components}"
            )
        return self.n_components

    def empty(self, channels: int) -> Covariance:
        """Of the covariance."""
        return Covariance.empty(channels)

    def arrays(self, stream: Covariance) -> Arrays:
        """Mean, components and, to whiten, deviations along them."""
        found = fit_pca_reconstruction(stream, components=self.n_components)
        arrays = {"mean": found.mean.high, "components": found.components}
        if self.whiten:
            std = jnp.sqrt(found.variance)
            std = jnp.maximum(std, self.floor * std[:1])
            arrays["std"] = jnp.where(std == 0, 1, std)
        return arrays

    def init(self, channels: int) -> Arrays:
        """The first channels."""
        arrays = {"mean": jnp.zeros(channels), "components": jnp.eye(self.n_components, channels)}
        return arrays | ({"std": jnp.ones(self.n_components)} if self.whiten else {})

    def apply(self, arrays: Arrays, x: Float[Array, "*space channels"]) -> Array:
        """See `preprocessing.project`."""
        return preprocessing.project(x, arrays["mean"], arrays["components"], arrays.get("std"))


STEPS: dict[str, type[Step]] = {
    "bandpass": Bandpass,
    "unit_norm": UnitNorm,
    "z_score": ZScore,
    "min_max": MinMax,
    "percentile": Percentile,
    "pca": Pca,
}


def options_of(step: type[Step] | Step) -> list[str]:
    """The names of the options of a step."""
    return [field.name for field in dataclasses.fields(step) if field.metadata.get("option", True)]


def _positive(step: str, name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise ValueError(f"{step}: {name}: expected a number above 0, got {value!r}")


def _ends(low: Array, high: Array, per: str, floor: float) -> Arrays:
    """The ends of ranges that can be divided by."""
    if per == "global":
        low, high = jnp.min(low, keepdims=True), jnp.max(high, keepdims=True)
    wide = preprocessing.above_floor(high - low, floor=floor)
    return {"low": low, "high": jnp.where(high - low >= wide, high, low + wide)}
