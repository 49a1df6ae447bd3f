"""Figures beside each other, and the words for them."""

import numpy as np

from lossbench.testing.engine import Result


def close(expected: np.ndarray, value: np.ndarray) -> bool:
    """Equal up to the rounding of float32, relative to each number and to the largest."""
    expected, value = np.asarray(expected, np.float64), np.asarray(value, np.float64)
    scale = float(np.max(np.abs(expected), initial=1e-3))
    return bool(np.allclose(value, expected, rtol=1e-4, atol=1e-5 * scale))


def change(before: np.ndarray, after: np.ndarray) -> str:
    """The numbers that differ most, in words."""
    before, after = (np.ravel(np.asarray(x, np.float64)) for x in (before, after))
    worst = int(np.argmax(np.nan_to_num(np.abs(before - after), nan=np.inf)))
    return f"{before[worst]:.4g} becomes {after[worst]:.4g}"


def not_finite(result: Result) -> str:
    """What is NaN or infinite in a result, in words; "" if nothing."""
    if not np.all(np.isfinite(result.value)):
        return f"value {number(result.value)}"
    if not np.all(np.isfinite(result.gradient)):
        return f"{share(result.gradient)} of the gradient NaN or infinite"
    return ""


def share(x: np.ndarray) -> str:
    """How many numbers are not finite, in percent."""
    return f"{100 * np.mean(~np.isfinite(x)):.0f} %"


def number(value: np.ndarray) -> str:
    """One number of several: one that is not finite, if there is."""
    flat = np.ravel(value)
    bad = flat[~np.isfinite(flat)]
    return f"{bad[0] if len(bad) else flat[0]:.4g}"
