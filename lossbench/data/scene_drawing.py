"""Drawing of a hyperspectral scene: mixed materials, targets in small blobs, light and noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

# How sharply materials are separated; at 0 every pixel has the same share of each.
SHARPNESS = 3.0

Smoothers = tuple[Float[np.ndarray, "height height"], Float[np.ndarray, "width width"]]


class Scenery(NamedTuple):
    """What scenes of one data set share.

    Attributes:
        materials: Spectra that the background is mixed of.
        targets: Spectra of the anomalies.
        noise: Standard deviation of each band's noise, as a share of the scene's root mean square.
        dead: Bands that hold 0 everywhere.
    """

    materials: Float[np.ndarray, "materials bands"]
    targets: Float[np.ndarray, "targets bands"]
    noise: Float[np.ndarray, " bands"]
    dead: tuple[int, ...]


class Blobs(NamedTuple):
    """Targets of a scene.

    Attributes:
        abundance: Of the target in each pixel; 0 where there is none.
        kind: Which target it is, as a number from 0 to 1 that picks one of them.
    """

    abundance: Float[np.ndarray, "height width"]
    kind: Float[np.ndarray, "height width"]


def place_targets(
    size: tuple[int, int],
    count: int,
    pixels: tuple[int, int],
    abundance: tuple[float, float],
    rng: np.random.Generator,
) -> Blobs:
    """Returns blobs at random places; abundance falls off from each blob's middle.

    Args:
        size: Height and width.
        count: How many blobs.
        pixels: Least and greatest number of pixels of a blob.
        abundance: Least and greatest abundance in a pixel. A blob's middle has one drawn from
            between, its outermost pixel one between that and the least.
        rng: Generator to draw with.
    """
    blobs = Blobs(np.zeros(size), np.zeros(size))
    rows, columns = np.indices(size)
    for _ in range(count):
        n = rng.integers(pixels[0], pixels[1] + 1)
        middle = rng.uniform((0, 0), size)
        stretch, turn = rng.uniform(0.5, 1.0), rng.uniform(0, math.pi)
        y, x = rows - middle[0], columns - middle[1]
        u, v = x * math.cos(turn) + y * math.sin(turn), y * math.cos(turn) - x * math.sin(turn)
        distance = np.hypot(u * stretch, v)
        chosen = np.argsort(distance, axis=None, kind="stable")[:n]
        peak = rng.uniform(*abundance)
        edge = rng.uniform(abundance[0], peak)
        blobs.abundance.flat[chosen] = np.linspace(peak, edge, n)
        blobs.kind.flat[chosen] = rng.random()
    return blobs


def render(
    scenery: Scenery,
    blobs: Blobs,
    smoothers: Smoothers,
    illumination: float,
    rng: np.random.Generator,
) -> Float[np.ndarray, "height width bands"]:
    """Returns a scene in float32: mixed, with its targets, lit and with noise."""
    size, bands = blobs.abundance.shape, scenery.materials.shape[-1]
    fields = [smooth_field(smoothers, rng) for _ in range(len(scenery.materials))]
    weights = np.exp(SHARPNESS * np.stack(fields, -1))
    image = weights / weights.sum(-1, keepdims=True) @ scenery.materials
    kinds = (blobs.kind * len(scenery.targets)).astype(int)
    image += blobs.abundance[..., None] * (scenery.targets[kinds] - image)
    within = np.clip(0.5 * smooth_field(smoothers, rng), -1, 1)
    light = (1 + illumination * rng.uniform(-1, 1)) * (1 + illumination * within)
    image *= light[..., None]
    image += np.sqrt((image**2).mean()) * scenery.noise * rng.standard_normal((*size, bands))
    image[..., list(scenery.dead)] = 0
    return image.astype(np.float32)


def smooth_field(
    smoothers: Smoothers, rng: np.random.Generator
) -> Float[np.ndarray, "height width"]:
    """Returns a smooth random field of mean 0 and standard deviation 1."""
    height, width = smoothers
    field = height @ rng.standard_normal((len(height), len(width))) @ width.T
    return (field - field.mean()) / field.std()


def noise_of(snr: float | Sequence[float], bands: int) -> Float[np.ndarray, " bands"]:
    """Returns each band's noise as a share of the signal, from decibels."""
    given = np.atleast_1d(np.asarray(snr, np.float64))
    if given.ndim != 1 or len(given) not in (1, 2, bands) or np.isnan(given).any():
        raise ValueError(
            f"snr must be one number of decibels, two (of the first and the last band) or {bands}, "
            f"got {snr!r}"
        )
    if len(given) == 2 and bands != 2:
        given = np.linspace(given[0], given[1], bands)
    return np.broadcast_to(10 ** (-given / 20), (bands,))
