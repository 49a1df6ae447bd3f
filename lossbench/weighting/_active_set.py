"""Minima of convex functions under v >= 0, exact, in a fixed number of small steps."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

STEPS = 4  # a term; each enters about once, and few leave again


def active_set(
    face: Callable[[jax.Array], tuple[jax.Array, jax.Array]],
    start: jax.Array,
    allowed: jax.Array,
) -> jax.Array:
    """The coordinates that are not 0 at the minimum of a convex function under v >= 0.

    In each step the minimum over the free coordinates alone is known in closed form. If it is
    positive, the point goes there, and the coordinate that promises most is freed; otherwise the
    point goes towards it until a coordinate becomes 0, and that one is fixed. The function falls
    in every step, so no set of free coordinates comes twice.

    Args:
        face: free coordinates (bool) -> the minimum over these, with 0 elsewhere, and what freeing
            each coordinate promises there, above 0 only where that is more than rounding.
        start: a point `terms` that is at least 0; where it is above 0 it is free at first.
        allowed: coordinates that may be freed.

    Returns:
        The free coordinates, `terms`, bool.

    Reference: Lawson and Hanson, Solving Least Squares Problems, 1974, chapter 23; for the simplex
    it is Wolfe, Finding the Nearest Point in a Polytope, Mathematical Programming 1976.
    """
    index = jnp.arange(len(start))

    def step(_: int, carry: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        point, free, barred = carry
        goal, gain = face(free)
        blocks = free & ~(goal > 0)
        # Inside: go there and free the most promising coordinate, if there is any.
        promise = jnp.where(allowed & ~free & ~barred, gain, 0)
        freed = free | ((index == jnp.argmax(promise)) & (promise > 0))
        # Outside: go as far as all are positive.
        way = jnp.where(blocks, point - goal, 1)
        share = jnp.where(blocks, point / jnp.where(way > 0, way, 1), jnp.inf)
        first = blocks & (index == jnp.argmin(share))
        stopped = jnp.maximum(point + jnp.min(share) * (goal - point), 0)
        # A coordinate that is to leave before it moved came in by rounding.
        bar = first & ~(point > 0)
        outside = jnp.any(blocks)
        return (
            jnp.where(outside, jnp.where(first, 0, stopped), goal),
            jnp.where(outside, free & ~first, freed),
            jnp.where(outside, barred | bar, barred),
        )

    begin = (start, start > 0, jnp.zeros(len(start), bool))
    return jax.lax.fori_loop(0, STEPS * len(start), step, begin)[1]


def solve(matrix: jax.Array, right: jax.Array, free: jax.Array) -> jax.Array:
    """The solution of the equations of the free coordinates, with 0 elsewhere.

    Args:
        matrix: positive definite, `terms terms`.
        right: right-hand sides `terms` or `terms sides`.
        free: which rows and columns count.
    """
    both = free[:, None] & free[None, :]
    kept = jnp.where(both, matrix, jnp.eye(len(free), dtype=matrix.dtype))
    sides = right if right.ndim == 2 else right[:, None]
    sides = jnp.where(free[:, None], sides, 0)
    factor = jax.lax.linalg.cholesky(kept)
    found = jax.scipy.linalg.cho_solve((factor, True), sides)
    # Once more for what rounding left.
    rest = sides - jnp.matmul(kept, found, precision="highest")
    found = found + jax.scipy.linalg.cho_solve((factor, True), rest)
    return found if right.ndim == 2 else found[:, 0]
