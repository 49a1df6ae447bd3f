"""Axes as optax takes them: one, several or all."""

import operator
from collections.abc import Sequence

Axes = int | Sequence[int] | None


def from_front(axis: Axes, ndim: int) -> tuple[int, ...]:
    """Axes counted from the front."""
    if axis is None:
        return tuple(range(ndim))
    axes = tuple(axis) if isinstance(axis, Sequence) else (operator.index(axis),)
    for one in axes:
        if not -ndim <= one < ndim:
            raise ValueError(f"axis: {one} is not an axis of an array of {ndim} axes")
    return tuple(one % ndim for one in axes)
