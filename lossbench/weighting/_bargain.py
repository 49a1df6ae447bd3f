"""The equations of Nash-MTL and FairGrad, solved by Newton steps on a convex function."""

import jax
import jax.numpy as jnp

STEPS = 40
# Of a Newton step: all of it, or the first of these shares that the function likes best.
SHARES = tuple(0.5**i for i in range(8))


def bargain(matrix: jax.Array, scale: jax.Array, power: jax.Array) -> jax.Array:
    r"""The positive solution of :math:`C z = k z^{-p}`.

    It is the minimum of the convex :math:`\tfrac12 z^\top C z - \sum_i k_i z_i^{1 - p} / (1 - p)`
    (of a logarithm at p = 1). With :math:`z_i = e_i y_i,\ e_i = k_i^{1 / (1 + p)}` the equations
    are :math:`C e y = e y^{-p}`, which y = 1 solves where C is the identity.

    Args:
        matrix: C, positive definite, `terms terms`.
        scale: k, above 0, `terms`.
        power: p, above 0.

    Returns:
        z, `terms`.
    """
    unit = scale ** (1 / (1 + power))
    unit = unit / jnp.max(unit)

    def rest(point: jax.Array) -> jax.Array:
        return jnp.matmul(matrix, unit * point, precision="highest") - unit * point**-power

    def step(_: int, point: jax.Array) -> jax.Array:
        curved = matrix + jnp.diag(power * point ** (-power - 1))
        factor = jax.lax.linalg.cholesky(curved)
        move = -jax.scipy.linalg.cho_solve((factor, True), rest(point))
        relative = move / unit
        # The share of the way to where a number becomes 0.
        room = jnp.min(jnp.where(relative < 0, -point / jnp.minimum(relative, -1e-30), jnp.inf))
        shares = jnp.minimum(1, 0.9 * room) * jnp.array(SHARES, point.dtype)
        points = point[None] + shares[:, None] * relative[None]
        # The slope along the way rises from below 0; the best point has it nearest to 0.
        slopes = jax.vmap(lambda one: jnp.sum(move * rest(one)))(points)
        return points[jnp.argmin(jnp.abs(slopes))]

    flat = jnp.dot(unit, jnp.matmul(matrix, unit, precision="highest"))
    start = (jnp.sum(jnp.square(unit)) / flat) ** (1 / (1 + power))
    found = jax.lax.fori_loop(0, STEPS, step, jnp.full_like(unit, start))
    return scale ** (1 / (1 + power)) * found
