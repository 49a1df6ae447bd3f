"""Temperatures that fall as training goes on, by a step that the model keeps itself."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


def temperature(step: Int[Array, ""], *, start: float, end: float, steps: int) -> Float[Array, ""]:
    """`start (end / start)^(step / (steps - 1))`: from `start` in step 0 to `end` in the last.

    Args:
        step: steps done.
        start: temperature of step 0, above 0.
        end: temperature of step `steps - 1` and of every later one, above 0.
        steps: of the way, at least 1. A rule "times `decay` a step, at least `end`" takes
            `1 + log(end / start) / log(decay)` of them.

    Raises:
        ValueError: for a temperature not above 0, or no steps.

    Example:
        >>> for step in range(4):
        ...     print(f"{temperature(jnp.int32(step), start=10, end=0.1, steps=3):.2f}", end=" ")
        10.00 1.00 0.10 0.10
    """
    if start <= 0 or end <= 0 or steps < 1:
        raise ValueError(
            "temperature: start and end must be above 0 and steps at least 1, got "
            f"start={start}, end={end}, steps={steps}"
        )
    way = jnp.minimum(step.astype(jnp.float32) / max(steps - 1, 1), 1.0)
    return jnp.float32(start) * jnp.float32(end / start) ** way


def training_step(module: nn.Module) -> Int[Array, ""]:
    """How many steps a module has been trained for: a counter in the collection "schedule".

    Applying the module with that collection mutable, as a training does, counts one step; applying
    it otherwise, as an evaluation does, changes nothing and sees where training has got to.
    """
    counter = module.variable("schedule", "step", lambda: jnp.zeros((), jnp.int32))
    step = counter.value
    if in_training(module):
        counter.value = step + 1
    return step


def in_training(module: nn.Module) -> bool:
    """Whether a module is being applied with the collection "schedule" mutable."""
    return module.is_mutable_collection("schedule") and not module.is_initializing()
