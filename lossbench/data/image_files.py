"""Image files (PNG, JPEG, TIFF, GIF, ...): pixels, and one clear error for each way to be bad."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Shaped
from PIL import ExifTags, Image, ImageMode

# Gray as it is stored, in any depth. A mask of another mode is turned into gray.
GRAY = ("1", "L", "I", "F", "I;16", "I;16B", "I;16L", "I;16N")

# What modes without numbers that can be reckoned with are turned into.
PLAIN = {"1": "L", "P": "RGB", "PA": "RGB"}

# Modes whose last band is opacity; the A of LAB is a color.
OPACITY = ("LA", "La", "PA", "RGBA", "RGBa")

# How many values or colors of a mask an error shows.
SHOWN = 8

# What Pillow raises for a damaged file: a SyntaxError for a PNG.
DAMAGED = (
    OSError,
    EOFError,
    ValueError,
    SyntaxError,
    struct.error,
    Image.DecompressionBombError,
)


class UnfitImageError(ValueError):
    """A sound image file, but not one that can be used."""


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
        pixels = np.asarray(image) if image.mode in GRAY else gray_of(path, image)
    values = np.unique(pixels)
    if values[-1] not in (0, 1, 255) or not np.isin(values, (0, values[-1])).all():
        shown = ", ".join(f"{value:g}" for value in values[:SHOWN])
        more = f", ... ({len(values)} values)" if len(values) > SHOWN else ""
        raise ValueError(
            f"{path}: a mask must hold two values, 0 and 1 or 0 and 255, found {shown}{more}"
        )
    return pixels != 0


def gray_of(path: Path, image: Image.Image) -> Shaped[np.ndarray, "height width"]:
    """Returns a mask that is stored in colors as gray, if its shape is in the gray alone."""
    colors = np.asarray(image.convert("RGB"))
    gray = colors[..., 0]
    if (colors != gray[..., None]).any():
        found = np.unique(colors.reshape(-1, 3), axis=0).tolist()
        shown = ", ".join(str(tuple(color)) for color in found[:SHOWN])
        more = f", ... ({len(found)} colors)" if len(found) > SHOWN else ""
        raise UnfitImageError(
            f"{path}: a mask must be gray, with two values, 0 and 1 or 0 and 255; found the "
            f"colors {shown}{more}"
        )
    if image.has_transparency_data:
        low, high = image.convert("RGBA").getchannel("A").getextrema()
        # One color of a palette may be transparent, if that is not all that sets it apart.
        if low != high and (image.mode in OPACITY or gray.min() == gray.max()):
            raise UnfitImageError(
                f"{path}: a mask must have the same opacity everywhere, found {low} to {high}; "
                "store its shape in black and white without an alpha channel"
            )
    return gray


def bands_of(image: Image.Image) -> tuple[str, ...]:
    """Returns the names of an image's bands: those of its palette where it has one."""
    mode = PLAIN.get(image.mode, image.mode)
    bands = ImageMode.getmode(mode).bands
    return bands[:-1] if mode in OPACITY else bands


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """Opens a file of one upright image; whatever is wrong with it, now or later, names it."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        with Image.open(path) as image:
            check_one_upright(path, image)
            yield image
    except UnfitImageError:
        raise
    except DAMAGED as error:
        said = str(error).strip().split("\n")[0] or type(error).__name__
        raise ValueError(f"{path}: truncated or damaged image file, or none ({said})") from error


def check_one_upright(path: Path, image: Image.Image) -> None:
    """Checks that a file holds one image, whose rows are stored from top to bottom."""
    pages = getattr(image, "n_frames", 1)
    if pages > 1:
        raise UnfitImageError(
            f"{path}: the file must hold one image, but holds {pages} (pages, frames, a preview); "
            "store the one that is meant in a file of its own"
        )
    # That of the base class, since a PNG's own would decode all pixels first.
    turn = Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1)
    if turn in range(2, 9):
        raise UnfitImageError(
            f"{path}: the image must be stored upright, but its EXIF orientation is {turn} (1 is "
            "upright), which a mask may follow or not; turn the pixels and store it again"
        )
