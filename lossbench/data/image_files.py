"""Image files (PNG, JPEG, TIFF, GIF, ...): pixels, and one clear error for each way to be bad."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Shaped
from PIL import Image, ImageMode

# Gray as it is stored, in any depth. A mask in colors or with a palette is turned into gray.
GRAY = ("1", "L", "I", "F", "I;16", "I;16B", "I;16L", "I;16N")

# What modes without numbers that can be reckoned with are turned into.
PLAIN = {"1": "L", "P": "RGB", "PA": "RGB"}


class Header(NamedTuple):
    """What a file says of its image.

    Attributes:
        shape: Height and width in pixels.
        bands: Names of the channels, such as R, G and B; opacity is none of them.
    """

    shape: tuple[int, int]
    bands: tuple[str, ...]


def read_header(path: Path) -> Header:
    """Returns the header of an image file, without reading its pixels."""
    with opened(path) as image:
        return Header((image.height, image.width), bands_of(image))


def read_image(path: Path, bands: Sequence[str]) -> Shaped[np.ndarray, "height width bands"]:
    """Returns the named bands of an image, in the type that they are stored in."""
    with opened(path) as image:
        there = bands_of(image)
        image.load()
        pixels = np.asarray(image.convert(PLAIN[image.mode]) if image.mode in PLAIN else image)
    pixels = pixels.reshape(*pixels.shape[:2], -1)[..., [there.index(band) for band in bands]]
    if not np.isfinite(pixels).all():
        raise ValueError(f"{path}: the image has pixels that are NaN or infinite")
    return pixels


def read_mask(path: Path) -> Bool[np.ndarray, "height width"]:
    """Returns a mask that is stored as 0 and 1, as 0 and 255, or in one bit a pixel."""
    with opened(path) as image:
        image.load()
        pixels = np.asarray(image if image.mode in GRAY else image.convert("L"))
    values = np.unique(pixels)
    if values[-1] not in (0, 1, 255) or not np.isin(values, (0, values[-1])).all():
        shown = ", ".join(f"{value:g}" for value in values[:8])
        more = f", ... ({len(values)} values)" if len(values) > 8 else ""
        raise ValueError(
            f"{path}: a mask must hold two values, 0 and 1 or 0 and 255, found {shown}{more}"
        )
    return pixels != 0


def bands_of(image: Image.Image) -> tuple[str, ...]:
    """Returns the names of an image's bands: those of its palette where it has one."""
    mode = PLAIN.get(image.mode, image.mode)
    return tuple(band for band in ImageMode.getmode(mode).bands if band not in "Aa")


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """Opens an image file; whatever is wrong with it, now or while it is read, names the file."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        with Image.open(path) as image:
            yield image
    # A damaged PNG is a SyntaxError to Pillow.
    except (OSError, EOFError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        said = str(error).strip().split("\n")[0] or type(error).__name__
        raise ValueError(f"{path}: truncated or damaged image file, or none ({said})") from error
