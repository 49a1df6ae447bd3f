import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench import losses
from tests.losses import agreement, reference


def formula(logits, targets, *, epsilon=1.0, activation="softmax", **options):
    """Leng et al. 2022, Poly-1: -log p_t + epsilon (1 - p_t)."""

    def costs_of(x, t):
        plain = reference.cross_entropies(x, t, activation)
        p = reference.activate(x, activation)
        if activation == "softmax":
            return plain + epsilon * t * (1 - p)
        return plain + epsilon * (t * (1 - p) + (1 - t) * p)

    return reference.pixelwise(costs_of, logits, targets, activation=activation, **options)


@pytest.mark.parametrize("name", agreement.pixelwise_cases(losses.poly_cross_entropy))
def test_poly_is_the_formula(name):
    agreement.pixelwise_agrees(losses.poly_cross_entropy, formula, name)


@pytest.mark.parametrize("epsilon", [-0.5, 0.0, 2.0])
@pytest.mark.parametrize("name", ["plain", "soft", "sigmoid"])
def test_epsilon(name, epsilon):
    agreement.pixelwise_agrees(losses.poly_cross_entropy, formula, name, epsilon=epsilon)


def test_epsilon_zero_is_cross_entropy():
    for case in ("ids", "soft", "twenty classes"):
        poly = agreement.value_of(losses.poly_cross_entropy, case, epsilon=0.0)
        plain = agreement.value_of(losses.cross_entropy, case)
        np.testing.assert_allclose(poly, plain, rtol=1e-6)
    options = {"epsilon": 0.0, "activation": "sigmoid"}
    poly = agreement.value_of(losses.poly_cross_entropy, "masks", **options)
    plain = agreement.value_of(losses.binary_cross_entropy, "masks")
    np.testing.assert_allclose(poly, plain, rtol=1e-6)


def test_the_first_coefficient_of_the_expansion():
    """-log p = sum_j (1 - p)^j / j: the slope at p = 1 in 1 - p is 1 + epsilon, not 1."""
    for epsilon in (-0.5, 1.0, 3.0):
        logits = jnp.array([[[7.0, 0.0]]])
        q = 1 / (1 + np.exp(7.0))
        value = losses.poly_cross_entropy(logits, jnp.array([[0]]), epsilon=epsilon)
        np.testing.assert_allclose(value / q, 1 + epsilon, rtol=1e-2, atol=1e-3)


def test_by_hand():
    """p = .8 and .5."""
    logits = jnp.log(jnp.array([[[0.8, 0.2], [0.5, 0.5]]]))
    value = losses.poly_cross_entropy(logits, jnp.array([[0, 1]]), epsilon=2.0)
    wanted = (-np.log(0.8) + 2 * 0.2 - np.log(0.5) + 2 * 0.5) / 2
    np.testing.assert_allclose(value, wanted, rtol=1e-6)


def test_an_easy_pixel_keeps_its_digits():
    """Both 1 - p and -log p are exp(-30) there; neither is 0."""
    logits = jnp.array([[[30.0, 0.0]]])
    value, gradient = jax.value_and_grad(
        lambda x: losses.poly_cross_entropy(x, jnp.array([[0]]))[0]
    )(logits)
    np.testing.assert_allclose(value, 2 * np.exp(-30.0), rtol=1e-5)
    np.testing.assert_allclose(gradient[0, 0, 0], -2 * np.exp(-30.0), rtol=1e-5)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_value_and_gradient_are_finite(activation):
    agreement.assert_finite(losses.poly_cross_entropy, activation=activation)


def test_order_does_not_matter():
    agreement.assert_order_does_not_matter(losses.poly_cross_entropy)


def test_a_wrong_activation_is_named():
    agreement.assert_refused(
        losses.poly_cross_entropy, {"activation": "identity"}, "activation: expected one of"
    )
