"""A weighting that needs the Gramian, as an optax transformation of stacked gradients."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from lossbench import _checks
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
        skip_nonfinite: true leaves a term out of a step in which its gradient, or its loss in
            `values=`, is not finite; otherwise the result is not finite, for all to see. If no
            term is left, the result is not finite either.
        terms: how many gradients are stacked, for a weighting that keeps something of each.
        seed: of what is drawn at random.

    Returns:
        A transformation. `init` takes the parameters, `update` the stacked gradients; with
        `values=` it hands the losses to a weighting that looks at them. It comes first in a chain:
        wrappers that expect gradients of the parameters' shapes, such as `optax.MultiSteps` and
        `optax.apply_if_finite`, go around what follows it. The Gramian holds squares, so gradients
        in float32 whose norms are below 1e-18 or above 1e18 must be scaled before. A tree without
        leaves is returned as it is.

    Raises:
        ValueError: by `init`, for a pattern that matches nothing; by `update`, for gradients that
            are not stacked like the parameters, or losses that are missing or not one a term.
    """

    def init(params: Any) -> Any:
        if shared and jax.tree.leaves(params):
            part(params, shared)
        return weighting.init(terms, seed)

    def update(
        updates: Any,
        state: Any,
        params: Any = None,
        *,
        values: Any = None,
        **_: Any,
    ) -> tuple[Any, Any]:
        if not jax.tree.leaves(updates):  # a label of `optax.multi_transform` without parameters
            return updates, state
        count = check_stacked(updates, params)
        products = gramian(part(updates, shared) if shared else updates)
        if skip_nonfinite:
            updates, finite = without_nonfinite(updates)
            products = jnp.where(finite[:, None] & finite[None, :], products, jnp.nan)
        if values is None and not weighting.needs_gramian:
            raise ValueError(
                "this weighting looks at the losses: pass them to `update`, values=[...]"
            )
        values = losses(values, count)
        weights, state = weighting.update(values, state, products)
        present = jnp.isfinite(jnp.diagonal(products)) & jnp.isfinite(values)
        # 0 times a number that is not finite would hide it in some leaves and not in others.
        return combined(updates, shown(weights, present, skip_nonfinite)), state

    return optax.GradientTransformationExtraArgs(init, update)


def losses(values: Any, terms: int) -> jax.Array:
    """The losses as an array `terms`; 1 each where there are none.

    Raises:
        ValueError: for another number of them.
    """
    if values is None:
        return jnp.ones(terms, jnp.float32)
    values = jnp.asarray(values)
    _checks.shape("values", values, (terms,), "terms")
    return values


def shown(numbers: jax.Array, present: jax.Array, skip_nonfinite: bool) -> jax.Array:
    """Numbers, or NaN if a term is missing that must not be, or all are."""
    enough = jnp.any(present) if skip_nonfinite else jnp.all(present)
    return jnp.where(enough, numbers, jnp.nan)


def check_stacked(updates: Any, params: Any) -> int:
    """The number of terms.

    Raises:
        ValueError: if the gradients are not stacked on a leading axis, or not a tree like the
            parameters.
    """
    leaves = jax.tree.leaves(updates)
    shapes = [jnp.shape(leaf) for leaf in leaves]
    if not shapes or any(not shape or shape[0] != shapes[0][0] for shape in shapes):
        raise ValueError(
            "the gradients of all terms must be stacked on a leading axis of each leaf (see "
            f"`weighting.per_term`); got leaves of shapes {', '.join(map(str, shapes[:4]))}"
        )
    if params is not None:
        _check_structure(updates, params)
        for leaf, one in zip(leaves, jax.tree.leaves(params), strict=True):
            if jnp.shape(leaf)[1:] != jnp.shape(one):
                raise ValueError(
                    "the gradients of all terms must be stacked on a leading axis: a parameter of "
                    f"shape {jnp.shape(one)} came with a gradient of shape {jnp.shape(leaf)}"
                )
    return shapes[0][0]


def _check_structure(updates: Any, params: Any) -> None:
    """Raises unless both are trees of the same structure."""
    structures = [jax.tree.structure(tree) for tree in (updates, params)]
    if structures[0] == structures[1]:
        return
    here, there = (
        [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(tree)]
        for tree in (updates, params)
    )
    apart = [f"{name} is in the gradients alone" for name in here if name not in there]
    apart += [f"{name} is in the parameters alone" for name in there if name not in here]
    apart = apart or [f"{one}"[:200] for one in structures]
    raise ValueError(
        "the gradients must be a tree of the same structure as the parameters: "
        + "; ".join(apart[:4])
    )


def without_nonfinite(gradients: Any) -> tuple[Any, jax.Array]:
    """Gradients with 0 for those that are not finite somewhere, and which of the terms are."""
    leaves = jax.tree.leaves(gradients)
    finite = jnp.all(
        jnp.stack([jnp.all(jnp.isfinite(x), axis=tuple(range(1, x.ndim))) for x in leaves]), axis=0
    )

    def zeroed(leaf: jax.Array) -> jax.Array:
        return jnp.where(jnp.expand_dims(finite, range(1, leaf.ndim)), leaf, 0)

    return jax.tree.map(zeroed, gradients), finite
