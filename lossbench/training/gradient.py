"""The gradient of an objective under its weighting."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from lossbench.objective import Objective, Value
from lossbench.weighting import Weighting, combined, gramian, part, without_nonfinite
from lossbench.weighting._draws import DrawState
from lossbench.weighting.gradients import pulled


class Gradient(NamedTuple):
    """One step's gradient, and what is known of it.

    Attributes:
        gradient: a tree like the parameters.
        value: total and terms as without a weighting; weights with those of the weighting.
        weighting: its state after the step.
        gramian: inner products of the gradients of the terms, each times its own weight, `terms
            terms`; None where they were not computed one by one.
        aux: what the function gave besides.
    """

    gradient: Any
    value: Value
    weighting: Any
    gramian: jax.Array | None
    aux: Any


def init_weighting(objective: Objective, params: Any, seed: jax.Array) -> Any:
    """The state of an objective's weighting before the first step, `{}` if there is none.

    Args:
        objective: whose.
        params: the parameters that are trained.
        seed: an integer that a weighting draws with, if it draws at random.

    Raises:
        ValueError: if a pattern of `objective.shared` matches no parameter.
    """
    if objective.shared:
        part(params, objective.shared)
    if objective.weighting is None:
        return {}
    if isinstance(objective.weighting, Weighting):
        return objective.weighting.init(len(objective.terms), seed)
    state = objective.weighting.init(params)

    def seeded(part: Any) -> Any:
        return part._replace(seed=jnp.array(seed, jnp.uint32)) if _draws(part) else part

    return jax.tree.map(seeded, state, is_leaf=_draws)


def _draws(part: Any) -> bool:
    return isinstance(part, DrawState)


def weighted_gradient(
    function: Callable[[Any], tuple[Value, Any]], params: Any, state: Any, *, objective: Objective
) -> Gradient:
    """The gradient that a step follows.

    Without a weighting, or with one of losses, it is one backward pass. A weighting that looks at
    gradients costs one for each term, or the part of them that reaches the parameters it shares.

    Args:
        function: parameters -> value of the objective, and anything else.
        params: where to take the gradient.
        state: of the weighting.
        objective: whose value it is.
    """
    names = list(objective.terms)
    weighting = objective.weighting

    def scaled(params: Any) -> tuple[jax.Array, tuple[Value, Any]]:
        value, aux = function(params)
        return jnp.stack([value.weights[n] * value.terms[n] for n in names]), (value, aux)

    values, pull, (value, aux) = jax.vjp(scaled, params, has_aux=True)
    products = None
    if weighting is None:
        weights = jnp.ones_like(values)
        if objective.skip_nonfinite:
            weights = jnp.where(jnp.isfinite(values), weights, 0)
        (gradient,) = pull(weights)
    elif isinstance(weighting, Weighting) and not weighting.needs_gramian:
        weights, state = weighting.update(values, state)
        (gradient,) = pull(weights.astype(values.dtype))
    else:
        stacked = pulled(pull, values)
        finite = jnp.isfinite(values)
        if objective.skip_nonfinite and isinstance(weighting, Weighting):
            stacked, whole = without_nonfinite(stacked)
            finite = finite & whole
        # What no one reads of the stacked gradients, the compiler leaves out.
        products = gramian(part(stacked, objective.shared) if objective.shared else stacked)
        products = jnp.where(finite[:, None] & finite[None, :], products, jnp.nan)
        if not isinstance(weighting, Weighting):
            update = optax.with_extra_args_support(weighting).update
            gradient, state = update(stacked, state, params, values=values)
            weights = jnp.ones_like(values)
        else:
            weights, state = weighting.update(values, state, products)
            if not objective.skip_nonfinite:
                # Such a gradient would be left out in silence; now it shows.
                finite = jnp.all(jnp.isfinite(jnp.diagonal(products)))
                weights = jnp.where(finite, weights, jnp.nan)
            weights = weights.astype(values.dtype)
            gradient = pull(weights)[0] if objective.shared else combined(stacked, weights)
    weighed = {n: value.weights[n] * weights[i] for i, n in enumerate(names)}
    return Gradient(gradient, value._replace(weights=weighed), state, products, aux)
