"""The files of hyperspectral scenes: which there are, and that they fit together."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from lossbench.data.array_files import ENDINGS
from lossbench.data.cubes import Cube, read_cube
from lossbench.data.patches import Volume

# Wavelengths of one sensor may differ by this between files, in nanometers.
SAME_WAVELENGTH = 1.0


@dataclasses.dataclass(frozen=True)
class Scenes:
    """Scenes of the same bands.

    Attributes:
        title: What a report calls them.
        names: The name of each scene.
        shapes: Height and width of each scene.
        read: Function from a scene's index to its volume.
        bands: How many bands every scene has.
        dropped: How many bands were left out as bad.
        wavelengths: Of the bands in nanometers, or None where they are not known.
    """

    title: str
    names: tuple[str, ...]
    shapes: tuple[tuple[int, int], ...]
    read: Callable[[int], Volume]
    bands: int
    dropped: int
    wavelengths: tuple[float, ...] | None


def read_scenes(
    path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    key: str | None,
    mask_key: str | None,
    masks: str | None,
    without_mask: str,
    anomalous: Sequence[int] | None,
    ignored: Sequence[int],
    bands: Sequence[int] | None,
    bad_bands: str,
    cache_gib: float,
) -> Scenes:
    """Reads and checks scenes; the arguments are those of `hyperspectral`."""
    for option, value, allowed in (
        ("without_mask", without_mask, ("error", "normal")),
        ("bad_bands", bad_bands, ("drop", "keep")),
    ):
        if value not in allowed:
            raise ValueError(f"{option} must be one of {', '.join(allowed)}, got {value!r}")
    if not cache_gib >= 0:
        raise ValueError(f"cache_gib must be at least 0, got {cache_gib!r}")
    if masks is not None and masks.count("{name}") != 1:
        raise ValueError(f"masks must hold {{name}} once, got {masks!r}")
    files = find_files(path, masks)

    def cube_of(file: Path) -> Cube:
        mask = None if masks is None else file.parent / masks.replace("{name}", file.stem)
        if mask is not None and without_mask == "normal" and not mask.is_file():
            mask = None
        cube = read_cube(
            file,
            key=key,
            mask_key=mask_key,
            mask_path=mask,
            anomalous=anomalous,
            ignored=ignored,
        )
        if cube.labels is None and without_mask == "error":
            raise ValueError(
                f"{file}: there is no mask in the file; name it with mask_key, or its file with "
                "masks; without_mask='normal' takes such a scene for normal throughout"
            )
        return cube

    first: Cube | None = None
    kept: dict[int, Volume] = {}
    room = cache_gib * 2**30
    shapes, chosen, wavelengths, total = [], np.zeros(0, int), None, 0
    all_good = np.zeros(0, bool)
    for i, file in enumerate(files):
        cube = cube_of(file)
        if first is None:
            first, total = cube, cube.data.shape[-1]
            all_good = np.ones(total, bool)
        check_bands(file, cube, files[0], first)
        wavelengths = wavelengths or cube.wavelengths
        if cube.good_bands is not None:
            all_good &= np.asarray(cube.good_bands)
        shapes.append(cube.data.shape[:2])
        volume = volume_of(cube)
        room -= volume.image.nbytes
        if room >= 0:
            kept[i] = volume
    wanted = chosen_bands(bands, total)
    chosen = wanted[all_good[wanted]] if bad_bands == "drop" else wanted
    if not len(chosen):
        raise ValueError(f"{files[0]}: no band is left: all {len(wanted)} are called bad")
    if len(chosen) < total:
        kept = {i: take(volume, chosen) for i, volume in kept.items()}
        wavelengths = wavelengths and tuple(wavelengths[b] for b in chosen)

    def read(i: int) -> Volume:
        return kept[i] if i in kept else take(volume_of(cube_of(files[i])), chosen)

    single = len(files) == 1
    title = files[0].stem if single else files[0].resolve().parent.name
    return Scenes(
        title=title,
        names=names_of(files),
        shapes=tuple((int(h), int(w)) for h, w in shapes),
        read=read,
        bands=len(chosen),
        dropped=len(wanted) - len(chosen),
        wavelengths=wavelengths,
    )


def find_files(
    path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], masks: str | None = None
) -> list[Path]:
    """Returns the files that a path, a folder or a list stands for; masks are none of them."""
    if not isinstance(path, str | os.PathLike):
        files = [Path(one).expanduser() for one in path]
        if not files:
            raise ValueError("path is an empty list; name at least one file")
        return files
    one = Path(path).expanduser()
    if not one.exists():
        raise FileNotFoundError(f"{one}: there is no such file or folder")
    if not one.is_dir():
        return [one]
    there = sorted(
        file
        for file in one.iterdir()
        if file.suffix.lower() in ENDINGS and not file.name.startswith(".") and file.is_file()
    )
    if masks is not None:
        others = {(file.parent / masks.replace("{name}", file.stem)).resolve() for file in there}
        there = [file for file in there if file.resolve() not in others]
    if not there:
        raise FileNotFoundError(
            f"{one}: there is no scene in this folder, no file that ends in {', '.join(ENDINGS)}"
        )
    return there


def names_of(files: Sequence[Path]) -> tuple[str, ...]:
    """Returns the shortest names that tell files apart: without ending, with it, or with folder."""
    for name in (
        lambda file: file.stem,
        lambda file: file.name,
        lambda file: file.resolve().as_posix(),
    ):
        names = tuple(name(file) for file in files)
        if len(set(names)) == len(names):
            return names
    raise ValueError("path names a file twice")


def check_bands(file: Path, cube: Cube, other: Path, first: Cube) -> None:
    """Raises a ValueError where two scenes have different bands."""
    have, had = cube.data.shape[-1], first.data.shape[-1]
    if have != had:
        raise ValueError(
            f"{file}: the scene has {have} bands, but {other} has {had}; a data set is of scenes "
            "with the same bands: give those of one sensor as a list in path"
        )
    if cube.wavelengths and first.wavelengths:
        apart = np.abs(np.subtract(cube.wavelengths, first.wavelengths))
        if apart.max() > SAME_WAVELENGTH:
            band = int(apart.argmax())
            raise ValueError(
                f"{file}: band {band} is at {cube.wavelengths[band]:g} nm, but in {other} at "
                f"{first.wavelengths[band]:g} nm; a data set is of scenes with the same bands"
            )


def chosen_bands(bands: Sequence[int] | None, total: int) -> np.ndarray:
    """Returns the numbers of the bands to use."""
    if bands is None:
        return np.arange(total)
    chosen = [int(band) for band in bands]
    if not chosen or len(set(chosen)) < len(chosen) or not set(chosen) <= set(range(total)):
        raise ValueError(
            f"bands must be different numbers from 0 to {total - 1}, got {list(bands)!r}"
        )
    return np.array(chosen)


def volume_of(cube: Cube) -> Volume:
    """Returns a cube as a volume; without a mask all of it is normal."""
    labels = np.zeros(cube.data.shape[:2], bool) if cube.labels is None else cube.labels
    return Volume(cube.data, labels.astype(np.uint8), cube.where)


def take(volume: Volume, bands: np.ndarray) -> Volume:
    """Returns a volume of some bands."""
    if np.array_equal(bands, np.arange(volume.image.shape[-1])):
        return volume
    return volume._replace(image=np.ascontiguousarray(volume.image[..., bands]))
