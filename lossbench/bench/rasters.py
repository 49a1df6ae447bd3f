"""Pictures made of pixels, as small PNG files: large ones thinned, masks painted in colors."""

import io
import struct
import zlib
from collections.abc import Sequence

import matplotlib
import matplotlib.colors
import matplotlib.image
import numpy as np
from matplotlib.axes import Axes

_MOST_PIXELS = 256  # of a side; larger ones are shown at every second, third, ... pixel
FIGURE_PIXELS = 512  # likewise, of a map in a figure


def shown_every(shape: tuple[int, ...]) -> int:
    """Step between the pixels that are shown of a slice of this shape, `H W`."""
    return -(-max(shape) // _MOST_PIXELS)


def fit(pixels: np.ndarray) -> np.ndarray:
    """The pixels that are shown of `H W *channels`."""
    step = shown_every(pixels.shape[:2])
    return pixels[::step, ::step]


def paint(shape: tuple[int, ...], layers: Sequence[tuple[np.ndarray, str, float]]) -> bytes:
    """Masks in their colors and opacities on a clear ground of `shape`, `H W`, as PNG."""
    pixels = np.zeros((*fit(np.empty(shape)).shape, 4), np.uint8)
    for mask, color, alpha in layers:
        rgb = matplotlib.colors.to_rgb(color)
        pixels[fit(mask)] = np.round(255 * np.array([*rgb, alpha])).astype(np.uint8)
    return png(pixels)


def png(pixels: np.ndarray) -> bytes:
    """A PNG file of `H W 3` or `H W 4`, uint8."""
    buffer = io.BytesIO()
    matplotlib.image.imsave(buffer, pixels, format="png", pil_kwargs={"optimize": True})
    return buffer.getvalue()


def indexed_png(indices: np.ndarray, palette: np.ndarray) -> bytes:
    """A PNG file of `H W` indices into a palette, a third of the size of one with three channels.

    Args:
        indices: uint8.
        palette: `colors 3`, uint8, at most 256.
    """
    rows, columns = indices.shape
    # Each row begins with the number of its filter; 0 is none, as suits indices.
    lines = np.pad(indices.astype(np.uint8), ((0, 0), (1, 0))).tobytes()
    header = struct.pack(">IIBBBBB", columns, rows, 8, 3, 0, 0, 0)
    parts = [(b"IHDR", header), (b"PLTE", palette.astype(np.uint8).tobytes())]
    parts += [(b"IDAT", zlib.compress(lines, 9)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )


def highest(values: np.ndarray, most: int = _MOST_PIXELS) -> np.ndarray:
    """Each block's highest value, so that at most `most` remain a side and no small thing is lost.

    Args:
        values: `H W`; NaN counts only in a block that has nothing else.
        most: of a side.
    """
    step = -(-max(values.shape) // most)
    if step == 1:
        return values
    missing = np.nan if np.issubdtype(values.dtype, np.floating) else np.iinfo(values.dtype).min
    rows, columns = (-(-n // step) for n in values.shape)
    padded = np.full((rows * step, columns * step), missing, values.dtype)
    padded[: values.shape[0], : values.shape[1]] = values
    blocks = padded.reshape(rows, step, columns, step).swapaxes(1, 2).reshape(rows, columns, -1)
    return np.fmax.reduce(blocks, axis=-1)


def show(axes: Axes, pixels: np.ndarray) -> None:
    """`H W 3` in an axes of its own, each pixel sharp."""
    axes.imshow(pixels, interpolation="none")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)


def grid_size(shapes: Sequence[tuple[int, ...]], rows: int, columns: int) -> tuple[float, float]:
    """Height and width in inches of a grid of maps of these shapes, titles included."""
    tallest = max(height / width for height, width in shapes)
    each = min(2.6, 8.4 / columns)
    return rows * (each * min(tallest, 2.5) + 0.3), columns * (each + 0.1)


def check_map(name: str, array: np.ndarray) -> None:
    """Raises a ValueError for what cannot be drawn as a map."""
    if array.ndim != 2 or 0 in array.shape:
        raise ValueError(f"{name}: expected height width, got shape {array.shape}")
