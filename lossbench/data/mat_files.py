"""MATLAB and HDF5 files: all arrays by name, their axes as MATLAB has them."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"

# Where the signature may stand; MATLAB puts 512 bytes of its own before it.
SIGNATURE_AT = (0, 512)

# What MATLAB stores in arrays that are no numbers.
NO_NUMBERS = ("char", "cell", "function_handle", "string", "datetime")


def read_mat(path: Path) -> dict[str, np.ndarray]:
    """Returns the arrays of a `.mat` file of any version, by name.

    Version 7.3 is HDF5, which stores the axes of MATLAB's arrays in reverse; they are turned back.
    A field of a struct is called `struct.field`.

    Raises:
        ValueError: Where the file is damaged or none of MATLAB's.
        ImportError: For version 7.3 without h5py.
    """
    with open(path, "rb") as file:
        start = file.read(max(SIGNATURE_AT) + len(HDF5_SIGNATURE))
    if any(start[at:].startswith(HDF5_SIGNATURE) for at in SIGNATURE_AT):
        return read_hdf5(path, reverse=True)
    from scipy import io

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of two variables of one name, the last counts
            content = io.loadmat(path)
    except Exception as error:  # a damaged file can raise anything
        raise ValueError(
            f"{path}: truncated, damaged or not a .mat file ({_said(error)})"
        ) from error
    found: dict[str, np.ndarray] = {}
    for name, value in content.items():
        if not name.startswith("__"):
            _flatten(name, value, found)
    return found


def _flatten(name: str, value: Any, found: dict[str, np.ndarray]) -> None:
    """Adds an array, or the fields of a struct; what is neither is left out."""
    if not isinstance(value, np.ndarray):
        return
    if value.dtype.names and value.size == 1:
        for field in value.dtype.names:
            _flatten(f"{name}.{field}", value.reshape(-1)[0][field], found)
    else:
        found[name] = value


def read_hdf5(path: Path, *, reverse: bool = False) -> dict[str, np.ndarray]:
    """Returns the arrays of an HDF5 file, by name; one in a group is called `group.array`.

    Args:
        path: The file.
        reverse: Whether to reverse the axes of all arrays, not only of those that MATLAB wrote.

    Raises:
        ValueError: Where the file is damaged or not HDF5.
        ImportError: Without h5py.
    """
    try:
        import h5py
    except ImportError as error:
        raise ImportError(
            f"{path}: MATLAB 7.3 and HDF5 files need the package h5py: "
            'pip install "lossbench[hyperspectral]"'
        ) from error

    found: dict[str, np.ndarray] = {}

    def look(name: str, item: Any) -> None:
        if not isinstance(item, h5py.Dataset) or name.startswith("#") or item.shape is None:
            return
        kind = item.attrs.get("MATLAB_class", b"")
        kind = kind.decode() if isinstance(kind, bytes) else str(kind)
        if kind in NO_NUMBERS or "MATLAB_empty" in item.attrs:
            return
        array = item[()]
        if not isinstance(array, np.ndarray):
            return
        if array.dtype.names == ("real", "imag"):
            array = array["real"] + 1j * array["imag"]
        if kind == "logical":
            array = array.astype(bool)
        found[name.replace("/", ".")] = array.T if reverse or kind else array

    try:
        with h5py.File(path, "r") as file:
            file.visititems(look)
    except Exception as error:  # a damaged file can raise anything
        raise ValueError(
            f"{path}: truncated, damaged or not an HDF5 file ({_said(error)})"
        ) from error
    return found


def _said(error: Exception) -> str:
    """The first line of an error's message, or its type where it has none."""
    return str(error).strip().split("\n")[0] or type(error).__name__
