"""The encoders of Deep SVDD (Ruff et al., 2018): no bias, no affine norm, unbounded activations."""

from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from lossbench import _checks
from lossbench.models.layers import (
    Convolution,
    Linear,
    Normalization,
    activate,
    counted,
    halve,
    with_tuples,
)


class SVDDEncoder(nn.Module):
    """A map into the space in which Deep SVDD draws normal data around one center.

    "mlp" embeds every pixel by itself; "lenet" embeds a whole image: for each entry of `channels` a
    convolution, normalization, maximum pooling by 2 and activation, then linear layers. With
    biases, affine norms or bounded activations a network can map everything to the center, whatever
    it is shown (Propositions 2 and 3 of the paper). The defaults have none; `check_svdd` looks at a
    network for them.

    Attributes:
        architecture: "mlp" or "lenet".
        features: widths of the linear layers, the last one the embedding's; None is (128, 32) for
            "mlp" and (32,) for "lenet".
        channels: of each convolution of "lenet", at the image's resolution first. (8, 4) on 28 x 28
            digits is the paper's; (32, 64, 128) with features (128,) its network for color images.
        window: width of the convolutions, odd.
        use_bias: offsets in all layers, which Deep SVDD must not have.
        normalization: before each activation: "none", "batch_no_affine" (running statistics are
            the collection "batch_stats") or "layer_no_affine"; None is "none" for "mlp" and
            "batch_no_affine" for "lenet", as in the paper.
        activation: "leaky_relu", "relu", "elu", "gelu", "silu", "tanh" or "sigmoid"; the embedding
            has none. The last two are bounded.
        negative_slope: of the leaky ReLU below 0; 0.1 is another common choice.
        initialization: "torch" (uniform up to `1 / sqrt(fan_in)`), "he" or "xavier"; None is
            "torch" for "lenet", as in the paper's code, and "he" for "mlp": without a normalization
            the other leaves embeddings so small that most components of their mean are near 0.
        fourier_features: 0, or how many random Fourier features `sqrt(2 / n) cos(x W + b)` an "mlp"
            takes in the place of a pixel. W is normal with variance `2 gamma` and b uniform up to
            2 pi: their inner products approach `exp(-gamma |x - y|^2)`. Both are drawn by `init`
            (stream "fourier" if it is given) into the collection "fourier", which nothing trains.
            They are bounded, and not 0 at 0.
        gamma: of the Fourier features; None is 1 over the channels.

    A pixel's hidden activations take 4 bytes a unit: a million pixels and 128 units are half a GB
    in scoring, and as much a layer in training. Larger scenes go through in parts, exactly, since
    pixels do not see each other in evaluation.

    Example:
        >>> model = SVDDEncoder(features=(16, 8))
        >>> image = jnp.zeros((1, 5, 6, 27))
        >>> outputs, variables = jax.eval_shape(model.init_with_output, jax.random.key(0), image)
        >>> outputs["embeddings"].shape, sorted(variables["params"]["dense_0"])
        ((1, 5, 6, 8), ['kernel'])
    """

    architecture: Literal["mlp", "lenet"] = "mlp"
    features: tuple[int, ...] | None = None
    channels: tuple[int, ...] = (8, 4)
    window: int = 5
    use_bias: bool = False
    normalization: Literal["none", "batch_no_affine", "layer_no_affine"] | None = None
    activation: str = "leaky_relu"
    negative_slope: float = 0.01
    initialization: Literal["torch", "he", "xavier"] | None = None
    fourier_features: int = 0
    gamma: float | None = None

    reads = ("image", "where")

    def __post_init__(self) -> None:
        """Makes the attributes hashable."""
        with_tuples(self, "features", "channels")
        super().__post_init__()

    @property
    def widths(self) -> tuple[int, ...]:
        """Widths of the linear layers, default filled in."""
        if self.features is not None:
            return self.features
        return (128, 32) if self.architecture == "mlp" else (32,)

    @property
    def norm(self) -> str:
        """The normalization, default filled in."""
        if self.normalization is not None:
            return self.normalization
        return "none" if self.architecture == "mlp" else "batch_no_affine"

    @property
    def drawn(self) -> str:
        """How kernels are drawn, default filled in."""
        if self.initialization is not None:
            return self.initialization
        return "he" if self.architecture == "mlp" else "torch"

    @nn.compact
    def __call__(
        self,
        image: Float[Array, "batch *space channels"],
        where: Bool[Array, "batch ..."] | None = None,
    ) -> dict[str, Float[Array, "batch *embedded features"]]:
        """Return the "embeddings": `batch *space features` ("mlp") or `batch features` ("lenet").

        Args:
            image: what is embedded.
            where: true = counted, `batch *space` or `batch`: what is not is read as 0 and enters no
                batch statistics (of "lenet": an example of which nothing counts).
        """
        _check_attributes(self)
        x, where = counted(image, where)
        if self.architecture == "lenet":
            if where is not None:
                where = where.any(axis=tuple(range(1, where.ndim)))
            x = self._flat_maps(x, where)
        elif self.fourier_features:
            x = FourierFeatures(self.fourier_features, self.gamma, name="fourier")(x)
        last = len(self.widths) - 1
        for i, width in enumerate(self.widths):
            x = Linear(width, self.use_bias, self.drawn, self.negative_slope, name=f"dense_{i}")(x)
            if i < last:
                x = Normalization(self.norm, name=f"norm_dense_{i}")(x, where)
                x = activate(x, self.activation, self.negative_slope)
        return {"embeddings": x}

    def _flat_maps(self, x: Array, where: Array | None) -> Array:
        """The last convolution's maps of each image, as one vector."""
        _check_space(x, len(self.channels))
        for i, width in enumerate(self.channels):
            x = Convolution(
                width,
                self.window,
                self.use_bias,
                self.drawn,
                self.negative_slope,
                name=f"conv_{i}",
            )(x)
            mask = None if where is None else _spread(where, x.shape[:-1])
            x = Normalization(self.norm, whole=True, name=f"norm_conv_{i}")(x, mask)
            x = activate(halve(x), self.activation, self.negative_slope)
        return x.reshape(x.shape[0], -1)


class FourierFeatures(nn.Module):
    """Random Fourier features of the last axis (Rahimi & Recht, 2007); see `SVDDEncoder`."""

    features: int
    gamma: float | None = None

    @nn.compact
    def __call__(self, x: Float[Array, "*shape channels"]) -> Float[Array, "*shape features"]:
        """Return `sqrt(2 / features) cos(x W + b)`."""
        channels = x.shape[-1]
        gamma = 1 / channels if self.gamma is None else self.gamma
        shape = (channels, self.features)

        def frequencies() -> Array:
            return (2 * gamma) ** 0.5 * jax.random.normal(self.make_rng("fourier"), shape)

        def phases() -> Array:
            return jax.random.uniform(self.make_rng("fourier"), shape[1:], maxval=2 * jnp.pi)

        w = self.variable("fourier", "frequencies", frequencies).value
        b = self.variable("fourier", "phases", phases).value
        # In float32: a phase of many turns has no digits left in half precision.
        wide = x.astype(_checks.compute_dtype(x))
        turns = wide @ w.astype(wide.dtype) + b.astype(wide.dtype).reshape(
            (1,) * (x.ndim - 1) + (-1,)
        )
        return ((2 / self.features) ** 0.5 * jnp.cos(turns)).astype(x.dtype)


def _spread(where: Array, shape: tuple[int, ...]) -> Array:
    """One value an example, repeated over its space."""
    return jnp.broadcast_to(where.reshape(-1, *(1 for _ in shape[1:])), shape)


def _check_attributes(net: SVDDEncoder) -> None:
    _checks.choice("SVDDEncoder: architecture", net.architecture, ("mlp", "lenet"))
    if not net.widths:
        raise ValueError("SVDDEncoder: features must hold the embedding's width at least, got none")
    if net.fourier_features < 0 or (net.gamma is not None and net.gamma <= 0):
        raise ValueError(
            "SVDDEncoder: fourier_features must be 0 or more and gamma above 0, got "
            f"fourier_features={net.fourier_features}, gamma={net.gamma}"
        )
    if net.architecture == "lenet" and net.fourier_features:
        raise ValueError('SVDDEncoder: fourier_features are for architecture="mlp"')
    if net.architecture == "lenet" and not net.channels:
        raise ValueError("SVDDEncoder: channels must name one convolution at least, got none")
    if net.window < 1 or net.window % 2 == 0:
        raise ValueError(f"SVDDEncoder: window must be odd and above 0, got {net.window}")


def _check_space(image: Array, levels: int) -> None:
    space = image.shape[1:-1]
    if not space:
        raise ValueError(
            'SVDDEncoder(architecture="lenet"): the image needs spatial axes (batch *space '
            f'channels), got shape {image.shape}; rows of a table take architecture="mlp"'
        )
    if min(space) < 2**levels:
        raise ValueError(
            f"SVDDEncoder: {levels} poolings by 2 need a size of at least {2**levels} along every "
            f"axis, got space {space}; give fewer channels"
        )
