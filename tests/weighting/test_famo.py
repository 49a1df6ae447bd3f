import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench import weighting
from tests.weighting.adam import Adam
from tests.weighting.trajectories import run

VALUES = np.random.default_rng(10).uniform(0.2, 3.0, (60, 3))


def shares(scores):
    powers = np.exp(scores - np.max(scores))
    return powers / powers.sum()


def formula(values, rate, gamma):
    """The paper's algorithm, with the next batch's losses for those after the step."""
    logits, adam, weights = np.zeros(values.shape[1]), Adam(rate, values.shape[1]), []
    for t, now in enumerate(values):
        if t:
            fell = np.log(values[t - 1]) - np.log(now)
            z = shares(logits)
            jacobian = np.diag(z) - np.outer(z, z)
            logits = logits + adam.step(jacobian.T @ fell + gamma * logits)
        scaled = shares(logits) / now
        weights.append(scaled / scaled.sum())
    return np.array(weights), logits


@pytest.mark.parametrize("gamma", [0.0, 1e-3, 0.5])
def test_weights_are_the_formula(gamma):
    weights, state = run(weighting.famo(0.05, gamma=gamma), VALUES)
    wanted, logits = formula(VALUES, 0.05, gamma)
    np.testing.assert_allclose(weights, wanted, rtol=2e-3)
    np.testing.assert_allclose(state.logits, logits, atol=2e-3)
    np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-5)
    np.testing.assert_array_equal(weighting.get_weights(state), weights[-1])


def test_an_ideal_is_taken_off():
    ideal = np.array([-2.0, 0.5, 0.0])
    weights, _ = run(weighting.famo(ideal=ideal), VALUES + ideal)
    np.testing.assert_allclose(weights, run(weighting.famo(), VALUES)[0], rtol=1e-3)
    assert weighting.famo().positive
    assert not weighting.famo(ideal=ideal).positive


def test_shares_do_not_depend_on_units():
    scale = np.array([1e-3, 1.0, 1e6])
    weights, _ = run(weighting.famo(), VALUES)
    scaled, _ = run(weighting.famo(), VALUES * scale)
    products, wanted = scaled * scale, weights
    products = products / products.sum(1, keepdims=True)
    np.testing.assert_allclose(products, wanted, rtol=2e-3)


def test_losses_that_fall_alike_move_nothing():
    _, state = run(weighting.famo(gamma=0.0), 2.0 ** -np.arange(10)[:, None] * [4.0, 1.0, 0.25])
    np.testing.assert_array_equal(state.logits, 0)


def relative_falls(weigh):
    """How much the logarithms of two losses fall over the last of many steps of descent."""
    curvature = jnp.array([1.0, 30.0])
    init, update, *_ = weigh

    def losses(x):
        return curvature * x**2 / 2 + 0.1 * jnp.flip(curvature) * (x - 1) ** 2 + 1.0

    def step(carry, _):
        x, state = carry
        values, pull = jax.vjp(losses, x)
        weights, state = update(values, state)
        return (x - 1e-3 * pull(weights)[0], state), values

    start = (jnp.array([30.0, 30.0]), init(2))
    _, values = jax.jit(lambda start: jax.lax.scan(step, start, length=400))(start)
    logs = np.log(np.asarray(values, float))
    return logs[200] - logs[300]


def test_losses_of_very_different_curvature_fall_more_alike_than_without_weights():
    equal = relative_falls(weighting.constant())
    balanced = relative_falls(weighting.famo(0.05, gamma=0.0))
    assert np.abs(balanced[0] - balanced[1]) < 0.5 * np.abs(equal[0] - equal[1])
    assert (balanced > 0).all()


def test_options_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="gamma: expected 0 or a number above it, got -1"):
        weighting.famo(gamma=-1)
    with pytest.raises(ValueError, match="learning_rate: expected 0 or a number above it"):
        weighting.famo("fast")
    with pytest.raises(ValueError, match="ideal: expected 3 numbers, one for each term, got 2"):
        weighting.famo(ideal=[0.0, 0.0]).init(3)
