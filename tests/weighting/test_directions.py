import jax.numpy as jnp
import numpy as np

from lossbench.weighting._directions import directions


def test_lengths_and_cosines_of_gradients_of_very_different_size():
    gradients = np.array([[3e-6, 4e-6], [0.0, 1e6], [1.0, 0.0]], np.float32)
    found = directions(jnp.ones(3), jnp.asarray(gradients @ gradients.T))
    np.testing.assert_allclose(found.norms, [5e-6, 1e6, 1], rtol=1e-6)
    # They lie in a plane.
    assert 0 < found.lift < 2e-6
    wanted = [[1, 0.8, 0.6], [0.8, 1, 0], [0.6, 0, 1]]
    np.testing.assert_allclose(found.cosines, wanted, atol=3e-6)
    assert np.linalg.eigvalsh(np.asarray(found.cosines, float))[0] > 5e-7


def test_independent_gradients_stay_as_they_are():
    gradients = np.array([[1.0, 0.0], [0.6, 0.8]], np.float32)
    found = directions(jnp.ones(2), jnp.asarray(gradients @ gradients.T))
    assert found.lift == 0
    np.testing.assert_allclose(found.cosines, [[1, 0.6], [0.6, 1]], rtol=1e-6)


def test_terms_that_take_no_part():
    gramian = jnp.diag(jnp.array([4.0, 0.0, jnp.inf, 9.0]))
    found = directions(jnp.array([1.0, 1.0, 1.0, jnp.nan]), gramian)
    np.testing.assert_array_equal(found.present, [True, True, False, False])
    np.testing.assert_array_equal(found.active, [True, False, False, False])
    np.testing.assert_array_equal(found.norms, [2, 1, 1, 1])
    np.testing.assert_array_equal(found.cosines, np.eye(4))
    np.testing.assert_array_equal(found.mean(), [0.5, 0.5, 0, 0])
    nobody = directions(jnp.full(2, jnp.nan), jnp.eye(2))
    np.testing.assert_array_equal(nobody.mean(), [0, 0])
