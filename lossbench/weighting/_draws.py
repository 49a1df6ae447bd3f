"""What a method that draws keeps from step to step."""

import operator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.core import Tracer

_SEEDS = 2**32


class DrawState(NamedTuple):
    """What a method that draws keeps: the draw of a step follows from these two.

    Attributes:
        seed: of all draws.
        step: how many steps there were.
    """

    seed: jax.Array
    step: jax.Array

    def key(self) -> jax.Array:
        """The key of this step."""
        return jax.random.fold_in(jax.random.key(self.seed), self.step)

    def next(self) -> "DrawState":
        """The state of the next step."""
        return self._replace(step=jnp.asarray(optax.safe_increment(self.step)))


def first_draw(seed: int | jax.Array) -> DrawState:
    """The state before the first step.

    Raises:
        ValueError: for a seed that is known and not an integer of 32 bits, 0 or above.
    """
    _check(seed)
    # A copy: a loop that donates the state must not take the caller's own seed with it.
    return DrawState(jnp.array(seed, jnp.uint32), jnp.zeros((), jnp.int32))


def _check(seed: Any) -> None:
    """Raises unless `seed` is traced, or an integer from 0 to 2**32 - 1."""
    if isinstance(seed, Tracer) and jnp.issubdtype(seed.dtype, jnp.integer) and not seed.ndim:
        return
    try:
        value = -1 if isinstance(seed, (bool, Tracer)) else operator.index(seed)
    except TypeError:
        value = -1
    if not 0 <= value < _SEEDS:
        raise ValueError(f"seed: expected an integer from 0 to 2**32 - 1, got {seed!r}")
