"""Checks of the options of weightings: numbers that are known are checked, traced ones let pass."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.core import Tracer

# A hyperparameter that may be traced.
Number = float | int | jax.Array
# One number for each term.
Numbers = Sequence[Number] | jax.Array
# A number, or a function of the number of steps.
Rate = Number | optax.Schedule


def number(name: str, given: Any, allowed: str, holds: Callable[[float], bool]) -> None:
    """Raises unless `given` is traced, or a finite number for which `holds` is true."""
    if isinstance(given, Tracer):
        return
    try:
        value = float("nan") if isinstance(given, (bool, str)) else float(given)
    except (TypeError, ValueError):
        value = float("nan")
    if not (math.isfinite(value) and holds(value)):
        raise ValueError(f"{name}: expected {allowed}, got {given!r}")


def above_zero(**options: Any) -> None:
    """Raises for an option that is known and not a finite number above 0."""
    for name, given in options.items():
        number(name, given, "a number above 0", lambda value: value > 0)


def not_negative(**options: Any) -> None:
    """Raises for an option that is known and not a finite number, 0 or above."""
    for name, given in options.items():
        number(name, given, "0 or a number above it", lambda value: value >= 0)


def share(**options: Any) -> None:
    """Raises for an option that is known and not in [0, 1]."""
    for name, given in options.items():
        number(name, given, "a number from 0 to 1", lambda value: 0 <= value <= 1)


def share_below_one(**options: Any) -> None:
    """Raises for an option that is known and not in [0, 1)."""
    for name, given in options.items():
        number(name, given, "a number from 0 to below 1", lambda value: 0 <= value < 1)


def rate(given: Any) -> None:
    """Raises for a `learning_rate` that is neither a schedule, nor a number, 0 or above."""
    if not callable(given):
        not_negative(learning_rate=given)


def whole(least: int, **options: Any) -> None:
    """Raises for an option that is no whole number, or below the least."""
    for name, given in options.items():
        if isinstance(given, bool) or not hasattr(given, "__index__") or int(given) < least:
            raise ValueError(f"{name}: expected a whole number, {least} or above, got {given!r}")


def numbers(
    name: str,
    given: Any,
    allowed: str = "a finite number",
    holds: Callable[[float], bool] = math.isfinite,
) -> None:
    """Raises unless `given` has an axis, and each number on it that is known is allowed."""
    axes = getattr(given, "ndim", 1)
    if isinstance(given, (str, dict)) or axes != 1 or not hasattr(given, "__len__"):
        raise ValueError(f"{name}: expected one number for each term, got {given!r}")
    if not isinstance(given, Tracer):
        for index, one in enumerate(given):
            number(f"{name}[{index}]", one, allowed, holds)


def preference(given: Any, *, negative: bool = False) -> None:
    """Raises for a preference that is known, and 0 for all terms, or below 0 without `negative`."""
    if given is None:
        return
    if negative:
        numbers("preference", given)
    else:
        numbers("preference", given, "0 or a number above it", lambda value: value >= 0)
    traced = isinstance(given, Tracer) or any(isinstance(one, Tracer) for one in given)
    if not traced and all(float(one) == 0 for one in given):
        raise ValueError(f"preference: expected one that is not 0 for every term, got {given!r}")


def of_each(name: str, given: Any, terms: int) -> jax.Array:
    """One number for each term, float32.

    Raises:
        ValueError: for another number of them.
    """
    if len(given) != terms:
        raise ValueError(
            f"{name}: expected {terms} numbers, one for each term, got {len(given)}: {given}"
        )
    return jnp.array(given, jnp.float32)
