import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench import weighting
from tests.weighting.adam import Adam
from tests.weighting.trajectories import run

RNG = np.random.default_rng(11)
VALUES = RNG.uniform(0.2, 3.0, (40, 3))
NORMS = RNG.uniform(0.2, 3.0, (40, 3)) * [5.0, 1.0, 0.2]


def formula(values, norms, alpha, rate):
    """The paper's algorithm in float64; the gradient of the absolute value is its sign."""
    terms = values.shape[1]
    w, adam, weights = np.ones(terms), Adam(rate, terms, epsilon=1e-16), []
    for value, norm in zip(values, norms, strict=True):
        weights.append(w)
        progress = value / values[0]
        goal = np.mean(w * norm) * (progress / progress.mean()) ** alpha
        w = w + adam.step(np.sign(w * norm - goal) * norm / norm.mean())
        w = np.maximum(w, 1e-3)
        w = w * terms / w.sum()
    return np.array(weights)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.5])
def test_gradnorm_weights_are_the_algorithm(alpha):
    weights, state = run(weighting.gradnorm(alpha, 0.025), VALUES, NORMS**2)
    wanted = formula(VALUES, NORMS, alpha, 0.025)
    np.testing.assert_allclose(weights, wanted, rtol=2e-3)
    np.testing.assert_allclose(weights.sum(1), 3, rtol=1e-5)
    np.testing.assert_allclose(weighting.get_weights(state).sum(), 3, rtol=1e-5)


def test_gradnorm_takes_the_derivative_of_the_distance_with_its_goal_held_fixed():
    # Of a step from weights of 1, Adam keeps the signs of the derivative.
    values, norms = jnp.array([1.0, 2.0, 0.5]), jnp.array([2.0, 1.0, 0.3])
    first = jnp.array([2.0, 2.0, 2.0])

    def distance(weights):
        rates = (values / first) / jnp.mean(values / first)
        goal = jax.lax.stop_gradient(jnp.mean(weights * norms) * rates**1.5)
        return jnp.sum(jnp.abs(weights * norms - goal))

    init, update, *_ = weighting.gradnorm()
    _, state = update(first, init(3), jnp.eye(3))  # equal norms and progress: nothing moves
    np.testing.assert_array_equal(state.weights, 1)
    _, state = update(values, state, jnp.diag(norms**2))
    signs = np.sign(jax.grad(distance)(jnp.ones(3)))
    # Of the moments of two steps, the first of which had no gradient.
    moved = 1 - 0.025 * signs * (0.1 / 0.19) / np.sqrt(0.001 / (1 - 0.999**2))
    np.testing.assert_allclose(state.weights, moved * 3 / moved.sum(), rtol=1e-4)


def test_gradnorm_brings_gradients_to_one_length():
    norms = np.tile([4.0, 1.0, 2.0], (600, 1))
    weights, _ = run(weighting.gradnorm(learning_rate=0.005), np.ones((600, 3)), norms**2)
    np.testing.assert_allclose(weights[-1], np.array([1, 4, 2]) * 3 / 7, rtol=0.03)


def test_a_term_that_is_behind_gets_a_longer_gradient():
    values = np.ones((600, 2))
    values[1:, 0] = 0.25
    weights, _ = run(weighting.gradnorm(1.0, 0.005), values)
    # The goals are as the progress: 0.25 to 1.
    np.testing.assert_allclose(weights[-1], [0.4, 1.6], rtol=0.05)


def test_gradnorm_does_not_depend_on_units():
    gradnorm = weighting.gradnorm()
    weights, _ = run(gradnorm, VALUES, NORMS**2)
    longer, _ = run(gradnorm, VALUES, (NORMS * 1e6) ** 2)
    shorter, _ = run(gradnorm, VALUES * [1e-6, 1.0, 1e6], (NORMS * 1e-6) ** 2)
    np.testing.assert_allclose(longer, weights, rtol=1e-4)
    np.testing.assert_allclose(shorter, weights, rtol=1e-4)


def test_gradients_of_zero_and_equal_gradients_leave_the_weights():
    for norm in (0.0, 3.0):
        weights, _ = run(weighting.gradnorm(), np.ones((20, 3)), np.full((20, 3), norm))
        np.testing.assert_array_equal(weights, 1)


def test_gradnorm_keeps_the_weight_of_a_term_that_is_away():
    values = VALUES.copy()
    values[20:, 1] = np.nan
    weights, state = run(weighting.gradnorm(), values, NORMS**2)
    whole, _ = run(weighting.gradnorm(), VALUES, NORMS**2)
    np.testing.assert_allclose(state.weights[1], whole[20, 1], rtol=1e-6)
    np.testing.assert_allclose(weights[20:, [0, 2]].sum(1), 3 - whole[20, 1], rtol=1e-4)


@pytest.mark.parametrize("reference", [0, 2])
def test_the_ratio_at_the_last_layer_is_that_of_vqgan(reference):
    options = {"maximum": 3.0, "epsilon": 1e-4}
    weights, state = run(weighting.last_layer_ratio(reference, **options), VALUES, NORMS**2)
    wanted = np.clip(NORMS[:, [reference]] / (NORMS + 1e-4), 0, 3)
    wanted[:, reference] = 1
    np.testing.assert_allclose(weights, wanted, rtol=1e-4)
    assert reference == 2 or (wanted == 3).any()
    np.testing.assert_array_equal(weighting.get_weights(state), weights[-1])


def test_terms_begin_to_count_at_their_step():
    weights, _ = run(weighting.last_layer_ratio(start=3), VALUES, NORMS**2)
    np.testing.assert_array_equal(weights[:3], [[1, 0, 0]] * 3)
    np.testing.assert_allclose(weights[3, 1], NORMS[3, 0] / (NORMS[3, 1] + 1e-4), rtol=1e-4)


def test_without_epsilon_the_ratio_does_not_depend_on_units():
    ratio = weighting.last_layer_ratio(epsilon=0.0)
    weights, _ = run(ratio, VALUES, NORMS**2)
    for scale in (1e-6, 1e6):
        scaled, _ = run(ratio, VALUES, (NORMS * scale) ** 2)
        np.testing.assert_allclose(scaled, weights, rtol=1e-4)


def test_ratios_of_gradients_of_zero():
    squares = [[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]
    weights, _ = run(weighting.last_layer_ratio(), np.ones((3, 2)), squares)
    np.testing.assert_allclose(weights, [[1, 1e4], [1, 0], [1, 0]], rtol=1e-4)
    exact, _ = run(weighting.last_layer_ratio(epsilon=0), np.ones((3, 2)), squares)
    np.testing.assert_allclose(exact, [[1, 1e4], [1, 0], [1, 1]], rtol=1e-6)


def test_without_the_reference_the_others_keep_their_weights():
    values = VALUES.copy()
    values[5, 0] = np.nan
    weights, _ = run(weighting.last_layer_ratio(), values, NORMS**2)
    np.testing.assert_array_equal(weights[5], [0, *weights[4, 1:]])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: weighting.gradnorm(-1), "alpha: expected 0 or a number above it, got -1"),
        (lambda: weighting.last_layer_ratio(-1), "reference: expected a whole number, 0 or above"),
        (lambda: weighting.last_layer_ratio(maximum=0), "maximum: expected a number above 0"),
        (lambda: weighting.last_layer_ratio(2).init(2), "reference: expected a term from 0 to 1"),
    ],
)
def test_options_that_cannot_be_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
