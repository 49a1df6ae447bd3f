"""What losses of an embedding, a color or a spectrum a pixel share: checks, masks, means."""

import math

import jax.numpy as jnp
from jax import lax
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Shaped

from lossbench import _checks
from lossbench.losses._inputs import Number, divide
from lossbench.ops.sums import in_one_pass, sum_pixels

REDUCTIONS = ("mean", "sum", "none")
# What is smaller has no direction: the derivative of one, its reciprocal, must be a float32.
SHORTEST = 1e-30


def read_vectors(
    name: str, vectors: Array, where: Array | None, axis: str
) -> tuple[Float[Array, "batch *space features"], Bool[Array, " batch *space"] | None]:
    """Vectors in the dtype of the computation, 0 where masked; and the mask.

    Args:
        name: of the argument, like `axis` of its last axis, for errors.
        vectors: as given by the user.
        where: true = counted.
        axis: see `name`.
    """
    vectors = jnp.asarray(vectors)
    _checks.floating(**{name: vectors})
    if vectors.ndim < 2 or vectors.shape[-1] == 0:
        raise ValueError(f"{name}: expected shape (batch, *space, {axis}), got {vectors.shape}")
    x = vectors.astype(_checks.compute_dtype(vectors))
    if where is None:
        return x, None
    where = jnp.asarray(where)
    _checks.where(where, vectors.shape[:-1], "batch, *space")
    # Before anything is computed from them: NaN times 0 would still be NaN.
    return jnp.where(where[..., None], x, 0), where


def read_mask(
    labels: Array, leading: tuple[int, ...], meaning: str
) -> Bool[Array, " batch *space"]:
    """Labels that are a mask, with or without a last axis of 1."""
    labels = jnp.asarray(labels)
    if labels.dtype != jnp.bool_:
        raise ValueError(f"labels: expected bool (true = {meaning}), got {labels.dtype}")
    if labels.shape == (*leading, 1):
        return labels[..., 0]
    _checks.shape("labels", labels, leading, "batch, *space")
    return labels


def over_space(
    costs: Float[Array, " batch *space"], where: Array | None, reduction: str
) -> Float[Array, "batch ..."]:
    """The mean (or sum) over the pixels that count; "none" keeps them, 0 where masked."""
    _checks.choice("reduction", reduction, REDUCTIONS)
    if where is not None:
        costs = jnp.where(where, costs, 0)
    if reduction == "none":
        return costs
    total = sum_pixels(in_one_pass(flat(costs)))
    return total if reduction == "sum" else divide(total, count(costs, where))


def flat(x: Shaped[Array, " batch *space"]) -> Shaped[Array, "batch pixels"]:
    """Space as one axis."""
    return x.reshape(x.shape[0], math.prod(x.shape[1:]))


def count(like: Array, where: Array | None) -> Float[Array, " batch"]:
    """The number of pixels that count, for each example."""
    batch, *space = like.shape
    if where is None:
        return jnp.full((batch,), math.prod(space), like.dtype)
    return jnp.sum(flat(where), axis=-1, dtype=jnp.int32).astype(like.dtype)


def positive(name: str, value: Number, at_most: float = math.inf) -> None:
    """Raises for a number that is known, and not above 0 or beyond `at_most`; or no number."""
    if jnp.ndim(value) != 0:
        raise ValueError(f"{name}: expected one number, got shape {jnp.shape(value)}")
    if isinstance(value, Tracer):
        return
    if not (0 < float(value) < math.inf and float(value) <= at_most):
        limit = "above 0" if at_most == math.inf else f"above 0 and at most {at_most:g}"
        raise ValueError(f"{name}: expected a number {limit}, got {float(value):g}")


def unit(
    x: Float[Array, "*rows features"],
) -> tuple[Float[Array, "*rows features"], Bool[Array, "*rows 1"]]:
    """Vectors of length 1, and which there are: what is 0 has no direction, and stays 0."""
    # A constant, as it cancels out: no square overflows or vanishes.
    largest = lax.stop_gradient(jnp.max(jnp.abs(x), axis=-1, keepdims=True))
    there = ~(largest <= SHORTEST)  # NaN is there, so that it shows
    x = jnp.where(there, x, 0) / jnp.where(there, largest, 1)
    square = jnp.sum(x * x, axis=-1, keepdims=True)
    return x / jnp.sqrt(jnp.where(there, square, 1)), there


def length(x: Float[Array, "*rows features"]) -> Float[Array, "*rows"]:
    """The length of vectors of ordinary size; its gradient at 0 is 0."""
    square = jnp.sum(x * x, axis=-1)
    is_zero = square == 0
    return jnp.where(is_zero, 0, jnp.sqrt(jnp.where(is_zero, 1, square)))
