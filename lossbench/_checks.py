"""Checks of arguments: shapes and dtypes while tracing, values only in debug mode."""

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jax.experimental import checkify

# Part of JAX's compile-cache key: a function traced with checks is never reused without them.
_DEBUG = jax.make_user_context(False)


@contextlib.contextmanager
def debug_checks() -> Iterator[None]:
    """Switches checks of values on: labels in range, finite logits, probabilities that sum to 1.

    Outside `jit` a failed check raises at once. Inside, wrap the function with
    `jax.experimental.checkify.checkify` and call `error.throw()` on the first of its two results.

    Example:
        >>> import jax, jax.numpy as jnp, lossbench
        >>> from jax.experimental import checkify
        >>> from lossbench import losses
        >>> logits, labels = jnp.zeros((1, 4, 3)), jnp.array([[0, 1, 2, 3]])
        >>> with lossbench.debug_checks():
        ...     error, value = checkify.checkify(jax.jit(losses.dice))(logits, labels)
        >>> print(error.get().split(" (`check`")[0])
        labels: a class id is outside 0..2 (from 0 to 3)
    """
    with _DEBUG(True):
        yield


def of_values() -> bool:
    """Whether values are checked: what a check needs is not even computed otherwise."""
    return _DEBUG.value


def value(holds: jax.Array, message: str, **values: jax.Array) -> None:
    """Checks a traced condition in debug mode; costs nothing otherwise."""
    if _DEBUG.value:
        checkify.check(holds, message, debug=False, **values)


def floating(**arrays: jax.Array) -> None:
    """Raises unless every array has a floating dtype."""
    for name, array in arrays.items():
        if not jnp.issubdtype(array.dtype, jnp.floating):
            raise ValueError(f"{name}: expected a floating dtype, got {array.dtype}")


def shape(name: str, array: jax.Array, expected: tuple[int, ...], meaning: str) -> None:
    """Raises unless `array` has the shape `expected`; `meaning` names its axes."""
    if array.shape != expected:
        raise ValueError(f"{name}: expected shape {expected} ({meaning}), got {array.shape}")


def where(given: jax.Array | None, expected: tuple[int, ...], meaning: str) -> None:
    """Raises unless the mask of what counts, if there is one, is bool and has this shape."""
    if given is None:
        return
    if given.dtype != jnp.bool_:
        raise ValueError(f"where: expected bool (true = counted), got {given.dtype}")
    shape("where", given, expected, meaning)


def spacing(given: Any, axes: int) -> list[Any]:
    """The size of a pixel along each of so many axes of space, 1 by default.

    Raises:
        ValueError: for another number of them, or one that is known and not above 0.
    """
    if given is None:
        return [1.0] * axes
    sizes = list(given) if isinstance(given, Sequence) or getattr(given, "ndim", 0) else []
    known = [size for size in sizes if not isinstance(size, Tracer)]
    if (
        len(sizes) != axes
        or any(getattr(size, "ndim", 0) for size in sizes)
        or not all(0 < float(size) < math.inf for size in known)
    ):
        raise ValueError(
            f"spacing: expected {axes} numbers above 0, one for each axis of space, got {given}"
        )
    return sizes


def choice(name: str, given: str, allowed: tuple[str, ...]) -> None:
    """Raises unless `given` is one of `allowed`."""
    if given not in allowed:
        raise ValueError(f"{name}: expected one of {', '.join(map(repr, allowed))}, got {given!r}")


def compute_dtype(array: jax.Array) -> jnp.dtype:
    """The dtype that sums accumulate in: at least float32."""
    return jnp.promote_types(array.dtype, jnp.float32)
