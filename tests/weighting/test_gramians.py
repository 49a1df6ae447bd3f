import jax.numpy as jnp
import numpy as np
import pytest

from lossbench.weighting._gramians import present_terms


def test_terms_that_are_there():
    gramian = np.array([[4.0, 1.0, 2.0], [1.0, np.inf, 1.0], [2.0, 1.0, 9.0]])
    present, products = present_terms([1.0, 2.0, 3.0], gramian)
    np.testing.assert_array_equal(present, [True, False, True])
    np.testing.assert_array_equal(products, [[4, 0, 2], [0, 0, 0], [2, 0, 9]])
    present, _ = present_terms([1.0, np.nan, np.inf], jnp.eye(3))
    np.testing.assert_array_equal(present, [True, False, False])


def test_shapes_that_do_not_fit_are_refused():
    message = r"gramian: expected shape \(2, 2\) \(terms terms\), got \(3, 3\)"
    with pytest.raises(ValueError, match=message):
        present_terms([1.0, 2.0], jnp.eye(3))
    with pytest.raises(ValueError, match=r"values: expected shape \(2,\) \(terms\), got \(\)"):
        present_terms(1.0, jnp.eye(2))
    with pytest.raises(ValueError, match="needs the Gramian"):
        present_terms([1.0], None)
