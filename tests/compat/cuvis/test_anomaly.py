"""Nodes of anomaly detection: where they deviate from cuvis-ai, and what is refused.

Values stored from cuvis-ai itself are compared in `test_nodes.py`.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench import losses
from lossbench.compat import cuvis


def test_distinct_selectors_cost_nothing():
    """cuvis-ai 0.19.3 gives NaN for these, and .7071 for those that share a channel in part."""
    of = jax.jit(jax.value_and_grad(cuvis.DistinctnessLoss(weight=1.0)))
    value, gradient = of(jnp.eye(3, 6))
    assert value == 0
    assert np.isfinite(gradient).all()
    half = jnp.array([[1.0, 0, 0], [1, 1, 0], [0, 1, 0]])
    np.testing.assert_allclose(of(half)[0], math.sqrt(2) / 3, rtol=1e-6)


def test_entropy_differs_from_ours_by_its_eps_alone():
    weights = jnp.array([0.2, 0.5, 0.3])
    ours = losses.selector_entropy(weights)
    theirs = cuvis.SelectorEntropyRegularizer(weight=1.0)(weights)
    np.testing.assert_allclose(theirs, ours, atol=1e-5)
    assert theirs != ours
    exact = cuvis.SelectorEntropyRegularizer(weight=1.0, eps=0.0)(weights)
    np.testing.assert_allclose(exact, ours, rtol=1e-6)


def test_the_radius_of_a_node_is_an_argument():
    """It learns as cuvis-ai's does: 2 R sigmoid(10 r) (1 - share outside / nu)."""
    z = jnp.array([0.1, 0.2, 3.0, 4.0]).reshape(1, 2, 2, 1)
    node = cuvis.DeepSVDDSoftBoundaryLoss(nu=0.25)
    slope = jax.jit(jax.grad(lambda r: node(z, jnp.zeros(1), r)))(jnp.float32(0.5))
    radius = math.log1p(math.exp(5)) / 10
    wanted = 2 * radius / (1 + math.exp(-5)) * (1 - 0.5 / 0.25)
    np.testing.assert_allclose(slope, wanted, rtol=1e-5)


def test_no_image_with_both_sides_costs_nothing():
    rgb = jnp.ones((2, 2, 2, 3))
    of = jax.jit(jax.value_and_grad(cuvis.ForegroundContrastLoss(compactness_weight=1.0)))
    for mask in (jnp.zeros((2, 2, 2), int), jnp.ones((2, 2, 2), int)):
        value, gradient = of(rgb, mask)
        assert value == 0
        np.testing.assert_array_equal(gradient, 0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: cuvis.DeepSVDDSoftBoundaryLoss(nu=1.0), "nu: expected a number between 0 and 1"),
        (lambda: cuvis.DeepSVDDSoftBoundaryLoss(nu=0.0), "nu: expected a number between 0 and 1"),
        (
            lambda: cuvis.DeepSVDDSoftBoundaryLoss()(jnp.ones((2, 3)), jnp.ones(3)),
            "embeddings: expected .batch, height, width, features.",
        ),
        (lambda: cuvis.MSEReconstructionLoss(reduction="max"), "reduction: expected one of 'mean'"),
        (
            lambda: cuvis.MSEReconstructionLoss()(jnp.ones((1, 2)), jnp.ones((1, 3))),
            r"target: expected the shape of reconstruction, \(1, 2\), got \(1, 3\)",
        ),
        (
            lambda: cuvis.SelectorEntropyRegularizer()(jnp.ones((2, 3))),
            r"weights: expected shape \(channels,\), got \(2, 3\)",
        ),
        (
            lambda: cuvis.SelectorDiversityRegularizer()(jnp.ones((2, 3))),
            r"weights: expected shape \(channels,\), got \(2, 3\)",
        ),
        (lambda: cuvis.ForegroundContrastLoss(color_space="lab"), "color_space: expected one of"),
        (
            lambda: cuvis.ForegroundContrastLoss()(jnp.ones((1, 2, 2, 3)), jnp.ones((1, 2, 3))),
            r"mask: expected shape \(1, 2, 2\), got \(1, 2, 3\)",
        ),
    ],
)
def test_what_is_wrong_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
