"""Gradients of several losses: all from one backward pass, their Gramian, their weighted sum.

Stacked gradients are a tree like the parameters, with a leading axis of terms on every leaf.
"""

import fnmatch
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from lossbench._names import unknown


def per_term(function: Callable[[Any], Any], params: Any) -> tuple[jax.Array, Any]:
    """The losses and the gradient of each, from one forward pass.

    Args:
        function: parameters -> losses, an array `terms` or a list or dict of scalars (a dict in
            its sorted order).
        params: where to take the gradients.

    Returns:
        Losses `terms`, and the gradients stacked on a leading axis of terms. One that is not finite
        stays in its row if the losses come apart, as a list or a dict; in an array they are one
        value, and 0 times its derivative is NaN.

    Example:
        >>> import jax.numpy as jnp
        >>> losses = lambda x: [jnp.sum(x**2), jnp.sum(3 * x)]
        >>> values, gradients = per_term(losses, jnp.array([1.0, 2.0]))
        >>> print(gradients)
        [[2. 4.]
         [3. 3.]]
    """
    shape = jax.eval_shape(function, params)
    if _is_stacked(shape):
        values, pull = jax.vjp(lambda params: stacked_values(function(params)), params)
        return values, pulled(pull, values)
    _check_scalars(shape)
    # Each loss by itself: a derivative of another one that is not finite times 0 would be NaN.
    values, pushed = jax.linearize(lambda params: jax.tree.leaves(function(params)), params)
    gradients = []
    for index, value in enumerate(values):
        back = jax.linear_transpose(lambda tangent, index=index: pushed(tangent)[index], params)
        gradients += back(jnp.ones((), value.dtype))
    return stacked_values(values), jax.tree.map(lambda *leaves: jnp.stack(leaves), *gradients)


def pulled(pull: Callable[[jax.Array], tuple[Any]], values: jax.Array) -> Any:
    """The gradients of all losses, stacked: one `vmap` of their `vjp`.

    On the CPU they are computed one after the other: intermediates that are wider by the number of
    terms leave its caches, and take a quarter longer and twice the memory in 3D.

    Args:
        pull: from `jax.vjp` of a function of the parameters whose value is an array `terms`.
        values: that value.
    """
    units = jnp.eye(values.shape[0], dtype=values.dtype)
    return jax.lax.platform_dependent(
        units, cpu=functools.partial(one_by_one, pull), default=functools.partial(mapped, pull)
    )


def mapped(pull: Callable[[jax.Array], tuple[Any]], units: jax.Array) -> Any:
    """`pull` of every row of a matrix at once."""
    return jax.vmap(pull)(units)[0]


def one_by_one(pull: Callable[[jax.Array], tuple[Any]], units: jax.Array) -> Any:
    """`pull` of one row after the other."""
    gradients = [pull(unit)[0] for unit in units]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *gradients)


def stacked_values(values: Any) -> jax.Array:
    """Losses as one array `terms`."""
    leaves = jax.tree.leaves(values)
    if _is_stacked(values):
        return leaves[0]
    _check_scalars(values)
    return jnp.stack([jnp.asarray(leaf) for leaf in leaves])


def _is_stacked(values: Any) -> bool:
    leaves = jax.tree.leaves(values)
    return len(leaves) == 1 and leaves[0].ndim == 1


def _check_scalars(values: Any) -> None:
    for leaf in jax.tree.leaves(values):
        if jnp.ndim(leaf):
            raise ValueError(f"a loss must be a scalar here, got one of shape {jnp.shape(leaf)}")


def gramian(gradients: Any) -> jax.Array:
    """Inner products of all pairs of stacked gradients, `terms terms`, at least float32."""
    rows = [_rows(leaf) for leaf in jax.tree.leaves(gradients)]
    return sum(
        (jnp.matmul(row, row.T, precision="highest") for row in rows[1:]),
        jnp.matmul(rows[0], rows[0].T, precision="highest"),
    )


def combined(gradients: Any, weights: jax.Array) -> Any:
    """The weighted sum of stacked gradients, in their dtype: a tree like the parameters."""

    def total(leaf: jax.Array) -> jax.Array:
        rows = _rows(leaf)
        flat = jnp.matmul(weights.astype(rows.dtype), rows, precision="highest")
        return flat.reshape(leaf.shape[1:]).astype(leaf.dtype)

    return jax.tree.map(total, gradients)


def cosines(gramian: jax.Array) -> jax.Array:
    """The cosine between each two gradients, `terms terms`; NaN where one of them is 0."""
    norms = jnp.sqrt(jnp.diagonal(gramian))
    defined = (norms[:, None] > 0) & (norms[None, :] > 0)
    scaled = gramian / jnp.where(defined, norms[:, None], 1) / jnp.where(defined, norms[None, :], 1)
    return jnp.where(defined, jnp.clip(scaled, -1, 1), jnp.nan)


def named(params: Any) -> dict[str, jax.Array]:
    """The leaves of a tree by their names: keys joined by "/".

    Raises:
        ValueError: for two leaves of one name.
    """
    names: dict[str, jax.Array] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        if name in names:
            raise ValueError(
                f"two parameters have the name {name!r}, their keys joined by '/': rename one"
            )
        names[name] = leaf
    return names


def part(params: Any, patterns: str | Sequence[str]) -> dict[str, jax.Array]:
    """Those parameters whose name one of the patterns matches, as in a shell.

    Args:
        params: a tree; a leaf is named by its keys, joined by "/".
        patterns: such as "head/*"; `*` stands for any text, "/" included.

    Raises:
        ValueError: for a pattern that matches nothing, or two parameters of one name.

    Example:
        >>> params = {"body": {"kernel": 1}, "head": {"kernel": 2, "bias": 3}}
        >>> part(params, "head/*")
        {'head/bias': 3, 'head/kernel': 2}
    """
    names = named(params)
    patterns = [patterns] if isinstance(patterns, str) else list(patterns)
    for pattern in patterns:
        if not any(fnmatch.fnmatchcase(name, pattern) for name in names):
            raise unknown("pattern of parameters", pattern, names)
    return {
        name: leaf
        for name, leaf in names.items()
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
    }


def _rows(leaf: jax.Array) -> jax.Array:
    """A stacked leaf as one row a term, at least float32."""
    rows = leaf.reshape(leaf.shape[0], -1)
    return rows.astype(jnp.promote_types(rows.dtype, jnp.float32))
