"""The U-Net (Ronneberger et al., 2015; Çiçek et al., 2016) in 2D and 3D, channels last."""

from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lossbench.models.convolution import convolve
from lossbench.models.normalization import normalize

_HE = nn.initializers.variance_scaling(2.0, "fan_in", "normal")


class UNet(nn.Module):
    """An encoder and a decoder of equal depth, with skips between them.

    Each level is a block of two convolutions of width 3, each normalized and followed by a leaky
    ReLU. Maximum pooling halves the space between levels; a transposed convolution of width and
    stride 2 doubles it again. Parameters are float32.

    Attributes:
        num_classes: channels of the logits.
        dims: spatial axes of the image, 2 or 3.
        features: channels of each level, finest first. With n levels, `2 ** (n - 1)` must divide
            every spatial size.
        norm: what is normalized together: the voxels of one channel of an example ("instance"), or
            of one of `groups` groups of channels ("group").
        groups: groups of `norm="group"`; divides every entry of `features`.
        residual: add the input of each block to its output, before the last activation.
        deep_supervision: also return logits of the coarser levels, the coarsest included.
        dtype: of the computation, for example `jnp.bfloat16`; None takes the image's.

    Example:
        >>> model = UNet(num_classes=3, dims=2, deep_supervision=True)
        >>> image = jnp.zeros((1, 32, 48, 1))
        >>> outputs, variables = jax.eval_shape(model.init_with_output, jax.random.key(0), image)
        >>> {name: logits.shape for name, logits in sorted(outputs.items())}
        {'logits': (1, 32, 48, 3), 'logits_2': (1, 16, 24, 3), 'logits_4': (1, 8, 12, 3)}
    """

    num_classes: int
    dims: int = 2
    features: tuple[int, ...] = (8, 16, 32)
    norm: Literal["instance", "group"] = "instance"
    groups: int = 8
    residual: bool = False
    deep_supervision: bool = False
    dtype: Any = None

    @nn.compact
    def __call__(
        self, image: Float[Array, "batch *space channels"]
    ) -> dict[str, Float[Array, "batch *coarser classes"]]:
        """Return the logits; with deep supervision also `logits_2`, `logits_4` by their stride."""
        _check_attributes(self)
        _check_image(image, self.dims, 2 ** (len(self.features) - 1))
        x = image if self.dtype is None else image.astype(self.dtype)
        skips = []
        for level, width in enumerate(self.features):
            x = self._block(_halve(x) if level else x, width, f"encode_{level}")
            skips.append(x)
        outputs = {}
        for level in range(len(self.features) - 2, -1, -1):
            if self.deep_supervision:
                stride = 2 ** (level + 1)
                outputs[f"logits_{stride}"] = Head(self.num_classes, name=f"head_{stride}")(x)
            width = self.features[level]
            x = Double(width, name=f"double_{level}")(x)
            x = jnp.concatenate([skips[level], x], axis=-1)
            x = self._block(x, width, f"decode_{level}")
        return {"logits": Head(self.num_classes, name="head_1")(x), **outputs}

    def _block(self, x: Array, width: int, name: str) -> Array:
        groups = width if self.norm == "instance" else self.groups
        return Block(width, groups, self.residual, name=name)(x)


class Block(nn.Module):
    """Twice: convolution, normalization (whose bias is the convolution's too), leaky ReLU."""

    width: int
    groups: int
    residual: bool

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch *space channels"]
    ) -> Float[Array, "batch *space width"]:
        """Apply both layers and, where asked for, add the input."""
        shortcut = x
        for layer in range(2):
            window = (3,) * (x.ndim - 2)
            kernel = self.param(f"kernel_{layer}", _HE, (*window, x.shape[-1], self.width))
            scale = self.param(f"scale_{layer}", nn.initializers.ones, (self.width,))
            bias = self.param(f"bias_{layer}", nn.initializers.zeros, (self.width,))
            x = normalize(convolve(x, kernel.astype(x.dtype)), scale, bias, groups=self.groups)
            if layer and self.residual:
                if shortcut.shape[-1] != self.width:
                    project = self.param("shortcut", _HE, (shortcut.shape[-1], self.width))
                    shortcut = shortcut @ project.astype(x.dtype)
                x = x + shortcut
            x = jax.nn.leaky_relu(x, 0.01)
        return x


class Double(nn.Module):
    """A transposed convolution of width and stride 2: a matrix product, its outputs interleaved."""

    width: int

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch *space channels"]
    ) -> Float[Array, "batch *doubled width"]:
        """Double every spatial axis."""
        batch, *space, channels = x.shape
        dims = len(space)
        shape = (channels, *(2,) * dims, self.width)
        kernel = self.param(
            "kernel", nn.initializers.variance_scaling(1.0, "fan_in", "normal", in_axis=0), shape
        )
        x = x @ kernel.reshape(channels, -1).astype(x.dtype)
        x = x.reshape(batch, *space, *(2,) * dims, self.width)
        interleaved = [axis for i in range(1, dims + 1) for axis in (i, i + dims)]
        x = x.transpose(0, *interleaved, 2 * dims + 1)
        return x.reshape(batch, *(2 * size for size in space), self.width)


class Head(nn.Module):
    """Logits: a linear map of each position's features."""

    num_classes: int

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch *space channels"]
    ) -> Float[Array, "batch *space classes"]:
        """Map features to logits."""
        shape = (x.shape[-1], self.num_classes)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape)
        bias = self.param("bias", nn.initializers.zeros, (self.num_classes,))
        return x @ kernel.astype(x.dtype) + bias.astype(x.dtype).reshape(
            (1,) * (x.ndim - 1) + (-1,)
        )


def _halve(x: Array) -> Array:
    """Maximum pooling of width and stride 2, axis by axis: XLA's own is slow on the CPU."""
    for axis in range(1, x.ndim - 1):
        pairs = x.reshape(*x.shape[:axis], -1, 2, *x.shape[axis + 1 :])
        even, odd = (jax.lax.index_in_dim(pairs, i, axis + 1, keepdims=False) for i in range(2))
        x = jnp.maximum(even, odd)
    return x


def _check_attributes(net: UNet) -> None:
    if net.dims not in (2, 3):
        raise ValueError(f"UNet: dims must be 2 or 3, got {net.dims}")
    if not net.features:
        raise ValueError("UNet: features must name the channels of one level at least, got none")
    if net.norm not in ("instance", "group"):
        raise ValueError(f'UNet: norm must be "instance" or "group", got {net.norm!r}')
    odd = [width for width in net.features if net.norm == "group" and width % net.groups]
    if odd:
        raise ValueError(
            f"UNet: groups={net.groups} must divide every entry of features, not {odd[0]}"
        )


def _check_image(image: Array, dims: int, stride: int) -> None:
    if not jnp.issubdtype(image.dtype, jnp.floating):
        raise ValueError(f"UNet: the image must be floating point, got {image.dtype}")
    space = image.shape[1:-1]
    if len(space) != dims:
        raise ValueError(
            f"UNet(dims={dims}): the image must be batch *space channels with {dims} spatial axes, "
            f"got shape {image.shape}"
        )
    for axis, size in enumerate(space):
        if size % stride or not size:
            allowed = max(-(-size // stride), 1) * stride
            raise ValueError(
                f"UNet: spatial axis {axis} has size {size}, which the network's total stride of "
                f"{stride} does not divide; the next size allowed is {allowed}"
            )
