"""How far the nearest pixel of the other kind is along the last axis."""

import functools

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Int, Shaped

# Windows read at once. Each pass over the image makes the reach of the search this much longer.
_WINDOWS = 8


def steps_to_other_kind(
    mask: Bool[Array, " batch *space"],
) -> tuple[Int[Array, " batch *space"], Int[Array, " batch *space"], int]:
    """Steps back and ahead along the last axis to the nearest pixel of the other kind.

    Pixels of one kind come in runs, so both kinds need only know where the last change was and
    where the next one is. Changes are sought over lines laid end to end; what lies beyond the
    pixel's own line is dropped at the end.

    Args:
        mask: the two kinds, true and false.

    Returns:
        The steps back, the steps ahead, and the number (more than any step) that stands for none.
    """
    batch, size = mask.shape[0], mask.shape[-1]
    windows, reach = _passes(size)
    # Narrow integers are most of the speed: the image is read once more in each pass.
    dtype, none = (jnp.int16, 2**14) if reach <= 2**13 else (jnp.int32, 2**29)
    flat = mask.reshape(batch, -1)
    before, after = (jnp.repeat(end, reach, axis=1) for end in (flat[:, :1], flat[:, -1:]))
    # No change beyond the ends. (`jnp.pad` is slow on the CPU, above all inside a fusion.)
    wide = lax.optimization_barrier(jnp.concatenate([before, flat, after], axis=1))
    since = jnp.where(wide[:, 1:] != wide[:, :-1], 0, none).astype(dtype)
    since = lax.optimization_barrier(since)
    length = flat.shape[1] + reach - 1
    back = _nearest(since[:, :length], windows, ahead=False).reshape(mask.shape) + dtype(1)
    ahead = _nearest(since[:, reach:], windows, ahead=True).reshape(mask.shape) + dtype(1)
    column = lax.broadcasted_iota(dtype, mask.shape, mask.ndim - 1)
    back = jnp.where(back <= column, back, dtype(none))
    ahead = jnp.where(ahead <= size - 1 - column, ahead, dtype(none))
    return back, ahead, none


def _passes(size: int) -> tuple[list[int], int]:
    """How many windows each pass reads, and how far all of them reach, at least `size`."""
    windows, reach = [], 1
    while reach < size:
        windows.append(min(_WINDOWS, -(-size // reach)))
        reach *= windows[-1]
    return windows, reach


def _nearest(
    since: Shaped[Array, "batch length"], windows: list[int], *, ahead: bool
) -> Shaped[Array, "batch pixels"]:
    """The least of a value plus its distance, over all places before or ahead within reach."""
    stride = 1
    for count in windows:
        length = since.shape[1] - (count - 1) * stride
        steps = range(0, count * stride, stride)
        starts = steps if ahead else reversed(steps)
        parts = [
            since[:, start : start + length] + since.dtype.type(step)
            for start, step in zip(starts, steps, strict=True)
        ]
        # Fused with the next pass it would be computed once per window.
        since = lax.optimization_barrier(functools.reduce(jnp.minimum, parts))
        stride *= count
    return since
