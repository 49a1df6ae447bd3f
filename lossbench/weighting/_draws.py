"""What a method that draws keeps from step to step."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax


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
    """The state before the first step."""
    return DrawState(jnp.asarray(seed, jnp.uint32), jnp.zeros((), jnp.int32))
