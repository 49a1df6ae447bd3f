"""Options that are numbers."""

import jax
from jaxtyping import Array


def number(value: float | Array) -> float | Array:
    """An array as it is, which may be traced; anything else, an integer too, as a float."""
    return value if isinstance(value, jax.Array) else float(value)


def number_or_none(value: float | Array | None) -> float | Array | None:
    """`number`, or None."""
    return None if value is None else number(value)
