"""Projection onto the dual cone of gradients: the directions that conflict with none of them."""

import jax
import jax.numpy as jnp

from lossbench.weighting._active_set import active_set, solve


def nonnegative_minimum(matrix: jax.Array, linear: jax.Array, allowed: jax.Array) -> jax.Array:
    r"""The minimum of :math:`\tfrac12 y^\top C y - b^\top y` over :math:`y \ge 0`.

    Args:
        matrix: C, positive definite, with a diagonal near 1, `terms terms`.
        linear: b, `terms`.
        allowed: coordinates that may be above 0.

    Returns:
        y, `terms`: exactly 0 or more.
    """

    def face(free: jax.Array) -> tuple[jax.Array, jax.Array]:
        goal = solve(matrix, linear, free)
        return goal, beyond_rounding(matrix, goal, linear)

    free = active_set(face, jnp.zeros_like(linear), allowed)
    return jnp.maximum(solve(matrix, linear, free), 0)


def beyond_rounding(matrix: jax.Array, point: jax.Array, linear: jax.Array) -> jax.Array:
    """How far `linear - matrix @ point` is above what rounding alone may make of 0."""
    rest = linear - jnp.matmul(matrix, point, precision="highest")
    noise = jnp.sum(jnp.abs(point)) + jnp.abs(linear)
    return rest - 2 * jnp.finfo(matrix.dtype).eps * noise


def dual_cone(cosines: jax.Array, lower: jax.Array, allowed: jax.Array) -> jax.Array:
    r"""Projects a combination of unit vectors onto their dual cone, in coefficients.

    The vector nearest to :math:`U^\top l` of those that have no negative inner product with a row
    of U is :math:`U^\top v`, where v minimizes :math:`v^\top U U^\top v` over :math:`v \ge l`.

    Args:
        cosines: the inner products :math:`U U^\top`, positive definite, `terms terms`.
        lower: l, `terms`.
        allowed: the rows that the projection must not conflict with.

    Returns:
        v, `terms`.

    Reference: Quinton and Rey, Jacobian Descent for Multi-Objective Optimization, 2024,
    proposition 1.
    """
    size = jnp.max(jnp.abs(lower))
    size = jnp.where(size > 0, size, 1)
    unit = lower / size
    linear = -jnp.matmul(cosines, unit, precision="highest")
    return size * (unit + nonnegative_minimum(cosines, linear, allowed))
