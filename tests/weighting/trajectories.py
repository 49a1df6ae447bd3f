"""Runs a weighting over the losses of many steps, in one program."""

import jax
import jax.numpy as jnp
import numpy as np


def run(weighting, values, squares=None, *, seed=0):
    """The weights of each step `steps terms`, and the state after the last.

    Args:
        weighting: a `Weighting`.
        values: the losses `steps terms`.
        squares: the squared norms of the gradients `steps terms`, where they are needed.
        seed: of what is drawn.
    """
    values = jnp.asarray(values, jnp.float32)
    squares = jnp.ones_like(values) if squares is None else jnp.asarray(squares, jnp.float32)

    def step(state, now):
        weights, state = weighting.update(now[0], state, jnp.diag(now[1]))
        return state, weights

    @jax.jit
    def all_steps(values, squares):
        return jax.lax.scan(step, weighting.init(values.shape[1], seed), (values, squares))

    state, weights = all_steps(values, squares)
    return np.asarray(weights), state
