import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lossbench import weighting
from tests.weighting.trajectories import run


def test_constant_weights_are_one_each_unless_given():
    weights, state = run(weighting.constant(), np.ones((2, 3)))
    np.testing.assert_array_equal(weights, 1)
    np.testing.assert_array_equal(weighting.get_weights(state), [1, 1, 1])
    given = np.array([0.7, 0.0, -0.3], np.float32)
    np.testing.assert_array_equal(run(weighting.constant(given), np.ones((1, 3)))[0], [given])


def test_constant_weights_may_be_swept():
    def weights(pair):
        init, update, *_ = weighting.constant(pair)
        return update(jnp.ones(2), init(2))[0]

    pairs = jnp.array([[1.0, 2.0], [3.0, 4.0]])
    np.testing.assert_array_equal(jax.vmap(weights)(pairs), pairs)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0, np.nan], r"weights\[1\]: expected a finite number, got nan"),
        ([1.0, "2"], r"weights\[1\]: expected a finite number, got '2'"),
        (2.0, "weights: expected one number for each term, got 2.0"),
        ([[1.0, 2.0]], r"weights\[0\]: expected a finite number"),
        (np.ones((2, 2)), "weights: expected one number for each term"),
    ],
)
def test_weights_that_are_no_numbers_are_refused(weights, message):
    with pytest.raises(ValueError, match=message):
        weighting.constant(weights)


def test_another_number_of_weights_is_refused():
    with pytest.raises(ValueError, match="weights: expected 3 numbers, one for each term, got 2"):
        weighting.constant([1.0, 2.0]).init(3)
    with pytest.raises(ValueError, match="schedules: expected 3, one for each term, got 2"):
        weighting.scheduled([1.0, 2.0]).init(3)
    message = "^stages: expected 3 weights in each, one for each term, got 2"
    with pytest.raises(ValueError, match=message):
        weighting.stages([(0, [1.0, 2.0])]).init(3)


def test_schedules_are_those_of_optax_at_the_number_of_steps_before():
    decay = optax.exponential_decay(1.0, 5, 0.5)
    cosine = optax.cosine_decay_schedule(2.0, 10)
    weights, state = run(weighting.scheduled([decay, 0.25, cosine]), np.ones((12, 3)))
    steps = np.arange(12)
    wanted = np.stack(
        [
            0.5 ** (steps / 5),
            np.full(12, 0.25),
            2 * (1 + np.cos(np.pi * np.minimum(steps, 10) / 10)) / 2,
        ],
        1,
    )
    np.testing.assert_allclose(weights, wanted, rtol=1e-5, atol=1e-6)
    # The state says which come next.
    np.testing.assert_allclose(weighting.get_weights(state)[0], 0.5 ** (12 / 5), rtol=1e-5)


def test_a_schedule_that_is_neither_number_nor_function_is_refused():
    message = r"schedules\[1\]: expected a finite number or a function of the step, got 'linear'"
    with pytest.raises(ValueError, match=message):
        weighting.scheduled([1.0, "linear"])
    for given in (3, "linear", np.array(1.0)):
        with pytest.raises(ValueError, match="schedules: expected a number or a function of the"):
            weighting.scheduled(given)


@pytest.mark.parametrize("blend", [0, 1, 3])
def test_stages_hold_their_weights_and_blend_in_a_straight_line(blend):
    given = [(0, [1.0, 0.0]), (4, [0.5, 0.5]), (9, [0.1, 2.0])]
    weights, _ = run(weighting.stages(given, blend=blend), np.ones((15, 2)))
    for term in range(2):
        held = [pair[1][term] for pair in given]
        # A step is a line of no length: the corners of the line, a moment before and at the start.
        corners = [0]
        heights = [held[0]]
        for (start, _), before, after in zip(given[1:], held, held[1:], strict=False):
            corners += [start if blend else start - 1e-9, start + blend]
            heights += [before, after]
        wanted = np.interp(np.arange(15), corners, heights)
        np.testing.assert_allclose(weights[:, term], wanted, rtol=1e-6)


@pytest.mark.parametrize(
    ("stages", "blend", "message"),
    [
        ([], 0, "stages: expected steps that rise from 0"),
        ([(1, [1.0])], 0, "stages: expected steps that rise from 0"),
        ([(0, [1.0]), (3, [1.0]), (3, [1.0])], 0, "stages: expected steps that rise from 0"),
        ([(0, [1.0]), (2.5, [1.0])], 0, r"stages\[1\]: expected a whole number, 0 or above"),
        ([(0, [1.0]), (2, [1.0, 2.0])], 0, "as many weights in each, got 1 in the first and 2"),
        ([(0, [1.0]), (2, [np.inf])], 0, r"stages\[1\]\[0\]: expected a finite number"),
        ([(0, [1.0]), (2, [2.0]), (4, [3.0])], 3, "blend: 3 steps do not fit into the stage from"),
        ([0, [1, 0]], 0, r"stages\[0\]: expected a pair of a step and its weights, .* got 0"),
        ([(0, [1.0]), (3,)], 0, r"stages\[1\]: expected a pair of a step and its weights"),
        ([(0, 1.0)], 0, r"stages\[0\]: expected one number for each term, got 1.0"),
        (3, 0, "stages: expected pairs of a step and its weights, got 3"),
        ([(0, [1.0])], -1, "blend: expected a whole number, 0 or above, got -1"),
    ],
)
def test_stages_that_make_no_curriculum_are_refused(stages, blend, message):
    with pytest.raises(ValueError, match=message):
        weighting.stages(stages, blend=blend)


def draws(distribution, terms, count=4000):
    init, update, *_ = weighting.random(distribution)
    one = lambda seed: update(jnp.ones(terms), init(terms, seed))[0]  # noqa: E731
    return np.asarray(jax.jit(jax.vmap(one))(jnp.arange(count)), float)


def test_random_weights_are_a_softmax_of_normal_numbers():
    weights = draws("normal", 2)
    np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-5)
    # The difference of two standard normal numbers has variance 2.
    logits = np.log(weights[:, 0] / weights[:, 1])
    assert abs(logits.mean()) < 0.1
    assert abs(logits.var() - 2) < 0.2


def test_uniform_scores_differ_by_no_more_than_one():
    weights = draws("uniform", 2)
    logits = np.log(weights[:, 0] / weights[:, 1])
    assert np.abs(logits).max() <= 1 + 1e-5
    assert abs(logits.var() - 1 / 6) < 0.01


def test_dirichlet_weights_are_spread_evenly_over_the_simplex():
    weights = draws("dirichlet", 3)
    np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-5)
    # Of the simplex of three, the share with a first weight above w is (1 - w)^2.
    for least in (0.2, 0.5, 0.8):
        assert abs((weights[:, 0] > least).mean() - (1 - least) ** 2) < 0.03


def test_one_hot_weights_choose_each_term_as_often():
    weights = draws("one_hot", 4)
    np.testing.assert_array_equal(np.sort(weights, axis=1), [[0, 0, 0, 1]] * len(weights))
    np.testing.assert_allclose(weights.mean(0), 0.25, atol=0.03)


def test_one_hot_weights_choose_among_the_terms_that_are_there():
    init, update, *_ = weighting.random("one_hot")
    values = jnp.array([1.0, jnp.nan, 1.0])
    weights = jax.vmap(lambda seed: update(values, init(3, seed))[0])(jnp.arange(300))
    np.testing.assert_array_equal(weights.sum(1), 1)
    np.testing.assert_allclose(weights.mean(0), [0.5, 0, 0.5], atol=0.1)


def test_draws_follow_from_seed_and_step_alone():
    values = np.ones((5, 3))
    weights, state = run(weighting.random(), values, seed=4)
    again, _ = run(weighting.random(), values, seed=4)
    other, _ = run(weighting.random(), values, seed=5)
    np.testing.assert_array_equal(weights, again)
    assert len(np.unique(np.concatenate([weights, other])[:, 0])) == 10
    np.testing.assert_array_equal(weighting.get_weights(state), weights[-1])


def test_another_distribution_is_refused():
    with pytest.raises(ValueError, match=r"distribution: expected one of 'normal', .*got 'beta'"):
        weighting.random("beta")


def test_no_loss_is_looked_at():
    for one in (weighting.constant(), weighting.scheduled([1, 2]), weighting.random()):
        high, _ = run(one, np.full((3, 2), 1e6))
        low, _ = run(one, np.full((3, 2), -1e6))
        np.testing.assert_array_equal(high, low)


@pytest.mark.parametrize("distribution", ["normal", "uniform", "dirichlet", "one_hot"])
def test_random_weights_are_float32_beside_float64(distribution):
    init, update, *_ = weighting.random(distribution)
    with jax.enable_x64(True):
        step = lambda state, values: update(values, state)[::-1]  # noqa: E731
        state, weights = jax.lax.scan(step, init(2), jnp.ones((3, 2)))
    assert weights.dtype == state.weights.dtype == jnp.float32
