"""Convolutions, channels last: the native form, and a fast form for 3D on the CPU."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float
import os

_SPACE = "DHW"


def native(image, kernel):
    """Convolve with zero padding to the same size, by the one XLA instruction."""
    space = _SPACE[-(kernel.ndim - 2) :]
    layout = (f"N{space}C", f"{space}IO", f"N{space}C")
    return lax.conv_general_dilated(
        image, kernel, (1,) * len(space), "SAME", dimension_numbers=layout
    )


def shifted(x, axis, by):
    config = [(0, 0, 0)] * x.ndim
    config[axis] = (by, -by, 0)
    return lax.pad(x, jnp.zeros((), x.dtype), config)

def forward(image, kernel):
    taps, f = kernel.shape[0], kernel.shape[-1]
    flat = image.reshape(-1, *image.shape[2:])
    wide = kernel.transpose(1, 2, 3, 0, 4).reshape(*kernel.shape[1:4], taps * f)
    z = native(flat, wide).reshape(*image.shape[:-1], taps * f)
    z = lax.optimization_barrier(z)
    return lax.optimization_barrier(sum(shifted(z[..., t * f : (t + 1) * f], 1, taps // 2 - t) for t in range(taps)))

def dw_taps(x, dy, taps):
    out = []
    n = x.shape[1]
    dyf = lax.optimization_barrier(dy).reshape(-1, *dy.shape[2:])
    for t in range(taps[0]):
        xs = shifted(x, 1, taps[0] // 2 - t).reshape(-1, *x.shape[2:])
        k = jnp.zeros((*taps[1:], x.shape[-1], dy.shape[-1]), x.dtype)
        out.append(jax.vjp(lambda k: native(xs, k), k)[1](dyf)[0])
    return jnp.stack(out)

def dw_dots(x, dy, taps):
    c, f = x.shape[-1], dy.shape[-1]
    rows = lambda a: a.reshape(-1, a.shape[-1])
    xs = jnp.concatenate([shifted(x, 3, 1 - t) for t in range(3)], -1)
    out = []
    for h in range(3):
        ys = jnp.concatenate([shifted(shifted(dy, 2, h - 1), 1, t - 1) for t in range(3)], -1)
        out.append(lax.dot_general(rows(xs), rows(ys), (((0,), (0,)), ((), ()))).reshape(3, c, 3, f))
    return jnp.stack(out).transpose(3, 0, 1, 2, 4)
DW = {"taps": dw_taps, "dots": dw_dots}[os.environ.get("DW", "taps")]

@jax.custom_vjp
def fast(image, kernel):
    return forward(image, kernel)

def _fwd(image, kernel):
    return forward(image, kernel), (image, kernel)

def _bwd(res, dy):
    image, kernel = res
    if os.environ.get("BAR"):
        dy = lax.optimization_barrier(dy)
        image = lax.optimization_barrier(image)
    flipped = kernel[::-1, ::-1, ::-1].swapaxes(3, 4)
    return forward(dy, flipped), DW(image, dy, kernel.shape[:3])

fast.defvjp(_fwd, _bwd)


def convolve(image, kernel):
    """Convolve with zero padding to the same size and stride 1, in the form the platform runs fast."""
    if kernel.ndim != 5 or kernel.shape[0] == 1:
        return native(image, kernel)
    return lax.platform_dependent(image, kernel, cpu=fast, default=native)
