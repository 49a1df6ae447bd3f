import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench import weighting
from tests.weighting import solvers, stacks

CASES = solvers.peer_cases()
METHOD = weighting.cagrad_weighting(c=0.5)


def worst(gradients, update):
    """What the loss that falls least falls by."""
    return np.min(np.asarray(gradients, float) @ update)


@pytest.mark.parametrize("kind", ["random", "square", "sizes", "alike", "against", "identical"])
def test_the_best_direction_near_the_mean(kind):
    sets = [one for terms in (1, 2, 3, 8) for one in solvers.sets(kind, terms)]
    for found, gradients in zip(stacks.updates_of(METHOD, sets), sets, strict=True):
        wanted = solvers.averse(gradients, 0.5)
        assert stacks.distance(found, wanted) < 2e-5
        mean = np.mean(gradients.astype(float), axis=0)
        length = np.linalg.norm(mean)
        assert np.linalg.norm(found - mean) == pytest.approx(0.5 * length, rel=1e-4)


@pytest.mark.parametrize("c", [0.5, 1.5])
def test_near_torchjd_and_at_least_as_good(c):
    """TorchJD's solver of cone programs stops at about 1e-4 of the direction."""
    method = weighting.cagrad_weighting(c=c)
    updates = stacks.updates_of(method, [case["gradients"] for case in CASES])
    for found, case in zip(updates, CASES, strict=True):
        theirs = np.array(case[f"cagrad {c}"])
        assert stacks.distance(found, theirs) < 5e-4
        assert stacks.distance(found, solvers.averse(case["gradients"], c)) < 1e-5
        scale = solvers.largest(case["gradients"]) * np.linalg.norm(theirs)
        assert worst(case["gradients"], found) > worst(case["gradients"], theirs) - 1e-6 * scale


def test_by_hand():
    # Orthogonal, equally long: the mean, made longer. Opposite: the mean, made shorter.
    sets = [[[1.0, 0.0], [0.0, 1.0]], [[-2.0], [1.0]], [[3.0, 4.0]], [[1.0, 0.0], [-1.0, 0.0]]]
    wanted = [[0.75, 0.75], [-0.25], [4.5, 6.0], [0, 0]]
    for found, one in zip(stacks.updates_of(METHOD, sets), wanted, strict=True):
        np.testing.assert_allclose(found, one, rtol=1e-5, atol=1e-6)


def test_where_no_direction_serves_the_worst_loss_it_is_the_nearest_to_the_mean():
    """The first two gradients are opposite; TorchJD returns 0, too far from the mean."""
    gradients = np.array([[2.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, 2.0]])
    weights = stacks.weights_of(METHOD, gradients[None])[0]
    np.testing.assert_allclose(weights @ gradients, [0, 0.75], atol=1e-5)
    assert np.all(weights < 1)


def test_c_may_be_traced_and_0_is_the_mean():
    gradients = jnp.asarray(solvers.sets("against", 3)[0])

    @jax.jit
    @jax.vmap
    def run(c):
        method = weighting.cagrad(c=c)
        return method.update(gradients, method.init(gradients[0]))[0]

    found = run(jnp.array([0.0, 0.3, 2.0]))
    np.testing.assert_allclose(found[0], jnp.mean(gradients, axis=0), rtol=1e-5)
    for update, c in zip(found[1:], (0.3, 2.0), strict=True):
        assert stacks.distance(update, solvers.averse(gradients, c)) < 2e-5


def test_zero_gradients_and_terms_left_out():
    three = solvers.sets("against", 3)[0]
    sets = [np.zeros((2, 3)), [[1.0, 0], [0, 1], [0, 0]], three, three[[0, 2]]]
    values = [[1, 1], [1, 1, 1], [1, np.nan, 1], [1, 1]]
    found = stacks.weights_of(METHOD, sets, values)
    np.testing.assert_allclose(found[0], [0.5, 0.5])
    # The mean of three, and half its length further.
    np.testing.assert_allclose(found[1], [0.5, 0.5, 1 / 3], rtol=1e-5)
    np.testing.assert_allclose(found[2], [found[3][0], 0, found[3][1]], rtol=1e-5)


def test_it_grows_with_the_gradients_and_turns_with_the_terms():
    gradients = solvers.sets("sizes", 3)[0]
    order = [2, 0, 1]
    found, larger, turned = stacks.updates_of(
        METHOD, [gradients, 1e4 * gradients, gradients[order]]
    )
    assert stacks.distance(larger, 1e4 * found) < 1e-5
    assert stacks.distance(turned, found) < 1e-5


def test_refused():
    with pytest.raises(ValueError, match="c: expected 0 or a number above it, got -1"):
        weighting.cagrad(c=-1.0)
