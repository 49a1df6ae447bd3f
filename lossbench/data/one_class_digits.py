"""One digit is normal, the others are anomalies: MNIST and sets in its files."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
from jaxtyping import Float, Integer

from lossbench.data.dataset import Dataset, SampleSource
from lossbench.data.idx_files import read_idx
from lossbench.data.split import check_fold, part_size

FILES = {
    ("train", "images"): "train-images-idx3-ubyte",
    ("train", "labels"): "train-labels-idx1-ubyte",
    ("test", "images"): "t10k-images-idx3-ubyte",
    ("test", "labels"): "t10k-labels-idx1-ubyte",
}
# The same names as others write them: with a prefix, "test" for "t10k", a dot before "idx".
OTHERWISE = {"t10k": "(?:t10k|test)", "-idx": "[-.]idx"}
CONTRASTS = (None, "global_l1")


def one_class_digits(
    *,
    path: str | os.PathLike[str],
    normal: int | None = None,
    contrast: str | None = None,
    train: int | None = None,
    validation: float | int = 0.1,
    test: int | None = None,
    seed: int = 0,
    fold: int | None = None,
    folds: int | None = None,
) -> Dataset:
    """MNIST with one digit as the normal class: train on it alone, test on all ten.

    The split is the official one. Training images are those of the digit, less the validation
    images, which are normal as well. Fashion-MNIST and KMNIST come in the same files. A fold is no
    part of the data but a task: another class is the normal one.

    Args:
        path: The folder of the four IDX files, packed by gzip or not.
        normal: The label of the normal class; None is the first class, or that of the fold.
        contrast: None gives values from 0 to 1. "global_l1" takes the mean off each image, divides
            it by its mean absolute value, and then brings the range of the training images to 0 to
            1, as Deep SVDD does; other images may leave that range.
        train: Use this number of training images; None takes all.
        validation: Number or share of the digit's training images for validation.
        test: Use this number of test images, drawn by the seed; None takes all.
        seed: Seed of what is drawn.
        fold: Which of the `folds` classes, in rising order, is the normal one.
        folds: Number of tasks, at most the number of classes.

    Returns:
        The data set. An image has one label, so `labels` and `where` are scalars; all images of a
        part are one case.

    Reference: Ruff et al., Deep One-Class Classification, ICML 2018.
    """
    if contrast not in CONTRASTS:
        raise ValueError(f"contrast must be None or 'global_l1', got {contrast!r}")
    if seed < 0:
        raise ValueError(f"seed must be at least 0, got {seed}")
    folder = Path(path).expanduser()
    images, labels = read_part(folder, "train")
    test_images, test_labels = read_part(folder, "test")
    classes = np.unique(labels)
    if folds is not None:
        check_fold(fold, folds)
        if normal is not None or not 1 <= folds <= len(classes):
            raise ValueError(
                f"folds={folds} makes each of so many of the {len(classes)} classes the normal one "
                f"in turn; leave normal out, got {normal!r}"
            )
    normal = int(classes[fold or 0]) if normal is None else normal
    if normal not in classes:
        raise ValueError(f"normal must be one of {', '.join(map(str, classes))}, got {normal!r}")
    if images.shape[1:] != test_images.shape[1:]:
        raise ValueError(
            f"{folder}: training images are {images.shape[1:]}, test images {test_images.shape[1:]}"
        )

    own = np.flatnonzero(labels == normal)
    held = part_size(validation, len(own), "validation")
    if held >= len(own):
        raise ValueError(f"validation={validation} leaves none of {len(own)} images to train on")
    own = np.random.default_rng([seed, 0]).permutation(own)
    held_out, learned = np.sort(own[:held]), own[held:]
    learned = np.sort(_first("train", train, learned))
    tested = np.random.default_rng([seed, 1]).permutation(len(test_labels))
    tested = np.sort(_first("test", test, tested))
    odd = test_labels[tested] != normal

    x = scaled(images[learned], contrast)
    low, high = (float(x.min()), float(x.max())) if contrast else (0.0, 1.0)
    span = high - low if high > low else 1.0

    def part(name: str, pixels: np.ndarray, labels: np.ndarray) -> SampleSource:
        values = ((scaled(pixels, contrast) - low) / span).astype(np.float32)
        return SampleSource((f"{name}-{normal}",), values[..., None], labels.astype(np.int32))

    treated = "" if contrast is None else " Contrast is normalized by the L1 norm of each image."
    return Dataset(
        name=f"one_class_digits: {normal}",
        description=(
            f"{folder.resolve().name}, class {normal} normal and all others anomalous, in the "
            f"official split: {len(learned)} training and {held} validation images, all normal "
            f"(seed {seed}); {len(tested)} test images, {int(odd.sum())} of them anomalous."
            f"{treated}"
        ),
        train=part("train", images[learned], np.zeros(len(learned))),
        validation=part("validation", images[held_out], np.zeros(held)),
        test=part("test", test_images[tested], odd),
        class_names=("normal", "anomalous"),
        folds_are_tasks=True,
    )


def read_part(
    folder: Path, part: str
) -> tuple[Integer[np.ndarray, "images height width"], Integer[np.ndarray, " images"]]:
    """Returns the images and labels of a part, "train" or "test"."""
    image_file, label_file = (find_file(folder, part, what) for what in ("images", "labels"))
    images, labels = read_idx(image_file), read_idx(label_file)
    if images.ndim != 3 or images.dtype != np.uint8:
        raise ValueError(
            f"{image_file}: expected images of 8 bits with height and width, found "
            f"{images.dtype} of {images.shape}"
        )
    if labels.shape != images.shape[:1]:
        raise ValueError(
            f"{label_file}: {labels.shape} labels for the {len(images)} images of {image_file.name}"
        )
    return images, labels


def find_file(folder: Path, part: str, what: str) -> Path:
    """Returns one of the four files, packed or not."""
    name = FILES[part, what]
    usual = ", ".join(f"{file}(.gz)" for file in FILES.values())
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: there is no such folder; it must hold {usual}")
    form = f"(?:.*-)?{name}(?:\\.gz)?"
    for usual_part, otherwise in OTHERWISE.items():
        form = form.replace(usual_part, otherwise)
    found = [file for file in sorted(folder.iterdir()) if re.fullmatch(form, file.name)]
    if not found:
        raise FileNotFoundError(f"{folder / name}: no such file; the folder must hold {usual}")
    if len({file.name.removesuffix(".gz") for file in found}) > 1:
        there = ", ".join(file.name for file in found)
        raise ValueError(f"{folder}: which file is {name}? There are: {there}")
    return found[0]


def scaled(
    images: Integer[np.ndarray, "images height width"], contrast: str | None
) -> Float[np.ndarray, "images height width"]:
    """Returns images from 0 to 1; with contrast, centered and over their mean absolute value."""
    x = images.astype(np.float32) / np.float32(255)
    if contrast is None:
        return x
    x = x - x.mean((1, 2), keepdims=True)
    size = np.abs(x).mean((1, 2), keepdims=True)
    return x / np.where(size > 0, size, 1)


def _first(option: str, count: int | None, order: np.ndarray) -> np.ndarray:
    """The first of some indices, all where no number is given."""
    if count is None:
        return order
    if not 1 <= count <= len(order):
        raise ValueError(f"{option} must be from 1 to {len(order)} images, got {count}")
    return order[:count]
