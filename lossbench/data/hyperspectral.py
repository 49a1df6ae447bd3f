"""Anomalies in hyperspectral scenes: the user's own files."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from lossbench.data.dataset import Dataset, Source
from lossbench.data.patches import Volume
from lossbench.data.scene_files import Scenes, read_scenes
from lossbench.data.scene_sources import (
    PixelSource,
    Window,
    WindowSource,
    draws_of,
    grid,
    inside,
    normal_only,
)
from lossbench.data.split import Split, split

PROTOCOLS = ("scene", "tiles", "files")
CLASS_NAMES = ("normal", "anomalous")


def hyperspectral(
    *,
    path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    protocol: str,
    train_on: str | None = None,
    key: str | None = None,
    mask_key: str | None = None,
    masks: str | None = None,
    without_mask: str = "error",
    anomalous: Sequence[int] | None = None,
    ignored: Sequence[int] = (),
    bands: Sequence[int] | None = None,
    bad_bands: str = "drop",
    tile: int = 32,
    pixels: int | None = None,
    seed: int = 0,
    validation: float | int = 0.2,
    test: float | int | None = None,
    fold: int | None = None,
    folds: int | None = None,
    cache_gib: float = 4.0,
) -> Dataset:
    """Hyperspectral scenes with masks of anomalies: MATLAB, HDF5, NPZ, NPY, ENVI or TIFF files.

    Values are those of the files; nothing is normalized. All files must have the same bands. For
    formats, and for how cube and mask are found in a file, see `read_cube`.

    Args:
        path: A file, a folder of files, or a list of files.
        protocol: What is trained on and what is tested on. "scene": training, validation and test
            are the same scenes whole, as unsupervised detectors such as RX are judged; of such a
            score the labels may have chosen nothing. "tiles": each scene is cut into tiles, split
            by seed. "files": the scenes are split by name.
        train_on: "normal" counts no anomalous pixel in training; "all" trains on contaminated
            scenes. None is "all" for the protocol "scene", where it takes labels of the test
            pixels to know what is normal, and "normal" for the others.
        key: Name of the cube in each file.
        mask_key: Name of the mask in each file.
        masks: Where masks lie in files of their own, from the folder of the cube; `{name}` stands
            for the cube's name without its ending: "{name}_gt.png".
        without_mask: What a file without a mask is: an "error", or "normal" throughout.
        anomalous: Values of the masks that mean anomalous; None is every value but 0.
        ignored: Values of the masks that mean not to be counted.
        bands: Numbers of the bands to use, counted from 0; None takes all.
        bad_bands: "drop" leaves out bands that a file calls bad or has no data in, "keep" keeps
            them.
        tile: Pixels that a side of a tile has at most; for the protocol "tiles". Neighbors are
            alike, so that small tiles make the parts alike, too.
        pixels: A training example is this number of pixels drawn at random; None takes whole scenes
            or tiles. Validation and test are scenes and tiles in any case.
        seed: Seed of the split.
        validation: Number or share of tiles (of each scene) or files for validation.
        test: Number or share of them for test; None is a fifth, or the fold's part where there are
            folds.
        fold: Which of the `folds` parts is the test set.
        folds: Number of parts for cross-validation; not for the protocol "scene".
        cache_gib: Memory for scenes in GiB. All are read and checked at once; those that do not fit
            are read again when they are needed.

    Returns:
        The data set. An example is a scene or a tile; a scene is a case, also where its tiles are
        in all three parts. Scenes of different sizes are padded to the largest.
    """
    if protocol not in PROTOCOLS:
        raise ValueError(f"protocol must be one of {', '.join(PROTOCOLS)}, got {protocol!r}")
    if train_on is None:
        train_on = "all" if protocol == "scene" else "normal"
    if train_on not in ("normal", "all"):
        raise ValueError(f"train_on must be 'normal' or 'all', got {train_on!r}")
    if tile < 1:
        raise ValueError(f"tile must be at least 1 pixel, got {tile}")
    if protocol == "scene" and (fold is not None or folds is not None or test is not None):
        raise ValueError(
            "protocol 'scene' trains and tests on the same scenes: it has no folds and no test "
            "share"
        )
    scenes = read_scenes(
        path,
        key=key,
        mask_key=mask_key,
        masks=masks,
        without_mask=without_mask,
        anomalous=anomalous,
        ignored=ignored,
        bands=bands,
        bad_bands=bad_bands,
        cache_gib=cache_gib,
    )
    if folds is None and test is None:
        test = 0.2
    sizes = {"seed": seed, "validation": validation, "test": test, "fold": fold, "folds": folds}
    how = f"seed {seed}" if folds is None else f"fold {fold} of {folds}, seed {seed}"
    every = [(i, _all_of(shape)) for i, shape in enumerate(scenes.shapes)]
    if protocol == "scene":
        parts = (every, every, every)
        said = (
            "Training, validation and test are the same scenes: the scores say how well anomalies "
            "stand out in a scene that was trained on, and nothing about other scenes."
        )
    elif protocol == "files":
        chosen = split(scenes.names, **sizes)
        parts = tuple([every[i] for i in part] for part in chosen)
        said = f"Scenes are split by name ({how})."
    else:
        tiled = _split_tiles(scenes, tile, sizes)
        parts = tuple(tiled)
        said = (
            f"Each scene is cut into tiles of at most {tile}x{tile} pixels, which are split "
            f"({how}) into {len(parts[0])} training, {len(parts[1])} validation and "
            f"{len(parts[2])} test tiles without overlap; a scene is in all parts."
        )
    counts = [_counts(scenes, part) for part in parts]
    if counts[2][1] == 0:
        raise ValueError(
            "no pixel of the test part is anomalous, so that nothing could be scored; another "
            "seed, smaller tiles or a larger test part may help"
        )
    if counts[0][0] + (counts[0][1] if train_on == "all" else 0) == 0:
        raise ValueError("no pixel of the training part is to be trained on")
    if train_on == "normal":
        trained = "Training counts normal pixels only"
        trained += ", by the labels of the test pixels." if protocol == "scene" else "."
    else:
        trained = f"Training counts all pixels, {counts[0][1]} anomalous ones among them."
    names = ("training", "validation", "test")
    numbers = "; ".join(
        f"{name} {normal + odd} pixels, {odd} anomalous"
        for name, (normal, odd) in zip(names, counts, strict=True)
    )
    many = "one scene" if len(scenes.names) == 1 else f"{len(scenes.names)} scenes"
    bands_said = f"{scenes.bands} bands"
    if scenes.wavelengths:
        bands_said += f" from {min(scenes.wavelengths):g} to {max(scenes.wavelengths):g} nm"
    if scenes.dropped:
        bands_said += f" ({scenes.dropped} bad ones dropped)"
    return Dataset(
        name=f"hyperspectral: {scenes.title}",
        description=(
            f"{scenes.title}: {many} of {bands_said}. {said} {trained} Counted: {numbers}."
        ),
        train=_training(scenes, parts[0], train_on, pixels, seed),
        validation=_windows(scenes, parts[1]),
        test=_windows(scenes, parts[2]),
        class_names=CLASS_NAMES,
        wavelengths=scenes.wavelengths,
    )


Part = list[tuple[int, Window]]


def _all_of(shape: tuple[int, int]) -> Window:
    return slice(0, shape[0]), slice(0, shape[1])


def _split_tiles(scenes: Scenes, tile: int, sizes: dict) -> tuple[Part, Part, Part]:
    """The tiles of each part; every scene is split for itself."""
    parts: tuple[Part, Part, Part] = ([], [], [])
    for case, (name, shape) in enumerate(zip(scenes.names, scenes.shapes, strict=True)):
        windows = grid(shape, tile)
        names = [f"{name}/{w[0].start}-{w[1].start}" for w in windows]
        try:
            chosen: Split = split(names, **sizes)
        except ValueError as error:
            raise ValueError(f"the {len(windows)} tiles of the scene {name}: {error}") from error
        for part, indices in zip(parts, chosen, strict=True):
            part.extend((case, windows[i]) for i in indices)
    return parts


def _counts(scenes: Scenes, part: Part) -> tuple[int, int]:
    """How many counted pixels of a part are normal, and how many anomalous."""
    normal = odd = 0
    for case, window in part:
        volume = scenes.read(case)
        labels = volume.labels[window]
        counted = labels[slice(None) if volume.where is None else volume.where[window]]
        odd += int(counted.astype(bool).sum())
        normal += int((counted == 0).sum())
    return normal, odd


def _windows(scenes: Scenes, part: Part, read=None) -> WindowSource:
    """The windows of a part, in the largest one's shape; its cases are the scenes in it."""
    cases = sorted({case for case, _ in part})
    where = {case: number for number, case in enumerate(cases)}
    size = np.max([[w[0].stop - w[0].start, w[1].stop - w[1].start] for _, w in part], axis=0)
    get = read or scenes.read
    return WindowSource(
        names=tuple(scenes.names[case] for case in cases),
        read=lambda number: get(cases[number]),
        windows=tuple((where[case], window) for case, window in part),
        size=(int(size[0]), int(size[1])),
    )


def _training(scenes: Scenes, part: Part, train_on: str, pixels: int | None, seed: int) -> Source:
    """What is trained on: windows whole, or pixels drawn from them."""

    def read(case: int) -> Volume:
        volume = scenes.read(case)
        return normal_only(volume) if train_on == "normal" else volume

    if pixels is None:
        return _windows(scenes, part, read)
    cases = sorted({case for case, _ in part})
    within = {
        case: inside(scenes.shapes[case], [w for c, w in part if c == case]) for case in cases
    }

    def trained(case: int) -> Volume:
        volume = read(case)
        counted = within[case]
        return volume._replace(where=counted if volume.where is None else volume.where & counted)

    counts = {case: int(np.asarray(trained(case).where).sum()) for case in cases}
    cases = [case for case in cases if counts[case]]
    return PixelSource(
        names=tuple(scenes.names[case] for case in cases),
        read=lambda number: trained(cases[number]),
        pixels=pixels,
        draws=draws_of([counts[case] for case in cases], pixels),
        seed=seed,
    )
