import jax.numpy as jnp
import numpy as np
import pytest

from lossbench import weighting
from tests.weighting.trajectories import run

RNG = np.random.default_rng(8)
VALUES = RNG.uniform(0.2, 3.0, (24, 3))


def shares(scores):
    powers = np.exp(scores - np.max(scores))
    return powers / powers.sum()


def means(values, window):
    """The means over the windows that are full."""
    full = len(values) // window * window
    return values[:full].reshape(-1, window, values.shape[1]).mean(1)


@pytest.mark.parametrize(("window", "temperature"), [(1, 2.0), (4, 0.5)])
def test_dwa_weights_are_the_formula_over_epochs_of_steps(window, temperature):
    weights, state = run(weighting.dwa(temperature, window=window), VALUES)
    for step in range(len(VALUES)):
        past = means(VALUES[:step], window)
        wanted = np.ones(3)
        if len(past) >= 2:
            wanted = 3 * shares(past[-1] / past[-2] / temperature)
        np.testing.assert_allclose(weights[step], wanted, rtol=1e-4)
    np.testing.assert_array_equal(weighting.get_weights(state), weights[-1])


def test_dwa_does_not_depend_on_units():
    weights, _ = run(weighting.dwa(), VALUES)
    scaled, _ = run(weighting.dwa(), VALUES * [1e-6, 1.0, 1e6])
    np.testing.assert_allclose(scaled, weights, rtol=1e-5)


def test_a_window_takes_the_mean_of_what_was_finite_and_one_without_keeps_what_was():
    values = np.array(
        [[1.0, 4.0], [3.0, np.nan], [2.0, np.nan], [2.0, np.nan], [4.0, 2.0], [4.0, 2.0]]
    )
    _, state = run(weighting.dwa(window=2), values)
    np.testing.assert_allclose(state.last, [4, 2])
    np.testing.assert_allclose(state.before, [2, 4])
    np.testing.assert_array_equal(state.windows, [3, 2])


def test_dwa_of_losses_that_were_zero():
    weights, _ = run(weighting.dwa(), [[0.0, 0.0, 1.0], [0.0, 1.0, 1.0], [0.0, 0.0, 0.0]])
    # The ratios are 0 / 0, 1 / 0 and 1.
    np.testing.assert_allclose(weights[2], [0, 3, 0], atol=1e-6)


@pytest.mark.parametrize("window", [1, 3])
@pytest.mark.parametrize("normalized", [False, True])
@pytest.mark.parametrize("loss_weighted", [False, True])
def test_soft_adapt_weights_are_the_formula(window, normalized, loss_weighted):
    options = {"normalized": normalized, "loss_weighted": loss_weighted, "window": window}
    weights, state = run(weighting.soft_adapt(0.7, **options), VALUES)
    for step in range(len(VALUES)):
        past = means(VALUES[: step + 1], window)
        slopes = past[-1] - past[-2] if len(past) >= 2 else np.zeros(3)
        if normalized and len(past) >= 2:
            slopes = slopes / np.abs(slopes).sum()
        factors = np.ones(3)
        if loss_weighted:
            factors = past[-1] if len(past) else VALUES[step]
        wanted = factors * np.exp(0.7 * slopes)
        np.testing.assert_allclose(weights[step], wanted / wanted.sum(), rtol=1e-4)
    np.testing.assert_array_equal(weighting.get_weights(state), weights[-1])


def test_normalized_slopes_keep_their_signs_where_all_losses_fall():
    falling = np.array([[3.0, 2.0], [1.0, 1.9]])
    weights, _ = run(weighting.soft_adapt(1.0, normalized=True), falling)
    assert weights[1, 1] > weights[1, 0]
    scaled, _ = run(weighting.soft_adapt(1.0, normalized=True), falling * 1e-6)
    np.testing.assert_allclose(scaled, weights, rtol=1e-5)


def test_soft_adapt_is_the_same_for_losses_that_differ_by_a_constant():
    weights, _ = run(weighting.soft_adapt(), VALUES)
    shifted, _ = run(weighting.soft_adapt(), VALUES - 5)
    np.testing.assert_allclose(shifted, weights, rtol=1e-5)
    assert not weighting.soft_adapt().positive
    assert weighting.soft_adapt(loss_weighted=True).positive


def test_soft_adapt_weighted_by_losses_of_zero_is_not():
    weights, _ = run(weighting.soft_adapt(loss_weighted=True), np.zeros((2, 4)))
    np.testing.assert_allclose(weights, 0.25)


def variations(values, decay):
    """The weights of CoV-Weighting at each step, float64, by keeping all values."""
    ratios, weights = np.ones_like(values), []
    mean = values[0]
    for t, now in enumerate(values):
        if t:
            ratios[t] = now / mean
            mean = values[: t + 1].mean(0) if decay is None else decay * mean + (1 - decay) * now
        if t < 2:
            weights.append(np.full(values.shape[1], 1 / values.shape[1]))
            continue
        past = ratios[:t]
        center, squares = past[0], np.zeros(values.shape[1])
        for n, ratio in enumerate(past[1:], 2):
            new = past[:n].mean(0) if decay is None else decay * center + (1 - decay) * ratio
            squares = squares + (ratio - center) * (ratio - new)
            center = new
        varies = np.sqrt(squares / t + 1e-8) / center
        weights.append(varies / varies.sum())
    return np.array(weights)


@pytest.mark.parametrize("decay", [None, 0.9])
def test_coefficients_of_variation_are_the_formula(decay):
    weights, state = run(weighting.coefficient_of_variation(decay), VALUES)
    np.testing.assert_allclose(weights, variations(VALUES, decay), rtol=1e-4)
    np.testing.assert_array_equal(weighting.get_weights(state), weights[-1])


def test_without_decay_the_deviation_is_that_of_all_ratios():
    _, state = run(weighting.coefficient_of_variation(), VALUES)
    ratios = np.ones_like(VALUES)
    for t in range(1, len(VALUES)):
        ratios[t] = VALUES[t] / VALUES[:t].mean(0)
    np.testing.assert_allclose(state.mean_ratio, ratios.mean(0), rtol=1e-5)
    np.testing.assert_allclose(state.squares / len(VALUES), ratios.var(0), rtol=1e-4)


def test_variation_does_not_depend_on_units_and_is_equal_for_losses_that_stand_still():
    varied = weighting.coefficient_of_variation()
    scaled, _ = run(varied, VALUES * [1e-6, 1.0, 1e6])
    np.testing.assert_allclose(scaled, run(varied, VALUES)[0], rtol=1e-4)
    still, _ = run(varied, np.tile([5.0, 0.1, 2.0], (10, 1)))
    np.testing.assert_allclose(still, 1 / 3, rtol=1e-3)


def test_a_loss_that_begins_late_counts_as_the_mean_of_the_others():
    values = VALUES.copy()
    values[:10, 2] = np.nan
    weights, _ = run(weighting.coefficient_of_variation(), values)
    np.testing.assert_allclose(weights[10:12, 2], 1 / 3, rtol=1e-5)
    alone, _ = run(weighting.coefficient_of_variation(), VALUES[:, :2])
    np.testing.assert_allclose(weights[10, :2], alone[10] * 2 / 3, rtol=1e-5)


def test_losses_of_many_steps_keep_their_digits():
    values = 1 + 1e-2 * np.random.default_rng(0).normal(size=(3000, 2)) * [1, 3]
    weights, _ = run(weighting.coefficient_of_variation(), values)
    np.testing.assert_allclose(weights[-1], [0.25, 0.75], atol=0.01)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: weighting.dwa(0.0), "temperature: expected a number above 0, got 0.0"),
        (lambda: weighting.dwa(window=0), "window: expected a whole number, 1 or above, got 0"),
        (lambda: weighting.soft_adapt(np.inf), "beta: expected a finite number, got inf"),
        (lambda: weighting.soft_adapt(window=2.0), "window: expected a whole number, 1 or above"),
        (
            lambda: weighting.coefficient_of_variation(1.0),
            "decay: expected a number from 0 to below 1, got 1.0",
        ),
        (lambda: weighting.coefficient_of_variation(epsilon=0), "epsilon: expected a number above"),
    ],
)
def test_options_that_cannot_be_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_half_precision_losses_are_weighed_in_float32():
    init, update, *_ = weighting.dwa()
    weights, state = update(jnp.ones(2, jnp.bfloat16), init(2))
    assert weights.dtype == jnp.float32
    assert state.last.dtype == jnp.float32
