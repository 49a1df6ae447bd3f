import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench.weighting._simplex import conflict_averse, relative, shortest
from tests.weighting import solvers

TERMS = 4


def split(gradients):
    """Cosines and lengths."""
    norms = np.linalg.norm(gradients.astype(float), axis=-1)
    units = gradients / norms[..., None]
    return jnp.asarray(units @ units.swapaxes(-1, -2)), jnp.asarray(norms), units


def test_the_shortest_of_some():
    gradients = solvers.sets("random", TERMS)
    cosines, norms, _ = split(gradients)
    allowed = jnp.array([True, False, True, True])
    found = jax.jit(jax.vmap(lambda c, n: shortest(c, n, allowed)))(cosines, norms)
    np.testing.assert_array_equal(np.asarray(found)[:, 1], 0)
    for weights, one in zip(np.asarray(found, float), gradients, strict=True):
        wanted = solvers.shortest(one[[0, 2, 3]])
        np.testing.assert_allclose(weights @ one, wanted, atol=1e-5)


@pytest.mark.parametrize("kind", ["random", "against", "alike"])
def test_no_other_step_of_the_length_serves_the_worst_better(kind):
    gradients = solvers.sets(kind, TERMS)
    cosines, norms, units = split(gradients)
    rng = np.random.default_rng(0)
    slopes = rng.uniform(-1, 1, (len(gradients), TERMS))
    run = jax.vmap(lambda c, n, s: conflict_averse(c, n, s, 0.5, jnp.ones(TERMS, bool)))
    found = np.asarray(jax.jit(run)(cosines, norms, jnp.asarray(slopes)), float)
    assert np.all(found >= 0)
    for step, unit, one, slope in zip(found, units, gradients, slopes, strict=True):
        exact = one.astype(float)
        lengths = np.linalg.norm(exact, axis=1)

        def value(way):
            return np.min(lengths * slope + exact @ way)  # noqa: B023

        best = step @ unit
        assert np.linalg.norm(best) == pytest.approx(0.5, rel=1e-4)
        others = rng.normal(size=(3000, unit.shape[1]))
        others[1000:] = best + 0.02 * others[1000:]
        others[2000:] = best + 0.05 * (others[2000:] - best)
        others *= 0.5 / np.linalg.norm(others, axis=1, keepdims=True)
        assert max(map(value, others)) <= value(best) + 1e-5


def test_relative_lengths():
    norms = jnp.array([2.0, 1.0, 4.0])
    np.testing.assert_array_equal(relative(norms, norms > 1), [1, 1, 0.5])
    np.testing.assert_array_equal(relative(norms, norms > 9), [1, 1, 1])
