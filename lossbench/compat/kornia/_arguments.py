"""kornia's arrays in our terms."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike

from lossbench import _checks


class Arrays(NamedTuple):
    """Logits with the classes last, ids and what counts.

    Attributes:
        logits: `batch *space classes`.
        ids: class ids, `batch *space`.
        where: true = counted; None counts everything.
    """

    logits: Array
    ids: Array
    where: Array | None


def arrays(
    pred: ArrayLike, target: ArrayLike, ignore_index: int | None, *, ndim: int | None = None
) -> Arrays:
    """Checks the shapes and brings the classes to the end.

    Raises:
        ValueError: for another number of axes than `ndim`, and for a target that does not fit.
    """
    x, ids = jnp.asarray(pred), jnp.asarray(target)
    _checks.floating(pred=x)
    if ndim is not None and x.ndim != ndim:
        raise ValueError(f"pred: expected shape (batch, classes, height, width), got {x.shape}")
    if x.ndim < 2:
        raise ValueError(f"pred: expected shape (batch, classes, *space), got {x.shape}")
    if not jnp.issubdtype(ids.dtype, jnp.integer):
        raise ValueError(f"target: expected class ids (integer), got {ids.dtype}")
    _checks.shape("target", ids, (x.shape[0], *x.shape[2:]), "batch, *space; class ids")
    where = None if ignore_index is None else ids != ignore_index
    return Arrays(jnp.moveaxis(x, 1, -1), ids, where)


def per_class(name: str, weights: ArrayLike | None, classes: int) -> Array | None:
    """The weights, of which there must be one a class."""
    if weights is None:
        return None
    values = jnp.asarray(weights, float)
    if values.size != classes or values.shape[:1] != (classes,):
        raise ValueError(f"{name}: expected one weight a class, {classes}, got {values.shape}")
    return values.reshape(classes)
