import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench import losses
from tests.losses import agreement, reference


def formula(logits, targets, *, sensitivity_weight=0.05, **options):
    """Brosch et al. 2015: the mean squared error of the pixels of a class, and of the others."""

    def cost(_overlap, p, t, _s_n, _s_d):
        error, others = (t - p) ** 2, 1 - t
        missed = (error * t).sum() / t.sum() if t.sum() else 0.0
        imagined = (error * others).sum() / others.sum() if others.sum() else 0.0
        return sensitivity_weight * missed + (1 - sensitivity_weight) * imagined

    return reference.region(cost, logits, targets, **options)


LOSS = losses.sensitivity_specificity


@pytest.mark.parametrize("name", agreement.region_cases(LOSS))
def test_sensitivity_specificity_is_the_formula(name):
    agreement.region_agrees(LOSS, formula, name)


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("name", ["plain", "soft", "one class"])
def test_the_weight(name, weight):
    agreement.region_agrees(LOSS, formula, name, sensitivity_weight=weight)


def test_by_hand():
    """Members .5 and 1: mean squared error .125. Others .2, 0, .4: .2 / 3."""
    p = jnp.array([[0.5, 1.0, 0.2, 0.0, 0.4]])[..., None]
    labels = jnp.array([[True, True, False, False, False]])
    value = LOSS(p, labels, activation="identity")
    np.testing.assert_allclose(value, 0.05 * 0.125 + 0.95 * 0.2 / 3, rtol=1e-6)
    value = LOSS(p, labels, activation="identity", sensitivity_weight=1.0)
    np.testing.assert_allclose(value, 0.125, rtol=1e-6)


def test_swapping_truth_swaps_the_weight():
    """Of one class: sensitivity of the others is its specificity."""
    case = agreement.INPUTS["one class"]
    inverse = agreement.Case(-case.logits, ~case.labels, 1 - case.targets)
    a = agreement.value_of(LOSS, case, activation="sigmoid", sensitivity_weight=0.2)
    b = agreement.value_of(LOSS, inverse, activation="sigmoid", sensitivity_weight=0.8)
    np.testing.assert_allclose(a, b, rtol=1e-5)


def test_perfect_is_zero_and_disjoint_is_one():
    labels = jnp.array([[0, 0, 1, 1]])
    right = 200 * (jax.nn.one_hot(labels, 2) - 0.5)
    np.testing.assert_allclose(LOSS(right, labels), 0, atol=1e-6)
    np.testing.assert_allclose(LOSS(right, 1 - labels), 1, atol=1e-4)


def test_value_and_gradient_are_finite():
    agreement.assert_finite(LOSS)
    agreement.assert_finite(LOSS, activation="sigmoid")


def test_order_does_not_matter():
    agreement.assert_order_does_not_matter(LOSS)
