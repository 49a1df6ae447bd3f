"""The equations of Nash-MTL and FairGrad, solved by Newton steps on a convex function."""

import jax
import jax.numpy as jnp

STEPS = 30
# Of a Newton step: the whole, or the one of these shares that comes nearest to the minimum.
SHARES = tuple(0.5**i for i in range(8))


def bargain(matrix: jax.Array, scale: jax.Array, power: jax.Array) -> jax.Array:
    r"""The positive solution of :math:`C z = e^{1 + p} z^{-p}`.

    It is the minimum of the convex
    :math:`\tfrac12 z^\top C z - \sum_i e_i^{1 + p} z_i^{1 - p} / (1 - p)` (with a logarithm at
    p = 1). In :math:`y = z / e` the equations are :math:`C (e y) = e y^{-p}`, which y = 1 solves
    where C is the identity.

    Args:
        matrix: C, positive definite, `terms terms`.
        scale: e, above 0, `terms`.
        power: p, above 0.

    Returns:
        z, `terms`.
    """
    unit = scale / jnp.max(scale)

    # So small a number adds nothing to the others; below it powers overflow.
    least = jnp.finfo(unit.dtype).tiny ** (0.8 / (1 + power))

    def rest(point: jax.Array) -> jax.Array:
        return jnp.matmul(matrix, unit * point, precision="highest") - unit * point**-power

    def step(_: int, point: jax.Array) -> jax.Array:
        curved = matrix + jnp.diag(power * point ** (-power - 1))
        factor = jax.lax.linalg.cholesky(curved)
        move = -jax.scipy.linalg.cho_solve((factor, True), rest(point))
        relative = move / unit
        falls = jnp.clip(relative / point, -8, 0)
        shares = jnp.array(SHARES, point.dtype)[:, None]
        # Numbers that fall do so by a factor, so that none becomes 0 and none waits for another.
        shrink = jnp.exp(shares * falls[None])
        points = point[None] * shrink + shares * jnp.maximum(relative, 0)[None]
        ways = move[None] * shrink
        slopes = jax.vmap(lambda one, way: jnp.sum(way * rest(one)))(points, ways)
        return jnp.maximum(points[jnp.argmin(jnp.abs(slopes))], least)

    flat = jnp.dot(unit, jnp.matmul(matrix, unit, precision="highest"))
    start = (jnp.sum(jnp.square(unit)) / flat) ** (1 / (1 + power))
    found = jax.lax.fori_loop(0, STEPS, step, jnp.full_like(unit, start))
    return scale * found
