"""Orthogonality of components: the formula, its gradient, a value of cuvis-ai."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench import losses


def test_the_formula_and_its_gradient():
    w = np.random.default_rng(0).normal(size=(3, 6))
    of = jax.jit(jax.value_and_grad(losses.orthogonality))
    value, gradient = of(jnp.asarray(w, jnp.float32))
    excess = w @ w.T - np.eye(3)
    np.testing.assert_allclose(value, np.linalg.norm(excess, "fro") ** 2, rtol=1e-5)
    np.testing.assert_allclose(gradient, 4 * excess @ w, rtol=1e-4, atol=1e-4)


def test_orthonormal_rows_cost_nothing():
    q = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 3)))[0].T
    assert losses.orthogonality(jnp.asarray(q, jnp.float32)) < 1e-12
    assert losses.orthogonality(jnp.eye(4)) == 0


def test_what_is_the_least_of_too_many_components():
    """More rows than features: as many eigenvalues of W W^T are 0."""
    assert losses.orthogonality(jnp.concatenate([jnp.eye(2), jnp.zeros((3, 2))])) == 3


@pytest.mark.parametrize("scale", [0.0, 1e-20, 1e4])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_any_length_is_finite(scale, dtype):
    w = jnp.asarray(scale * np.random.default_rng(0).normal(size=(3, 6)), dtype)
    value, gradient = jax.value_and_grad(losses.orthogonality)(w)
    assert (value.dtype, gradient.dtype) == (jnp.float32, dtype)
    assert np.isfinite(value)
    assert np.isfinite(np.asarray(gradient, np.float32)).all()


def test_the_value_of_cuvis():
    w = np.sin(0.9 * np.arange(18) + 0.1).astype(np.float32).reshape(3, 6)
    np.testing.assert_allclose(losses.orthogonality(jnp.asarray(w)), 23.597456, rtol=1e-5)


@pytest.mark.parametrize("shape", [(3,), (2, 3, 4), (0, 3), (3, 0)])
def test_what_is_wrong_is_named(shape):
    bare = inspect.unwrap(losses.orthogonality)
    with pytest.raises(ValueError, match=r"components: expected shape .components, features."):
        bare(jnp.zeros(shape))
    with pytest.raises(ValueError, match="components: expected a floating dtype, got int32"):
        bare(jnp.zeros((2, 3), int))
