"""A mixer of channels: linear maps of each pixel's spectrum, trained with what comes behind."""

from typing import Literal

import flax.linen as nn
import jax
from jaxtyping import Array, Bool, Float

from lossbench import _checks
from lossbench.models.layers import Linear, Normalization, activate, counted, with_tuples


class LearnableChannelMixer(nn.Module):
    """Convolutions of width 1 with leaky ReLUs between them: many channels become few.

    Attributes:
        features: channels after each layer; the last are what comes out.
        use_bias: offsets in all layers; an encoder of Deep SVDD behind them wants none.
        normalization: after each layer: "none", "batch_no_affine" (running statistics are the
            collection "batch_stats") or "layer_no_affine".
        negative_slope: of the leaky ReLU below 0.
        initialization: "torch", "he" or "xavier"; see `kernel_init`.
        output: "linear", or "sigmoid", for colors.

    Example:
        >>> import jax.numpy as jnp
        >>> model = LearnableChannelMixer(features=(16, 3), output="sigmoid")
        >>> cube = jnp.zeros((1, 4, 5, 60))
        >>> jax.eval_shape(model.init_with_output, jax.random.key(0), cube)[0]["mixed"].shape
        (1, 4, 5, 3)
    """

    features: tuple[int, ...] = (3,)
    use_bias: bool = True
    normalization: Literal["none", "batch_no_affine", "layer_no_affine"] = "none"
    negative_slope: float = 0.01
    initialization: Literal["torch", "he", "xavier"] = "xavier"
    output: Literal["linear", "sigmoid"] = "linear"

    reads = ("image", "where")

    def __post_init__(self) -> None:
        """Makes the attributes hashable."""
        with_tuples(self, "features")
        super().__post_init__()

    @nn.compact
    def __call__(
        self,
        image: Float[Array, "batch *space channels"],
        where: Bool[Array, "batch ..."] | None = None,
    ) -> dict[str, Float[Array, "batch *space mixed"]]:
        """Return the "mixed" channels.

        Args:
            image: what is mixed.
            where: true = counted; the other pixels are read as 0 and enter no batch statistics.
        """
        _checks.choice("LearnableChannelMixer: output", self.output, ("linear", "sigmoid"))
        if not self.features:
            raise ValueError("LearnableChannelMixer: features must name one layer at least")
        x, where = counted(image, where)
        for i, width in enumerate(self.features):
            if i:
                x = activate(x, "leaky_relu", self.negative_slope)
            x = Linear(
                width, self.use_bias, self.initialization, self.negative_slope, name=f"dense_{i}"
            )(x)
            x = Normalization(self.normalization, name=f"norm_{i}")(x, where)
        return {"mixed": jax.nn.sigmoid(x) if self.output == "sigmoid" else x}
