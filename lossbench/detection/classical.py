"""Classical detectors as models: fitted arrays as variables, so that what saves one saves all."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
from jaxtyping import Array, Float, Shaped

from lossbench.anomaly.lad import Lad
from lossbench.anomaly.pca_reconstruction import PcaReconstruction
from lossbench.anomaly.rx import Rx
from lossbench.anomaly.spectral_angle_mapper import SpectralAngleMapper
from lossbench.metrics._sums import RunningSum

CLASSICAL: dict[str, type] = {
    "rx": Rx,
    "lad": Lad,
    "pca_reconstruction": PcaReconstruction,
    "spectral_angle_mapper": SpectralAngleMapper,
}


@dataclasses.dataclass(frozen=True)
class Classical:
    """A classical detector as a model: its fitted arrays are the variables, nothing is trained.

    Attributes:
        kind: a name in `CLASSICAL`.

    Example:
        >>> import jax.numpy as jnp
        >>> from lossbench.anomaly.lad import fit_lad
        >>> fitted = fit_lad(jnp.array([[1.0, 1, 2], [3, 3, 4]]))
        >>> model, variables = Classical("lad"), {"params": arrays_of(fitted)}
        >>> print(model.apply(variables, jnp.array([[2.0, 2, 3]]))["scores"])
        [0.]
    """

    kind: str

    def apply(
        self, variables: Mapping[str, Any], image: Shaped[Array, "batch *space channels"]
    ) -> dict[str, Float[Array, " batch *space"]]:
        """The "scores"."""
        return {"scores": fitted_of(self.kind, variables["params"]).scores(image)}


def kind_of(fitted: Any) -> str:
    """The name of a fitted detector in `CLASSICAL`.

    Raises:
        ValueError: if it is none of them.
    """
    for kind, detector in CLASSICAL.items():
        if type(fitted) is detector:
            return kind
    names = ", ".join(detector.__name__ for detector in CLASSICAL.values())
    raise ValueError(f"fitted: expected one of {names}, got {type(fitted).__name__}")


def arrays_of(fitted: Any) -> dict[str, Any]:
    """The arrays of a fitted detector by name; a pair of float32 is "high" and "low"."""
    arrays = {field.name: getattr(fitted, field.name) for field in dataclasses.fields(fitted)}
    return {n: a._asdict() if isinstance(a, RunningSum) else a for n, a in arrays.items()}


def fitted_of(kind: str, arrays: Mapping[str, Any]) -> Any:
    """The fitted detector that has these arrays; the inverse of `arrays_of`."""
    return CLASSICAL[kind](
        **{n: RunningSum(**a) if isinstance(a, Mapping) else a for n, a in arrays.items()}
    )


def channels_of(fitted: Any) -> int:
    """How many channels the pixels have that a fitted detector takes."""
    first = fitted.references if isinstance(fitted, SpectralAngleMapper) else fitted.mean
    return jax.tree.leaves(first)[0].shape[-1]
