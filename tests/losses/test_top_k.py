import math
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench import losses
from tests.losses import agreement, reference


def formula(logits, targets, *, k="1/10", where=None, reduction="mean", **options):
    """Of the n costs that count in each example, the ceil(k n) greatest."""
    activation = options.get("activation", "softmax")
    costs = reference.pixelwise(
        lambda x, t: reference.cross_entropies(x, t, activation),
        logits,
        targets,
        where=where,
        reduction="none",
        **options,
    )
    where = np.ones(costs.shape[: targets.ndim - 1], bool) if where is None else where
    result = np.zeros_like(costs)
    value = np.zeros(len(costs))
    for b, (one, counts) in enumerate(zip(costs, where, strict=True)):
        order = np.sort(one[counts].ravel())[::-1]
        kept = order[: math.ceil(Fraction(k) * order.size)]
        result[b] = np.where((one >= kept[-1]) & (one > 0), one, 0)
        value[b] = kept.mean() if reduction == "mean" else kept.sum()
    return result if reduction == "none" else value


def loss(logits, labels, *, k="1/10", **options):
    return losses.top_k_cross_entropy(logits, labels, k=float(Fraction(k)), **options)


CASES = agreement.pixelwise_cases(losses.top_k_cross_entropy)


@pytest.mark.parametrize("name", CASES)
def test_top_k_is_the_formula(name):
    agreement.pixelwise_agrees(loss, formula, name)


@pytest.mark.parametrize("k", ["1/100", "1/4", "1/2", "9/10", "1"])
@pytest.mark.parametrize("name", ["plain", "masked", "soft", "sigmoid"])
def test_k(name, k):
    agreement.pixelwise_agrees(loss, formula, name, k=k)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_all_pixels_are_cross_entropy(activation):
    for where in (None, agreement.WHERE):
        case = {"softmax": "ids", "sigmoid": "masks"}[activation]
        options = {} if where is None else {"where": where}
        plain = {"softmax": losses.cross_entropy, "sigmoid": losses.binary_cross_entropy}
        value = agreement.value_of(
            losses.top_k_cross_entropy, case, k=1.0, activation=activation, **options
        )
        wanted = agreement.value_of(plain[activation], case, **options)
        np.testing.assert_allclose(value, wanted, rtol=1e-5)


@pytest.mark.parametrize("k", ["1/10", "2/10", "3/10", "7/10", "1/3", "1/100"])
def test_the_number_of_pixels_is_that_of_the_fraction(k):
    """0.1 of 30 pixels are 3, not the 4 that binary fractions would make of it."""
    wrong = []
    cost = jax.jit(losses.top_k_cross_entropy)
    logits = jnp.concatenate([jnp.zeros((1, 200, 1)), -jnp.arange(200.0)[None, :, None]], axis=-1)
    labels = jnp.zeros((1, 200), jnp.int32)
    costs = np.sort(np.log1p(np.exp(-np.arange(200.0))))[::-1]
    for n in (1, 2, 3, 7, 9, 10, 11, 20, 29, 30, 31, 60, 70, 90, 100, 110, 150, 190, 200):
        value = cost(logits, labels, k=float(Fraction(k)), where=jnp.arange(200)[None] < n)
        wanted = np.mean(costs[: math.ceil(Fraction(k) * n)])
        if abs(value[0] - wanted) > 1e-5 * wanted:
            wrong.append(n)
    assert wrong == []


def test_only_the_hardest_have_a_gradient():
    logits = jnp.array([[[0.0, 3.0], [0.0, -3.0], [0.0, 1.0], [0.0, -1.0]]])
    labels = jnp.zeros((1, 4), jnp.int32)
    gradient = jax.grad(lambda x: losses.top_k_cross_entropy(x, labels, k=0.5)[0])(logits)
    q = reference.sigmoid(np.array([3.0, 1.0]))
    np.testing.assert_allclose(gradient[0, [0, 2], 1], q / 2, rtol=1e-5)
    np.testing.assert_array_equal(gradient[0, [1, 3]], 0)


def test_equal_costs_share():
    """2.5 of ten pixels are 3."""
    logits, labels = jnp.zeros((1, 10, 2)), jnp.zeros((1, 10), jnp.int32)
    value, gradient = jax.value_and_grad(
        lambda x: losses.top_k_cross_entropy(x, labels, k=0.25)[0]
    )(logits)
    np.testing.assert_allclose(value, np.log(2), rtol=1e-6)
    np.testing.assert_allclose(gradient[..., 1], 0.5 / 10, rtol=1e-5)


def test_fewer_pixels_cost_more():
    values = [agreement.value_of(losses.top_k_cross_entropy, "ids", k=k) for k in (1.0, 0.5, 0.1)]
    assert np.all(values[0] < values[1])
    assert np.all(values[1] < values[2])


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_value_and_gradient_are_finite(activation):
    agreement.assert_finite(losses.top_k_cross_entropy, activation=activation)


def test_order_does_not_matter():
    agreement.assert_order_does_not_matter(losses.top_k_cross_entropy)
