"""Normalization over space, channels last."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float


def normalize(x, scale, bias, *, groups, epsilon=1e-5):
    """Group normalization; one group a channel is instance normalization."""
    channels = x.shape[-1]
    axes = tuple(range(1, x.ndim - 1))
    h = x.astype(jnp.float32)
    mean = h.mean(axes)
    square = (h * h).mean(axes)
    if groups != channels:
        def pool(v):
            v = v.reshape(-1, groups, channels // groups).mean(-1, keepdims=True)
            return jnp.broadcast_to(v, (v.shape[0], groups, channels // groups)).reshape(-1, channels)
        mean, square = pool(mean), pool(square)
    from jax.ad_checkpoint import checkpoint_name
    mean=checkpoint_name(mean,'stat'); square=checkpoint_name(square,'stat')
    factor = lax.rsqrt(jnp.maximum(square - mean * mean, 0) + epsilon) * scale[None]
    offset = bias[None] - mean * factor
    shape = (x.shape[0], *(1,) * len(axes), channels)
    return (h * factor.reshape(shape) + offset.reshape(shape)).astype(x.dtype)
