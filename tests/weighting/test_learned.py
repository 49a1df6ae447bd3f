import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lossbench import weighting
from tests.weighting.adam import Adam
from tests.weighting.trajectories import run

RNG = np.random.default_rng(6)
VALUES = RNG.uniform(0.3, 2.0, (60, 3)) * np.array([1.0, 3.0, 0.2])


def shares(logits):
    powers = np.exp(logits - logits.max())
    return powers / powers.sum()


def softmax_weights(values, rate, *, floor, reference, initial, total):
    """The weights of each step, by the formula; gradients by central differences."""
    terms = values.shape[1]
    begin = np.ones(terms) / terms if initial is None else np.array(initial) / np.sum(initial)
    logits = np.log(begin - floor / terms)
    logits = logits if initial is not None else np.zeros(terms)
    adam, weights = Adam(rate, terms), []
    if reference is None:
        reference = np.ones(terms)
    elif isinstance(reference, str):
        reference = np.abs(values[0])

    def of(logits):
        return total * (floor / terms + (1 - floor) * shares(logits))

    for value in values:
        weights.append(of(logits))
        gradient = [
            (of(logits + h) - of(logits - h)) @ (value / reference) / 2e-6
            for h in 1e-6 * np.eye(terms)
        ]
        logits = logits + adam.step(np.array(gradient))
    return np.array(weights)


@pytest.mark.parametrize(
    "options",
    [
        {"floor": 0.1, "reference": "first", "initial": None, "total": 1.0},
        {"floor": 0.0, "reference": None, "initial": [0.5, 0.3, 0.2], "total": 1.0},
        {"floor": 0.5, "reference": [1.0, 3.0, 0.5], "initial": [5.0, 4.0, 3.0], "total": 3.0},
    ],
    ids=["defaults", "plain", "all"],
)
def test_softmax_weights_are_the_formula(options):
    weights, state = run(weighting.softmax(0.05, **options), VALUES)
    wanted = softmax_weights(VALUES, 0.05, **options)
    np.testing.assert_allclose(weights, wanted, rtol=2e-3)
    np.testing.assert_allclose(weights.sum(1), options["total"], rtol=1e-5)
    assert (weights >= options["floor"] * options["total"] / 3 - 1e-6).all()
    # The state has those of the next step.
    last, _ = run(weighting.softmax(0.05, **options), np.concatenate([VALUES, VALUES[:1]]))
    np.testing.assert_allclose(weighting.get_weights(state), last[-1], rtol=1e-5)


def test_softmax_weights_of_a_negative_loss_are_the_formula_too():
    values = VALUES * [1.0, -1.0, 1.0] - [0.0, 0.0, 0.2]
    options = {"floor": 0.1, "reference": "first", "initial": None, "total": 1.0}
    weights, _ = run(weighting.softmax(0.05), values)
    np.testing.assert_allclose(weights, softmax_weights(values, 0.05, **options), rtol=2e-3)


def test_the_first_step_has_the_initial_weights():
    weights, _ = run(weighting.softmax(initial=[0.7, 0.3]), [[2.0, 5.0]])
    np.testing.assert_allclose(weights[0], [0.7, 0.3], rtol=1e-5)


def test_plain_softmax_weights_drift_to_the_smallest_loss_however_little_smaller():
    for values in ([1.0, 0.1], [1.0, 0.999]):
        plain = weighting.softmax(0.05, floor=0.0, reference=None)
        weights, _ = run(plain, np.tile(values, (100, 1)))  # 5 / 0.05
        assert weights[-1, 1] > 0.98
        # And plain descent, without Adam, goes the same way.
        logits = np.zeros(2)
        for _ in range(20000):
            share = shares(logits)
            logits -= share * (np.array(values) - share @ values)
        assert shares(logits)[1] > 0.95


def test_with_a_reference_the_unit_of_a_loss_does_not_matter():
    learned = weighting.softmax(0.05)
    weights, _ = run(learned, VALUES)
    scaled, _ = run(learned, VALUES * [1e-6, 1.0, 1e6])
    np.testing.assert_allclose(scaled, weights, rtol=1e-4)


def test_constant_losses_do_not_drift_with_a_reference():
    weights, _ = run(weighting.softmax(0.05), np.tile([7.0, 0.1, 3.0], (200, 1)))
    np.testing.assert_allclose(weights, 1 / 3, rtol=1e-6)


def test_the_floor_bounds_the_drift():
    falling = np.stack([np.exp(-np.arange(400) / 20), np.ones(400), np.ones(400)], axis=1)
    weights, _ = run(weighting.softmax(0.05), falling)
    np.testing.assert_allclose(weights[-1], [0.1 / 3 + 0.9, 0.1 / 3, 0.1 / 3], rtol=2e-2)
    assert weights.min() >= 0.1 / 3


def test_the_reference_is_the_first_value_that_is_finite_and_not_zero():
    values = np.array([[np.nan, 1.0], [0.0, 1.0], [-4.0, 1.0], [8.0, 1.0]])
    _, state = run(weighting.softmax(), values)
    np.testing.assert_array_equal(state.reference, [4, 1])


def test_a_schedule_may_be_the_learning_rate():
    schedule = optax.piecewise_constant_schedule(0.05, {3: 0.0})
    weights, _ = run(weighting.softmax(schedule, reference=None), VALUES)
    assert (np.diff(weights[:4], axis=0) != 0).all()
    np.testing.assert_array_equal(weights[4:], np.tile(weights[4], (56, 1)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"floor": 1.0}, "floor: expected a number from 0 to below 1, got 1.0"),
        ({"total": 0}, "total: expected a number above 0, got 0"),
        ({"learning_rate": -1}, "learning_rate: expected 0 or a number above it, got -1"),
        ({"reference": "last"}, "reference: expected 'first', numbers or None, got 'last'"),
        ({"reference": [1.0, 0.0]}, r"reference\[1\]: expected a number above 0, got 0.0"),
        ({"initial": [1.0, -1.0]}, r"initial\[1\]: expected a number above 0, got -1.0"),
    ],
)
def test_options_of_softmax_that_cannot_be_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        weighting.softmax(**options)


def test_initial_weights_below_the_floor_or_too_many_are_refused():
    message = (
        r"initial: expected weights above floor / 2 = 0\.05 of their sum, got 0\.03; give a sm"
    )
    with pytest.raises(ValueError, match=message):
        weighting.softmax(initial=[0.97, 0.03]).init(2)
    weighting.softmax(initial=[0.97, 0.03], floor=0.05).init(2)
    with pytest.raises(ValueError, match="initial: expected 3 numbers, one for each term, got 2"):
        weighting.softmax(initial=[0.5, 0.5]).init(3)


def kendall(values, log_variances):
    return jnp.sum(values / (2 * jnp.exp(log_variances)) + log_variances / 2)


def test_uncertainty_weights_are_the_derivative_and_adam_follows_the_other():
    rate, adam, s = 0.05, Adam(0.05, 3), np.full(3, 0.5)
    weights, state = run(weighting.uncertainty(rate, initial=0.5), VALUES)
    for step, values in enumerate(VALUES):
        wanted = jax.grad(kendall)(jnp.asarray(values), jnp.asarray(s))
        np.testing.assert_allclose(weights[step], wanted, rtol=1e-4)
        s = s + adam.step(0.5 - values / (2 * np.exp(s)))
    np.testing.assert_allclose(state.log_variances, s, rtol=1e-3, atol=1e-4)


def test_uncertainty_of_constant_losses_ends_where_it_is_known_to():
    values = np.array([0.01, 1.0, 30.0])
    weights, state = run(weighting.uncertainty(0.05), np.tile(values, (1000, 1)))
    np.testing.assert_allclose(weights[-1], 1 / (2 * values), rtol=1e-2)
    np.testing.assert_allclose(state.log_variances, np.log(values), atol=1e-2)


def test_uncertainty_of_a_loss_of_zero_or_below_runs_to_its_limit():
    weights, _ = run(weighting.uncertainty(0.1, limit=2.0), np.tile([0.0, -1.0], (50, 1)))
    np.testing.assert_allclose(weights[-1], np.exp(2) / 2, rtol=1e-5)


def test_options_of_uncertainty_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="limit: expected a number above 0, got 0"):
        weighting.uncertainty(limit=0)
    with pytest.raises(ValueError, match="initial: expected a finite number, got inf"):
        weighting.uncertainty(initial=np.inf)


def test_adam_of_a_term_stands_still_while_it_is_away():
    values = np.tile(VALUES[:1], (6, 1))
    away = values.copy()
    away[2:4, 1] = np.nan
    for learned in (weighting.uncertainty(0.05), weighting.softmax(0.05, reference=None)):
        _, state = run(learned, away)
        np.testing.assert_array_equal(state.optimizer[0].count, [6, 4, 6])
    # Terms of uncertainty know nothing of each other: two steps fewer are two steps fewer.
    _, state = run(weighting.uncertainty(0.05), away)
    _, fewer = run(weighting.uncertainty(0.05), values[:4])
    np.testing.assert_allclose(state.log_variances[1], fewer.log_variances[1], rtol=1e-6)
