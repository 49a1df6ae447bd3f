"""Synthetic hyperspectral scenes: mixed materials, and small targets of other materials."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from lossbench.data.dataset import Dataset
from lossbench.data.patches import Volume
from lossbench.data.scene_drawing import Scenery, noise_of, place_targets, render
from lossbench.data.scene_sources import PixelSource, WindowSource, draws_of, normal_only
from lossbench.data.spectra import different_spectra
from lossbench.data.split import check_fold
from lossbench.data.synthetic_shapes import smoothing_matrix

# Radians between any two materials, if such are found.
APART = 0.15


def scenes(
    *,
    size: Sequence[int] = (64, 64),
    bands: int = 64,
    wavelengths: Sequence[float] = (400.0, 1000.0),
    materials: int = 5,
    smoothness: float = 5.0,
    illumination: float = 0.2,
    snr: float | Sequence[float] = 30.0,
    dead_bands: Sequence[int] = (),
    targets: int = 8,
    target_materials: int = 2,
    target_size: Sequence[int] = (1, 12),
    target_abundance: Sequence[float] = (0.2, 1.0),
    train_on: str = "normal",
    pixels: int | None = None,
    train: int = 4,
    validation: int = 2,
    test: int = 4,
    seed: int = 0,
    fold: int | None = None,
    folds: int | None = None,
) -> Dataset:
    """Synthetic hyperspectral scenes with embedded anomalies, by linear mixing.

    A pixel is `light (a s_target + (1 - a) sum_m share_m s_m) + noise`: shares of the materials
    from smooth random fields, and in small blobs a target of a material that the background does
    not have, at an abundance `a` from a part of a pixel to all of it. Spectra are sums of Gaussians
    over the wavelengths. All scenes have the same materials and targets.

    Args:
        size: Height and width in pixels, at least 8 each.
        bands: Number of bands, at least 2.
        wavelengths: First and last wavelength in nanometers: (400, 1000) or (1000, 2500), say.
        materials: Number of the background's materials.
        smoothness: Standard deviation in pixels of the Gaussian that smooths the fields; 0 mixes
            every pixel for itself.
        illumination: How far brightness goes up and down, as a share, from scene to scene and, as
            smoothly as the materials, within one.
        snr: Signal-to-noise ratio in decibels, `20 log10(rms of the scene / deviation of the
            noise)`: one number, or one for the first and one for the last band, or one a band.
        dead_bands: Numbers of bands that hold 0 everywhere, counted from 0.
        targets: Number of blobs in a scene.
        target_materials: Number of materials that targets are made of.
        target_size: Least and greatest number of pixels of a blob.
        target_abundance: Least and greatest abundance of a target in a pixel. Every pixel of a blob
            is labeled.
        train_on: "normal" counts no anomalous pixel in training, "all" all pixels.
        pixels: A training example is this number of pixels of a scene, drawn at random; None takes
            whole scenes.
        train: Number of training scenes.
        validation: Number of validation scenes.
        test: Number of test scenes.
        seed: Seed of the materials and the scenes. A scene depends on the seed, the fold, its part
            and its index alone.
        fold: Which of `folds` data sets to draw.
        folds: Number of data sets for cross-validation. Each fold has materials and scenes of its
            own.

    Returns:
        The data set, in memory.
    """
    size = _pair("size", size, int, 8, math.inf)
    low, high = _pair("wavelengths", wavelengths, float, 1e-9, math.inf)
    fewest, most = _pair("target_size", target_size, int, 1, size[0] * size[1])
    least, full = _pair("target_abundance", target_abundance, float, 1e-9, 1.0)
    if not (low < high and fewest <= most and least <= full):
        raise ValueError(
            "wavelengths, target_size and target_abundance must each be a lower and an upper "
            f"number, got {wavelengths}, {target_size}, {target_abundance}"
        )
    if train_on not in ("normal", "all"):
        raise ValueError(f"train_on must be 'normal' or 'all', got {train_on!r}")
    for option, value, lowest in (
        ("bands", bands, 2),
        ("materials", materials, 1),
        ("targets", targets, 0),
        ("target_materials", target_materials, 1),
        ("train", train, 1),
        ("validation", validation, 1),
        ("test", test, 1),
        ("seed", seed, 0),
    ):
        if value < lowest:
            raise ValueError(f"{option} must be at least {lowest}, got {value}")
    if not 0 <= illumination < 1:
        raise ValueError(f"illumination must be at least 0 and below 1, got {illumination}")
    if not 0 <= smoothness < math.inf:
        raise ValueError(f"smoothness must be at least 0 and finite, got {smoothness}")
    dead = tuple(int(band) for band in dead_bands)
    if not set(dead) <= set(range(bands)) or len(set(dead)) == bands:
        raise ValueError(f"dead_bands must be some of 0 to {bands - 1}, got {list(dead_bands)}")
    check_fold(fold, folds)

    at = np.linspace(low, high, bands)
    # Always six numbers a key: NumPy pads seeds with zeros, so [1] and [1, 0] are one seed.
    start = [seed, 0 if fold is None else fold + 1]
    rng = np.random.default_rng([*start, 0, 0, 0, 0])
    background = different_spectra(materials, at, APART, rng)
    odd = different_spectra(target_materials, at, APART, rng, background)
    scenery = Scenery(background, odd, noise_of(snr, bands), dead)
    smoothers = smoothing_matrix(size[0], smoothness), smoothing_matrix(size[1], smoothness)

    prefix = "" if fold is None else f"fold{fold}-"
    parts: dict[str, tuple[tuple[str, ...], list[Volume]]] = {}
    for number, (part, count) in enumerate(
        {"train": train, "validation": validation, "test": test}.items(), start=1
    ):
        volumes = []
        for i in range(count):
            rng = np.random.default_rng([*start, number, i, 0, 0])
            blobs = place_targets(size, targets, (fewest, most), (least, full), rng)
            image = render(scenery, blobs, smoothers, illumination, rng)
            labels = blobs.abundance > 0
            volume = Volume(image, labels.astype(np.uint8))
            normal = part == "train" and train_on == "normal"
            volumes.append(normal_only(volume) if normal else volume)
        parts[part] = tuple(f"{prefix}{part}-{i:04d}" for i in range(count)), volumes

    def windows(part: str) -> WindowSource:
        names, volumes = parts[part]
        whole = (slice(0, size[0]), slice(0, size[1]))
        return WindowSource(
            names, volumes.__getitem__, tuple((i, whole) for i in range(len(names))), size
        )

    trained: WindowSource | PixelSource = windows("train")
    if pixels is not None:
        names, volumes = parts["train"]
        counts = [v.labels.size if v.where is None else int(np.sum(v.where)) for v in volumes]
        trained = PixelSource(names, volumes.__getitem__, pixels, draws_of(counts, pixels), seed)
    share = np.mean([v.labels.mean() for v in parts["test"][1]])
    counted = "normal pixels only" if train_on == "normal" else "all pixels, anomalous ones too"
    cross = "" if folds is None else f" Fold {fold} of {folds}, which share no scene."
    return Dataset(
        name="scenes",
        description=(
            f"Synthetic hyperspectral scenes of {size[0]}x{size[1]} pixels in {bands} bands from "
            f"{low:g} to {high:g} nm: {materials} mixed materials, {targets} targets of "
            f"{target_materials} other materials at {least:g} to {full:g} of a pixel "
            f"({100 * share:.2g} % of the test pixels), signal-to-noise ratio "
            f"{_said(snr)} dB. Training counts {counted}. {train} training, {validation} "
            f"validation and {test} test scenes drawn from seed {seed}.{cross}"
        ),
        train=trained,
        validation=windows("validation"),
        test=windows("test"),
        class_names=("normal", "anomalous"),
        folds_share_cases=False,
        wavelengths=tuple(float(w) for w in at),
    )


def _pair(option: str, values: Sequence[float], kind: type, lowest: float, highest: float) -> tuple:
    """Two numbers of a type, neither out of bounds."""
    pair = tuple(kind(value) for value in values)
    if len(pair) != 2 or not all(lowest <= value <= highest for value in pair):
        least = f"at least {lowest:g}" if lowest >= 1 else "above 0"
        most = "" if highest == math.inf else f" and at most {highest:g}"
        raise ValueError(f"{option} must be two numbers {least}{most}, got {values!r}")
    return pair


def _said(snr: float | Sequence[float]) -> str:
    given = np.atleast_1d(np.asarray(snr, np.float64))
    return f"{given[0]:g}" if len(given) == 1 else f"{given[0]:g} to {given[-1]:g}"
