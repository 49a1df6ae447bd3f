"""Reconstruction error: the formulas, a value of cuvis-ai, images of integers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench import losses
from tests.losses import embedded

WHERE = np.random.default_rng(3).random((3, 4, 5)) < 0.6


def huber(e, delta):
    """Huber 1964."""
    return np.where(np.abs(e) <= delta, e**2 / 2, delta * (np.abs(e) - delta / 2))


COSTS = {
    "squared": lambda e, delta: e**2,
    "absolute": lambda e, delta: np.abs(e),
    "huber": huber,
}


@pytest.mark.parametrize("where", [None, WHERE], ids=["all", "masked"])
@pytest.mark.parametrize("kind", COSTS)
@pytest.mark.parametrize("delta", [1.0, 0.2])
def test_the_formula(where, kind, delta):
    inputs = embedded.arrays("reconstruction")
    options = {"kind": kind, "delta": delta}
    value, gradient = embedded.value_and_gradient("reconstruction", inputs, where, **options)
    kept = np.ones((3, 4, 5), bool) if where is None else where
    error = inputs["reconstructed"].astype(np.float64) - inputs["image"]
    costs = COSTS[kind](error, delta)
    wanted = [row[w].mean() for row, w in zip(costs, kept, strict=True)]
    np.testing.assert_allclose(value, wanted, rtol=1e-6)
    step = 1e-6
    slope = (COSTS[kind](error + step, delta) - COSTS[kind](error - step, delta)) / (2 * step)
    slope = slope * kept[..., None] / (3 * kept.sum((1, 2))[:, None, None, None])
    np.testing.assert_allclose(gradient, slope, rtol=1e-4, atol=1e-7)


def test_a_perfect_reconstruction_has_no_gradient():
    image = embedded.arrays("reconstruction")["image"]
    for kind in COSTS:
        value, gradient = embedded.value_and_gradient(
            "reconstruction", {"reconstructed": image, "image": image}, kind=kind
        )
        np.testing.assert_array_equal(value, 0)
        np.testing.assert_array_equal(gradient, 0)


def test_huber_bends_like_a_square_at_zero():
    def of(x):
        return losses.reconstruction(x[None], jnp.zeros((1, 1)), kind="huber")[0]

    slopes = jax.jit(jax.vmap(jax.grad(of)))(jnp.array([[1.0], [-1.0], [1e4]]))
    np.testing.assert_allclose(slopes, [[1.0], [-1.0], [1.0]])
    bend = jax.jit(jax.grad(lambda x: jax.grad(of)(x)[0]))(jnp.zeros(1))
    np.testing.assert_allclose(bend, 1.0)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.int32])
def test_integers_do_not_overflow(dtype):
    """The difference of two uint16 would be another one."""
    info = np.iinfo(dtype)
    image = np.array([[[info.min, min(info.max, 10**6)]]], dtype)
    reconstructed = jnp.zeros((1, 1, 2))
    value = losses.reconstruction(reconstructed, jnp.asarray(image), kind="absolute")
    np.testing.assert_allclose(value, np.abs(image.astype(float)).mean(), rtol=1e-6)


def test_the_image_may_be_trained_too():
    slope = jax.grad(lambda t: losses.reconstruction(jnp.ones((1, 1, 2)), t)[0])
    np.testing.assert_allclose(slope(jnp.zeros((1, 1, 2))), -1.0)


def test_the_value_of_cuvis():
    wave = lambda f: np.sin(f * np.arange(36) + 0.1).astype(np.float32).reshape(1, -1, 2)  # noqa: E731
    value = losses.reconstruction(jnp.asarray(wave(0.7)), jnp.asarray(wave(0.3)))
    np.testing.assert_allclose(value, 0.8838033, rtol=1e-5)
