"""Layers of the networks of anomaly detection: bias-free unless asked, and without affine norms."""

import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from lossbench import _checks
from lossbench.models.narrow_convolution import convolve_narrow
from lossbench.models.normalization import normalize

# Each takes an array and the slope of "leaky_relu" below 0.
ACTIVATIONS: dict[str, Callable[[Array, float], Array]] = {
    "leaky_relu": jax.nn.leaky_relu,
    "relu": lambda x, _: jax.nn.relu(x),
    "elu": lambda x, _: jax.nn.elu(x),
    "gelu": lambda x, _: jax.nn.gelu(x),
    "silu": lambda x, _: jax.nn.silu(x),
    "tanh": lambda x, _: jnp.tanh(x),
    "sigmoid": lambda x, _: jax.nn.sigmoid(x),
}
INITIALIZATIONS = ("torch", "he", "xavier")
NORMALIZATIONS = ("none", "batch_no_affine", "layer_no_affine")


def kernel_init(name: str, negative_slope: float = 0.01) -> Any:
    """How kernels are drawn: uniform, with a variance of `gain / fan_in`.

    Args:
        name: "torch" is PyTorch's own for linear and convolutional layers, uniform up to
            `1 / sqrt(fan_in)` (a gain of 1/3); "he" keeps the variance through leaky ReLUs, a gain
            of `2 / (1 + negative_slope**2)`; "xavier" is `2 / (fan_in + fan_out)`.
        negative_slope: of the leaky ReLUs.

    Raises:
        ValueError: for another name.
    """
    _checks.choice("initialization", name, INITIALIZATIONS)
    if name == "xavier":
        return nn.initializers.xavier_uniform()
    gain = 1 / 3 if name == "torch" else 2 / (1 + negative_slope**2)
    return nn.initializers.variance_scaling(gain, "fan_in", "uniform")


def activate(
    x: Float[Array, "*shape"], name: str, negative_slope: float = 0.01
) -> Float[Array, "*shape"]:
    """The activation of that name in `ACTIVATIONS`."""
    _checks.choice("activation", name, tuple(ACTIVATIONS))
    return ACTIVATIONS[name](x, negative_slope)


def counted(
    image: Float[Array, "batch *space channels"], where: Bool[Array, "batch ..."] | None
) -> tuple[Float[Array, "batch *space channels"], Bool[Array, " batch *space"] | None]:
    """The image with 0 where it does not count: no NaN from there reaches a parameter's gradient.

    Args:
        image: what a model is applied to.
        where: true = counted, `batch *space` or the first of these axes only, such as `batch`.

    Returns:
        The image, and the mask over all of `batch *space`.

    Raises:
        ValueError: for an image or a mask of another shape or dtype.
    """
    if image.ndim < 2:
        raise ValueError(f"image: expected batch *space channels, got shape {image.shape}")
    _checks.floating(image=image)
    if where is None:
        return image, None
    axes = max(1, min(where.ndim, image.ndim - 1))
    _checks.where(where, image.shape[:axes], "batch *space, or the first of these axes")
    where = where.reshape(*where.shape, *(1 for _ in range(image.ndim - 1 - axes)))
    where = jnp.broadcast_to(where, image.shape[:-1])
    return jnp.where(where[..., None], image, jnp.zeros((), image.dtype)), where


def with_tuples(module: nn.Module, *names: str) -> None:
    """Turns lists in these attributes, as configurations have them, into tuples.

    A module is a static argument and a key of caches: it must have a hash. To be called before the
    module's own `__post_init__`.
    """
    for name in names:
        value = getattr(module, name)
        if isinstance(value, list):
            object.__setattr__(module, name, tuple(value))


def halve(x: Float[Array, "batch *space channels"]) -> Float[Array, "batch *halved channels"]:
    """Maximum pooling of width and stride 2; the last pixel of an odd size is left out.

    Axis by axis: XLA's own is slow on the CPU.
    """
    for axis in range(1, x.ndim - 1):
        size = x.shape[axis] // 2
        pairs = jax.lax.slice_in_dim(x, 0, 2 * size, axis=axis)
        pairs = pairs.reshape(*x.shape[:axis], size, 2, *x.shape[axis + 1 :])
        even, odd = (jax.lax.index_in_dim(pairs, i, axis + 1, keepdims=False) for i in range(2))
        x = jnp.maximum(even, odd)
    return x


def double(
    x: Float[Array, "batch *space channels"], space: tuple[int, ...]
) -> Float[Array, "batch *doubled channels"]:
    """Repeats every pixel along every axis, up to a space of twice the size, or one more."""
    for axis, size in enumerate(space, start=1):
        before = x.shape[axis]
        shape = (*x.shape[: axis + 1], 2, *x.shape[axis + 1 :])
        x = jnp.broadcast_to(jnp.expand_dims(x, axis + 1), shape)
        x = x.reshape(*shape[:axis], 2 * before, *shape[axis + 2 :])
        if size == 2 * before + 1:
            last = jax.lax.slice_in_dim(x, 2 * before - 1, 2 * before, axis=axis)
            x = jnp.concatenate([x, last], axis=axis)
    return x


class Linear(nn.Module):
    """A linear map of the last axis."""

    features: int
    use_bias: bool = False
    initialization: str = "torch"
    negative_slope: float = 0.01

    @nn.compact
    def __call__(self, x: Float[Array, "*shape channels"]) -> Float[Array, "*shape features"]:
        """Map the channels of each position."""
        init = kernel_init(self.initialization, self.negative_slope)
        kernel = self.param("kernel", init, (x.shape[-1], self.features))
        return _offset(self, x @ kernel.astype(x.dtype), self.use_bias)


class Convolution(nn.Module):
    """A convolution of stride 1 to the same size, padded with zeros."""

    features: int
    window: int = 5
    use_bias: bool = False
    initialization: str = "torch"
    negative_slope: float = 0.01

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch *space channels"]
    ) -> Float[Array, "batch *space features"]:
        """Convolve over all axes of space."""
        init = kernel_init(self.initialization, self.negative_slope)
        window = (self.window,) * (x.ndim - 2)
        kernel = self.param("kernel", init, (*window, x.shape[-1], self.features))
        return _offset(self, convolve_narrow(x, kernel.astype(x.dtype)), self.use_bias)


def _offset(module: nn.Module, x: Array, use_bias: bool) -> Array:
    if not use_bias:
        return x
    bias = module.param("bias", nn.initializers.zeros, (x.shape[-1],))
    return x + _beside(bias.astype(x.dtype), x)


class Normalization(nn.Module):
    """A normalization without scale and offset of its own: `(x - mean) / sqrt(var + epsilon)`.

    Attributes:
        kind: "none"; "batch_no_affine": mean and variance of each channel over batch and space;
            "layer_no_affine": of each position over its channels, or (`whole`) of each example over
            space and channels.
        whole: see `kind`.
        momentum: how far the running statistics of "batch_no_affine" move toward those of a batch.
        epsilon: what keeps a constant channel finite.

    The running statistics are the collection "batch_stats", with the unbiased variance. Where that
    collection is mutable, as in training, a batch is normalized by its own statistics; otherwise by
    the running ones.
    """

    kind: str = "none"
    whole: bool = False
    momentum: float = 0.1
    epsilon: float = 1e-4

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "batch *space channels"],
        where: Bool[Array, " batch *space"] | None = None,
    ) -> Float[Array, "batch *space channels"]:
        """Normalize; only what counts enters a batch's statistics."""
        _checks.choice("normalization", self.kind, NORMALIZATIONS)
        if self.kind == "none":
            return x
        channels = x.shape[-1]
        if self.kind == "layer_no_affine":
            shape = x.shape
            x = x if self.whole else x.reshape(-1, 1, channels)
            ones, zeros = jnp.ones(channels, x.dtype), jnp.zeros(channels, x.dtype)
            return normalize(x, ones, zeros, groups=1, epsilon=self.epsilon).reshape(shape)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, (channels,))
        running_var = self.variable("batch_stats", "var", jnp.ones, (channels,))
        values = x.astype(_checks.compute_dtype(x))
        mean, var = (v.value.astype(values.dtype) for v in (running_mean, running_var))
        if self.is_mutable_collection("batch_stats"):
            share, positions = jnp.ones((), values.dtype), math.prod(x.shape[:-1])
            weigh = lambda a: a  # noqa: E731
            if where is not None:
                counts = where[..., None].astype(values.dtype)
                share = _mean(counts)[0]
                scale = counts / jnp.where(share > 0, share, 1)
                weigh = lambda a: a * scale  # noqa: E731
            own_mean = _mean(weigh(values))
            centered = values - _beside(own_mean, values)
            own_var = _mean(weigh(centered * centered))
            if not self.is_initializing():
                total = share * positions
                unbiased = own_var * total / jnp.maximum(total - 1, 1)
                rate = jnp.where(share > 0, self.momentum, 0).astype(values.dtype)
                for running, new in ((running_mean, own_mean), (running_var, unbiased)):
                    old = running.value
                    new = jax.lax.stop_gradient(new)
                    running.value = ((1 - rate) * old + rate * new).astype(old.dtype)
            mean = jnp.where(share > 0, own_mean, mean)
            var = jnp.where(share > 0, own_var, var)
        factor = jax.lax.rsqrt(var + self.epsilon)
        return ((values - _beside(mean, values)) * _beside(factor, values)).astype(x.dtype)


def _mean(values: Array) -> Array:
    """Mean over all axes but the last, one after the other: float32 stays near float64.

    The batch comes first: its lanes are all positions and channels, which vectorize.
    """
    while values.ndim > 1:
        values = values.mean(axis=0)
    return values


def _beside(values: Array, x: Array) -> Array:
    """One number a channel, with the rank of `x`."""
    return values.reshape((1,) * (x.ndim - 1) + (-1,))
