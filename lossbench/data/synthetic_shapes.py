"""Synthetic shapes on textured noise, 2D or 3D, with dials that set losses apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Integer

from lossbench.data.dataset import ArraySource, Dataset
from lossbench.data.levels import curve, disc, lesion, ring, spread_center
from lossbench.data.split import check_fold

# For each kind: its weight in the division of the foreground, and its level (see levels.py).
KINDS = {"disc": (8, disc), "ring": (5, ring), "curve": (3, curve), "lesion": (1, lesion)}


def shapes(
    *,
    size: Sequence[int] = (64, 64),
    classes: int | Sequence[str] = 4,
    foreground: float = 0.15,
    contrast: float = 3.0,
    blur: float = 1.0,
    label_noise: float = 0.0,
    train: int = 64,
    validation: int = 16,
    test: int = 32,
    seed: int = 0,
    fold: int | None = None,
    folds: int | None = None,
) -> Dataset:
    """Synthetic discs, rings, thin curves and small lesions on textured noise, 2D or 3D.

    All kinds have the same brightness, so only shape and size tell them apart. Of the foreground,
    discs, rings, curves and lesions take 8, 5, 3 and 1 parts: with a low `foreground`, lesions are
    a few voxels that a mean over voxels hardly sees.

    Args:
        size: Voxels per axis; two or three axes of at least 16.
        classes: How many of disc, ring, curve, lesion to draw, in this order; or their names.
        foreground: Mean share of the voxels that is not background, above 0 and at most 0.5.
        contrast: Mean brightness of the shapes above the background, in standard deviations of the
            noise.
        blur: Standard deviation in voxels of the Gaussian that smooths the shapes' edges in the
            image.
        label_noise: Share of the shapes whose *training* label is wrong: missed, half or twice as
            large, by equal chances. Images, validation and test labels do not depend on it.
        train: Number of training cases.
        validation: Number of validation cases.
        test: Number of test cases.
        seed: Seed of all cases. A case depends on the seed, the fold, its part and its index alone.
        fold: Which of `folds` data sets to draw.
        folds: Number of data sets for cross-validation. Each fold has fresh cases in all three
            parts.

    Returns:
        The data set, in memory.
    """
    size = tuple(int(n) for n in size)
    kinds = chosen_kinds(classes)
    if len(size) not in (2, 3) or min(size) < 16:
        raise ValueError(f"size must have 2 or 3 axes of at least 16 voxels, got {size}")
    if not 0 < foreground <= 0.5:
        raise ValueError(f"foreground must be above 0 and at most 0.5, got {foreground}")
    if not 0 <= label_noise <= 1:
        raise ValueError(f"label_noise must be from 0 to 1, got {label_noise}")
    if not (0 <= blur < math.inf):
        raise ValueError(f"blur must be at least 0 and finite, got {blur}")
    if not math.isfinite(contrast):
        raise ValueError(f"contrast must be finite, got {contrast}")
    if seed < 0:
        raise ValueError(f"seed must be at least 0, got {seed}")
    check_fold(fold, folds)

    sources = {}
    smoothers = [smoothing_matrix(n, blur) for n in size]
    grid = np.stack(np.meshgrid(*map(np.arange, size), indexing="ij"), -1).astype(np.float32)
    counts = {"train": train, "validation": validation, "test": test}
    for number, (part, count) in enumerate(counts.items()):
        if count < 1:
            raise ValueError(f"{part} must be at least 1 case, got {count}")
        images = np.empty((count, *size, 1), np.float32)
        labels = np.empty((count, *size), np.uint8)
        for i in range(count):
            # Always five numbers: NumPy pads seeds with zeros, so [1] and [1, 0] are one seed.
            key = [seed, 0 if fold is None else fold + 1, number, i]
            drawing = draw(grid, kinds, foreground, np.random.default_rng([*key, 0]))
            labels[i] = drawing.labels
            images[i, ..., 0] = render(
                drawing.labels, contrast, smoothers, np.random.default_rng([*key, 1])
            )
            if part == "train" and label_noise > 0:
                labels[i] = corrupt(drawing, label_noise, np.random.default_rng([*key, 2]))
        prefix = part if fold is None else f"fold{fold}-{part}"
        names = tuple(f"{prefix}-{i:04d}" for i in range(count))
        sources[part] = ArraySource(names, images, labels)

    wrong = f", {100 * label_noise:g} % of the training shapes mislabeled" if label_noise else ""
    cross = "" if folds is None else f" Fold {fold} of {folds}, which share no case."
    unit = "pixels" if len(size) == 2 else "voxels"
    return Dataset(
        name="shapes",
        description=(
            f"Synthetic shapes ({', '.join(kinds)}) in textured noise, {'x'.join(map(str, size))} "
            f"{unit}: {100 * foreground:g} % foreground, contrast {contrast:g} standard deviations "
            f"of the noise, edges blurred by {blur:g} {unit}{wrong}. {train} training, "
            f"{validation} validation and {test} test cases drawn from seed {seed}.{cross}"
        ),
        folds_share_cases=False,
        class_names=("background", *kinds),
        **sources,
    )


class Drawing(NamedTuple):
    """A case before it becomes an image.

    Attributes:
        labels: Class ids.
        levels: For each class the level of each voxel, by which the shape can be drawn larger or
            smaller.
    """

    labels: Integer[np.ndarray, "*space"]
    levels: list[Float[np.ndarray, "*space"]]


def draw(
    grid: Float[np.ndarray, "*space dims"],
    kinds: Sequence[str],
    foreground: float,
    rng: np.random.Generator,
) -> Drawing:
    """Draws each kind at its share of the voxels of `grid`, without overlap.

    The voxels of a kind are counted out, lowest level first, among those still free. So borders and
    neighbors may shape it but do not change its share.
    """
    size = grid.shape[:-1]
    labels = np.zeros(size, np.uint8)
    levels, centers = [], []
    total = sum(KINDS[kind][0] for kind in kinds)
    for class_id, kind in enumerate(kinds, start=1):
        weight, level = KINDS[kind]
        target = foreground * labels.size * weight / total
        # Rounded up or down by chance, so that the mean is the target even below one voxel.
        count = int(rng.uniform(0.5, 1.5) * target + rng.random())
        centers.append(spread_center(size, centers, rng))
        levels.append(level(grid, centers[-1], max(count, 1), rng))
        labels.flat[lowest(levels[-1], labels == 0, count)] = class_id
    return Drawing(labels, levels)


def render(
    labels: Integer[np.ndarray, "*space"],
    contrast: float,
    smoothers: Sequence[Float[np.ndarray, "_ _"]],
    rng: np.random.Generator,
) -> Float[np.ndarray, "*space"]:
    """Returns the image: shapes with blurred edges in noise of standard deviation 1."""
    brightness = contrast * rng.uniform(0.8, 1.2, labels.max() + 1)
    brightness[0] = 0
    image = brightness.astype(np.float32)[labels]
    for smoother in smoothers:  # each turn smooths the first axis and moves it to the end
        image = np.tensordot(image, smoother, axes=(0, 1))
    return image + pink_noise(labels.shape, rng)


def corrupt(
    drawing: Drawing, share: float, rng: np.random.Generator
) -> Integer[np.ndarray, "*space"]:
    """Returns labels in which a shape is, with chance `share`, missed, half or twice as large."""
    labels = drawing.labels.copy()
    for class_id, level in enumerate(drawing.levels, start=1):
        if rng.random() < share:
            own = labels == class_id
            count = int(rng.choice([0, 0.5, 2]) * own.sum())
            free = own | ((labels == 0) & (drawing.labels == 0))  # truth 0, and not yet grown over
            labels[own] = 0
            labels.flat[lowest(level, free, count)] = class_id
    return labels


def lowest(level: np.ndarray, free: np.ndarray, count: int) -> Integer[np.ndarray, " count"]:
    """Returns the flat positions of the `count` free voxels of the lowest level."""
    positions = np.flatnonzero(free)
    if count >= len(positions):
        return positions
    return positions[np.argpartition(level.ravel()[positions], count)[:count]]


def pink_noise(size: tuple[int, ...], rng: np.random.Generator) -> Float[np.ndarray, "*space"]:
    """Returns noise of mean 0 and standard deviation 1 with equal power in every octave.

    It has structure at the scale of every shape, so no smoothing removes it.
    """
    frequencies = np.meshgrid(
        *map(np.fft.fftfreq, size[:-1]), np.fft.rfftfreq(size[-1]), indexing="ij"
    )
    squared = np.sum([f**2 for f in frequencies], axis=0)
    squared.flat[0] = np.inf
    spectrum = np.fft.rfftn(rng.standard_normal(size, np.float32)) * squared ** (-len(size) / 4)
    noise = np.fft.irfftn(spectrum, size, axes=range(len(size)))
    return ((noise - noise.mean()) / noise.std()).astype(np.float32)


def smoothing_matrix(n: int, sigma: float) -> Float[np.ndarray, "n n"]:
    """Returns the matrix that smooths n voxels by a Gaussian, renormalized at the ends."""
    if sigma == 0:
        return np.eye(n, dtype=np.float32)
    distance = np.arange(n)[:, None] - np.arange(n)
    kernel = np.exp(-0.5 * (distance / sigma) ** 2)
    return (kernel / kernel.sum(1, keepdims=True)).astype(np.float32)


def chosen_kinds(classes: int | Sequence[str]) -> tuple[str, ...]:
    """Returns the names of the kinds that a number or a list of names stands for."""
    names = tuple(KINDS)
    chosen = names[:classes] if isinstance(classes, int) else tuple(classes)
    wrong_number = isinstance(classes, int) and not 1 <= classes <= len(names)
    unique = 0 < len(set(chosen)) == len(chosen)
    if wrong_number or not unique or not set(chosen) <= set(names):
        raise ValueError(
            f"classes must be a number from 1 to {len(names)} or different names among "
            f"{', '.join(names)}; got {classes!r}"
        )
    return chosen
