import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench import weighting
from tests.weighting.trajectories import run

RNG = np.random.default_rng(7)
VALUES = RNG.uniform(0.1, 3.0, (20, 3))


def slopes(function, values):
    """The derivatives of a function of the losses, float64, by central differences."""
    return np.array(
        [(function(values + h) - function(values - h)) / 2e-6 for h in 1e-6 * np.eye(len(values))]
    )


def test_geometric_weights_are_the_derivatives_of_the_geometric_mean():
    weights, state = run(weighting.geometric(), VALUES)
    mean = lambda values: np.prod(values) ** (1 / 3)  # noqa: E731
    np.testing.assert_allclose(weights, [slopes(mean, v) for v in VALUES], rtol=1e-5)
    np.testing.assert_array_equal(weighting.get_weights(state), weights[-1])


def test_the_weighted_sum_of_the_losses_is_their_geometric_mean():
    weights, _ = run(weighting.geometric(), VALUES)
    np.testing.assert_allclose(
        (weights * VALUES).sum(1), np.prod(VALUES, axis=1) ** (1 / 3), rtol=1e-5
    )


def test_the_direction_does_not_depend_on_units():
    scale = np.array([1e-6, 1.0, 1e6])
    weights, _ = run(weighting.geometric(), VALUES)
    scaled, _ = run(weighting.geometric(), VALUES * scale)
    np.testing.assert_allclose(scaled * scale, weights, rtol=1e-4)


def test_the_product_of_many_small_losses_does_not_vanish():
    values = np.array([[1e-7, 2e-7, 3e-7, 1e-6, 1e-7, 5e-7, 1e-7, 2e-7]])
    assert np.prod(values.astype(np.float32)) == 0
    weights, _ = run(weighting.geometric(), values)
    logs = np.log(values[0])
    np.testing.assert_allclose(weights[0], np.exp(logs.mean() - logs) / 8, rtol=1e-5)


def test_a_loss_of_zero_counts_as_epsilon():
    weights, _ = run(weighting.geometric(epsilon=1e-4), [[0.0, 1.0]])
    np.testing.assert_allclose(weights[0], [1e-2 / 1e-4 / 2, 1e-2 / 2], rtol=1e-4)


def chebyshev(values, preference, mu):
    return mu * np.log(np.sum(np.exp(preference * values / mu)))


@pytest.mark.parametrize("mu", [0.2, 1.0, 5.0])
@pytest.mark.parametrize("preference", [None, [0.2, 0.3, 0.5], [1.0, 1.0, 0.0]])
def test_stch_weights_are_the_derivatives_of_the_smooth_largest(mu, preference):
    ideal = np.array([0.1, -1.0, 0.0])
    weights, _ = run(weighting.stch(preference, mu=mu, ideal=ideal), VALUES)
    given = np.full(3, 1 / 3) if preference is None else np.array(preference)
    wanted = [slopes(lambda v: chebyshev(v - ideal, given, mu), v) for v in VALUES]
    np.testing.assert_allclose(weights, wanted, rtol=1e-4, atol=1e-7)


def test_with_a_small_mu_the_largest_alone_is_trained():
    weights, _ = run(weighting.stch([1.0, 0.1, 1.0], mu=1e-3), [[1.0, 5.0, -2.0], [0.1, 5.0, 0.2]])
    np.testing.assert_allclose(weights, [[1, 0, 0], [0, 0.1, 0]], atol=1e-6)


def official(values, mu, warmup):
    """What the official code differentiates, at each step: log-losses by their mean in warm-up."""
    terms = values.shape[1]
    mean = values[:warmup].mean(0)
    for step, now in enumerate(values):
        if step < warmup:
            yield slopes(lambda v: np.sum(np.log(v)), now)
        else:
            yield slopes(lambda v: terms * mu * np.log(np.sum(np.exp(np.log(v / mean) / mu))), now)


def test_stch_with_logarithms_and_a_warmup_is_the_official_code_but_for_a_factor():
    one = weighting.stch([1.0] * 3, mu=0.7, logarithmic=True, warmup=5)
    weights, state = run(one, VALUES)
    wanted = np.array(list(official(VALUES, 0.7, 5)))
    wanted[5:] /= 3
    np.testing.assert_allclose(weights, wanted, rtol=1e-4)
    np.testing.assert_allclose(state.sums, VALUES[:5].sum(0), rtol=1e-6)


def test_a_warmup_divides_by_the_means_of_its_steps():
    weights, _ = run(weighting.stch(mu=0.5, warmup=4), VALUES)
    np.testing.assert_allclose(weights[:4], 1 / 3, rtol=1e-6)
    mean = VALUES[:4].mean(0)
    wanted = [slopes(lambda v: chebyshev(v / mean, np.full(3, 1 / 3), 0.5), v) for v in VALUES[4:]]
    np.testing.assert_allclose(weights[4:], wanted, rtol=1e-4)
    scale = np.array([1e-6, 1.0, 1e6])
    scaled, _ = run(weighting.stch(mu=0.5, warmup=4), VALUES * scale)
    np.testing.assert_allclose((scaled * scale)[4:], weights[4:], rtol=1e-4)


def test_a_warmup_counts_the_steps_in_which_a_loss_was_finite():
    values = VALUES.copy()
    values[1, 0] = np.nan
    _, state = run(weighting.stch(warmup=4), values)
    np.testing.assert_array_equal(state.seen, [3, 4, 4])
    np.testing.assert_allclose(state.sums, np.nansum(values[:4], axis=0), rtol=1e-6)


def test_stch_takes_negative_losses_unless_it_divides_or_takes_logarithms():
    assert not weighting.stch().positive
    assert weighting.stch(logarithmic=True).positive
    assert weighting.stch(warmup=3).positive
    assert weighting.geometric().positive


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mu": 0.0}, "mu: expected a number above 0, got 0.0"),
        ({"preference": [1.0, -1.0]}, r"preference\[1\]: expected 0 or a number above it, got -1"),
        ({"preference": 1.0}, "preference: expected one number for each term"),
        ({"ideal": [np.nan]}, r"ideal\[0\]: expected a finite number"),
        ({"warmup": 1.5}, "warmup: expected a whole number, 0 or above, got 1.5"),
    ],
)
def test_options_of_stch_that_cannot_be_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        weighting.stch(**options)


def test_another_number_of_preferences_or_ideals_is_refused():
    for options in ({"preference": [1.0]}, {"ideal": [1.0]}):
        with pytest.raises(ValueError, match="expected 2 numbers, one for each term, got 1"):
            weighting.stch(**options).init(2)


def test_preferences_may_be_swept():
    def weights(preference):
        init, update, *_ = weighting.stch(preference)
        return update(jnp.array([1.0, 2.0]), init(2))[0]

    swept = jax.vmap(weights)(jnp.array([[0.5, 0.5], [1.0, 0.0]]))
    np.testing.assert_allclose(swept[1], [1 / (1 + np.exp(-1)), 0], rtol=1e-5)
