"""Normalization over space, channels last."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float


def normalize(
    x: Float[Array, "batch *space channels"],
    scale: Float[Array, " channels"],
    bias: Float[Array, " channels"],
    *,
    groups: int,
    epsilon: float = 1e-5,
) -> Float[Array, "batch *space channels"]:
    """Group normalization (Wu & He, 2018): `(x - mean) / sqrt(var + epsilon) * scale + bias`.

    Mean and variance are those of each example and each group of neighboring channels, in float32
    or wider. One group a channel is instance normalization.

    Args:
        x: what is normalized.
        scale: factor of each channel, after normalization.
        bias: offset of each channel, after normalization.
        groups: how many groups; divides the channels.
        epsilon: what keeps a constant channel finite.

    Returns:
        The normalized array, in the dtype of `x`.
    """
    batch, *space, channels = x.shape
    if channels % groups:
        raise ValueError(f"normalize: {groups} groups do not divide {channels} channels")
    dtype = jnp.float32 if x.dtype.itemsize < 4 else x.dtype
    values = x.astype(dtype)

    def average(a: Array) -> Array:
        # Over space first: its lanes are the channels, which vectorize.
        a = a.mean(axis=range(1, a.ndim - 1))
        if groups < channels:
            a = a.reshape(batch, groups, -1).mean(-1).repeat(channels // groups, axis=-1)
        return a.reshape(batch, *(1 for _ in space), channels)

    centered = values - average(values)
    factor = lax.rsqrt(average(centered * centered) + epsilon)
    shape = (*(1 for _ in range(x.ndim - 1)), channels)
    factor = factor * scale.astype(dtype).reshape(shape)
    return (centered * factor + bias.astype(dtype).reshape(shape)).astype(x.dtype)
