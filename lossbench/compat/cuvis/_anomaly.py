"""The loss nodes of cuvis-ai that look for anomalies, or choose channels."""

import dataclasses
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from lossbench import _checks, losses

REDUCTIONS = ("mean", "sum", "none")
COLOR_SPACES = ("rgb", "oklab")


@dataclasses.dataclass(frozen=True, eq=False)
class DeepSVDDSoftBoundaryLoss:
    """Soft-boundary Deep SVDD with a learned radius, of all pixels of the batch together.

    = `losses.svdd_soft_boundary(..., losses.learned_radius(r_unconstrained), nu=nu)`. The node of
    cuvis-ai holds the parameter of its radius itself; here it is an argument, which a pipeline's
    objective takes from its namespace under the name `r_unconstrained` if it is there. Without it
    the radius is the one that cuvis-ai begins with, log(2) / 10, and stays that. A radius that is
    learned in this way mostly stays far from the quantile that nu asks for: see
    `losses.svdd_soft_boundary` for the paper's.

    Deviations: nothing but empty space costs 0, not NaN; the center has no gradient.

    Attributes:
        nu: between 0 and 1, which is excluded (the paper has it).
        weight: factor of the value.
    """

    nu: float = 0.05
    weight: float = 1.0

    def __post_init__(self) -> None:
        """Raises for a nu out of range."""
        if not 0 < self.nu < 1:
            raise ValueError(f"nu: expected a number between 0 and 1, got {self.nu}")

    def __call__(
        self, embeddings: Array, center: Array, r_unconstrained: Array | float | None = None
    ) -> Array:
        """The loss of embeddings, `batch height width features`, and a center, `features`."""
        embeddings = jnp.asarray(embeddings)
        if embeddings.ndim != 4:
            raise ValueError(
                f"embeddings: expected (batch, height, width, features), got {embeddings.shape}"
            )
        raw = 0.0 if r_unconstrained is None else r_unconstrained
        value = losses.svdd_soft_boundary(
            embeddings.reshape(1, -1, embeddings.shape[-1]),
            jnp.asarray(center),
            losses.learned_radius(raw),
            nu=self.nu,
        )
        return self.weight * value[0]


@dataclasses.dataclass(frozen=True, eq=False)
class OrthogonalityLoss:
    """How far components are from being orthonormal: `losses.orthogonality`.

    Attributes:
        weight: factor of the value.
    """

    weight: float = 1.0

    def __call__(self, components: Array) -> Array:
        """The loss of components, one a row."""
        return self.weight * losses.orthogonality(jnp.asarray(components))


@dataclasses.dataclass(frozen=True, eq=False)
class MSEReconstructionLoss:
    """Squared error, averaged over all values of the batch.

    = `losses.reconstruction` of all pixels of the batch as one example; "sum" is over the channels,
    too, and "none" has a value for each of them.

    Attributes:
        weight: factor of the value.
        reduction: "mean", "sum", "none" (the shape of the input).
    """

    weight: float = 1.0
    reduction: str = "mean"

    def __post_init__(self) -> None:
        """Raises for an unknown reduction."""
        _checks.choice("reduction", self.reduction, REDUCTIONS)

    def __call__(self, reconstruction: Array, target: Array) -> Array:
        """The loss of two arrays of the same shape."""
        x, t = jnp.asarray(reconstruction), jnp.asarray(target)
        if x.shape != t.shape:
            raise ValueError(
                f"target: expected the shape of reconstruction, {x.shape}, got {t.shape}"
            )
        # Every value a pixel of one channel: a sum is then the sum of all.
        value = losses.reconstruction(
            x.reshape(1, -1, 1), t.reshape(1, -1, 1), reduction=self.reduction
        )
        return self.weight * value.reshape(x.shape if self.reduction == "none" else ())


@dataclasses.dataclass(frozen=True, eq=False)
class DistinctnessLoss:
    """The mean cosine of pairs of selectors: `losses.distinctness`.

    Deviation: the mean is over all pairs. cuvis-ai leaves out those whose cosine is 0, against its
    own documentation; so it gives NaN for selectors that have chosen different channels, which is
    what the loss is for. Where no cosine is 0, both are the same.

    Attributes:
        weight: factor of the value.
        eps: of cuvis-ai, the least length that a selector is divided by; without effect here, where
            one of any length has its direction.
    """

    weight: float = 0.1
    eps: float = 1e-6

    def __call__(self, selection_weights: Array) -> Array:
        """The loss of selectors, one a row."""
        return self.weight * losses.distinctness(jnp.asarray(selection_weights))


@dataclasses.dataclass(frozen=True, eq=False)
class SelectorEntropyRegularizer:
    """Minus the entropy of a selector, or its squared distance to a target.

    As cuvis-ai computes it, with an eps in the shares and in their logarithms;
    `losses.selector_entropy` has none. A negative weight of the term makes the entropy small.

    Deviation: a negative selector weight gives NaN in both; nothing else is NaN here.

    Attributes:
        weight: factor of the value.
        target_entropy: in nats.
        eps: keeps logarithms finite.
    """

    weight: float = 0.01
    target_entropy: float | None = None
    eps: float = 1e-6

    def __call__(self, weights: Array) -> Array:
        """The loss of the weights of one selector, `channels`."""
        w = _one_selector(weights)
        share = w / (jnp.sum(w) + self.eps)
        entropy = -jnp.sum(share * jnp.log(share + self.eps))
        if self.target_entropy is None:
            return -self.weight * entropy
        return self.weight * jnp.square(entropy - self.target_entropy)


@dataclasses.dataclass(frozen=True, eq=False)
class SelectorDiversityRegularizer:
    """Minus the variance of a selector's weights: `losses.selector_diversity`.

    It rewards concentration on one channel, though cuvis-ai says that it penalizes it.

    Attributes:
        weight: factor of the value.
    """

    weight: float = 0.01

    def __call__(self, weights: Array) -> Array:
        """The loss of the weights of one selector, `channels`."""
        return self.weight * losses.selector_diversity(_one_selector(weights))


@dataclasses.dataclass(frozen=True, eq=False)
class ForegroundContrastLoss:
    """The distance of the mean colors of foreground and background, negative.

    = the mean of `losses.foreground_contrast` over the images that have both; 0 if none has.

    Deviation: near black, below 1e-6 of the light, the cube root of "oklab" is a line.

    Attributes:
        weight: factor of the value.
        compactness_weight: weight of the variance of the foreground.
        anchor_weight: weight of how far both means are from that of the image.
        eps: keeps the root smooth.
        color_space: "rgb" or "oklab".
        assume_srgb: for "oklab": whether the colors have the gamma curve of a screen.
    """

    weight: float = 1.0
    compactness_weight: float = 0.0
    anchor_weight: float = 0.0
    eps: float = 1e-6
    color_space: str = "rgb"
    assume_srgb: bool = True

    def __post_init__(self) -> None:
        """Raises for an unknown color space."""
        _checks.choice("color_space", self.color_space, COLOR_SPACES)

    def __call__(self, rgb: Array, mask: Array) -> Array:
        """The loss of colors, `batch height width 3`, and a mask, foreground where above 0."""
        rgb, mask = jnp.asarray(rgb), jnp.asarray(mask)
        if mask.shape != rgb.shape[:-1]:
            raise ValueError(f"mask: expected shape {rgb.shape[:-1]}, got {mask.shape}")
        foreground = mask > 0
        options: dict[str, Any] = {"color_space": self.color_space, "assume_srgb": self.assume_srgb}
        values = losses.foreground_contrast(
            rgb,
            foreground,
            compactness=self.compactness_weight,
            anchor=self.anchor_weight,
            eps=self.eps,
            **options,
        )
        flat = foreground.reshape(len(foreground), -1)
        both = jnp.any(flat, axis=1) & jnp.any(~flat, axis=1)
        images = jnp.sum(both, dtype=jnp.int32)
        return self.weight * jnp.sum(values) / jnp.maximum(images, 1).astype(values.dtype)


def _one_selector(weights: Array) -> Array:
    w = jnp.asarray(weights)
    if w.ndim != 1:
        raise ValueError(f"weights: expected shape (channels,), got {w.shape}")
    return w.astype(_checks.compute_dtype(w))
