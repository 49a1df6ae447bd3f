"""Which array of a file is the cube, which its mask, and which its wavelengths."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Real, Shaped

from lossbench.data.array_files import Contents, listing, read_contents
from lossbench.data.image_files import read_header, read_image, read_mask
from lossbench.data.wavelengths import nanometers

# Words that name a mask, alone or as a part: `map`, `scene_gt`, `groundTruth`.
MASK_WORDS = ("map", "mask", "gt", "label", "labels", "truth", "groundtruth", "annotation")
WAVELENGTH_WORDS = ("wavelength", "wavelengths", "wl", "wavelengths_nm", "wavelength_nm", "lambda")

# Formats that hold a mask as a picture.
PICTURES = (".png", ".bmp", ".gif", ".jpg", ".jpeg", ".pgm", ".pbm")


def find_cube(
    path: Path, arrays: dict[str, np.ndarray], key: str | None
) -> tuple[str, Shaped[np.ndarray, "*axes"]]:
    """Returns the name and the values of the array that is the cube."""
    if key is not None and key not in arrays:
        raise ValueError(f"{path}: there is no array {key!r}; there are: {listing(arrays)}")
    looked_at = arrays if key is None else {key: arrays[key]}
    found = {n: _three_axes(a) for n, a in looked_at.items() if _three_axes(a).ndim == 3}
    if key is not None and not found and arrays[key].ndim == 2 and arrays[key].dtype.kind in "iuf":
        raise ValueError(
            f"{path}: a cube has three axes, {listing(looked_at)} has two; there are: "
            f"{listing(arrays)}"
        )
    real = {n: a for n, a in found.items() if a.dtype.kind in "iuf" and a.size}
    if len(real) > 1:  # a mask may have a third axis, of length 1
        real = {n: a for n, a in real.items() if min(a.shape) > 1} or real
    if not real:
        why = "no array of real numbers with three axes"
        if any(a.dtype.kind == "c" for a in found.values()):
            why = "a cube holds real numbers, not complex ones"
        raise ValueError(f"{path}: {why}; there are: {listing(looked_at)}")
    if len(real) > 1:
        raise ValueError(
            f"{path}: which array is the cube? Say it with key; there are: {listing(real)}"
        )
    return next(iter(real.items()))


def find_mask(
    path: Path, arrays: dict[str, np.ndarray], key: str | None, cube: tuple[int, ...]
) -> Shaped[np.ndarray, "height width"] | None:
    """Returns the mask among the arrays that are not the cube, or None where there is none."""
    if key is not None:
        if key not in arrays:
            raise ValueError(f"{path}: there is no mask {key!r}; there are: {listing(arrays)}")
        return _two_axes(path, key, arrays[key])
    flat = {n: _squeezed(a) for n, a in arrays.items() if a.dtype.kind in "biuf" and a.size}
    flat = {n: a for n, a in flat.items() if a.ndim == 2}
    named = {n: a for n, a in flat.items() if _is_mask_name(n)}
    fitting = {n: a for n, a in flat.items() if _fits(a.shape, cube)}
    chosen = {n: a for n, a in named.items() if n in fitting} or named
    if not chosen:
        chosen = {n: a for n, a in fitting.items() if len(np.unique(a)) <= 2}
    if len(chosen) > 1:
        raise ValueError(
            f"{path}: which array is the mask? Say it with mask_key; there are: {listing(chosen)}"
        )
    return next(iter(chosen.values()), None)


def read_mask_file(path: Path, *, colored: bool = True) -> Shaped[np.ndarray, "height width"]:
    """Returns the mask of a file of its own.

    Args:
        path: A picture, or a file of arrays with one mask in it.
        colored: Whether a picture in colors may be a mask, in black and white.
    """
    if path.suffix.lower() in PICTURES:
        bands = read_header(path).bands
        if len(bands) == 1:
            return read_image(path, bands)[..., 0]
        if not colored:
            raise ValueError(f"{path}: a mask of several values must have one band, found {bands}")
        return read_mask(path)
    arrays = read_contents(path).arrays
    flat = {n: a for n, a in arrays.items() if a.dtype.kind in "biuf" and _squeezed(a).ndim == 2}
    if len(flat) > 1:
        flat = {n: a for n, a in flat.items() if _is_mask_name(n)}
    if len(flat) != 1:
        raise ValueError(f"{path}: expected one array that is a mask; there are: {listing(arrays)}")
    return _squeezed(next(iter(flat.values())))


def find_wavelengths(
    arrays: dict[str, np.ndarray], cube: tuple[int, ...]
) -> tuple[float, ...] | None:
    """Returns the wavelengths among the arrays, one a band, or None where there are none."""
    for name, array in arrays.items():
        word = name.rpartition(".")[2].lower()
        if word in WAVELENGTH_WORDS and array.dtype.kind in "iuf" and array.size in cube:
            return nanometers(array.ravel().tolist(), "nm" if word.endswith("nm") else None)
    return None


def bands_last(
    path: Path,
    stored: Real[np.ndarray, "*axes"],
    contents: Contents,
    mask: np.ndarray | None,
    wavelengths: Sequence[float] | None,
) -> Real[np.ndarray, "height width bands"]:
    """Returns the cube with its axes in order, by the shape of its mask or its wavelengths."""
    for order in contents.orders:
        height, width, bands = (stored.shape[axis] for axis in order)
        if mask is not None:
            if (height, width) == mask.shape:
                return stored.transpose(order)
        elif wavelengths is None or bands == len(wavelengths):
            return stored.transpose(order)
    shape = "x".join(map(str, stored.shape))
    if mask is None:
        return stored
    raise ValueError(
        f"{path}: the mask has {mask.shape[0]}x{mask.shape[1]} pixels, which does not fit the "
        f"cube of {shape}"
    )


def _is_mask_name(name: str) -> bool:
    words = re.findall(r"[a-z]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", name).lower())
    return any(word in MASK_WORDS for word in [*words, "".join(words)])


def _fits(mask: tuple[int, ...], cube: tuple[int, ...]) -> bool:
    a, b, c = cube
    return mask in ((a, b), (b, c), (a, c), (c, a))


def _three_axes(array: np.ndarray) -> np.ndarray:
    """Without the axes of length 1, where that leaves three of more."""
    return _squeezed(array) if array.ndim > 3 else array


def _squeezed(array: np.ndarray) -> np.ndarray:
    """Without axes of length 1, of those beyond two."""
    for axis in reversed(range(array.ndim)):
        if array.ndim > 2 and array.shape[axis] == 1:
            array = array.squeeze(axis)
    return array


def _two_axes(path: Path, name: str, array: np.ndarray) -> np.ndarray:
    flat = _squeezed(array)
    if flat.ndim != 2 or flat.dtype.kind not in "biuf":
        raise ValueError(f"{path}: a mask has two axes, found {listing({name: array})}")
    return flat
