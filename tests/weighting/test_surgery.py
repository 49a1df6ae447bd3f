import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench import weighting
from lossbench.weighting.surgery import gradvac_weights, orders, pcgrad_weights
from tests.weighting import stacks

CASES = stacks.peer_values("surgery_values")["cases"]
PCGRAD = weighting.pcgrad_weighting()
GRADVAC = weighting.gradvac_weighting(decay=0.3)


def pcgrad_reference(gradients, orders):
    """Algorithm 1 of the paper, on the gradients."""
    gradients = np.asarray(gradients, float)
    total = 0
    for i, order in enumerate(orders):
        own = gradients[i].copy()
        for j in order:
            along = own @ gradients[j]
            if j != i and along < 0:
                own -= along / (gradients[j] @ gradients[j]) * gradients[j]
        total = total + own
    return total


def gradvac_reference(gradients, orders, targets, decay):
    """Algorithm 1 of the paper, on the gradients; it changes the targets."""
    gradients = np.asarray(gradients, float)
    total = 0
    for i, order in enumerate(orders):
        own = gradients[i].copy()
        for j in order:
            if j == i:
                continue
            length, other = np.linalg.norm(own), np.linalg.norm(gradients[j])
            cosine, aim = own @ gradients[j] / length / other, targets[i, j]
            if cosine < aim:
                turn = aim * np.sqrt(1 - cosine**2) - cosine * np.sqrt(1 - aim**2)
                own += length * turn / (other * np.sqrt(1 - aim**2)) * gradients[j]
            targets[i, j] = (1 - decay) * aim + decay * cosine
        total = total + own
    return total


def conflicting(seed, count, terms):
    """Random gradients, most of which are against each other, of any size."""
    sets = stacks.random_sets(seed, count, terms, 20)
    sets[:, 1:] -= 0.4 * sets[:, :1]
    sizes = np.random.default_rng(seed).uniform(-3, 3, (count, terms, 1))
    return (sets * 10.0**sizes).astype(np.float32)


def products(gradients):
    """The Gramian, float32."""
    rows = np.asarray(gradients, np.float32)
    return jnp.asarray(rows @ rows.T)


@pytest.fixture(scope="module")
def pcgrad_of():
    run = jax.jit(pcgrad_weights)
    return lambda gradients, order: np.asarray(run(products(gradients), jnp.asarray(order)), float)


def test_pcgrad_is_the_algorithm(pcgrad_of):
    every = list(itertools.permutations(range(3)))
    chosen = itertools.product(every, repeat=3)
    for gradients, order in zip(conflicting(0, 50, 3), chosen, strict=False):
        found = pcgrad_of(gradients, order) @ gradients
        wanted = pcgrad_reference(gradients, order)
        assert np.linalg.norm(found - wanted) < 1e-6 * np.linalg.norm(gradients)


def test_pcgrad_as_torchjd(pcgrad_of):
    for case in CASES:
        if len(case["gradients"]) in (3, 8):
            found = pcgrad_of(case["gradients"], case["pcgrad"]["orders"])
            wanted = case["pcgrad"]["update"]
            assert stacks.distance(found @ np.array(case["gradients"]), wanted) < 1e-5


def test_pcgrad_by_hand():
    sets = [
        [[1.0, 0.0], [0.0, 2.0]],  # no conflict: the sum
        [[1.0, 0.0], [-1.0, 1.0]],  # (0.5, 0.5) + (0, 1)
        [[2.0, 0.0], [-3.0, 0.0]],  # opposite
        [[2.0, 1.0], [2.0, 1.0]],  # identical
        [[2.0, 1.0], [0.0, 0.0]],
        [[0.0, 0.0], [0.0, 0.0]],
        [[2.0, 1.0]],
        [[1e6, 0.0], [-1e-6, 1e-6]],
    ]
    wanted = [[1, 2], [0.5, 1.5], [0, 0], [4, 2], [2, 1], [0, 0], [2, 1], [5e5, 5e5]]
    np.testing.assert_allclose(stacks.updates_of(PCGRAD, sets), wanted, rtol=1e-5, atol=1e-6)


def test_pcgrad_of_two_does_no_harm_to_either():
    sets = conflicting(1, 100, 2)
    for gradients, found in zip(sets, stacks.updates_of(PCGRAD, sets), strict=True):
        scale = np.linalg.norm(gradients, axis=1) * np.linalg.norm(found)
        assert np.all(gradients @ found > -1e-6 * scale)


def test_a_term_left_out_is_not_there():
    """The rest of three is two, and that has one order."""
    three = conflicting(2, 1, 3)[0]
    sets, values = [three, three[[0, 2]]], [[1.0, np.nan, 1.0], [1.0, 1.0]]
    for method in (PCGRAD, GRADVAC):
        found, wanted = stacks.weights_of(method, sets, values)
        np.testing.assert_allclose(found, [wanted[0], 0, wanted[1]], rtol=1e-6)


def test_orders_are_drawn_anew_and_evenly():
    keys = jax.vmap(jax.random.key)(jnp.arange(600))
    drawn = np.asarray(jax.jit(jax.vmap(lambda key: orders(key, 3)))(keys))
    assert np.all(np.sort(drawn, axis=-1) == np.arange(3))
    for term in range(3):
        _, counts = np.unique(drawn[:, term], axis=0, return_counts=True)
        # 100 of each of the six, and never further off than five standard deviations.
        assert counts.shape == (6,)
        assert np.all(np.abs(counts - 100) < 5 * np.sqrt(600 / 6 * 5 / 6))
    assert np.mean(drawn[:, 0] == drawn[:, 1]) < 0.5


def test_the_draw_follows_from_seed_and_step():
    gradients = jnp.asarray(conflicting(3, 1, 6)[0])
    surgery = weighting.pcgrad(seed=3)

    @jax.jit
    def trajectory(seed):
        def step(state, _):
            update, state = surgery.update(gradients, state)
            return state, update

        state = surgery.init(gradients[0])._replace(seed=seed)
        return jax.lax.scan(step, state, length=8)

    state, first = trajectory(jnp.uint32(3))
    assert int(state.step) == 8
    assert len(np.unique(np.asarray(first), axis=0)) > 1
    np.testing.assert_array_equal(first, trajectory(jnp.uint32(3))[1])
    assert np.any(np.asarray(first != trajectory(jnp.uint32(4))[1]))


@pytest.fixture(scope="module")
def gradvac_of():
    return jax.jit(gradvac_weights)


def gradvac_steps(gradvac_of, steps, decay):
    """The updates of steps (gradients, orders), each beside the reference's."""
    terms = len(steps[0][0])
    targets, reference = jnp.zeros((terms, terms)), np.zeros((terms, terms))
    for gradients, order in steps:
        weights, targets = gradvac_of(products(gradients), jnp.asarray(order), targets, decay)
        wanted = gradvac_reference(gradients, order, reference, decay)
        yield np.asarray(weights, float) @ np.asarray(gradients, float), wanted
    np.testing.assert_allclose(targets, reference, atol=5e-5)


def test_gradvac_is_the_algorithm(gradvac_of):
    orders = [[1, 2, 0], [2, 0, 1], [0, 1, 2]]
    steps = [(gradients, orders) for gradients in conflicting(4, 20, 3)]
    for found, wanted in gradvac_steps(gradvac_of, steps, 0.2):
        assert stacks.distance(found, wanted) < 1e-4


def test_gradvac_as_torchjd(gradvac_of):
    for case in CASES:
        if "gradvac" in case and len(case["gradients"]) in (3, 8):
            steps = [(step["gradients"], step["orders"]) for step in case["gradvac"]]
            found = gradvac_steps(gradvac_of, steps, 0.3)
            for (update, _), step in zip(found, case["gradvac"], strict=True):
                assert stacks.distance(update, step["update"]) < 1e-5


def test_gradvac_begins_as_pcgrad():
    sets = conflicting(5, 100, 2)
    both = stacks.updates_of(GRADVAC, sets), stacks.updates_of(PCGRAD, sets)
    for found, wanted in zip(*both, strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-5 * np.abs(wanted).max())


def test_gradvac_turns_a_gradient_to_the_target(gradvac_of):
    """Of two, the first; the other one's target is met already."""
    gradients = np.array([[3.0, 0.0, 1.0], [-1.0, 1.0, 0.0]])
    orders = jnp.array([[1, 0], [0, 1]])
    for aim in (-0.2, 0.0, 0.5, 0.9, 0.999):
        targets = jnp.array([[0.0, aim], [-1.0, 0.0]])
        weights, _ = gradvac_of(products(gradients), orders, targets, 0.0)
        own = np.asarray(weights, float) @ gradients - gradients[1]
        cosine = own @ gradients[1] / np.linalg.norm(own) / np.linalg.norm(gradients[1])
        np.testing.assert_allclose(cosine, aim, atol=2e-5)


def test_gradvac_without_a_cosine(gradvac_of):
    """A zero, what an opposite one leaves, and a target that has reached 1."""
    sets = [
        [[2.0, 1.0], [0.0, 0.0]],
        [[0.0, 0.0], [0.0, 0.0]],
        [[2.0, 0.0], [-3.0, 0.0]],
        [[2.0, 1.0]],
    ]
    wanted = [[2, 1], [0, 0], [0, 0], [2, 1]]
    np.testing.assert_allclose(stacks.updates_of(GRADVAC, sets), wanted, atol=1e-5)
    ones, orders = jnp.ones((2, 2)), jnp.array([[1, 0], [0, 1]])
    weights, targets = gradvac_of(jnp.eye(2), orders, ones, 0.5)
    # To a cosine of 0.999: g_0 + g_1 0.999 / sqrt(1 - 0.999^2), about 22.3.
    np.testing.assert_allclose(weights, 1 + 0.999 / np.sqrt(1 - 0.999**2), rtol=1e-4)
    np.testing.assert_allclose(targets, [[1, 0.5], [0.5, 1]])


def test_gradvac_keeps_the_targets_of_a_term_left_out():
    alike = jnp.ones((3, 4))
    vaccine = weighting.gradvac(3, decay=0.5, skip_nonfinite=True)
    update = jax.jit(vaccine.update)
    _, state = update(alike, vaccine.init(alike[0]))
    _, state = update(alike.at[1].set(jnp.nan), state)
    wanted = np.array([[0, 0.5, 0.75], [0.5, 0, 0.5], [0.75, 0.5, 0]])
    np.testing.assert_allclose(state.targets, wanted, rtol=1e-6)


def test_refused():
    with pytest.raises(ValueError, match=r"decay: expected a number from 0 to 1, got 1\.5"):
        weighting.gradvac(decay=1.5)
    vaccine = weighting.gradvac()
    message = r"gradvac keeps targets of 2 terms, got 3 gradients: gradvac\(terms=3\)"
    with pytest.raises(ValueError, match=message):
        vaccine.update(jnp.eye(3), vaccine.init(jnp.ones(3)))
