import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench.weighting._jacobi import components
from tests.weighting import stacks


def found(gradients):
    """Components of the Gramians of sets of gradients, the largest of each scaled to 1."""
    gramians = np.einsum("nip,njp->nij", *2 * (np.asarray(gradients, float),))
    gramians /= gramians.max((1, 2), keepdims=True)
    return gramians, jax.jit(jax.vmap(components))(jnp.asarray(gramians, jnp.float32))


@pytest.mark.parametrize("terms", [2, 3, 8])
def test_each_eigenvalue_has_its_own_digits(terms):
    gradients = stacks.random_sets(0, 100, terms, 50, spread=3)
    gramians, parts = found(gradients)
    scale = np.sqrt((gradients.astype(float) ** 2).sum(2).max(1))
    singular = np.linalg.svd(gradients / scale[:, None, None], compute_uv=False)
    np.testing.assert_allclose(
        np.sort(parts.values, axis=1)[:, ::-1], singular**2, rtol=1e-5, atol=0
    )
    assert np.all(parts.used)
    # The product of the parts is the matrix, to the digits of each entry.
    vectors, values = np.asarray(parts.vectors, float), np.asarray(parts.values, float)
    product = np.einsum("nik,nk,njk->nij", vectors, values, vectors)
    lengths = np.sqrt(np.einsum("nii->ni", gramians))
    error = (product - gramians) / lengths[:, :, None] / lengths[:, None, :]
    assert np.abs(error).max() < 5e-6


def test_dependent_gradients_are_told_from_small_ones():
    e = np.eye(4)
    sets = np.array(
        [
            [e[0], e[1], e[2]],
            [e[0], e[0], 1e-4 * e[1]],
            [e[0] + 0.3 * e[1], -0.7 * (e[0] + 0.3 * e[1]), 1e-4 * (e[2] + e[3])],
            [e[0], 1e-3 * e[0], 1e-5 * e[0]],
            [e[0], e[1], e[0] + e[1]],
            [e[0], 0 * e[0], 1e-6 * (e[0] + e[1])],
            [0 * e[0], 0 * e[0], 1e-6 * e[1]],
        ]
    )
    _, parts = found(sets)
    assert np.sum(parts.used, axis=1).tolist() == [3, 2, 2, 1, 2, 2, 1]


def test_one_term_and_nothing_at_all():
    assert components(jnp.ones((1, 1))).values.tolist() == [1.0]
    assert not np.any(components(jnp.zeros((3, 3))).used)
