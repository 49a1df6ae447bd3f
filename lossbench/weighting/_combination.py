"""A weighting that needs the Gramian, as an optax transformation of stacked gradients."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from lossbench.weighting._weighting import Weighting
from lossbench.weighting.gradients import combined, gramian, part


def combination(
    weighting: Weighting,
    *,
    shared: str | Sequence[str] = (),
    skip_nonfinite: bool = False,
    terms: int = 2,
    seed: int = 0,
) -> optax.GradientTransformationExtraArgs:
    r"""Turns gradients stacked on a leading axis of terms into one: :math:`\\sum_i w_i g_i`.

    Args:
        weighting: chooses the weights from the Gramian.
        shared: patterns of the names of parameters (see `gradients.part`) whose gradients make the
            Gramian; all by default. The weights are those of the whole gradients in any case.
        skip_nonfinite: true leaves a term out of a step in which its gradient is not finite;
            otherwise the result is not finite, for all to see.
        terms: how many gradients are stacked, for a weighting that keeps something of each.
        seed: of what is drawn at random.

    Returns:
        A transformation. `init` takes the parameters, `update` the stacked gradients; with
        `values=` it hands the losses to a weighting that looks at them. It comes first in a chain:
        wrappers that expect gradients of the parameters' shapes, such as `optax.MultiSteps` and
        `optax.apply_if_finite`, go around what follows it.
    """

    def init(params: Any) -> Any:
        if shared:
            part(params, shared)
        return weighting.init(terms, seed)

    def update(
        updates: Any,
        state: Any,
        params: Any = None,
        *,
        values: jax.Array | None = None,
        **_: Any,
    ) -> tuple[Any, Any]:
        count = check_stacked(updates, params)
        products = gramian(part(updates, shared) if shared else updates)
        if skip_nonfinite:
            updates, finite = without_nonfinite(updates)
            products = jnp.where(finite[:, None] & finite[None, :], products, jnp.nan)
        values = jnp.ones(count) if values is None else values
        weights, state = weighting.update(values, state, products)
        if not skip_nonfinite:
            # 0 times a number that is not finite would hide it in some leaves and not in others.
            finite = jnp.isfinite(jnp.diagonal(products))
            weights = jnp.where(jnp.all(finite), weights, jnp.nan)
        return combined(updates, weights), state

    return optax.GradientTransformationExtraArgs(init, update)


def check_stacked(updates: Any, params: Any) -> int:
    """The number of terms.

    Raises:
        ValueError: if the gradients are not stacked on a leading axis.
    """
    leaves = jax.tree.leaves(updates)
    shapes = [jnp.shape(leaf) for leaf in leaves]
    if not shapes or any(not shape or shape[0] != shapes[0][0] for shape in shapes):
        raise ValueError(
            "the gradients of all terms must be stacked on a leading axis of each leaf (see "
            f"`weighting.per_term`); got leaves of shapes {', '.join(map(str, shapes[:4]))}"
        )
    if params is not None:
        for leaf, one in zip(leaves, jax.tree.leaves(params), strict=True):
            if jnp.shape(leaf)[1:] != jnp.shape(one):
                raise ValueError(
                    "the gradients of all terms must be stacked on a leading axis: a parameter of "
                    f"shape {jnp.shape(one)} came with a gradient of shape {jnp.shape(leaf)}"
                )
    return shapes[0][0]


def without_nonfinite(gradients: Any) -> tuple[Any, jax.Array]:
    """Gradients with 0 for those that are not finite somewhere, and which of the terms are."""
    leaves = jax.tree.leaves(gradients)
    finite = jnp.all(
        jnp.stack([jnp.all(jnp.isfinite(x), axis=tuple(range(1, x.ndim))) for x in leaves]), axis=0
    )

    def zeroed(leaf: jax.Array) -> jax.Array:
        return jnp.where(jnp.expand_dims(finite, range(1, leaf.ndim)), leaf, 0)

    return jax.tree.map(zeroed, gradients), finite
