"""Hyperspectral cubes from files: values, a mask of anomalies and wavelengths, where there are."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Real, Shaped

from lossbench.data.array_files import Contents, read_contents
from lossbench.data.cube_arrays import (
    bands_last,
    find_cube,
    find_mask,
    find_wavelengths,
    read_mask_file,
)
from lossbench.data.no_data import is_missing


@dataclasses.dataclass(frozen=True)
class Cube:
    """A hyperspectral image.

    Attributes:
        name: The file's name without its ending.
        data: Values as the file has them, divided by its scale; 0 where there is no data.
        labels: True = anomalous; None without a mask.
        wavelengths: In nanometers, one a band, or None where they are not known.
        where: True = has data; None where every pixel has.
        good_bands: False for the bands that the file calls bad or has no data in; None where all
            are good.
    """

    name: str
    data: Float[np.ndarray, "height width bands"]
    labels: Bool[np.ndarray, "height width"] | None = None
    wavelengths: tuple[float, ...] | None = None
    where: Bool[np.ndarray, "height width"] | None = None
    good_bands: tuple[bool, ...] | None = None


def read_cube(
    path: str | os.PathLike[str],
    *,
    key: str | None = None,
    mask_key: str | None = None,
    mask_path: str | os.PathLike[str] | None = None,
    anomalous: Sequence[int] | None = None,
    ignored: Sequence[int] = (),
) -> Cube:
    """Reads a hyperspectral cube: MATLAB of any version, HDF5, NPZ, NPY, ENVI, TIFF stacks.

    The cube is the one array of numbers with three axes. Bands are its last axis, unless its mask
    or the wavelengths say otherwise. Numbers of any type and byte order become float32. A pixel has
    no data where a band is NaN, or has the value that the file names for it; it becomes 0, and
    `where` is false there.

    Args:
        path: The file; of ENVI either the header or the raw file.
        key: The name of the cube, where the file holds several arrays with three axes.
        mask_key: The name of the mask in the file. None finds one that is called `map`, `mask`,
            `gt`, `labels` or alike, or else the one array of two values in the cube's height and
            width.
        mask_path: A file of its own that holds the mask, in one of the formats above or as a
            picture. The file of the cube is not searched for a mask then.
        anomalous: Values of the mask that mean anomalous. None: what is not 0, in a mask of 0 and
            one more value.
        ignored: Values of the mask that mean not to be counted: `where` is false there.

    Raises:
        FileNotFoundError: Where a file is not there.
        ValueError: Where a file is damaged, or what is meant is not clear; the error lists what
            there is.
        ImportError: Where the format's package is not there; `lossbench[hyperspectral]` has all.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = pathlib.Path(folder) / "scene.npz"
        ...     np.savez(file, data=np.ones((4, 5, 9), np.int16), map=np.eye(4, 5))
        ...     cube = read_cube(file)
        >>> cube.name, cube.data.shape, int(cube.labels.sum())
        ('scene', (4, 5, 9), 4)
    """
    path = Path(path).expanduser()
    contents = read_contents(path)
    name, stored = find_cube(path, contents.arrays, key)
    others = {n: a for n, a in contents.arrays.items() if n != name}
    if mask_path is not None:
        if mask_key is not None:
            raise ValueError("mask_key and mask_path are two places for one mask; give one of them")
        mask_file = Path(mask_path).expanduser()
        mask = read_mask_file(mask_file, colored=anomalous is None)
    else:
        mask_file = path
        mask = find_mask(path, others, mask_key, stored.shape)
    numbers = contents.wavelengths or find_wavelengths(others, stored.shape)
    stored = bands_last(path, stored, contents, mask, numbers)
    data, where, good = numbers_of(path, stored, contents)
    labels = None
    if mask is not None:
        labels, counted = labels_of(mask_file, mask, anomalous, ignored)
        where &= counted
    return Cube(
        path.stem,
        data,
        labels,
        numbers if numbers and len(numbers) == data.shape[-1] else None,
        None if where.all() else where,
        None if good.all() else tuple(good.tolist()),
    )


def numbers_of(
    path: Path, stored: Real[np.ndarray, "height width bands"], contents: Contents
) -> tuple[
    Float[np.ndarray, "height width bands"],
    Bool[np.ndarray, "height width"],
    Bool[np.ndarray, " bands"],
]:
    """Returns a cube in float32, where it has data, and which of its bands are good.

    A band without data in any pixel is not good, and does not count for what a pixel has.
    """
    good = np.ones(stored.shape[-1], bool)
    if contents.good_bands is not None:
        good &= contents.good_bands
    with np.errstate(over="ignore"):  # what is too large becomes infinite, an error below
        data = np.array(stored, np.float32, order="C")
    missing = np.isnan(data)
    if contents.no_data is not None:
        missing |= is_missing(stored, contents.no_data)
    good &= ~missing.all((0, 1))
    where = np.logical_not(missing[..., good].any(-1))
    data[missing] = 0
    data[~where] = 0
    data /= np.float32(contents.scale)
    if not (good.any() and where.any()):
        raise ValueError(f"{path}: no pixel has data in every band")
    if not np.isfinite(data).all():
        bad = np.flatnonzero(~np.isfinite(data).all((0, 1)))
        raise ValueError(
            f"{path}: values are infinite in float32, in {len(bad)} of {data.shape[-1]} bands "
            f"(the first is {bad[0]}, counted from 0)"
        )
    return data, where, good


def labels_of(
    path: Path,
    mask: Shaped[np.ndarray, "height width"],
    anomalous: Sequence[int] | None,
    ignored: Sequence[int] = (),
) -> tuple[Bool[np.ndarray, "height width"], Bool[np.ndarray, "height width"]]:
    """Returns where a mask says anomalous, and where it is to be counted."""
    if mask.dtype.kind == "f" and not np.isfinite(mask).all():
        raise ValueError(f"{path}: the mask has values that are NaN or infinite")
    counted = ~np.isin(mask, list(ignored))
    if anomalous is not None:
        both = set(anomalous) & set(ignored)
        if both:
            raise ValueError(f"anomalous and ignored share the values {sorted(both)}")
        return np.isin(mask, list(anomalous)) & counted, counted
    values = np.unique(mask[counted])
    if (values != 0).sum() > 1:
        shown = ", ".join(f"{v:g}" for v in values[:8]) + (", ..." if len(values) > 8 else "")
        raise ValueError(
            f"{path}: the mask has the values {shown}; say with anomalous which of them mean "
            "anomalous, and with ignored which are not to be counted"
        )
    return (mask != 0) & counted, counted
