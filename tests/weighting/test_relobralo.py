import jax
import numpy as np
import pytest

from lossbench import weighting
from tests.weighting.trajectories import run

VALUES = np.random.default_rng(9).uniform(0.2, 3.0, (40, 3))


def relative(now, past, temperature):
    powers = np.exp(now / (temperature * past) - np.max(now / (temperature * past)))
    return len(now) * powers / powers.sum()


def formula(values, draws, temperature, alpha):
    weights = [np.ones(values.shape[1])]
    for t in range(1, len(values)):
        last = relative(values[t], values[t - 1], temperature)
        first = relative(values[t], values[0], temperature)
        kept = weights[-1] if draws[t] else first
        weights.append(alpha * kept + (1 - alpha) * last)
    return np.array(weights)


@pytest.mark.parametrize("rho", [0, 0.5, 1])
def test_weights_are_the_formula(rho):
    weights, state = run(weighting.relobralo(1.0, alpha=0.8, rho=rho), VALUES, seed=3)
    keys = [jax.random.fold_in(jax.random.key(3), step) for step in range(len(VALUES))]
    draws = [bool(jax.random.bernoulli(key, float(rho))) for key in keys]
    assert rho == 0.5 or draws == [rho == 1] * len(VALUES)
    wanted = formula(VALUES, draws, 1.0, 0.8)
    np.testing.assert_allclose(weights, wanted, rtol=1e-4)
    np.testing.assert_allclose(weights.sum(1), 3, rtol=1e-5)
    np.testing.assert_array_equal(weighting.get_weights(state), weights[-1])


def test_the_look_back_is_as_often_as_asked():
    # With alpha = 1, weights move only in the steps that look back to the first.
    values = np.random.default_rng(1).uniform(1, 2, (2000, 2))
    weights, _ = run(weighting.relobralo(1.0, alpha=1.0, rho=0.9), values)
    moved = (np.diff(weights[:, 0]) != 0).mean()
    assert abs(moved - 0.1) < 0.03


def test_weights_do_not_depend_on_units():
    balanced = weighting.relobralo(rho=0.5)
    weights, _ = run(balanced, VALUES)
    scaled, _ = run(balanced, VALUES * [1e-6, 1.0, 1e6])
    np.testing.assert_allclose(scaled, weights, rtol=1e-3, atol=1e-5)


def test_draws_follow_from_the_seed():
    balanced = weighting.relobralo(rho=0.5)
    weights = run(balanced, VALUES, seed=1)[0]
    np.testing.assert_array_equal(weights, run(balanced, VALUES, seed=1)[0])
    assert (weights != run(balanced, VALUES, seed=2)[0]).any()


def test_options_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="temperature: expected a number above 0, got -1"):
        weighting.relobralo(-1)
    with pytest.raises(ValueError, match="alpha: expected a number from 0 to 1, got 2"):
        weighting.relobralo(alpha=2)
    with pytest.raises(ValueError, match="rho: expected a number from 0 to 1, got -1"):
        weighting.relobralo(rho=-1)
