"""Sums over the neighborhood of a pixel, along each spatial axis in turn."""

import functools
from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Shaped


def correlate(
    x: Shaped[Array, "..."], weights: Sequence[float | int], axes: Sequence[int]
) -> Shaped[Array, "..."]:
    """Weighted sums of shifted copies, the same weights along each axis; 0 beyond the border.

    Args:
        x: any array; integers stay integers.
        weights: an odd number of weights, the middle one that of the pixel itself.
        axes: the axes to go along.
    """
    half = len(weights) // 2
    for axis in axes:
        size = x.shape[axis]
        padding = [(0, 0)] * x.ndim
        padding[axis] = (half, half)
        padded = jnp.pad(x, padding)
        shifted = [_window(padded, i, size, axis) for i in range(len(weights))]
        parts = [
            part if weight == 1 else part * jnp.asarray(weight, x.dtype)
            for weight, part in zip(weights, shifted, strict=True)
        ]
        x = functools.reduce(jnp.add, parts)
    return x


def _window(x: Array, start: int, size: int, axis: int) -> Array:
    index = [slice(None)] * x.ndim
    index[axis] = slice(start, start + size)
    return x[tuple(index)]
