"""Convolutions of stride 1, channels last: the native form, and one for 3D that is fast on the CPU.

XLA's CPU backend runs 2D convolutions and matrix products well, and 3D convolutions many times
slower than it could. `on_slabs` therefore writes the 3D convolution as a loop over slabs of depth:
one 2D convolution a slab gives what each slice adds to its neighbors, for all depth taps at once.
The gradient for the kernel is one matrix product a slab. A slab stays in the cache, and the loop
keeps XLA from holding these wide intermediates until the backward pass: fresh memory is paid for in
page faults, a fifth of the training step's processor time before.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

# Of a loop's widest intermediate. Measured with 1 MiB of second-level cache a core and 32 MiB of
# third; 1 to 8 MiB differ little.
_SLAB_BYTES = 4 * 2**20


def convolve(
    image: Float[Array, "batch *space channels"], kernel: Float[Array, "*window channels features"]
) -> Float[Array, "batch *space features"]:
    """Convolve with zero padding to the same size, in the form that the platform runs fast.

    The form is chosen when the program is lowered, so one traced function serves every platform.
    In 3D the gradient is written by hand on the CPU: forward over reverse works, forward mode alone
    does not.
    """
    window = kernel.shape[:-2]
    if len(window) == 3 and all(taps % 2 for taps in window):
        return lax.platform_dependent(image, kernel, cpu=on_slabs, default=native)
    return native(image, kernel)


def native(
    image: Float[Array, "batch *space channels"], kernel: Float[Array, "*window channels features"]
) -> Float[Array, "batch *space features"]:
    """Convolve with zero padding to the same size, by XLA's one instruction for it."""
    space = "DHW"[-(kernel.ndim - 2) :]
    layout = (f"N{space}C", f"{space}IO", f"N{space}C")
    strides = (1,) * len(space)
    return lax.conv_general_dilated(image, kernel, strides, "SAME", dimension_numbers=layout)


@jax.custom_vjp
def on_slabs(
    image: Float[Array, "batch depth height width channels"],
    kernel: Float[Array, "taps rows columns channels features"],
) -> Float[Array, "batch depth height width features"]:
    """Convolve as `native` does in 3D, for odd windows, in float32 or wider."""
    return _on_slabs(image, kernel)


def _forward(image, kernel):
    return _on_slabs(image, kernel), (image, kernel)


def _backward(saved, cotangent):
    image, kernel = saved
    mirrored = kernel[::-1, ::-1, ::-1].swapaxes(3, 4)
    by_kernel = correlate(image, cotangent, kernel.shape[:3]).astype(kernel.dtype)
    return _on_slabs(cotangent, mirrored), by_kernel


on_slabs.defvjp(_forward, _backward)


def _on_slabs(image: Array, kernel: Array) -> Array:
    batch, depth, height, width, _ = image.shape
    taps, features = kernel.shape[0], kernel.shape[-1]
    dtype = _wide(image.dtype)
    # All depth taps side by side, as features of one 2D convolution.
    beside = kernel.astype(dtype).transpose(1, 2, 3, 0, 4)
    beside = beside.reshape(*beside.shape[:3], taps * features)
    slab = _slab(depth, batch * height * width * taps * features * dtype.itemsize)
    reach = taps - 1

    def add_slab(i, total):
        piece = lax.dynamic_slice_in_dim(image, i * slab, slab, axis=1).astype(dtype)
        wide = native(piece.reshape(batch * slab, height, width, -1), beside)
        wide = wide.reshape(batch, slab, height, width, taps * features)
        added = lax.dynamic_slice_in_dim(total, i * slab, slab + reach, axis=1)
        for tap in range(taps):
            part = wide[..., tap * features : (tap + 1) * features]
            added += _pad(part, {1: (reach - tap, tap)})
        return lax.dynamic_update_slice_in_dim(total, added, i * slab, axis=1)

    total = jnp.zeros((batch, depth + reach, height, width, features), dtype)
    total = lax.fori_loop(0, depth // slab, add_slab, total)
    return total[:, reach // 2 : reach // 2 + depth].astype(image.dtype)


def correlate(
    a: Float[Array, "batch depth height width m"],
    b: Float[Array, "batch depth height width n"],
    window: tuple[int, int, int],
) -> Float[Array, "taps rows columns m n"]:
    """Sum `a[p + k - center] b[p]` over positions p, for every offset k of an odd window.

    This is a convolution's gradient for its kernel: `a` the image, `b` the output's gradient.
    """
    if a.shape[-1] < b.shape[-1]:
        # Every row and column repeats `b`; the narrower array is the cheaper one to repeat.
        return correlate(b, a, window)[::-1, ::-1, ::-1].swapaxes(3, 4)
    batch, depth, height, width, m = a.shape
    n = b.shape[-1]
    taps, rows, columns = window
    dtype = _wide(a.dtype)
    slab = _slab(depth, batch * height * width * rows * columns * n * dtype.itemsize)
    padded = _pad(a, {1: (taps // 2, taps // 2)})

    def add_slab(i, total):
        piece = lax.dynamic_slice_in_dim(b, i * slab, slab, axis=1)
        piece = _pad(piece, {2: (rows // 2, rows // 2), 3: (columns // 2, columns // 2)})
        right = [
            piece[:, :, r : r + height, c : c + width]
            for r in reversed(range(rows))
            for c in reversed(range(columns))
        ]
        left = [lax.dynamic_slice_in_dim(padded, i * slab + t, slab, axis=1) for t in range(taps)]
        left, right = (
            jnp.concatenate(parts, axis=-1).reshape(batch * slab * height * width, -1).astype(dtype)
            for parts in (left, right)
        )
        return total + lax.dot_general(left, right, (((0,), (0,)), ((), ())))

    total = jnp.zeros((taps * m, rows * columns * n), dtype)
    total = lax.fori_loop(0, depth // slab, add_slab, total)
    return total.reshape(taps, m, rows, columns, n).transpose(0, 2, 3, 1, 4)


def _wide(dtype: Any) -> Any:
    """What sums accumulate in: float32, or float64 where that came."""
    return jnp.dtype(jnp.float32) if dtype.itemsize < 4 else dtype


def _pad(x: Array, amounts: dict[int, tuple[int, int]]) -> Array:
    config = [(*amounts.get(axis, (0, 0)), 0) for axis in range(x.ndim)]
    return lax.pad(x, jnp.zeros((), x.dtype), config)


def _slab(depth: int, slice_bytes: int) -> int:
    """The largest number of slices that divides the depth within the budget, at least 1."""
    most = max(_SLAB_BYTES // max(slice_bytes, 1), 1)
    return max(n for n in range(1, depth + 1) if depth % n == 0 and n <= most)
