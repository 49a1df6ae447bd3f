"""Folders of 2D images, each with a binary mask in a file of its own."""

from __future__ import annotations

import glob
import itertools
import math
import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lossbench.data.dataset import Dataset
from lossbench.data.image_files import Header, read_header, read_image, read_mask
from lossbench.data.normalization import normalize
from lossbench.data.patches import CropSource, TileSource, Volume, check_foreground
from lossbench.data.reading import named, remembering
from lossbench.data.split import Split, split

# Whole images are padded to a multiple of this, which a network of up to five levels can halve.
MULTIPLE = 16
WHOLE = "whole images, padded to"


class Case(NamedTuple):
    """The files of one image.

    Attributes:
        name: What the file names share.
        image: Intensities.
        mask: Foreground.
        counted: What is counted, or None for everything.
    """

    name: str
    image: Path
    mask: Path
    counted: Path | None


def image_folder(
    *,
    path: str | os.PathLike[str],
    images: str = "images/{name}.png",
    masks: str = "masks/{name}.png",
    counted: str | None = None,
    group: str | None = None,
    foreground_name: str = "foreground",
    channels: str | Sequence[str] | None = None,
    patch: Sequence[int] | None = None,
    tile: Sequence[int] | None = None,
    foreground: float = 0.0,
    seed: int = 0,
    validation: float | int = 0.15,
    test: float | int | None = None,
    fold: int | None = None,
    folds: int | None = None,
    cache_gib: float = 2.0,
) -> Dataset:
    """Any folder of 2D images with a binary mask each: vessels, lesions, membranes.

    Images and masks are files of any format that Pillow reads, one upright image in each. A mask
    holds 0 and 1, or 0 and 255, and every mask has its image. Nothing is resampled. Each channel of
    an image is normalized for itself (see `normalize`), over the pixels that count; the others are
    0.

    Args:
        path: The folder.
        images: Where the images lie in it; `{name}` stands for the name of a case. Small and
            capital letters in extensions are the same. The public sets of retinal vessels fit:
            DRIVE has "images/{name}_training.tif"; HRF "images/{name}.jpg", which finds 01_dr.JPG
            and 01_g.jpg.
        masks: Where the masks lie: "1st_manual/{name}_manual1.gif", "manual1/{name}.tif". No other
            files may be named so.
        counted: Where masks lie of what is counted, such as the field of view:
            "mask/{name}_training_mask.gif". None counts every pixel.
        group: Regular expression that the start of a name matches; cases with the same first group
            are never torn apart by the split: r"(.*)[LR]" for the left and right eye of a patient.
            None: each case is its own.
        foreground_name: The name of the class of the mask.
        channels: Bands of the images to use, such as "G" or "RGB"; None takes all, opacity left
            out.
        patch: Pixels per axis, height first, of a training example. Larger images are cropped at
            random, smaller ones are padded. None takes the whole image, like `tile`.
        tile: Pixels per axis of an example of validation and test. None takes the whole image: the
            smallest multiples of 16 that hold the largest one.
        foreground: Chance that a training crop is drawn around a foreground pixel. Only where
            images exceed the patch.
        seed: Seed of the split, which is one of groups (see `split`).
        validation: Number or share of groups for validation.
        test: Number or share of groups for test; None is a fifth of them, or the fold's part where
            there are folds.
        fold: Which of the `folds` parts is the test set.
        folds: Number of parts for cross-validation.
        cache_gib: Memory for images in GiB. All are read and checked at once; where not all fit,
            each is read again when it is needed.

    Returns:
        The data set; its spacing is not known.
    """
    if not cache_gib >= 0:
        raise ValueError(f"cache_gib must be at least 0, got {cache_gib!r}")
    folder = Path(path).expanduser()
    cases = find_cases(folder, images=images, masks=masks, counted=counted)
    groups = groups_of([case.name for case in cases], group)
    names = sorted(set(groups))
    if folds is None and test is None:
        test = 0.2
    chosen = split(names, seed=seed, validation=validation, test=test, fold=fold, folds=folds)
    owners = np.array([names.index(g) for g in groups])
    parts = Split(*(np.flatnonzero(np.isin(owners, part)) for part in chosen))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        headers = list(pool.map(check_case, cases))
    bands = chosen_bands(cases, headers, channels)
    shapes = [header.shape for header in headers]
    trained = WHOLE if patch is None else "patches of"
    tested = WHOLE if tile is None else "tiles of"
    patch, tile = chosen_size("patch", patch, shapes), chosen_size("tile", tile, shapes)
    check_foreground(foreground, shapes, patch)
    sizes = [math.prod(shape) * (4 * len(bands) + 2) for shape in shapes]
    read = remembering(lambda i: read_case(cases[i], bands), sizes, cache_gib)
    every = [case.name for case in cases]
    if not any(read(i).labels.any() for i in range(len(cases))):
        counts = "" if counted is None else " that counts"
        raise ValueError(f"{folder}: no mask {masks} has a pixel of the foreground{counts}")

    def tiled(part: np.ndarray) -> TileSource:
        return TileSource(*named(part, every, read), [shapes[i] for i in part], tile)

    how = f"fold {fold} of {folds}, seed {seed}" if folds else f"seed {seed}"
    many = f" of {len(names)} groups" if group else ""
    return Dataset(
        name=f"image_folder: {folder.resolve().name}",
        description=(
            f"{folder.resolve().name}: {len(cases)} images{many}, split by name ({how}) into "
            f"{len(parts.train)} training, {len(parts.validation)} validation and "
            f"{len(parts.test)} test images. Channels {' + '.join(bands)}, normalized image by "
            f"image; training on {trained} {_size(patch)} pixels, evaluation on {tested} "
            f"{_size(tile)}."
        ),
        train=CropSource(*named(parts.train, every, read), patch, foreground, seed),
        validation=tiled(parts.validation),
        test=tiled(parts.test),
        class_names=("background", foreground_name),
    )


def find_cases(
    folder: Path, *, images: str, masks: str, counted: str | None = None
) -> tuple[Case, ...]:
    """Returns the cases of a folder, by name; that their masks are there is checked later.

    Raises:
        ValueError: Where a mask has no image, or two files differ in an extension's capitals alone.
    """
    given = {"images": images, "masks": masks}
    if counted is not None:
        given["counted"] = counted
    for option, template in given.items():
        if template.count("{name}") != 1:
            raise ValueError(f"{option} must hold {{name}} once, got {template!r}")
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: there is no such data folder")

    files = {option: files_of(folder, template) for option, template in given.items()}
    for one, other in itertools.combinations(given, 2):
        if files[one] and files[one] == files[other]:
            raise ValueError(f"{one} and {other} name the same files, {given[one]!r}")
    found = files["images"]

    def beside(option: str, name: str) -> Path:
        return files[option].get(name) or folder / given[option].replace("{name}", name)

    # Where masks lie beside the images, each may have the form of the other's name.
    others = {beside(option, name) for option in given if option != "images" for name in found}
    cases = tuple(
        Case(name, file, beside("masks", name), beside("counted", name) if counted else None)
        for name, file in found.items()
        if file not in others
    )
    if not cases:
        raise FileNotFoundError(f"{folder}: there is no image {images}")
    known = others | set(found.values())
    for name, mask in files["masks"].items():
        if mask not in known:
            raise ValueError(
                f"{mask}: the mask has no image {folder / images.replace('{name}', name)}"
            )
    return cases


def files_of(folder: Path, template: str) -> dict[str, Path]:
    """Returns the files that fit a template, by name; capitals in the extension are as good."""
    before, after = template.split("{name}")
    middle, dot, extension = after.rpartition(".")
    if not dot or "/" in extension:
        middle, dot, extension = after, "", ""
    name = f"{re.escape(before)}([^/]+){re.escape(middle)}"
    form = re.compile(f"{name}(?i:{re.escape(dot + extension)})")
    wild = f"{glob.escape(before)}*{glob.escape(middle)}{dot}" + "*" * bool(dot)
    found: dict[str, Path] = {}
    for file in sorted(folder.glob(wild)):
        match = form.fullmatch(file.relative_to(folder).as_posix())
        if not match or file.name.startswith("."):  # such as the resource forks of macOS
            continue
        if match[1] in found:
            raise ValueError(f"{found[match[1]]}: {file.name} is there, too; which one is meant?")
        found[match[1]] = file
    return found


def groups_of(names: Sequence[str], group: str | None) -> list[str]:
    """Returns the group of each case: what the expression finds, or the name itself."""
    if group is None:
        return list(names)
    try:
        form = re.compile(group)
    except re.error as error:
        raise ValueError(f"group is no regular expression: {group!r} ({error})") from error
    if not form.groups:
        raise ValueError(f"group must hold a group in parentheses, got {group!r}")
    found = {name: form.match(name) for name in names}
    for name, match in found.items():
        if not match or match[1] is None:
            raise ValueError(f"group {group!r} finds nothing in the name {name!r}")
    return [str(match[1]) for match in found.values() if match]


def check_case(case: Case) -> Header:
    """Returns the image's header after a check against those of its masks."""
    header = read_header(case.image)
    for mask in (case.mask, case.counted):
        if mask is None:
            continue
        if not mask.is_file():
            raise FileNotFoundError(f"{mask}: no such file; the image {case.image} needs it")
        shape = read_header(mask).shape
        if shape != header.shape:
            raise ValueError(
                f"{case.image}: the image has {_size(header.shape)} pixels, but its mask {mask} "
                f"has {_size(shape)}"
            )
    return header


def chosen_bands(
    cases: Sequence[Case], headers: Sequence[Header], channels: str | Sequence[str] | None
) -> tuple[str, ...]:
    """Returns the names of the bands to use, which every image has."""
    wanted = headers[0].bands if channels is None else tuple(channels)
    for case, header in zip(cases, headers, strict=True):
        if channels is None and header.bands != wanted:
            raise ValueError(
                f"{case.image}: the image has the channels {', '.join(header.bands)}, but "
                f"{cases[0].image} has {', '.join(wanted)}; say which to use in channels"
            )
        if not wanted or not set(wanted) <= set(header.bands):
            raise ValueError(
                f"channels must be among {', '.join(header.bands)} (of {case.image}), got "
                f"{channels!r}"
            )
    if len(set(wanted)) < len(wanted):
        raise ValueError(f"channels must name each band once, got {channels!r}")
    return wanted


def chosen_size(
    option: str, size: Sequence[int] | None, shapes: Sequence[tuple[int, int]]
) -> tuple[int, ...]:
    """Returns the size asked for, or without one that of the largest image, padded."""
    if size is None:
        return tuple(-(-int(n) // MULTIPLE) * MULTIPLE for n in np.max(shapes, axis=0))
    chosen = tuple(int(n) for n in size)
    if len(chosen) != 2 or min(chosen) < 1:
        raise ValueError(f"{option} must be two positive numbers of pixels, got {size!r}")
    return chosen


def read_case(case: Case, bands: Sequence[str]) -> Volume:
    """Reads, checks and normalizes one case."""
    pixels = read_image(case.image, bands)
    mask = read_mask(case.mask)
    where = None if case.counted is None else read_mask(case.counted)
    inside = np.ones(mask.shape, bool) if where is None else where
    if not inside.any():
        raise ValueError(f"{case.counted}: the mask of what is counted is empty")
    image = np.zeros(pixels.shape, np.float32)
    for band in range(len(bands)):
        image[inside, band] = normalize(pixels[inside, band])
    return Volume(image, (mask & inside).astype(np.uint8), where)


def _size(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))
