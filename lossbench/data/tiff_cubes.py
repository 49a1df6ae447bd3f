"""TIFF stacks: one page a band, or all bands as samples of one page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from lossbench.data.envi import Raster

GDAL_NODATA = 42113


def read_tiff(path: Path) -> Raster:
    """Returns the content of a TIFF file; bands may be pages, planes or samples.

    A file of one page and one sample has one band.

    Raises:
        ValueError: Where the file is damaged, or holds something else than one cube.
        ImportError: Without tifffile.
    """
    try:
        import tifffile
    except ImportError as error:
        raise ImportError(
            f'{path}: TIFF files need the package tifffile: pip install "lossbench[hyperspectral]"'
        ) from error
    try:
        with tifffile.TiffFile(path) as file:
            check_complete(path, file)
            stored = stack(path, file)
            tag: Any = file.pages.first.tags.get(GDAL_NODATA)
            ignored = None if tag is None else str(tag.value)
    except _UnfitError as error:
        raise ValueError(f"{path}: {error}") from error
    except Exception as error:  # a damaged file can raise anything
        said = str(error).strip().split("\n")[0] or type(error).__name__
        raise ValueError(f"{path}: truncated, damaged or not a TIFF file ({said})") from error
    if stored.dtype.kind not in "iuf":
        raise ValueError(f"{path}: a cube holds real numbers, found {stored.dtype}")
    try:
        return Raster(stored, no_data=None if ignored is None else float(ignored.strip("\0 ")))
    except ValueError:
        raise ValueError(f"{path}: GDAL's no-data value is no number: {ignored!r}") from None


class _UnfitError(Exception):
    """A sound file that holds something else than one cube."""


def check_complete(path: Path, file: Any) -> None:
    """Raises where a page lies beyond the end of the file: it would be read as zeros."""
    size = path.stat().st_size
    for number, page in enumerate(file.pages):
        ends = (o + n for o, n in zip(page.dataoffsets, page.databytecounts, strict=False))
        if max(ends, default=0) > size:
            raise _UnfitError(f"truncated: page {number} lies beyond the {size} bytes of the file")


def stack(path: Path, file: Any) -> Shaped[np.ndarray, "height width bands"]:
    """Returns the one cube of a file, its axes in order by what they are called."""
    series = file.series
    forms = {(tuple(s.shape), str(s.dtype)) for s in series}
    if len(forms) > 1:
        shown = ", ".join(f"{'x'.join(map(str, shape))} {dtype}" for shape, dtype in sorted(forms))
        raise _UnfitError(f"the file must hold one cube, found several: {shown}")
    arrays = [channels_last(s.asarray(), s.axes) for s in series]
    if len(arrays) > 1 and arrays[0].shape[-1] > 1:
        raise _UnfitError(f"the file must hold one cube, found {len(arrays)} of one shape")
    return np.concatenate(arrays, -1)


def channels_last(
    array: Shaped[np.ndarray, "*axes"], axes: str
) -> Shaped[np.ndarray, "height width bands"]:
    """Returns an array with its axes as height, width, bands.

    Args:
        array: Values of a series.
        axes: A letter an axis, "Y" for height and "X" for width.
    """
    kept = [i for i, letter in enumerate(axes) if letter in "YX" or array.shape[i] > 1]
    array = array.reshape([array.shape[i] for i in kept])
    letters = [axes[i] for i in kept]
    if len(letters) > 3 or "Y" not in letters or "X" not in letters:
        shape = "x".join(map(str, array.shape))
        raise _UnfitError(f"expected height, width and bands, found axes {axes} of {shape}")
    if len(letters) == 2:
        array, letters = array[..., None], [*letters, "S"]
    height, width = letters.index("Y"), letters.index("X")
    return array.transpose(height, width, 3 - height - width)
