"""How fast forms of a formula are differentiated."""

import functools
from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array

from lossbench.ops.classes import side_by_side

Values = TypeVar("Values", Array, tuple[Array, ...])


def side_by_side_derivative(function: Callable[..., Values], *arrays: Array | None) -> Values:
    """`function(*arrays)`, computed with few classes apart and differentiated side by side.

    Args:
        function: of the arrays. It is traced in both forms, see `ops.classes`, and may close over
            traced floating values.
        arrays: the logits first. None is passed on.

    The derivative holds for both modes and any order.
    """

    def plain(*xs):
        with side_by_side():
            return function(*xs)

    return differentiated_as(plain, function, *arrays)


def differentiated_as(
    slope: Callable[..., Values], value: Callable[..., Values], *arrays: Array | None
) -> Values:
    """`value(*arrays)`, differentiated as `slope(*arrays)`, which is the same another way."""
    value, value_shares = jax.closure_convert(value, *arrays)
    slope, slope_shares = jax.closure_convert(slope, *arrays)
    return _evaluate(value, slope, arrays, tuple(value_shares), tuple(slope_shares))


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _evaluate(value, slope, arrays, value_shares, slope_shares):
    return value(*arrays, *value_shares)


def _evaluate_jvp(value, slope, primals, tangents):
    arrays, _, slope_shares = primals
    out = _evaluate(value, slope, *primals)
    changes = [change(x, t) for x, t in zip(arrays, tangents[0], strict=True)]
    changes += [change(x, t) for x, t in zip(slope_shares, tangents[2], strict=True)]
    if all(c is None for c in changes):
        return out, jax.tree.map(jnp.zeros_like, out)
    return out, change_along(slope, [*arrays, *slope_shares], changes)


_evaluate.defjvp(_evaluate_jvp, symbolic_zeros=True)


def change(x: Array | None, tangent) -> Array | None:
    """The change of an array, None for one that does not change."""
    if x is None or isinstance(tangent, jax.custom_derivatives.SymbolicZero):
        return None
    return jnp.asarray(tangent) if jnp.issubdtype(x.dtype, jnp.floating) else None


def change_along(
    function: Callable[..., Values], values: list[Array | None], changes: list[Array | None]
) -> Values:
    """The change of `function(*values)` along the changes that are not None, at least one."""
    moving = [i for i, move in enumerate(changes) if move is not None]

    def of_moving(*moved):
        merged = list(values)
        for i, value in zip(moving, moved, strict=True):
            merged[i] = value
        return function(*merged)

    return jax.jvp(of_moving, [values[i] for i in moving], [changes[i] for i in moving])[1]
