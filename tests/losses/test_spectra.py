"""Spectral angle and information divergence: the formulas, and where they are not defined."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench import losses, metrics
from tests.losses import embedded

WHERE = np.random.default_rng(3).random((3, 4, 5)) < 0.6


def angles(x, t):
    x, t = (np.asarray(a, np.float64) for a in (x, t))
    cosine = (x * t).sum(-1) / (np.linalg.norm(x, axis=-1) * np.linalg.norm(t, axis=-1))
    return np.arccos(np.clip(cosine, -1, 1))


def divergences(x, t, eps=0.0):
    """Chang 2000: the sum of both Kullback-Leibler divergences."""
    p, q = (np.asarray(a, np.float64) / a.sum(-1, keepdims=True, dtype=np.float64) for a in (x, t))
    p, q = ((a + eps) / (1 + eps * a.shape[-1]) for a in (p, q))
    return (p * np.log(p / q)).sum(-1) + (q * np.log(q / p)).sum(-1)


FORMULAS = {"spectral_angle": angles, "spectral_information_divergence": divergences}


@pytest.mark.parametrize("where", [None, WHERE], ids=["all", "masked"])
@pytest.mark.parametrize("name", FORMULAS)
def test_the_formula(name, where):
    inputs = embedded.arrays(name)
    inputs["reconstructed"] += 0.05
    value, _ = embedded.value_and_gradient(name, inputs, where)
    kept = np.ones((3, 4, 5), bool) if where is None else where
    costs = FORMULAS[name](inputs["reconstructed"], inputs["image"])
    wanted = [row[w].mean() for row, w in zip(costs, kept, strict=True)]
    np.testing.assert_allclose(value, wanted, rtol=1e-5)


@pytest.mark.parametrize("name", FORMULAS)
def test_many_channels_take_the_other_path_to_the_same_value(name):
    """A cube is taken in blocks of pixels; a table is one block."""
    rng = np.random.default_rng(0)
    cube, image = (rng.random((2, 8, 16, 70)).astype(np.float32) + 0.05 for _ in range(2))
    where = rng.random((2, 8, 16)) < 0.7
    inputs = {"reconstructed": cube, "image": image}
    value, gradient = embedded.value_and_gradient(name, inputs, where)
    costs = FORMULAS[name](cube, image)
    wanted = [row[w].mean() for row, w in zip(costs, where, strict=True)]
    np.testing.assert_allclose(value, wanted, rtol=1e-5)
    pixels = {k: x.reshape(-1, 70) for k, x in inputs.items()}
    _, of_pixels = embedded.value_and_gradient(name, pixels)
    scale = (where / where.sum((1, 2))[:, None, None])[..., None]
    np.testing.assert_allclose(
        gradient, of_pixels.reshape(cube.shape) * scale, rtol=1e-4, atol=1e-8
    )


@pytest.mark.parametrize("name", FORMULAS)
def test_brightness_changes_nothing(name):
    inputs = embedded.arrays(name)
    inputs["reconstructed"] += 0.05
    value, _ = embedded.value_and_gradient(name, inputs)
    for scale in (1e-20, 1e4, 1e25):
        scaled = {**inputs, "reconstructed": inputs["reconstructed"] * np.float32(scale)}
        bright, gradient = embedded.value_and_gradient(name, scaled)
        np.testing.assert_allclose(bright, value, rtol=1e-5)
        along = (gradient * inputs["reconstructed"]).sum(-1)
        assert np.abs(along).max() <= 1e-5 * np.abs(gradient).max()


def test_small_angles_keep_their_digits():
    for angle in (1e-6, 1e-4, 1e-2, 1.0, 3.0, math.pi - 1e-4):
        x = jnp.array([[math.cos(angle), math.sin(angle)]], jnp.float32)
        t = jnp.array([[1.0, 0.0]])
        value = losses.spectral_angle(x, t)[0]
        np.testing.assert_allclose(value, angle, rtol=1e-6)
        gradient = jax.grad(lambda x, t=t: losses.spectral_angle(x, t)[0])(x)
        np.testing.assert_allclose(np.linalg.norm(gradient), 1.0, rtol=1e-4)


def test_it_is_the_metric():
    inputs = embedded.arrays("spectral_angle", batch=4, space=())
    x, t = jnp.asarray(inputs["reconstructed"]), jnp.asarray(inputs["image"])
    wanted = jax.jit(metrics.spectral_angle)(x, t).values
    np.testing.assert_allclose(losses.spectral_angle(x, t), wanted, rtol=1e-6)


@pytest.mark.parametrize(
    ("x", "angle"),
    [([2.0, 2.0], 0.0), ([-3.0, -3.0], math.pi), ([0.0, 0.0], math.pi / 2)],
    ids=["same", "opposite", "nothing"],
)
def test_where_the_slope_jumps_it_is_zero(x, angle):
    t = jnp.array([[1.0, 1.0]])
    found = jax.value_and_grad(lambda x: losses.spectral_angle(x, t)[0])(jnp.array([x]))
    np.testing.assert_allclose(found[0], angle, atol=1e-6)
    np.testing.assert_array_equal(found[1], 0)


def test_a_target_of_nothing_has_no_direction():
    x = jnp.array([[1.0, 2.0]])
    value, gradient = jax.value_and_grad(
        lambda x: losses.spectral_angle(x, jnp.zeros((1, 2), jnp.uint16))[0]
    )(x)
    np.testing.assert_allclose(value, math.pi / 2)
    np.testing.assert_array_equal(gradient, 0)


def test_shares_of_zero_and_less_are_finite():
    """A channel of 0 has the share eps; what is negative counts as 0; nothing at all is flat."""
    eps = 1e-4
    cases = [
        ([0.0, 1.0, 1.0], [1.0, 1.0, 0.0], [0, 0.5, 0.5], [0.5, 0.5, 0]),
        ([-5.0, 1.0, 1.0], [1.0, 1.0, 0.0], [0, 0.5, 0.5], [0.5, 0.5, 0]),
        ([0.0, 0.0, 0.0], [1.0, 2.0, 1.0], [1 / 3] * 3, [0.25, 0.5, 0.25]),
        ([-1.0, -1.0, 0.0], [0.0, 0.0, 0.0], [1 / 3] * 3, [1 / 3] * 3),
    ]

    @jax.jit
    def of(x, t):
        loss = losses.spectral_information_divergence
        return jax.value_and_grad(lambda x: loss(x[None], t[None], eps=eps)[0])(x)

    for x, t, p, q in cases:
        value, gradient = of(jnp.array(x), jnp.array(t))
        p, q = np.array(p), np.array(q)
        np.testing.assert_allclose(value, divergences(p, q, eps), rtol=1e-4, atol=1e-7)
        assert np.isfinite(gradient).all()
        np.testing.assert_array_equal(gradient[np.array(x) <= 0], 0)


def test_the_greatest_divergence():
    x, t = jnp.array([[1.0, 0.0]]), jnp.array([[0.0, 1.0]])
    for eps in (1e-8, 1e-3):
        value = losses.spectral_information_divergence(x, t, eps=eps)
        assert value <= 2 * math.log(1 + 1 / eps)
        np.testing.assert_allclose(value, 2 * math.log(1 + 1 / eps), rtol=0.003)
