"""Separable correlation against SciPy's, with the whole kernel at once."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage

from lossbench.ops import neighbors

SHAPES = [(7,), (1,), (5, 6), (4, 5, 3)]
KERNELS = [[1], [1, 2, 4], [1, 1, 1], [3, -1, 0, 2, 5]]


def scipy_correlate(x, weights, axes):
    """Along the last axes of every example; 0 beyond the border."""
    kernel = functools.reduce(np.multiply.outer, [np.asarray(weights)] * axes)
    return np.stack([scipy.ndimage.correlate(one, kernel, mode="constant") for one in x])


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("weights", KERNELS, ids=str)
def test_integers_are_correlated_exactly(shape, weights):
    """Asymmetric weights keep their direction; a kernel may be wider than the image."""
    x = np.random.default_rng(0).integers(-9, 9, (2, *shape)).astype(np.int32)
    value = neighbors.correlate(jnp.asarray(x), weights, range(1, x.ndim))
    assert value.dtype == jnp.int32
    np.testing.assert_array_equal(value, scipy_correlate(x, weights, len(shape)))


def test_floats_are_correlated_to_their_digits():
    x = np.random.default_rng(0).normal(size=(2, 6, 5)).astype(np.float32)
    weights = [0.25, 0.5, -0.1]
    value = jax.jit(lambda x: neighbors.correlate(x, weights, (1, 2)))(x)
    assert value.dtype == jnp.float32
    expected = scipy_correlate(x.astype(np.float64), weights, 2)
    np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-6)


def test_only_the_named_axes_are_gone_along():
    x = np.random.default_rng(0).integers(0, 9, (2, 5, 4)).astype(np.int32)
    value = neighbors.correlate(jnp.asarray(x), [1, 0, 2], (1,))
    expected = scipy.ndimage.correlate1d(x, [1, 0, 2], axis=1, mode="constant")
    np.testing.assert_array_equal(value, expected)
    np.testing.assert_array_equal(neighbors.correlate(jnp.asarray(x), [1, 2, 1], ()), x)


def test_the_gradient_is_the_correlation_with_the_weights_turned_round():
    rng = np.random.default_rng(0)
    x, cotangent = (jnp.asarray(rng.normal(size=(1, 4, 3)), jnp.float32) for _ in range(2))
    gradient = jax.vjp(lambda x: neighbors.correlate(x, [1, 2, 4], (1, 2)), x)[1](cotangent)[0]
    expected = scipy_correlate(np.asarray(cotangent, np.float64), [4, 2, 1], 2)
    np.testing.assert_allclose(gradient, expected, rtol=1e-5)
