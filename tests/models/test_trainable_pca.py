import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench.models import TrainablePCA, with_pca


def fitted(x, count):
    """Mean and principal components, in float64."""
    mean = x.mean(0)
    _, vectors = np.linalg.eigh(np.cov(x.T))
    return mean, vectors[:, ::-1][:, :count].T


def test_fitted_components_give_the_best_projection():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 5)) * [3, 2, 1, 0.5, 0.1] + rng.normal(size=5)
    mean, components = fitted(x, 2)
    model = TrainablePCA(2)
    image = jnp.asarray(x.reshape(3, 4, 5, 5), jnp.float32)
    params = model.init(jax.random.key(0), image)["params"]
    params = with_pca(params, jnp.asarray(mean), jnp.asarray(components))
    got = model.apply({"params": params}, image)
    projected = (x - mean) @ components.T
    np.testing.assert_allclose(got["embeddings"].reshape(60, 2), projected, atol=1e-4)
    np.testing.assert_allclose(
        got["reconstructed"].reshape(60, 5), projected @ components + mean, atol=1e-4
    )
    np.testing.assert_allclose(got["components"], components, atol=1e-6)


def test_begins_orthonormal_and_both_parameters_are_trained():
    model, x = TrainablePCA(3), jax.random.normal(jax.random.key(1), (4, 6))
    params = model.init(jax.random.key(0), x)["params"]
    w = params["components"]
    np.testing.assert_allclose(w @ w.T, np.eye(3), atol=1e-6)
    np.testing.assert_array_equal(params["mean"], np.zeros(6))

    def loss(params):
        return jnp.sum((model.apply({"params": params}, x)["reconstructed"] - x) ** 2)

    gradient = jax.grad(loss)(params)
    assert all(float(jnp.abs(g).max()) > 1e-3 for g in jax.tree.leaves(gradient))


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="n_components must be between 1 and the image's 2"):
        TrainablePCA(3).init(jax.random.key(0), jnp.ones((4, 2)))
    params = {"components": jnp.zeros((2, 4)), "mean": jnp.zeros(4)}
    with pytest.raises(ValueError, match=r"with_pca: components: expected shape \(2, 4\)"):
        with_pca(params, jnp.zeros(4), jnp.zeros((3, 4)))
    with pytest.raises(ValueError, match=r"with_pca: mean: expected shape \(4,\)"):
        with_pca(params, jnp.zeros(3), jnp.zeros((2, 4)))
