"""The U-Net of Ronneberger et al. (2015) and Çiçek et al. (2016), in 2D and 3D, channels last."""

import math
import os
from jax.ad_checkpoint import checkpoint_name
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lossbench.models.convolution import convolve
from lossbench.models.normalization import normalize

_HE = nn.initializers.variance_scaling(2.0, "fan_in", "normal")


class UNet(nn.Module):
    """An encoder and a decoder of equal depth with skips between them."""

    num_classes: int
    dims: int = 2
    features: tuple[int, ...] = (8, 16, 32)
    norm: Literal["instance", "group"] = "instance"
    groups: int = 8
    residual: bool = False
    deep_supervision: bool = False
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, image):
        x = image if self.dtype is None else image.astype(self.dtype)
        _check_space(x.shape[1:-1], self.dims, 2 ** (len(self.features) - 1))
        skips = []
        for level, width in enumerate(self.features):
            if level:
                skips.append(x)
                x = _pool(x)
            x = self._block(x, width, f"down_{level}")
        outputs = {}
        for level in reversed(range(len(skips))):
            width = self.features[level]
            if self.deep_supervision and level + 1 < len(self.features) - 0:
                outputs[f"logits_{2 ** (level + 1)}"] = Head(self.num_classes, name=f"head_{level+1}")(x)
            x = Up(width, name=f"up_{level}")(x)
            x = jnp.concatenate([skips[level], x], axis=-1)
            x = self._block(x, width, f"decode_{level}")
        return {"logits": Head(self.num_classes, name="head_0")(x), **outputs}

    def _block(self, x, width, name):
        groups = width if self.norm == "instance" else self.groups
        return CBlock(width, groups, self.residual, name=name)(x)


class Block(nn.Module):
    width: int
    groups: int
    residual: bool

    @nn.compact
    def __call__(self, x):
        dims = x.ndim - 2
        shortcut = x
        for i in range(2):
            kernel = self.param(f"kernel_{i}", _HE, (*(3,) * dims, x.shape[-1], self.width))
            scale = self.param(f"scale_{i}", nn.initializers.ones, (self.width,))
            bias = self.param(f"bias_{i}", nn.initializers.zeros, (self.width,))
            x = checkpoint_name(convolve(x, kernel.astype(x.dtype)), 'conv')
            x = normalize(x, scale, bias, groups=self.groups)
            if i == 1 and self.residual:
                if shortcut.shape[-1] != self.width:
                    shortcut = nn.Dense(self.width, use_bias=False, dtype=x.dtype)(shortcut)
                x = x + shortcut
            x = nn.leaky_relu(x, 0.01)
        return x


CBlock = nn.remat(Block, policy=jax.checkpoint_policies.save_only_these_names('conv','stat')) if os.environ.get('REMAT') else Block

class Up(nn.Module):
    width: int

    @nn.compact
    def __call__(self, x):
        dims = x.ndim - 2
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (x.shape[-1], 2**dims * self.width))
        y = x @ kernel.astype(x.dtype)
        b, *space, _ = x.shape
        y = y.reshape(b, *space, *(2,) * dims, self.width)
        order = [0] + [a for i in range(dims) for a in (1 + i, 1 + dims + i)] + [2 * dims + 1]
        return y.transpose(order).reshape(b, *(2 * s for s in space), self.width)


class Head(nn.Module):
    classes: int

    @nn.compact
    def __call__(self, x):
        return nn.Dense(self.classes, dtype=x.dtype)(x)


def _pool(x):
    dims = x.ndim - 2
    b, *space, c = x.shape
    for axis in range(1, dims + 1):
        shape = x.shape[:axis] + (x.shape[axis] // 2, 2) + x.shape[axis + 1 :]
        pairs = x.reshape(shape)
        x = jnp.maximum(jnp.take(pairs, 0, axis + 1), jnp.take(pairs, 1, axis + 1))
    return x


def _check_space(space, dims, stride):
    if len(space) != dims:
        raise ValueError(
            f"UNet(dims={dims}) takes an image of {dims} spatial axes, batch *space channels; "
            f"got {len(space)}, space {space}"
        )
    for axis, size in enumerate(space):
        if size % stride:
            raise ValueError(
                f"UNet: spatial axis {axis} of the image has size {size}, which its total stride "
                f"{stride} does not divide; the next size allowed is {math.ceil(size / stride) * stride}"
            )
