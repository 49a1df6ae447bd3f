"""Hypersphere classification: the paper's formula, and what is finite at the center."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench import losses
from tests.losses import embedded

WHERE = np.random.default_rng(3).random((3, 4, 5)) < 0.6


def reference(z, c, labels, where, eps=1e-6):
    """Ruff et al. 2020: (1 - y) h - y log(1 - exp(-h)), where h of an anomaly is eps larger."""
    d = ((np.asarray(z, np.float64) - c) ** 2).sum(-1)
    h = np.sqrt(d + 1) - 1
    costs = np.where(labels, -np.log(-np.expm1(-(h + eps))), h)
    return np.array([row[w].mean() for row, w in zip(costs, where, strict=True)])


@pytest.mark.parametrize("where", [None, WHERE], ids=["all", "masked"])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 10.0])
def test_the_formula(where, scale):
    inputs = embedded.arrays("hypersphere_classifier")
    z = np.float32(scale) * inputs["embeddings"] + inputs["center"]
    value, _ = embedded.value_and_gradient(
        "hypersphere_classifier", {**inputs, "embeddings": z}, where
    )
    kept = np.ones((3, 4, 5), bool) if where is None else where
    wanted = reference(z, inputs["center"], inputs["labels"], kept)
    np.testing.assert_allclose(value, wanted, rtol=2e-5)


def test_eps_is_nothing_but_a_floor():
    """Away from the center the value is that of the paper, whose eps is 0."""
    inputs = embedded.arrays("hypersphere_classifier")
    value, _ = embedded.value_and_gradient("hypersphere_classifier", inputs)
    plain = reference(
        inputs["embeddings"],
        inputs["center"],
        inputs["labels"],
        np.ones((3, 4, 5), bool),
        eps=0.0,
    )
    np.testing.assert_allclose(value, plain, rtol=1e-5)


def cost_at(radius, anomalous):
    loss = lambda x: losses.hypersphere_classifier(  # noqa: E731
        jnp.stack([x, 0 * x])[None, None], jnp.zeros(2), jnp.array([[anomalous]])
    )[0]
    return jax.jit(jax.value_and_grad(loss))(jnp.float32(radius))


def test_at_and_near_the_center():
    value, slope = cost_at(0.0, True)
    np.testing.assert_allclose(value, -np.log(1e-6), rtol=1e-5)
    assert slope == 0
    steepest = abs(cost_at(np.sqrt(2e-6), True)[1])
    np.testing.assert_allclose(steepest, 1 / np.sqrt(2e-6), rtol=1e-2)
    assert cost_at(0.0, False) == (0, 0)
    for radius in (1e-6, 1e-4, 1e-3, 3e-3, 1e-2, 1.0, 1e4):
        assert abs(cost_at(radius, True)[1]) <= 1 / np.sqrt(2e-6)
        assert abs(cost_at(radius, False)[1]) <= 1


def test_far_away_keeps_its_digits():
    """An anomaly found costs exp(-h), not 0; a normal pixel far away costs its distance."""
    value, slope = cost_at(30.0, True)
    h = np.sqrt(901.0) - 1
    np.testing.assert_allclose(value, np.exp(-h), rtol=1e-4)
    np.testing.assert_allclose(slope, -np.exp(-h) * 30 / np.sqrt(901), rtol=1e-4)
    np.testing.assert_allclose(cost_at(1e4, False)[0], 1e4 - 1, rtol=1e-5)
    np.testing.assert_allclose(cost_at(1e-4, False)[0], 5e-9, rtol=1e-5)


def test_right_costs_less():
    inputs = embedded.arrays("hypersphere_classifier")
    far = np.where(inputs["labels"][..., None], 10.0, 0.1).astype(np.float32) + inputs["center"]
    right, _ = embedded.value_and_gradient("hypersphere_classifier", {**inputs, "embeddings": far})
    wrong, _ = embedded.value_and_gradient(
        "hypersphere_classifier", {**inputs, "embeddings": far, "labels": ~inputs["labels"]}
    )
    assert np.all(right < 0.1)
    assert np.all(wrong > 1)
