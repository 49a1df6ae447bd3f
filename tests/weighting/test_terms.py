import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lossbench.weighting import _terms
from tests.weighting.adam import Adam


def test_values_that_are_not_finite_are_told_apart():
    values, present = _terms.observed([2, jnp.nan, -jnp.inf], jnp.zeros(3))
    np.testing.assert_array_equal(values, [2, 1, 1])
    np.testing.assert_array_equal(present, [True, False, False])
    assert values.dtype == jnp.float32
    with pytest.raises(ValueError, match=r"values: expected shape \(3,\) \(terms\), got \(\)"):
        _terms.observed(1.0, jnp.zeros(3))


def test_shares_are_a_softmax_over_those_that_are_there():
    scores = np.array([1.0, 500.0, -3.0, 1000.0])
    shares = _terms.shares(jnp.asarray(scores), jnp.array([True, False, True, False]))
    powers = np.exp([1.0, -3.0])
    np.testing.assert_allclose(shares, [powers[0], 0, powers[1], 0] / powers.sum(), rtol=1e-6)
    np.testing.assert_array_equal(
        _terms.shares(jnp.array([1e30, -1e30]), jnp.ones(2, bool)), [1, 0]
    )
    np.testing.assert_array_equal(_terms.shares(jnp.array([jnp.nan]), jnp.zeros(1, bool)), [0])


def test_means_and_ratios_are_defined_everywhere():
    numbers = jnp.array([1.0, jnp.nan, 3.0])
    assert _terms.mean(numbers, jnp.array([True, False, True])) == 2
    assert _terms.mean(numbers, jnp.zeros(3, bool)) == 0
    above, below = jnp.array([3.0, 0.0, 0.0, 1.0, 1.0]), jnp.array([2.0, 5.0, 0.0, 0.0, 1e-38])
    np.testing.assert_allclose(_terms.ratio(above, below), [1.5, 0, 1, 1e6, 1e6])


def test_each_term_has_an_adam_of_its_own():
    gradients = np.random.default_rng(0).normal(size=(6, 2))
    moves = np.array([[True, True], [True, False], [False, False], [True, True], [True, False]])
    optimizer = optax.adam(0.1)
    parameters = jnp.array([1.0, -1.0])
    state = _terms.optimizer_state(optimizer, parameters)
    wanted, adams = np.array([1.0, -1.0]), [Adam(0.1, 1), Adam(0.1, 1)]
    for gradient, move in zip(gradients, moves, strict=False):
        given = jnp.where(move, jnp.asarray(gradient, jnp.float32), jnp.nan)
        parameters, state = _terms.optimizer_step(
            optimizer, given, state, parameters, jnp.asarray(move)
        )
        for term in np.flatnonzero(move):
            wanted[term] += adams[term].step(gradient[term : term + 1])[0]
        np.testing.assert_allclose(parameters, wanted, rtol=1e-4)
