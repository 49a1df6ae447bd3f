"""Pixels as rows: the checks and shapes that statistics and detectors share."""

from typing import Any

import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Shaped

from lossbench import _checks


def rows_of(
    x: Shaped[Array, "*space channels"], where: Bool[Array, "*space"] | None, name: str = "x"
) -> tuple[Float[Array, "n channels"], Bool[Array, " n"]]:
    """Pixels one below the other, in float32, and which of them count.

    Raises:
        ValueError: for shapes or dtypes that do not fit.
    """
    x = as_floats(x, name)
    if x.ndim < 2 or x.size == 0:
        raise ValueError(f"{name}: expected shape (*space, channels), not empty, got {x.shape}")
    if where is not None:
        where = jnp.asarray(where)
    _checks.where(where, x.shape[:-1], f"the space of {name}")
    counted = jnp.ones(x.shape[:-1], bool) if where is None else where
    return x.reshape(-1, x.shape[-1]), counted.reshape(-1)


def as_floats(x: Shaped[Array, "*shape"], name: str = "x") -> Float[Array, "*shape"]:
    """Numbers in float32.

    Raises:
        ValueError: if they are bool or complex.
    """
    x = jnp.asarray(x)
    if not jnp.issubdtype(x.dtype, jnp.floating) and not jnp.issubdtype(x.dtype, jnp.integer):
        raise ValueError(f"{name}: expected floats or integers, got {x.dtype}")
    return x.astype(jnp.float32)


def check_channels(x: Shaped[Array, "*space channels"], channels: int, name: str = "x") -> None:
    """Raises unless the last axis is of this length."""
    if jnp.ndim(x) < 1 or jnp.shape(x)[-1] != channels:
        raise ValueError(
            f"{name}: expected {channels} channels on the last axis, got shape {jnp.shape(x)}"
        )


def is_known(*values: Any) -> bool:
    """Whether values can be looked at: not while tracing."""
    return not any(isinstance(x, Tracer) for x in values)
