"""Networks that find anomalies from channels that they select themselves."""

from typing import Any, Literal

import flax.linen as nn
from jaxtyping import Array, Bool, Float

from lossbench import _checks
from lossbench.models.layers import Convolution, Linear, activate, with_tuples
from lossbench.models.selectors import ConcreteBandSelector, SoftChannelSelector
from lossbench.models.unet import UNet

HEADS = {"pixel": (32,), "conv": (16, 16), "unet": (8, 16, 32)}


class ChannelSelectorNetwork(nn.Module):
    """A `SoftChannelSelector` and a head behind it; the weights say which channels mattered.

    Attributes:
        num_classes: channels of the logits; 1 for one mask of anomalies.
        dims: spatial axes of the image, which a U-Net must know.
        head: what looks at the weighted channels: "pixel" at each pixel by itself, "conv" with
            convolutions of width 3, "unet" with a `UNet`.
        features: channels of the head's layers; None is (32,), (16, 16) or (8, 16, 32).
        n_select: as in `SoftChannelSelector`, like the following.
        hard: keep `n_select` channels only.
        start: temperature at first.
        end: temperature in the last step.
        steps: from `start` to `end`.
        variances: of each channel, for the first weights.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> model = ChannelSelectorNetwork()
        >>> cube = jnp.zeros((1, 4, 5, 60))
        >>> outputs, _ = jax.eval_shape(model.init_with_output, jax.random.key(0), cube)
        >>> {name: array.shape for name, array in sorted(outputs.items())}
        {'logits': (1, 4, 5, 1), 'selector_weights': (60,)}
    """

    num_classes: int = 1
    dims: int = 2
    head: Literal["pixel", "conv", "unet"] = "pixel"
    features: tuple[int, ...] | None = None
    n_select: int | None = None
    hard: bool = False
    start: float = 5.0
    end: float = 0.1
    steps: int = 1000
    variances: tuple[float, ...] | None = None

    reads = ("image", "where")
    undecayed = ("selector/logits",)

    def __post_init__(self) -> None:
        """Makes the attributes hashable."""
        with_tuples(self, "features", "variances")
        super().__post_init__()

    @nn.compact
    def __call__(
        self,
        image: Float[Array, "batch *space channels"],
        where: Bool[Array, "batch ..."] | None = None,
    ) -> dict[str, Float[Array, "..."]]:
        """Return the "logits" and the "selector_weights", `channels`."""
        names = ("n_select", "hard", "start", "end", "steps", "variances")
        selector = SoftChannelSelector(**{n: getattr(self, n) for n in names}, name="selector")
        return _detect(self, selector(image, where))


class BandSelectorNetwork(nn.Module):
    """A `ConcreteBandSelector` and a head behind it: which few bands would a camera need?

    Attributes:
        num_classes: channels of the logits; 1 for one mask of anomalies.
        dims: spatial axes of the image, which a U-Net must know.
        head: what looks at the bands: "unet", a `UNet`; "conv", convolutions of width 3; or
            "pixel", each pixel by itself.
        features: channels of the head's layers; None is (8, 16, 32), (16, 16) or (32,).
        bands: as in `ConcreteBandSelector`, like the following.
        tau_start: temperature at first.
        tau_end: temperature in the last step.
        steps: from `tau_start` to `tau_end`.
        straight_through: pick one channel a row in training too.
        evaluation: "hard" or "soft".
        distinct: no channel is picked twice.
        logits_std: of the first logits.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> model = BandSelectorNetwork(bands=3)
        >>> cube = jnp.zeros((1, 8, 12, 60))
        >>> outputs, _ = jax.eval_shape(model.init_with_output, jax.random.key(0), cube)
        >>> {name: array.shape for name, array in sorted(outputs.items())}
        {'logits': (1, 8, 12, 1), 'selector_weights': (3, 60)}
    """

    num_classes: int = 1
    dims: int = 2
    head: Literal["pixel", "conv", "unet"] = "unet"
    features: tuple[int, ...] | None = None
    bands: int = 3
    tau_start: float = 10.0
    tau_end: float = 0.1
    steps: int = 1000
    straight_through: bool = False
    evaluation: Literal["hard", "soft"] = "hard"
    distinct: bool = False
    logits_std: float = 0.01

    reads = ("image", "where")
    draws = ("gumbel",)
    undecayed = ("selector/logits",)

    def __post_init__(self) -> None:
        """Makes the attributes hashable."""
        with_tuples(self, "features")
        super().__post_init__()

    @nn.compact
    def __call__(
        self,
        image: Float[Array, "batch *space channels"],
        where: Bool[Array, "batch ..."] | None = None,
    ) -> dict[str, Float[Array, "..."]]:
        """Return the "logits" and the "selector_weights", `bands channels`."""
        names = ("bands", "tau_start", "tau_end", "steps", "straight_through", "evaluation")
        options = {name: getattr(self, name) for name in (*names, "distinct", "logits_std")}
        selector = ConcreteBandSelector(**options, name="selector")
        return _detect(self, selector(image, where))


class PixelHead(nn.Module):
    """Convolutions of one width (1: linear maps), leaky ReLUs, then logits of each pixel."""

    num_classes: int
    features: tuple[int, ...]
    window: int

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch *space channels"]
    ) -> Float[Array, "batch *space classes"]:
        """Map the features around each pixel to logits."""
        for i, width in enumerate(self.features):
            if self.window == 1:
                x = Linear(width, True, "he", name=f"dense_{i}")(x)
            else:
                x = Convolution(width, self.window, True, "he", name=f"conv_{i}")(x)
            x = activate(x, "leaky_relu")
        return Linear(self.num_classes, True, name="logits")(x)


def _detect(network: Any, outputs: dict[str, Array]) -> dict[str, Array]:
    """The logits of a network's head on what its selector let through."""
    _checks.choice("head", network.head, tuple(HEADS))
    features = HEADS[network.head] if network.features is None else network.features
    if network.head == "unet":
        head = UNet(network.num_classes, network.dims, features, name="head")
        logits = head(outputs["selected"])["logits"]
    else:
        window = 1 if network.head == "pixel" else 3
        head = PixelHead(network.num_classes, features, window, name="head")
        logits = head(outputs["selected"])
    return {"logits": logits, "selector_weights": outputs["selector_weights"]}
