"""Minima over the simplex: the shortest convex combination, and that of CAGrad's dual."""

import jax
import jax.numpy as jnp

from lossbench.weighting._active_set import active_set, solve
from lossbench.weighting._cone import beyond_rounding, nonnegative_minimum


def shortest(cosines: jax.Array, norms: jax.Array, allowed: jax.Array) -> jax.Array:
    r"""Weights of the shortest convex combination of vectors.

    :math:`\min_a a^\top G a` over the simplex has the direction of
    :math:`\min_y \tfrac12 y^\top C y - \sum_i y_i / n_i` over :math:`y \ge 0` in
    :math:`y_i = n_i a_i`, which has a solution for every positive definite C.

    Args:
        cosines: C, between the vectors, positive definite, `terms terms`.
        norms: n, their lengths, `terms`.
        allowed: which vectors there are.

    Returns:
        a, `terms`; all 0 if there are none.
    """
    inverse = relative(norms, allowed)
    found = nonnegative_minimum(cosines, inverse, allowed) * inverse
    total = jnp.sum(found)
    return found / jnp.where(total > 0, total, 1)


def conflict_averse(
    cosines: jax.Array, norms: jax.Array, slopes: jax.Array, radius: jax.Array, allowed: jax.Array
) -> jax.Array:
    r"""The step of a length that raises the least descent most, in coefficients of unit vectors.

    :math:`\min_w w^\top q + r \lVert \sum_i w_i g_i \rVert` over the simplex, as the step
    :math:`v_i = r\, w_i n_i / \lVert \sum_j w_j g_j \rVert`. Over a face of the simplex the
    minimum solves :math:`C v = \tau / n - s` with that :math:`\tau` for which
    :math:`v^\top C v = r^2`.

    Args:
        cosines: C, between the gradients, positive definite, `terms terms`.
        norms: n, their lengths, `terms`.
        slopes: s, the inner products of the unit gradients and the vector to step from, `terms`.
        radius: r, the length of the step.
        allowed: which gradients there are.

    Returns:
        v, `terms`: 0 or more.
    """
    inverse = relative(norms, allowed)

    tiny = jnp.finfo(norms.dtype).tiny

    def steps(free: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The step of a face, and the product that it has with all gradients of the face."""
        share = jnp.where(free, inverse, 0)
        share = share / jnp.maximum(jnp.max(share), tiny)
        both = solve(cosines, jnp.stack([share, slopes], axis=1), free)
        a = jnp.dot(share, both[:, 0], precision="highest")
        b = jnp.dot(share, both[:, 1], precision="highest")
        c = jnp.dot(slopes, both[:, 1], precision="highest")
        a = jnp.where(a > 0, a, 1)
        # Without a root the function falls for ever on the plane of this face; the step that is
        # the shortest then has the direction in which it does.
        level = (b + jnp.sqrt(jnp.maximum(b**2 - a * (c - radius**2), 0))) / a
        return level * both[:, 0] - both[:, 1], level

    def face(free: jax.Array) -> tuple[jax.Array, jax.Array]:
        step, level = steps(free)
        # The point of the simplex that the step comes from, in lengths of unit gradients.
        total = jnp.sum(step * inverse)
        least = jnp.finfo(step.dtype).eps * jnp.sum(jnp.abs(step) * inverse)
        point = step / jnp.maximum(total, jnp.maximum(least, tiny))
        share = inverse / jnp.maximum(jnp.max(jnp.where(free, inverse, 0)), tiny)
        return point, beyond_rounding(cosines, step, level * share - slopes)

    value = jnp.where(allowed, norms * (slopes + radius), jnp.inf)
    start = (jnp.arange(len(norms)) == jnp.argmin(value)) & allowed
    free = active_set(face, jnp.where(start, 1 / inverse, 0).astype(norms.dtype), allowed)
    return jnp.maximum(steps(free)[0], 0)


def relative(norms: jax.Array, allowed: jax.Array) -> jax.Array:
    """The inverse of lengths, 1 for the shortest; 1 where there is none."""
    least = jnp.min(jnp.where(allowed, norms, jnp.inf))
    return jnp.where(allowed, least / norms, 1)
