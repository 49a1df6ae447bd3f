"""The Medical Segmentation Decathlon's format: a folder with `dataset.json` and 3D NIfTI files."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from lossbench.data.dataset import Dataset
from lossbench.data.decathlon_task import Case, Task, check_case, read_task
from lossbench.data.nifti import read_image, read_labels
from lossbench.data.normalization import normalize
from lossbench.data.patches import CropSource, TileSource, Volume, check_foreground
from lossbench.data.reading import named, remembering
from lossbench.data.split import split

# A patch that nobody chose must fit a common device: 128 voxels along each axis.
LARGEST_DEFAULT_PATCH = 128**3


def decathlon(
    *,
    path: str | os.PathLike[str],
    patch: Sequence[int] | None = None,
    modality: str | Sequence[str] | None = None,
    foreground: float = 0.0,
    seed: int = 0,
    validation: float | int = 0.15,
    test: float | int | None = None,
    fold: int | None = None,
    folds: int | None = None,
    cache_gib: float = 2.0,
) -> Dataset:
    """Any task folder of the Medical Segmentation Decathlon: 3D NIfTI, one or several modalities.

    Cases are those under "training" in `dataset.json`, split by seed and name (see `split`). Axes
    stay as they are stored; nothing is resampled. Each modality of a case is normalized for itself
    (see `normalize`).

    Args:
        path: The task folder.
        patch: Voxels per axis of an example. Larger cases are cropped at random in training and
            tiled in validation and test; smaller ones are padded. None takes the smallest multiples
            of 8 that hold the largest case.
        modality: Names in `dataset.json` of the modalities to use, in the order of the channels;
            None takes all.
        foreground: Chance that a training crop is drawn around a foreground voxel. Only where cases
            exceed the patch.
        seed: Seed of the split.
        validation: Number or share of cases for validation.
        test: Number or share of cases for test; None is a fifth of them, or the fold's part where
            there are folds.
        fold: Which of the `folds` parts is the test set.
        folds: Number of parts for cross-validation.
        cache_gib: Memory for cases in GiB. All are read and checked at once; where not all
            fit, each is read again when it is needed.

    Returns:
        The data set; its spacing is the median over the cases.
    """
    folder = Path(path).expanduser()
    task = read_task(folder)
    names = [case.name for case in task.cases]
    if folds is None and test is None:
        test = 0.2
    parts = split(names, seed=seed, validation=validation, test=test, fold=fold, folds=folds)

    with ThreadPoolExecutor(os.cpu_count()) as pool:  # decompression releases the interpreter lock
        headers = list(pool.map(functools.partial(check_case, task=task), task.cases))
    channels = chosen_channels(task, modality)
    shapes = [header.shape[:3] for header in headers]
    patch = chosen_patch(patch, shapes)
    check_foreground(foreground, shapes, patch)
    sizes = [math.prod(shape) * (4 * len(channels) + 1) for shape in shapes]
    read = remembering(
        lambda i: read_case(task.cases[i], task.class_names, channels), sizes, cache_gib
    )

    def tiled(part: np.ndarray) -> TileSource:
        return TileSource(*named(part, names, read), [shapes[i] for i in part], patch)

    spacing = tuple(float(s) for s in np.median([header.spacing for header in headers], axis=0))
    modalities = " + ".join(task.modalities[c] for c in channels)
    how = f"fold {fold} of {folds}, seed {seed}" if folds else f"seed {seed}"
    return Dataset(
        name=f"decathlon: {task.name}",
        description=(
            f"{task.name}, in the format of the Medical Segmentation Decathlon: {len(names)} cases "
            f"split by name ({how}) into {len(parts.train)} training, {len(parts.validation)} "
            f"validation and {len(parts.test)} test cases. {modalities}, normalized case by case; "
            f"patches of {'x'.join(map(str, patch))} voxels; median spacing "
            f"{'x'.join(f'{s:g}' for s in spacing)} mm."
        ),
        train=CropSource(*named(parts.train, names, read), patch, foreground, seed),
        validation=tiled(parts.validation),
        test=tiled(parts.test),
        class_names=task.class_names,
        spacing=spacing,
    )


def chosen_channels(task: Task, modality: str | Sequence[str] | None) -> list[int]:
    """Returns the channels of the named modalities."""
    if modality is None:
        return list(range(len(task.modalities)))
    wanted = [modality] if isinstance(modality, str) else list(modality)
    unknown = [name for name in wanted if name not in task.modalities]
    if unknown or not wanted:
        raise ValueError(
            f"modality must be among {', '.join(task.modalities)} (of {task.name}), "
            f"got {modality!r}"
        )
    return [task.modalities.index(name) for name in wanted]


def chosen_patch(patch: Sequence[int] | None, shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """Returns the patch, or without one the smallest multiples of 8 that hold every case."""
    if patch is not None:
        chosen = tuple(int(p) for p in patch)
        if len(chosen) != 3 or min(chosen) < 1:
            raise ValueError(f"patch must be three positive numbers of voxels, got {patch!r}")
        return chosen
    chosen = tuple(-(-int(n) // 8) * 8 for n in np.max(shapes, axis=0))
    if math.prod(chosen) > LARGEST_DEFAULT_PATCH:
        raise ValueError(
            f"the largest case needs a patch of {'x'.join(map(str, chosen))} voxels, too many to "
            "choose unasked; set patch, for example to (96, 96, 96)"
        )
    return chosen


def read_case(case: Case, class_names: tuple[str, ...], channels: Sequence[int]) -> Volume:
    """Reads, checks and normalizes one case."""
    image = read_image(case.image)
    labels = read_labels(case.label, class_names)
    return Volume(np.stack([normalize(image[..., c]) for c in channels], -1), labels)
