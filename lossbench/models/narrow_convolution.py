"""2D convolutions of few channels, in a form that is fast on the CPU.

XLA's CPU backend turns a convolution into products with as many columns as there are features, and
eight of them fill no vector unit. `on_columns` therefore takes neighboring pixels of a row together
as channels: a block of them depends on its own and both neighboring blocks only. The kernel becomes
a wider one, most of it zeros, and the products are fast in spite of those.
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from lossbench.models.convolution import convolve, native

# Channels of a block. Measured on networks for digits (1 to 8 to 4 channels, windows of 5): 16 to
# 32 take a half to a third of the time of 4 or 8, and more are slower again.
_MOST_CHANNELS = 32


def convolve_narrow(
    image: Float[Array, "batch *space channels"], kernel: Float[Array, "*window channels features"]
) -> Float[Array, "batch *space features"]:
    """Convolve with zero padding to the same size, as `convolve` does, also fast in 2D if narrow.

    The form is chosen when the program is lowered, so one traced function serves every platform.
    """
    if kernel.ndim == 4 and kernel.shape[1] % 2:
        together = columns_together(image.shape[2], kernel.shape)
        if together > 1:

            def form(image: Array, kernel: Array) -> Array:
                return on_columns(image, kernel, together)

            return lax.platform_dependent(image, kernel, cpu=form, default=native)
    return convolve(image, kernel)


def on_columns(
    image: Float[Array, "batch height width channels"],
    kernel: Float[Array, "rows columns channels features"],
    together: int,
) -> Float[Array, "batch height width features"]:
    """Convolve as `native` does, for an odd number of columns.

    Args:
        image: of a width that `together` divides.
        kernel: reaches at most `together` pixels to each side.
        together: pixels of a block.
    """
    batch, height, width, channels = image.shape
    rows, columns, _, features = kernel.shape
    # From pixel p of three blocks to pixel q of the middle one leads tap p - together - q + reach.
    reach, across = columns // 2, 3 * together
    before = [together + q - reach for q in range(together)]
    pads = [((0, 0), (left, across - columns - left), (0, 0), (0, 0)) for left in before]
    wide = jnp.stack([jnp.pad(kernel, pad) for pad in pads], axis=3)
    wide = wide.reshape(rows, 3, together * channels, together * features)
    blocks = image.reshape(batch, height, width // together, together * channels)
    return native(blocks, wide).reshape(batch, height, width, features)


def columns_together(width: int, kernel: tuple[int, ...]) -> int:
    """How many pixels of a row make a block, for a kernel of that shape; 1 if the plain form is it.

    Example:
        >>> columns_together(28, (5, 5, 1, 8)), columns_together(28, (5, 5, 64, 64))
        (4, 1)
    """
    _, columns, channels, features = kernel
    most = min(width, _MOST_CHANNELS // max(channels, features))
    allowed = [n for n in range(max(columns // 2, 1), most + 1) if width % n == 0]
    return max(allowed, default=1)
