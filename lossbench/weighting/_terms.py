"""What the weightings of losses share: which terms are there, shares of them, Adam for each."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from lossbench import _checks

# A ratio to a number that is 0, or next to it, ends here.
LARGEST_RATIO = 1e6


def observed(values: Any, weights: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The losses of a step as float32, 1 in place of those not finite, and which are finite.

    Raises:
        ValueError: unless there is one for each weight.
    """
    values = jnp.asarray(values, jnp.float32)
    _checks.shape("values", values, weights.shape, "terms")
    present = jnp.isfinite(values)
    return jnp.where(present, values, 1), present


def count(present: jax.Array) -> jax.Array:
    """How many terms there are, float32."""
    return jnp.sum(present, dtype=jnp.float32)


def mean(numbers: jax.Array, present: jax.Array) -> jax.Array:
    """The mean over the terms that are there; 0 if there is none."""
    return jnp.sum(jnp.where(present, numbers, 0)) / jnp.maximum(count(present), 1)


def shares(scores: jax.Array, present: jax.Array) -> jax.Array:
    """A softmax over the terms that are there; 0 for the others."""
    highest = jnp.max(jnp.where(present, scores, -jnp.inf))
    # A term that is not there may have any score: its exponential could be infinite.
    powers = jnp.where(present, jnp.exp(jnp.where(present, scores - highest, 0)), 0)
    return powers / jnp.maximum(jnp.sum(powers), 1)


def ratio(above: jax.Array, below: jax.Array) -> jax.Array:
    """The ratio of numbers that are not negative, at most 1e6; 1 where both are 0."""
    plain = above / jnp.where(below > 0, below, 1)
    at_zero = jnp.where(above > 0, LARGEST_RATIO, 1.0)
    return jnp.minimum(jnp.where(below > 0, plain, at_zero), LARGEST_RATIO)


def optimizer_state(optimizer: optax.GradientTransformation, parameters: jax.Array) -> Any:
    """An optimizer for each term by itself: its moments, and how many steps it took."""
    return jax.vmap(optimizer.init)(parameters)


def optimizer_step(
    optimizer: optax.GradientTransformation,
    gradient: jax.Array,
    state: Any,
    parameters: jax.Array,
    moves: jax.Array,
) -> tuple[jax.Array, Any]:
    """Parameters and optimizer after a step of the terms that move; the others stay as they are."""
    gradient = jnp.where(moves, gradient, 0)
    updates, stepped = jax.vmap(optimizer.update)(gradient, state, parameters)
    state = jax.tree.map(lambda new, old: jnp.where(moves, new, old), stepped, state)
    return jnp.where(moves, parameters + jnp.asarray(updates), parameters), state


def float32(weights: jax.Array, state: Any) -> tuple[jax.Array, Any]:
    """Both in float32, as they came: an option may be an array of another dtype."""

    def one(leaf: jax.Array) -> jax.Array:
        return leaf.astype(jnp.float32) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

    return one(weights), jax.tree.map(one, state)


def where_present(present: jax.Array, new: Any, old: Any) -> Any:
    """The new state for the terms that are there, the old one for the others."""

    def one(new: jax.Array, old: jax.Array) -> jax.Array:
        return jnp.where(present, new, old) if jnp.ndim(new) == 1 else new

    return jax.tree.map(one, new, old)
