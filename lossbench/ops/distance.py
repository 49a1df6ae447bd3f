"""Exact distance transforms."""

import functools
import math
from collections.abc import Sequence
from typing import Literal, overload

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from lossbench import _checks
from lossbench.ops._distance_lines import steps_to_other_kind
from lossbench.ops._distance_shifts import (
    METRICS,
    Metric,
    signed_along,
    sites_along,
    unsigned_along,
)

Spacing = Sequence[float | int | Array] | Float[Array, " axes"]


@overload
def distance_transform(
    mask: Bool[Array, " batch *space"],
    *,
    spacing: Spacing | None = ...,
    squared: bool = ...,
    signed: bool = ...,
    return_indices: Literal[False] = ...,
    metric: str = ...,
) -> Float[Array, " batch *space"]: ...


@overload
def distance_transform(
    mask: Bool[Array, " batch *space"],
    *,
    spacing: Spacing | None = ...,
    squared: bool = ...,
    signed: bool = ...,
    return_indices: Literal[True],
    metric: str = ...,
) -> tuple[Float[Array, " batch *space"], Int[Array, "batch *space axes"]]: ...


def distance_transform(
    mask: Bool[Array, " batch *space"],
    *,
    spacing: Spacing | None = None,
    squared: bool = False,
    signed: bool = False,
    return_indices: bool = False,
    metric: str = "euclidean",
) -> (
    Float[Array, " batch *space"]
    | tuple[Float[Array, " batch *space"], Int[Array, "batch *space axes"]]
):
    """Distance of each true pixel to the nearest false one; 0 where false.

    ``d_i = min over false j of ||spacing * (i - j)||``, exact for any number of axes.

    Args:
        mask: one mask an example.
        spacing: the size of a pixel along each space axis, Python numbers or a traced array;
            1 if None. Distances have its unit.
        squared: gives `d^2`, for a spacing of 1 whole numbers without rounding up to 2^24.
        signed: gives positive distances to the nearest true pixel where false, and negative ones
            to the nearest false pixel where true. With `squared` the sign is kept.
        return_indices: gives the indices of a nearest pixel too.
        metric: the norm: "euclidean"; "taxicab", the sum over axes; "chessboard", the largest.

    Returns:
        float32 distances. A mask without a false pixel is infinite throughout, one without a true
        pixel 0; signed, they are -inf and +inf. With `return_indices` a pair: the distances and
        the int32 index along each space axis of a nearest false pixel (signed: of the other kind),
        the pixel itself at a distance of 0, -1 where there is none. Of several, any is given.

    Distances are constants for differentiation, also with respect to the spacing. Each pass over
    an axis ends when no further shift can matter: the time per pixel grows with the largest
    distance, not with the length of a line.

    Raises:
        ValueError: `mask` is not boolean or has no space axis; `spacing` is not one positive
            number an axis; an unknown `metric`.

    Example:
        >>> import jax.numpy as jnp
        >>> from lossbench.ops.distance import distance_transform
        >>> mask = jnp.array([[[False, True, True], [True, True, True]]])
        >>> print(distance_transform(mask, squared=True))
        [[[0. 1. 4.]
          [1. 2. 5.]]]
        >>> print(distance_transform(mask, spacing=(3, 1), signed=True, metric="taxicab"))
        [[[ 1. -1. -2.]
          [-3. -4. -5.]]]

    Reference:
        Felzenszwalb and Huttenlocher, "Distance Transforms of Sampled Functions", Theory of
        Computing 2012; Lotufo and Zampirolli, "Fast Multidimensional Parallel Euclidean Distance
        Transform Based on Mathematical Morphology", SIBGRAPI 2001.
    """
    steps = _steps(mask, spacing)
    if metric not in METRICS:
        raise ValueError(f"metric: expected one of {', '.join(map(repr, METRICS))}, got {metric!r}")
    return _transform(mask, steps, squared, signed, return_indices, metric)


def feature_transform(
    mask: Bool[Array, " batch *space"],
    *,
    spacing: Spacing | None = None,
    metric: str = "euclidean",
) -> Int[Array, "batch *space axes"]:
    """The index of a nearest false pixel for each pixel, as `distance_transform` returns it.

    Args:
        mask: one mask an example.
        spacing: the size of a pixel along each space axis.
        metric: the norm.

    Example:
        >>> import jax.numpy as jnp
        >>> from lossbench.ops.distance import feature_transform
        >>> print(feature_transform(jnp.array([[True, False, True, True, True, False]]))[..., 0])
        [[1 1 1 1 5 5]]
    """
    return distance_transform(mask, spacing=spacing, return_indices=True, metric=metric)[1]


# Compiled here too, so that a call outside `jit` is traced once.
@functools.partial(jax.jit, static_argnums=(2, 3, 4, 5))
def _transform(mask, steps, squared, signed, return_indices, metric):
    def of_batch(mask, *steps):
        return _transform_batch(mask, list(steps), squared, signed, return_indices, metric)

    # `vmap` lengthens the batch: a loop that ends for each example by itself is several times
    # slower, since it must hold back the results of those which have ended.
    folded = jax.custom_batching.custom_vmap(of_batch)

    @folded.def_vmap
    def fold(size, is_mapped, mask, *steps):
        if is_mapped[0] and not any(is_mapped[1:]):
            out = folded(mask.reshape(size * mask.shape[1], *mask.shape[2:]), *steps)
            out = jax.tree.map(lambda x: x.reshape(*mask.shape[:2], *x.shape[1:]), out)
        else:
            axes = [0 if mapped else None for mapped in is_mapped]
            out = jax.vmap(of_batch, in_axes=axes)(mask, *steps)
        return out, jax.tree.map(lambda _: True, out)

    return folded(mask, *steps)


def _transform_batch(mask, steps, squared, signed, return_indices, metric):
    if mask.size == 0:
        nothing = jnp.zeros(mask.shape, jnp.float32)
        sites = jnp.zeros((*mask.shape, mask.ndim - 1), jnp.int32)
        return (nothing, sites) if return_indices else nothing
    if return_indices:
        field, sites = _field_and_sites(mask, steps, METRICS[metric])
        if signed:
            outside, outside_sites = _field_and_sites(~mask, steps, METRICS[metric])
            field = jnp.where(mask, -field, outside)
            sites = jnp.where(mask, sites, outside_sites)
        return _finished(field, metric, squared), _unraveled(sites, mask.shape[1:])
    return _finished(_field(mask, steps, METRICS[metric], signed), metric, squared)


def _field(mask: Array, steps: list[Array], metric: Metric, signed: bool) -> Array:
    """The distances in the terms of the metric: along the last axis, then along each before it."""
    back, ahead, none = steps_to_other_kind(mask)
    field = _cost(jnp.minimum(back, ahead), none, steps[-1], metric)
    field = jnp.where(mask, -field, field) if signed else jnp.where(mask, field, 0)
    along = signed_along if signed else unsigned_along
    for axis in reversed(range(1, mask.ndim - 1)):
        field = along(field, axis, steps[axis - 1], metric)
    return field


def _field_and_sites(mask: Array, steps: list[Array], metric: Metric) -> tuple[Array, Array]:
    """The distances, and the sites they are to as flat indices, -1 where there is none."""
    back, ahead, none = steps_to_other_kind(mask)
    field = jnp.where(mask, _cost(jnp.minimum(back, ahead), none, steps[-1], metric), 0)
    own = jnp.arange(math.prod(mask.shape[1:]), dtype=jnp.int32).reshape(1, *mask.shape[1:])
    moved = jnp.where(back <= ahead, -back.astype(jnp.int32), ahead.astype(jnp.int32))
    sites = own + jnp.where(mask, moved, 0)
    for axis in reversed(range(1, mask.ndim - 1)):
        field, sites = sites_along(field, sites, axis, steps[axis - 1], metric)
    return field, jnp.where(field < jnp.inf, sites, -1)


def _cost(count: Array, none: int, step: Array, metric: Metric) -> Array:
    return jnp.where(count < none, metric.cost(count.astype(jnp.float32), step), jnp.inf)


def _finished(field: Array, metric: str, squared: bool) -> Array:
    """The distances or their squares, with the sign of the field, which the metric has squared."""
    is_square = metric == "euclidean"
    if is_square == squared:
        return field
    change = jnp.square if squared else jnp.sqrt
    return jnp.where(field < 0, -change(jnp.abs(field)), change(jnp.abs(field)))


def _unraveled(sites: Array, space: tuple[int, ...]) -> Array:
    indices = jnp.stack(jnp.unravel_index(jnp.maximum(sites, 0), space), axis=-1)
    return jnp.where(sites[..., None] < 0, -1, indices.astype(jnp.int32))


def _steps(mask: Array, spacing: Spacing | None) -> list[Array]:
    """The spacing of each space axis, checked."""
    if mask.dtype != jnp.bool_:
        raise ValueError(f"mask: expected a boolean array, got {mask.dtype}")
    axes = mask.ndim - 1
    if axes < 1:
        raise ValueError(f"mask: expected at least one axis after the batch, got {mask.shape}")
    sizes = _checks.spacing(spacing, axes)
    return [lax.stop_gradient(jnp.asarray(size, jnp.float32)) for size in sizes]
