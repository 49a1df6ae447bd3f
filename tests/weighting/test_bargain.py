import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench.weighting._bargain import bargain
from tests.weighting import solvers

TERMS = 5
RUN = jax.jit(jax.vmap(bargain, in_axes=(0, 0, None)))


@pytest.mark.parametrize("power", [0.1, 0.5, 1.0, 2.0, 10.0])
def test_the_equations_hold(power):
    rows = np.concatenate([solvers.sets(kind, TERMS) for kind in ("random", "alike")])
    rows = rows / np.linalg.norm(rows, axis=-1, keepdims=True)
    matrices = rows @ rows.swapaxes(-1, -2)
    scales = np.random.default_rng(0).uniform(0.3, 1, (len(rows), TERMS))
    found = np.asarray(RUN(jnp.asarray(matrices), jnp.asarray(scales), jnp.float32(power)), float)
    assert np.all(found > 0)
    # By a float64 step of Newton from there, which must be small.
    wanted = scales ** (1 + power) * found**-power
    rest = np.einsum("nij,nj->ni", matrices, found) - wanted
    curve = matrices + np.eye(TERMS) * (power * wanted / found)[:, None]
    step = np.linalg.solve(curve, rest[..., None])[..., 0]
    assert np.max(np.abs(step)) < 2e-5 * np.max(found)


def test_by_hand():
    # C = 1: z = e. Two that are alike: 2 z = 1 / z. Opposite but for 1e-6: both very large.
    np.testing.assert_allclose(
        bargain(jnp.eye(2), jnp.array([1.0, 1e-3]), jnp.float32(3)), [1, 1e-3]
    )
    alike = jnp.array([[1.0, 1 - 1e-6], [1 - 1e-6, 1.0]])
    np.testing.assert_allclose(
        bargain(alike, jnp.ones(2), jnp.float32(1)), np.sqrt([0.5, 0.5]), rtol=1e-5
    )
    opposite = jnp.array([[1.0, -1 + 1e-6], [-1 + 1e-6, 1.0]])
    found = bargain(opposite, jnp.ones(2), jnp.float32(1))
    np.testing.assert_allclose(found, [1e3, 1e3], rtol=0.1)
