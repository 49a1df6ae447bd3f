"""ENVI files: a header (`.hdr`) and the raw values in a file beside it."""

from __future__ import annotations

import contextlib
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Real

from lossbench.data.wavelengths import nanometers

INTERLEAVES = ("bsq", "bil", "bip")
COMPLEX = ("6", "9")


class Raster(NamedTuple):
    """What an ENVI or a TIFF file holds.

    Attributes:
        stored: Values as they are stored.
        wavelengths: In nanometers, one a band, or None.
        no_data: What stands for no data, or None.
        good_bands: False for the bands that the file calls bad, or None where it calls none so.
        scale: What the values are to be divided by.
    """

    stored: Real[np.ndarray, "height width bands"]
    wavelengths: tuple[float, ...] | None = None
    no_data: float | None = None
    good_bands: tuple[bool, ...] | None = None
    scale: float = 1.0


def header_of(path: Path) -> Path | None:
    """Returns the header that lies beside a raw file, or None."""
    for name in (f"{path.name}.hdr", f"{path.name}.HDR", f"{path.stem}.hdr", f"{path.stem}.HDR"):
        if (path.parent / name).is_file():
            return path.parent / name
    return None


def read_envi(path: Path) -> Raster:
    """Returns the content of an ENVI file; its values are read when they are looked at.

    Args:
        path: The header, or the raw file beside it.

    Raises:
        ValueError: Where the header or the raw file cannot be right.
        FileNotFoundError: Where one of the two is not there.
        ImportError: Without the package spectral.
    """
    try:
        from spectral.io import envi
    except ImportError as error:
        raise ImportError(
            f'{path}: ENVI files need the package spectral: pip install "lossbench[hyperspectral]"'
        ) from error

    header, raw = (path, None) if path.suffix.lower() == ".hdr" else (header_of(path), path)
    if header is None:
        raise FileNotFoundError(f"{path}: there is no header {path.stem}.hdr beside it")
    with plain_header(header) as readable, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names in capitals, which are read all the same
        try:
            fields = envi.read_envi_header(str(readable))
            envi.check_compatibility(fields)
            check_fields(fields)
            raw = raw or raw_beside(header, fields["interleave"])
            image: Any = envi.open(str(readable), str(raw))
        except FileNotFoundError:
            raise
        except Exception as error:  # whatever a wrong header leads to
            raise ValueError(f"{header}: not a sound ENVI header ({_said(error)})") from error
    if not hasattr(image, "open_memmap"):
        raise ValueError(f"{header}: this is a spectral library, not an image")
    needed = (
        image.offset + image.nrows * image.ncols * image.nbands * np.dtype(image.dtype).itemsize
    )
    if raw.stat().st_size < needed:
        raise ValueError(
            f"{raw}: truncated: the header {header.name} asks for {needed} bytes, the file has "
            f"{raw.stat().st_size}"
        )
    scale = number(header, fields, "reflectance scale factor")
    if scale is not None and not scale > 0:
        raise ValueError(f"{header}: reflectance scale factor must be above 0, found {scale:g}")
    return Raster(
        image.open_memmap(interleave="bip", writable=False),
        wavelengths=wavelengths_of(header, fields, image),
        no_data=number(header, fields, "data ignore value"),
        good_bands=good_bands_of(header, fields, image.nbands),
        scale=1.0 if scale is None else scale,
    )


@contextlib.contextmanager
def plain_header(path: Path) -> Iterator[Path]:
    """Gives a header in ASCII: itself, or a copy of one with letters such as that of um."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    content = path.read_bytes()
    if content.isascii():
        yield path
        return
    if not content.removeprefix(b"\xef\xbb\xbf").startswith(b"ENVI"):
        raise ValueError(f"{path}: not an ENVI header: its first word is not ENVI")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    text = text.replace("µ", "u").replace("μ", "u").replace("Å", "angstrom")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        copy.write_bytes(text.encode("ascii", "replace"))
        yield copy


def check_fields(fields: dict[str, Any]) -> None:
    """Raises a ValueError for a header that would be misread."""
    if fields["interleave"].lower() not in INTERLEAVES:
        raise ValueError(
            f"interleave must be one of {', '.join(INTERLEAVES)}, found {fields['interleave']!r}"
        )
    if fields["data type"] in COMPLEX:
        raise ValueError("the values are complex numbers; a cube holds real numbers")
    if fields["byte order"] not in ("0", "1"):
        raise ValueError(f"byte order must be 0 or 1, found {fields['byte order']!r}")
    for name in ("lines", "samples", "bands"):
        if int(fields[name]) < 1:
            raise ValueError(f"{name} must be at least 1, found {fields[name]}")


def raw_beside(header: Path, interleave: str) -> Path:
    """Returns the raw file of a header: of its name, with a usual ending or none."""
    endings = [
        "",
        ".img",
        ".dat",
        ".raw",
        ".bin",
        ".sli",
        ".hyspex",
        *(f".{i}" for i in INTERLEAVES),
    ]
    endings.insert(1, f".{interleave.lower()}")
    stem = header.with_suffix("")
    for ending in endings:
        for name in (f"{stem}{ending}", f"{stem}{ending.upper()}"):
            if Path(name).is_file():
                return Path(name)
    raise FileNotFoundError(
        f"{header}: there is no raw file beside it, such as {stem.name}{endings[1]} or "
        f"{stem.name}.img; another ending is found when the raw file is given instead"
    )


def good_bands_of(header: Path, fields: dict[str, Any], bands: int) -> tuple[bool, ...] | None:
    """Returns which bands the header's bad band list lets pass, or None without such a list."""
    if "bbl" not in fields:
        return None
    try:
        good = tuple(float(flag) != 0 for flag in listed(fields["bbl"]))
    except ValueError as error:
        raise ValueError(f"{header}: bbl must hold numbers ({_said(error)})") from error
    if len(good) != bands:
        raise ValueError(f"{header}: bbl has {len(good)} numbers for {bands} bands")
    return good


def wavelengths_of(header: Path, fields: dict[str, Any], image: Any) -> tuple[float, ...] | None:
    """Returns the header's wavelengths in nanometers, or None without any."""
    if not fields.get("wavelength"):
        return None
    try:
        values = [float(value) for value in listed(fields["wavelength"])]
    except ValueError as error:
        raise ValueError(f"{header}: wavelength must hold numbers ({_said(error)})") from error
    if len(values) != image.nbands:
        raise ValueError(f"{header}: wavelength has {len(values)} numbers for {image.nbands} bands")
    return nanometers(values, fields.get("wavelength units"))


def listed(value: str | list[str]) -> list[str]:
    """Returns the entries of a field; a comma may follow the last one."""
    entries = [value] if isinstance(value, str) else value
    return entries[:-1] if entries and entries[-1] == "" else entries


def number(header: Path, fields: dict[str, Any], name: str) -> float | None:
    """Returns a field that is one number, or None where it is missing."""
    try:
        return float(fields[name]) if name in fields else None
    except (TypeError, ValueError) as error:
        raise ValueError(f"{header}: {name} must be a number, found {fields[name]!r}") from error


def _said(error: Exception) -> str:
    """The first line of an error's message, or its type where it has none."""
    return str(error).strip().split("\n")[0] or type(error).__name__
