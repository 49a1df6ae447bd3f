import jax
import jax.numpy as jnp
import numpy as np

from lossbench.weighting._cone import beyond_rounding, dual_cone, nonnegative_minimum
from tests.weighting import solvers

TERMS = 5


def units(count):
    """Unit vectors, many of which conflict, as float32 has them."""
    rows = np.stack(list(solvers.sets("against", TERMS, count))).astype(float)
    rows /= np.linalg.norm(rows, axis=-1, keepdims=True)
    return rows.astype(np.float32).astype(float)


def test_the_minimum_fulfills_its_conditions():
    rows, linear = units(30), np.random.default_rng(0).normal(size=(30, TERMS))
    matrices = rows @ rows.swapaxes(-1, -2) + 0.01 * np.eye(TERMS)
    run = jax.jit(jax.vmap(lambda m, b: nonnegative_minimum(m, b, jnp.ones(TERMS, bool))))
    found = np.asarray(run(jnp.asarray(matrices), jnp.asarray(linear)), float)
    slope = np.einsum("nij,nj->ni", matrices, found) - linear
    size = 1e-6 * (1 + np.max(found, axis=1, keepdims=True))
    assert np.all(found >= 0)
    assert np.all(slope > -4 * size)
    assert np.all(np.abs(slope * (found > 0)) < 4 * size)


def test_a_projection_is_the_one_of_float64():
    rows, lower = units(30), np.random.default_rng(1).uniform(-1, 1, (30, TERMS))
    run = jax.jit(jax.vmap(lambda c, low: dual_cone(c, low, jnp.ones(TERMS, bool))))
    matrices = rows @ rows.swapaxes(-1, -2)
    found = np.asarray(run(jnp.asarray(matrices), jnp.asarray(lower)), float)
    assert np.all(found >= lower - 1e-6)
    for weights, one, given in zip(found, rows, lower, strict=True):
        wanted = solvers.project(one, given @ one)
        np.testing.assert_allclose(weights @ one, wanted, atol=1e-5)


def test_rounding_is_no_gain():
    point, linear = jnp.array([0.1, 0.7]), jnp.array([0.1, 0.7])
    assert np.all(beyond_rounding(jnp.eye(2), point, linear * (1 + 1e-7)) <= 0)
    assert np.all(beyond_rounding(jnp.eye(2), point, linear + 1e-5) > 0)
