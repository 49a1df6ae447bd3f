"""Wavelengths of bands in nanometers, whatever unit a file has them in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

NANOMETERS_PER = {
    "nanometer": 1.0,
    "nm": 1.0,
    "micrometer": 1e3,
    "micron": 1e3,
    "um": 1e3,
    "millimeter": 1e6,
    "mm": 1e6,
    "centimeter": 1e7,
    "cm": 1e7,
    "meter": 1e9,
    "m": 1e9,
    "angstrom": 0.1,
}
PER_CENTIMETER = ("wavenumber", "cm-1", "1/cm", "cm^-1")

# Optical wavelengths without a unit: what they must be in each of the two usual ones.
IN_MICROMETERS = (0.1, 100.0)
IN_NANOMETERS = (100.0, 1e5)


def nanometers(values: Sequence[float], unit: str | None = None) -> tuple[float, ...] | None:
    """Returns wavelengths in nanometers, or None for numbers that are none.

    Args:
        values: One number a band.
        unit: As files name it, such as "Nanometers", "um", "Micrometers" or "Wavenumber". For one
            that is not known, numbers from 0.1 to 100 are taken for micrometers and those from 100
            to 100 000 for nanometers.

    Example:
        >>> nanometers([0.4, 2.5], "Micrometers"), nanometers([400, 1000]), nanometers([1, 2, 500])
        ((400.0, 2500.0), (400.0, 1000.0), None)
    """
    given = np.asarray(values, np.float64)
    if given.size == 0 or not (np.isfinite(given) & (given > 0)).all():
        return None
    word = (unit or "").strip().lower().replace("µ", "u").replace("μ", "u").replace("å", "angstrom")
    word = word.replace("metre", "meter")
    if word == "index":
        return None
    if word in PER_CENTIMETER:
        return _plain(1e7 / given)
    scale = NANOMETERS_PER.get(word) or NANOMETERS_PER.get(word.removesuffix("s"))
    if scale is None:
        low, high = given.min(), given.max()
        if IN_MICROMETERS[0] <= low and high <= IN_MICROMETERS[1]:
            scale = 1e3
        elif IN_NANOMETERS[0] <= low and high <= IN_NANOMETERS[1]:
            scale = 1.0
        else:
            return None
    return _plain(given * scale)


def _plain(values: np.ndarray) -> tuple[float, ...]:
    """Rounded to a ten-thousandth, so that 0.4 um is 400 nm."""
    return tuple(float(value) for value in np.round(values, 4))
