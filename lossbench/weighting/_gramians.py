"""What methods on the Gramian share: which terms there are, unit gradients, a preference."""

from typing import Any

import jax
import jax.numpy as jnp

from lossbench import _checks
from lossbench.weighting import _options
from lossbench.weighting._options import Numbers


def present_terms(values: Any, gramian: jax.Array | None) -> tuple[jax.Array, jax.Array]:
    """Which terms there are in this step, and the Gramian with 0 for the others.

    Raises:
        ValueError: without a Gramian, or unless there is one loss for each of its rows.
    """
    if gramian is None:
        raise ValueError("this weighting needs the Gramian of the terms' gradients, got none")
    values, gramian = jnp.asarray(values), jnp.asarray(gramian)
    if values.ndim != 1:
        _checks.shape("values", values, gramian.shape[:1], "terms")
    _checks.shape("gramian", gramian, (len(values), len(values)), "terms terms")
    present = jnp.isfinite(values) & jnp.isfinite(jnp.diagonal(gramian))
    return present, jnp.where(present[:, None] & present[None, :], gramian, 0)


def unit_gramian(gramian: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The Gramian of the gradients divided by their norms, and the norms.

    Unit gradients make a method on directions independent of how much larger one gradient is than
    another: 1e6 and 1e-6 lose no digits to each other. A gradient of 0 stays 0.
    """
    norms = jnp.sqrt(jnp.diagonal(gramian))
    safe = jnp.where(norms > 0, norms, 1)
    unit = jnp.clip(gramian / safe[:, None] / safe[None, :], -1, 1)
    return jnp.where(jnp.eye(len(norms), dtype=bool), (norms > 0)[:, None] * 1.0, unit), norms


def preferred(preference: Numbers | None, default: jax.Array) -> jax.Array:
    """The preference as an array `terms`, or the default.

    Raises:
        ValueError: for another number of them.
    """
    if preference is None:
        return default
    return _options.of_each("preference", preference, len(default)).astype(default.dtype)
