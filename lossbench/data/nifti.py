"""NIfTI files: header, voxels, and one clear error for each way a file can be bad."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Integer, Shaped


class Header(NamedTuple):
    """What the header of a file says.

    Attributes:
        shape: Length of each axis, spatial axes first.
        spacing: Voxel size along the three spatial axes, in the file's unit (mm by custom).
    """

    shape: tuple[int, ...]
    spacing: tuple[float, ...]


def read_header(path: Path) -> Header:
    """Returns the header of a NIfTI file, without reading its voxels."""
    image = open_nifti(path)
    return Header(
        tuple(int(n) for n in image.shape), tuple(float(z) for z in image.header.get_zooms()[:3])
    )


def read_image(path: Path) -> Float[np.ndarray, "x y z channels"]:
    """Returns the image as float32, channels last; a 3D file has one channel."""
    with np.errstate(over="ignore"):  # too large for float32 becomes infinite, an error below
        image = read_voxels(path).astype(np.float32, copy=False)
    if not np.isfinite(image).all():
        bad = image.size - np.isfinite(image).sum()
        raise ValueError(f"{path}: the image has {bad} voxels that are NaN or infinite in float32")
    return image[..., None] if image.ndim == 3 else image


def read_labels(path: Path, class_names: tuple[str, ...]) -> Integer[np.ndarray, "x y z"]:
    """Returns the class ids, in the smallest unsigned type that holds them."""
    labels = read_voxels(path)
    labels = labels.reshape(spatial_shape(labels.shape))
    if labels.dtype.kind == "f" and not np.array_equal(labels, np.rint(labels)):
        odd = np.unique(labels[labels != np.rint(labels)])
        raise ValueError(f"{path}: labels must be whole numbers, found {listing(odd)}")
    if labels.min() < 0 or labels.max() >= len(class_names):
        odd = np.unique(labels[(labels < 0) | (labels >= len(class_names))])
        allowed = ", ".join(f"{i} = {name}" for i, name in enumerate(class_names))
        raise ValueError(f"{path}: label {listing(odd)} is not one of the classes ({allowed})")
    return labels.astype(np.min_scalar_type(len(class_names) - 1))


def spatial_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Returns the shape without the axes of length one that follow the third."""
    end = len(shape)
    while end > 3 and shape[end - 1] == 1:
        end -= 1
    return shape[:end]


def read_voxels(path: Path) -> Shaped[np.ndarray, "*axes"]:
    """Returns the voxels of a NIfTI file, scaled as its header says."""
    image = open_nifti(path)
    try:
        voxels = np.asarray(image.dataobj)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise ValueError(f"{path}: truncated or damaged NIfTI file ({reason(error)})") from error
    if voxels.dtype.kind not in "iuf":
        raise ValueError(f"{path}: voxels must be real numbers, found {voxels.dtype}")
    if voxels.size == 0:
        raise ValueError(f"{path}: the file has no voxels, its shape is {voxels.shape}")
    return voxels


def open_nifti(path: Path) -> Any:
    """Returns nibabel's image of a file, its voxels not yet read."""
    try:
        import nibabel
        from nibabel.filebasedimages import ImageFileError
        from nibabel.spatialimages import HeaderDataError
    except ImportError as error:
        raise ImportError(
            'NIfTI files need the package nibabel: pip install "lossbench[medical]"'
        ) from error
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    bad = (OSError, EOFError, ValueError, zlib.error, ImageFileError, HeaderDataError)
    try:
        image = nibabel.load(path, mmap=False)
    except bad as error:
        raise ValueError(f"{path}: not a readable NIfTI file ({reason(error)})") from error
    if not isinstance(image, nibabel.Nifti1Pair):  # the base of every version of NIfTI
        raise ValueError(f"{path}: not a NIfTI file but {type(image).__name__}")
    return image


def reason(error: Exception) -> str:
    """Returns the first line of an error's message, or its type where it has none."""
    return str(error).strip().split("\n")[0] or type(error).__name__


def listing(values: np.ndarray, most: int = 8) -> str:
    """Returns the first of some values, and how many there are where that is not all."""
    shown = ", ".join(f"{value:g}" for value in values[:most])
    return shown if len(values) <= most else f"{shown}, ... ({len(values)} values)"
