"""Files of arrays, whatever their format: MATLAB, HDF5, NumPy, ENVI, TIFF."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from lossbench.data.envi import header_of, read_envi
from lossbench.data.mat_files import read_hdf5, read_mat
from lossbench.data.tiff_cubes import read_tiff

# Orders of a cube's axes (which axis of the file is height, width, bands) that a mask can tell
# apart; the first is what is taken without one.
BANDS_LAST, BANDS_FIRST, BANDS_BETWEEN = (0, 1, 2), (1, 2, 0), (0, 2, 1)
# In a TIFF file, pages are bands, unless somebody stored an array that has its bands last.
PAGES_ARE_LINES = (2, 0, 1)

ENDINGS = (".mat", ".h5", ".hdf5", ".npz", ".npy", ".hdr", ".tif", ".tiff")


class Contents(NamedTuple):
    """What a file holds.

    Attributes:
        arrays: By name, in the types they are stored in.
        orders: Which orders a cube's axes may have, the usual one first.
        wavelengths: In nanometers, one a band, or None where the file's format has none.
        no_data: What stands for no data, or None.
        good_bands: False for the bands that the file calls bad, or None where it calls none so.
        scale: What the values are to be divided by.
    """

    arrays: dict[str, np.ndarray]
    orders: tuple[tuple[int, int, int], ...] = (BANDS_LAST, BANDS_FIRST, BANDS_BETWEEN)
    wavelengths: tuple[float, ...] | None = None
    no_data: float | None = None
    good_bands: tuple[bool, ...] | None = None
    scale: float = 1.0


def read_contents(path: Path) -> Contents:
    """Returns the arrays of a file, by its ending; a raw file is one of ENVI by its header.

    The one array of NPY, ENVI and TIFF files is called as the file is.

    Raises:
        FileNotFoundError: Where there is no such file.
        ValueError: Where the file is damaged, or its format is not known.
        ImportError: Where the format's package is not there.
    """
    if path.is_dir():
        raise ValueError(f"{path}: this is a folder, not a file")
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    ending = path.suffix.lower()
    if ending == ".mat":
        return Contents(read_mat(path))
    if ending in (".h5", ".hdf5"):
        return Contents(read_hdf5(path))
    if ending in (".npz", ".npy"):
        return Contents(read_numpy(path))
    if ending in (".tif", ".tiff"):
        raster, orders = read_tiff(path), (BANDS_LAST, PAGES_ARE_LINES)
    elif ending == ".hdr" or header_of(path):
        raster, orders = read_envi(path), (BANDS_LAST,)
    else:
        raise ValueError(
            f"{path}: expected a file that ends in {', '.join(ENDINGS)}, or a raw file with its "
            f"header {path.stem}.hdr beside it"
        )
    name, stored = path.stem, raster.stored
    arrays = {name: stored[..., 0] if stored.shape[-1] == 1 else stored}
    return Contents(arrays, orders, *raster[1:])


def read_numpy(path: Path) -> dict[str, np.ndarray]:
    """Returns the arrays of an NPZ or NPY file; pickled objects are not opened."""
    try:
        with open(path, "rb") as file:  # NumPy would leave a damaged one open
            content = np.load(file, allow_pickle=False)
            if isinstance(content, np.ndarray):
                return {path.stem: content}
            with content:
                return {name: _entry(content, name) for name in content.files}
    except Exception as error:  # a damaged file can raise anything
        said = str(error).strip().split("\n")[0] or type(error).__name__
        raise ValueError(f"{path}: truncated, damaged or not a NumPy file ({said})") from error


def _entry(content: np.lib.npyio.NpzFile, name: str) -> np.ndarray:
    """One array; objects, which only a pickle can hold, become an array without any."""
    try:
        return content[name]
    except ValueError as error:
        if "Object arrays" not in str(error):
            raise
        return np.empty(0, object)


def listing(arrays: dict[str, np.ndarray]) -> str:
    """Returns what arrays there are, as errors show them."""
    shown = [
        f"{name} ({'x'.join(map(str, array.shape)) or 'one value'} {array.dtype})"
        for name, array in arrays.items()
    ]
    return ", ".join(shown) or "no arrays"
