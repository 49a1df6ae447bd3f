"""The autoencoder whose encoder Deep SVDD starts from (Ruff et al., 2018)."""

from collections.abc import Mapping
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from lossbench import _checks
from lossbench.models.layers import Convolution, Linear, Normalization, activate, counted, double
from lossbench.models.svdd_encoder import SVDDEncoder


class SVDDAutoencoder(nn.Module):
    """An encoder and its mirror image, trained to give the image back.

    The decoder has the encoder's linear layers in reverse; for "lenet" then, for each convolution,
    a doubling of space (each pixel is repeated) and a convolution. Biases, normalization,
    activation and initialization are the encoder's. The encoder's variables lie under "encoder" in
    every collection, exactly as the encoder alone has them: see `encoder_variables`.

    Attributes:
        encoder: what is pre-trained.
        output: "linear", or "sigmoid" for images within 0 and 1.

    Example:
        >>> model = SVDDAutoencoder(SVDDEncoder("lenet"))
        >>> image = jnp.zeros((1, 28, 28, 1))
        >>> outputs, variables = jax.eval_shape(model.init_with_output, jax.random.key(0), image)
        >>> {name: array.shape for name, array in sorted(outputs.items())}
        {'embeddings': (1, 32), 'reconstructed': (1, 28, 28, 1)}
    """

    encoder: SVDDEncoder
    output: Literal["linear", "sigmoid"] = "linear"

    reads = ("image", "where")

    @nn.compact
    def __call__(
        self,
        image: Float[Array, "batch *space channels"],
        where: Bool[Array, "batch ..."] | None = None,
    ) -> dict[str, Float[Array, "batch ..."]]:
        """Return the "embeddings" and the "reconstructed" image.

        Args:
            image: what is embedded and given back.
            where: as the encoder takes it.
        """
        _checks.choice("SVDDAutoencoder: output", self.output, ("linear", "sigmoid"))
        embeddings = self.encoder(image, where)["embeddings"]
        shared = ("architecture", "channels", "window", "use_bias", "activation", "negative_slope")
        decoder = Decoder(
            hidden=self.encoder.widths[-2::-1],
            normalization=self.encoder.norm,
            initialization=self.encoder.drawn,
            **{name: getattr(self.encoder, name) for name in shared},
            name="decoder",
        )
        _, where = counted(image, where)
        if where is not None and self.encoder.architecture == "lenet":
            where = where.any(axis=tuple(range(1, where.ndim)))
        reconstructed = decoder(embeddings, image.shape, where)
        if self.output == "sigmoid":
            reconstructed = jax.nn.sigmoid(reconstructed)
        return {"embeddings": embeddings, "reconstructed": reconstructed}


class Decoder(nn.Module):
    """The mirror image of an encoder, which the attributes are taken from."""

    architecture: str
    hidden: tuple[int, ...]
    channels: tuple[int, ...]
    window: int
    use_bias: bool
    normalization: str
    activation: str
    negative_slope: float
    initialization: str

    @nn.compact
    def __call__(
        self,
        embeddings: Float[Array, "batch *embedded features"],
        shape: tuple[int, ...],
        where: Bool[Array, " batch *embedded"] | None = None,
    ) -> Float[Array, "batch *space channels"]:
        """Return an image of the shape `batch *space channels`."""
        options = (self.use_bias, self.initialization, self.negative_slope)
        convolutional = self.architecture == "lenet"
        spaces = [shape[1:-1]]
        for _ in self.channels if convolutional else ():
            spaces.append(tuple(size // 2 for size in spaces[-1]))
        flat = shape[-1]
        if convolutional:
            flat = self.channels[-1]
            for size in spaces[-1]:
                flat *= size
        x, widths = embeddings, (*self.hidden, flat)
        for i, width in enumerate(widths):
            x = Linear(width, *options, name=f"dense_{i}")(x)
            if i < len(widths) - 1:
                x = Normalization(self.normalization, name=f"norm_dense_{i}")(x, where)
                x = activate(x, self.activation, self.negative_slope)
        if not convolutional:
            return x
        x = x.reshape(shape[0], *spaces[-1], self.channels[-1])
        outputs = (*self.channels[-2::-1], shape[-1])
        for i, (width, space) in enumerate(zip(outputs, spaces[-2::-1], strict=True)):
            if i:
                mask = None
                if where is not None:
                    mask = where.reshape(-1, *(1 for _ in space))
                    mask = jnp.broadcast_to(mask, x.shape[:-1])
                norm = Normalization(self.normalization, whole=True, name=f"norm_conv_{i - 1}")
                x = norm(x, mask)
            x = double(activate(x, self.activation, self.negative_slope), space)
            x = Convolution(width, self.window, *options, name=f"conv_{i}")(x)
        return x


def encoder_params(params: Mapping[str, Any]) -> Any:
    """The encoder's part of one collection of an autoencoder's variables, such as its parameters.

    Raises:
        ValueError: for what is not an autoencoder's.

    Example:
        >>> encoder_params({"encoder": {"dense_0": 1}, "decoder": {"dense_0": 2}})
        {'dense_0': 1}
    """
    if "encoder" not in params:
        raise ValueError(
            'expected the parameters of an autoencoder, which have an entry "encoder"; got '
            f"{', '.join(map(repr, params)) or 'none'}"
        )
    return params["encoder"]


def encoder_variables(variables: Mapping[str, Any]) -> dict[str, Any]:
    """The encoder's part of all collections: its parameters, batch statistics, frequencies.

    They are what the encoder alone is applied with.

    Raises:
        ValueError: for what is not an autoencoder's.

    Example:
        >>> encoder = SVDDEncoder(features=(4, 2), normalization="batch_no_affine")
        >>> model, pixels = SVDDAutoencoder(encoder), jnp.ones((3, 5))
        >>> variables = encoder_variables(model.init(jax.random.key(0), pixels))
        >>> sorted(variables), encoder.apply(variables, pixels)["embeddings"].shape
        (['batch_stats', 'params'], (3, 2))
    """
    encoder_params(variables.get("params", {}))
    return {name: tree["encoder"] for name, tree in variables.items() if "encoder" in tree}
