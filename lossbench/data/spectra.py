"""Smooth reflectance spectra, made up: a slope with a few broad bumps and dips."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

# How often another spectrum is drawn until one differs enough from those there are.
TRIES = 50


def reflectance(
    wavelengths: Float[np.ndarray, " bands"], rng: np.random.Generator
) -> Float[np.ndarray, " bands"]:
    """Returns a smooth spectrum between 0.05 and 0.9.

    A sum of a slope and three to six Gaussians, up or down, each from a twentieth to a quarter of
    the range wide.
    """
    at = (wavelengths - wavelengths[0]) / max(np.ptp(wavelengths), 1e-9)
    spectrum = rng.uniform(-0.5, 0.5) * at
    for _ in range(rng.integers(3, 7)):
        center, width = rng.uniform(-0.1, 1.1), rng.uniform(0.05, 0.25)
        spectrum = spectrum + rng.uniform(-1, 1) * np.exp(-0.5 * ((at - center) / width) ** 2)
    low, high = np.sort(rng.uniform(0.05, 0.9, 2))
    high = max(high, low + 0.1)
    span = np.ptp(spectrum)
    return low + (high - low) * (spectrum - spectrum.min()) / (span if span > 0 else 1.0)


def angle(
    spectrum: Float[np.ndarray, " bands"], others: Float[np.ndarray, "spectra bands"]
) -> Float[np.ndarray, " spectra"]:
    """Returns the spectral angle to each of some spectra, in radians."""
    norms = np.linalg.norm(spectrum) * np.linalg.norm(others, axis=1)
    return np.arccos(np.clip(others @ spectrum / norms, -1, 1))


def different_spectra(
    count: int,
    wavelengths: Float[np.ndarray, " bands"],
    apart: float,
    rng: np.random.Generator,
    others: Float[np.ndarray, "spectra bands"] | None = None,
) -> Float[np.ndarray, "count bands"]:
    """Returns spectra at an angle from each other and from some others, if one is found.

    Args:
        count: How many.
        wavelengths: In nanometers, ascending.
        apart: Radians that the angle to every other is to reach; after fifty tries the spectrum
            with the largest one is taken.
        rng: Generator to draw with.
        others: Spectra that are there already.
    """
    there = np.zeros((0, len(wavelengths))) if others is None else others
    before = len(there)
    for _ in range(count):
        best, reached = reflectance(wavelengths, rng), -1.0
        for _ in range(TRIES):
            tried = reflectance(wavelengths, rng)
            nearest = angle(tried, there).min(initial=np.inf)
            if nearest > reached:
                best, reached = tried, nearest
            if reached >= apart:
                break
        there = np.concatenate([there, best[None]])
    return there[before:]
