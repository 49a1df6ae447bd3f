"""Surface distances and surface Dice over a stream of cases.

A case must come whole, as one example: the surface of a piece of it has an end where the image has
none. Pixels under a `where` that is false belong to no class, so padding changes no value; only the
diagonal that `empty="worst"` gives is that of the image with its padding.

Undefined is NaN, counted, and left out of the means, so who finds nothing of a case is spared its
distance: compare the counts, too, or ask for `empty="worst"`.
"""

import dataclasses
import numbers
from collections.abc import Sequence
from typing import Any, TypeVar

import jax
from jaxtyping import Array, Bool

from lossbench import _checks
from lossbench.metrics import surface
from lossbench.metrics._cases import static
from lossbench.metrics._examples import PerExample
from lossbench.metrics._surfaces import DEFINITIONS
from lossbench.metrics._whole_cases import WholeCases

# Not `Self`: beartype, which checks annotations in tests, takes it in classes only, not in methods.
State = TypeVar("State", bound="_Surface")
Distance = TypeVar("Distance", bound="_Distance")
Share = TypeVar("Share", bound="Nsd")


@dataclasses.dataclass(frozen=True)
class _Surface(WholeCases):
    """A metric of surfaces."""

    higher_is_better = False
    is_length = True

    spacing: tuple[float, ...] | None = static(None)
    definition: str = static("monai")

    @classmethod
    def _of_surfaces(
        cls: type[State],
        cases: int,
        num_classes: int,
        *,
        spacing: Sequence[float | int] | None,
        definition: str,
        **options: Any,
    ) -> State:
        _checks.choice("definition", definition, DEFINITIONS)
        steps = None if spacing is None else tuple(float(length) for length in spacing)
        return cls._begin(cases, num_classes, spacing=steps, definition=definition, **options)

    def _options(self, mask: Array) -> dict[str, Any]:
        """What every function of `metrics.surface` takes; the spacing is 1 if nobody gave one."""
        spacing = self.spacing or (1.0,) * (mask.ndim - 1)
        return {"spacing": spacing, "definition": self.definition, "empty": self.when_empty}


class _Distance(_Surface):
    """A distance between surfaces."""

    @classmethod
    def empty(
        cls: type[Distance],
        *,
        cases: int,
        num_classes: int,
        spacing: Sequence[float | int] | None = None,
        definition: str = "monai",
        empty: str = "nan",
    ) -> Distance:
        """A state that has seen nothing.

        Args:
            cases: how many there is room for.
            num_classes: number of classes, background included.
            spacing: size of a pixel along each spatial axis, numbers and not traced; 1 by default.
            definition: "monai", "deepmind" or "pooled"; see `metrics.surface`.
            empty: what a class gets that has no pixel in the prediction, the labels or both, as in
                `metrics.surface`: "nan", which "skip" means here as well, "worst" or "zero".

        Raises:
            ValueError: for options that there are not.
        """
        return cls._of_surfaces(
            cases, num_classes, spacing=spacing, definition=definition, empty=empty
        )


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Hd95(_Distance):
    """Hausdorff distance at the 95th percentile over a stream of whole cases; lower is better.

    See `metrics.hd95`. The mean leaves out class 0, the background.

    Example:
        >>> import jax.numpy as jnp
        >>> labels = jnp.array([[0, 1, 0, 0], [0, 0, 0, 1]])
        >>> state = Hd95.empty(cases=2, num_classes=2, spacing=(0.5,))
        >>> found = jnp.array([[0, 0, 0, 1], [0, 0, 0, 0]])  # nothing in the second case
        >>> scores = state.update(found, labels, case=jnp.array([0, 1])).compute()
        >>> print(scores.per_case[:, 1], scores.mean, scores.undefined)
        [ 1. nan] 1.0 1
    """

    name: str = static("hd95")

    def measure(
        self, predicted: Bool[Array, " batch *space"], true: Bool[Array, " batch *space"]
    ) -> PerExample:
        """The metric of two masks."""
        return surface.hd95(predicted, true, **self._options(true))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Assd(_Distance):
    """Average symmetric surface distance over a stream of whole cases; lower is better.

    See `metrics.assd`. The mean leaves out class 0, the background.

    Example:
        >>> import jax.numpy as jnp
        >>> labels = jnp.array([[0, 1, 1, 1, 0, 0]])
        >>> state = Assd.empty(cases=1, num_classes=2)
        >>> state = state.update(jnp.array([[0, 1, 1, 1, 1, 0]]), labels, case=jnp.array([0]))
        >>> print(state.compute().mean)  # of the ends 0, 1 and 0, 1 pixels from another end
        0.5
    """

    name: str = static("assd")

    def measure(
        self, predicted: Bool[Array, " batch *space"], true: Bool[Array, " batch *space"]
    ) -> PerExample:
        """The metric of two masks."""
        return surface.assd(predicted, true, **self._options(true))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Nsd(_Surface):
    """Normalized surface Dice at a tolerance over a stream of whole cases; higher is better.

    See `metrics.nsd`. The mean leaves out class 0, the background.

    Example:
        >>> import jax.numpy as jnp
        >>> labels = jnp.array([[0, 1, 1, 1, 0, 0, 0]])
        >>> state = Nsd.empty(cases=1, num_classes=2, tolerance=1)
        >>> state = state.update(jnp.array([[0, 1, 1, 1, 1, 1, 0]]), labels, case=jnp.array([0]))
        >>> print(state.compute().mean)
        0.5
    """

    higher_is_better = True
    is_length = False

    tolerance: float = static(0.0)
    name: str = static("nsd")

    @classmethod
    def empty(
        cls: type[Share],
        *,
        cases: int,
        num_classes: int,
        tolerance: float | int,
        spacing: Sequence[float | int] | None = None,
        definition: str = "monai",
        empty: str = "nan",
    ) -> Share:
        """A state that has seen nothing.

        Args:
            cases: how many there is room for.
            num_classes: number of classes, background included.
            tolerance: in the unit of the spacing, at least 0, a number and not traced.
            spacing: see `Hd95`, like the rest.
            definition: see there.
            empty: see there; here a class that only the prediction or only the labels have is 0.

        Raises:
            ValueError: for options that there are not.
        """
        number = isinstance(tolerance, numbers.Real) and not isinstance(tolerance, bool)
        if not (number and 0 <= tolerance < float("inf")):
            raise ValueError(f"tolerance: expected a length of at least 0, got {tolerance!r}")
        return cls._of_surfaces(
            cases,
            num_classes,
            spacing=spacing,
            definition=definition,
            empty=empty,
            tolerance=float(tolerance),
        )

    def measure(
        self, predicted: Bool[Array, " batch *space"], true: Bool[Array, " batch *space"]
    ) -> PerExample:
        """The metric of two masks."""
        return surface.nsd(predicted, true, tolerance=self.tolerance, **self._options(true))
