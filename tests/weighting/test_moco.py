import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench import weighting
from lossbench.weighting.moco import moved, onto_simplex
from tests.weighting import stacks


def nearest(point):
    """The nearest point of the simplex, by halving the interval of what is taken away."""
    low, high = point.min() - 1, point.max()
    for _ in range(200):
        middle = (low + high) / 2
        if np.maximum(point - middle, 0).sum() > 1:
            low = middle
        else:
            high = middle
    return np.maximum(point - high, 0)


def reference(steps, beta, gamma, rho):
    """The updates and the weights of the paper's algorithm, on gradients `steps terms size`."""
    tracked, weights = None, np.full(steps.shape[1], 1 / steps.shape[1])
    for k, gradients in enumerate(np.asarray(steps, float)):
        tracked = gradients if tracked is None else tracked - beta(k) * (tracked - gradients)
        slope = (tracked @ tracked.T + rho * np.eye(len(weights))) @ weights
        weights = nearest(weights - gamma(k) * slope)
        yield weights @ tracked, weights


def run(method, steps, **values):
    """The updates of all steps, and the last state, in one program."""
    tree = {"a": jnp.asarray(steps)[:, :, :2, None], "b": jnp.asarray(steps)[:, :, 2:]}

    @jax.jit
    def go(tree):
        def step(state, given):
            update, state = method.update(given["tree"], state, **given["values"])
            return state, jnp.concatenate([update["a"][:, 0], update["b"]])

        state = method.init(jax.tree.map(lambda leaf: leaf[0, 0], tree))
        return jax.lax.scan(step, state, {"tree": tree, "values": values})

    state, updates = go(tree)
    return np.asarray(updates, float), state


@pytest.mark.parametrize("terms", [1, 3])
def test_it_is_the_algorithm(terms):
    steps = stacks.random_sets(0, 20, terms, 5)
    decaying = lambda k: 0.5 / (k + 1) ** 0.5  # noqa: E731
    method = weighting.moco(terms, beta=decaying, gamma=0.05, rho=0.2)
    updates, state = run(method, steps)
    wanted = list(reference(steps, decaying, lambda k: 0.05, 0.2))
    for found, (update, _) in zip(updates, wanted, strict=True):
        assert stacks.distance(found, update) < 1e-5
    np.testing.assert_allclose(weighting.get_weights(state), wanted[-1][1], atol=1e-6)
    assert int(state.step) == 20


def test_onto_simplex_is_the_nearest_point():
    rng = np.random.default_rng(1)
    points = (rng.normal(size=(200, 6)) * 10.0 ** rng.uniform(-2, 2, (200, 1))).astype(np.float32)
    present = rng.random((200, 6)) < 0.7
    found = jax.jit(jax.vmap(onto_simplex))(jnp.asarray(points), jnp.asarray(present))
    for row, point, there in zip(found, points, present, strict=True):
        wanted = np.zeros(6)
        if there.any():
            wanted[there] = nearest(point[there].astype(float))
        np.testing.assert_allclose(row, wanted, atol=2e-6 * max(1, np.abs(point).max()))


def test_it_goes_to_the_shortest_sum():
    """Of gradients that stay: where MGDA is at once, in closed form for two."""
    gradients = np.array([[1.0, 0.5, 0.0], [-0.5, 1.5, 1.0]], np.float32)
    _, state = run(weighting.moco(), np.tile(gradients, (400, 1, 1)))
    apart = gradients[1] - gradients[0]
    first = apart @ gradients[1] / (apart @ apart)
    np.testing.assert_allclose(state.weights, [first, 1 - first], atol=1e-5)


def test_it_follows_noisy_gradients_to_their_mean():
    rng = np.random.default_rng(2)
    mean = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    noisy = (mean + rng.normal(size=(500, 2, 3))).astype(np.float32)
    _, state = run(weighting.moco(beta=0.01), noisy)
    tracked = np.concatenate([state.tracked["a"][..., 0], state.tracked["b"]], axis=1)
    assert np.linalg.norm(tracked - mean) < 0.15 * np.linalg.norm(noisy[-1] - mean)


def test_a_term_left_out_is_not_there():
    three = stacks.random_sets(3, 10, 3, 5)
    two = three[:, [0, 2]]
    wanted, alone = run(weighting.moco(2), two)
    # By its loss.
    losses = jnp.ones((10, 3)).at[:, 1].set(jnp.inf)
    found, state = run(weighting.moco(3, skip_nonfinite=True), three, values=losses)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(state.weights[jnp.array([0, 2])], alone.weights * 2 / 3, atol=1e-6)
    np.testing.assert_allclose(state.weights[1], 1 / 3)
    shown, state = run(weighting.moco(3), three, values=losses)
    assert np.all(np.isnan(shown))
    np.testing.assert_allclose(state.weights[1], 1 / 3)
    # By its gradient; one number of it is enough.
    three[:, 1, 4] = np.nan
    found, state = run(weighting.moco(3, skip_nonfinite=True), three)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)
    assert np.all(np.isfinite(state.tracked["b"]))
    # It is seen, if it is not to be skipped; the state goes on all the same.
    shown, state = run(weighting.moco(3), three)
    assert np.all(np.isnan(shown))
    assert np.all(np.isfinite(state.tracked["b"]))
    np.testing.assert_allclose(state.weights[1], 1 / 3)


def test_a_term_comes_later():
    """Its first gradient begins its track, and its share has waited."""
    steps = stacks.random_sets(4, 3, 2, 5)
    steps[:2, 1] = np.nan
    _, state = run(weighting.moco(skip_nonfinite=True, gamma=0.0), steps)
    tracked = np.concatenate([state.tracked["a"][..., 0], state.tracked["b"]], axis=1)
    np.testing.assert_allclose(tracked[1], steps[2, 1])
    np.testing.assert_allclose(state.weights, [0.5, 0.5])


def test_terms_that_are_not_present_keep_out_of_the_step():
    weights = jnp.array([1.0, 0.0, 0.0])
    present = jnp.array([False, True, True])
    # All weight was on the one that is missing: the others begin evenly.
    found = moved(weights, jnp.zeros((3, 3)), present, jnp.array(0.1), 0.0)
    np.testing.assert_allclose(found, [0.0, 0.5, 0.5])
    found = moved(weights, jnp.zeros((3, 3)), jnp.zeros(3, bool), jnp.array(0.1), 0.0)
    np.testing.assert_allclose(found, [0.0, 0.0, 0.0])


def test_gradients_of_any_size_stay_finite():
    for size in (1e-6, 1e6):
        steps = size * stacks.random_sets(5, 3, 2, 5)
        steps[1, 0] = 0
        updates, state = run(weighting.moco(), steps)
        assert np.all(np.isfinite(updates))
        np.testing.assert_allclose(np.sum(state.weights), 1, rtol=1e-6)


def test_dtypes_and_the_part_that_is_looked_at():
    gradients = {
        "body": jnp.ones((2, 3), jnp.bfloat16),
        "head": jnp.array([[2.0], [1.0]], jnp.float16),
    }
    params = jax.tree.map(lambda leaf: leaf[0], gradients)
    method = weighting.moco(shared="head")
    update, state = method.update(gradients, method.init(params))
    assert update["body"].dtype == jnp.bfloat16
    assert state.tracked["body"].dtype == jnp.float32
    # The head alone is 2 and 1: 1/2 - 0.1 (4 + 2) / 2 against 1/2 - 0.1 (2 + 1) / 2.
    np.testing.assert_allclose(state.weights, [0.425, 0.575], rtol=1e-6)


def test_refused():
    for options, message in (
        ({"beta": 1.5}, "beta: expected a number from 0 to 1"),
        ({"gamma": -1}, "gamma: expected 0 or a number above it"),
        ({"rho": "much"}, "rho: expected 0 or a number above it"),
        ({"terms": 0}, "terms: expected a whole number, 1 or above"),
    ):
        with pytest.raises(ValueError, match=message):
            weighting.moco(**options)
    method = weighting.moco()
    message = r"moco keeps the gradients of 2 terms, got 3 gradients: moco\(terms=3\)"
    with pytest.raises(ValueError, match=message):
        method.update(jnp.eye(3), method.init(jnp.ones(3)))
    with pytest.raises(ValueError, match="unknown pattern of parameters 'tail'"):
        weighting.moco(shared="tail").init({"head": jnp.ones(2)})


def test_without_any_term_the_update_shows_it_and_the_state_stays():
    method = weighting.moco(skip_nonfinite=True)
    state = method.init({"a": 1.0, "b": np.ones(2)})
    nothing = {"a": jnp.full(2, jnp.nan), "b": jnp.ones((2, 2))}
    shown, after = method.update(nothing, state)
    assert all(np.all(np.isnan(leaf)) for leaf in jax.tree.leaves(shown))
    for before, leaf in zip(jax.tree.leaves(state), jax.tree.leaves(after), strict=True):
        assert leaf.dtype == before.dtype
    np.testing.assert_array_equal(after.tracked["b"], 0)
    np.testing.assert_array_equal(after.weights, state.weights)


def test_parameters_may_be_plain_numbers():
    params = {"a": 1.0, "b": np.ones(2)}
    method = weighting.moco(2, beta=1.0, gamma=0.0)
    gradients = {"a": jnp.array([2.0, 4.0]), "b": jnp.ones((2, 2))}
    found, _ = method.update(gradients, method.init(params), params)
    assert found["a"] == 3
