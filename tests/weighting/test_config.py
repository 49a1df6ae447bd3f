import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench import weighting
from tests.weighting import stacks

PEER = stacks.peer_values("surgery_values")
CASES = PEER["cases"]
METHOD = weighting.config_weighting()


def expected(gradients, preference=None):
    """Equation 2 of the paper."""
    gradients = np.asarray(gradients, float)
    units = gradients / np.linalg.norm(gradients, axis=1, keepdims=True)
    wanted = np.ones(len(gradients)) if preference is None else preference
    direction = np.linalg.pinv(units, rcond=1e-9) @ wanted
    direction /= np.linalg.norm(direction)
    return np.sum(gradients @ direction) * direction


def test_random_gradients_of_any_size():
    sets = [one for terms in (2, 3, 8) for one in stacks.random_sets(terms, 40, terms, 50, 3)]
    for found, gradients in zip(stacks.updates_of(METHOD, sets), sets, strict=True):
        assert stacks.distance(found, expected(gradients)) < 1e-5
        cosines = (gradients @ found) / np.linalg.norm(gradients, axis=1)
        np.testing.assert_allclose(cosines, cosines.mean(), rtol=1e-4)
        assert np.all(cosines > 0)


def test_as_torchjd():
    updates = stacks.updates_of(METHOD, [case["gradients"] for case in CASES])
    for found, case in zip(updates, CASES, strict=True):
        assert stacks.distance(found, case["config"]) < 1e-5


def test_a_preference_as_torchjd():
    cases = [case for case in CASES if len(case["gradients"]) == 3]

    @jax.jit
    @jax.vmap
    def run(gramian):
        method = weighting.config_weighting(preference=jnp.array([1.0, 1.5, 2.0]))
        return method.update(jnp.ones(3), (), gramian)[0]

    gramians = stacks.gramians([case["gradients"] for case in cases])[: len(cases), :3, :3]
    for weights, case in zip(run(gramians), cases, strict=True):
        found = np.asarray(weights, float) @ np.array(case["gradients"])
        assert stacks.distance(found, case["config preference"]) < 1e-5


@pytest.mark.parametrize("angle", [0.3, 0.1, 0.03])
def test_nearly_dependent_gradients(angle):
    """Nearly the same, and nearly opposite; float32 knows 1 - |cosine| to 1e-7."""
    tilted = np.array([np.cos(angle), np.sin(angle), 0.0])
    sets = np.array([[[1.0, 0, 0], 5 * tilted], [[1.0, 0, 0], -5 * tilted]], np.float32)
    sets = np.concatenate([sets, sets], axis=2)
    for found, gradients in zip(stacks.updates_of(METHOD, sets), sets, strict=True):
        wanted = expected(gradients)
        assert stacks.distance(found, wanted) < 1e-6 / angle**2
        assert np.linalg.norm(found - wanted) < 1e-6 * np.linalg.norm(gradients)


def test_by_hand():
    sets = np.array(
        [
            [[4.0, 0.0], [0.0, 2.0]],  # between them, as long as both reach along it
            [[2.0, 0.0], [4.0, 0.0]],  # the same direction: their sum
            [[2.0, 0.0], [-2.0, 0.0]],  # opposite: no direction has one cosine
            [[2.0, 0.0], [-4.0, 0.0]],
            [[3.0, 4.0], [0.0, 0.0]],  # a gradient of 0 has no cosine
            [[0.0, 0.0], [0.0, 0.0]],
        ]
    )
    wanted = [[3.0, 3.0], [6.0, 0.0], [0.0, 0.0], [0.0, 0.0], [3.0, 4.0], [0.0, 0.0]]
    np.testing.assert_allclose(stacks.updates_of(METHOD, sets), wanted, atol=1e-5)


def test_opposite_gradients_up_to_rounding():
    """TorchJD makes a direction of what rounding leaves; it need not be along the gradients."""
    peer = PEER["config of opposite gradients in float32"]
    np.testing.assert_allclose(peer["update"], [-5 / 3] * 3, rtol=1e-5)
    np.testing.assert_allclose(stacks.updates_of(METHOD, [peer["gradients"]])[0], 0, atol=1e-6)
    one = stacks.random_sets(0, 50, 1, 30)
    sets = np.concatenate([one, -np.float32(1.7) * one], axis=1)
    lengths = np.linalg.norm(stacks.updates_of(METHOD, sets), axis=1)
    assert np.all(lengths < 1e-2 * np.linalg.norm(one[:, 0], axis=1))


def test_a_term_left_out_is_not_there():
    three = stacks.random_sets(2, 1, 3, 6)[0]
    sets, values = [three, three[[0, 2]]], [[1.0, np.nan, 1.0], [1.0, 1.0]]
    found, wanted = stacks.weights_of(METHOD, sets, values)
    np.testing.assert_allclose(found, [wanted[0], 0, wanted[1]], rtol=1e-5)


def test_refused():
    with pytest.raises(ValueError, match=r"preference: expected one number for each term, got 2"):
        weighting.config(preference=2.0)
    method = weighting.config(preference=[1.0, 2.0])
    with pytest.raises(ValueError, match="preference: expected 3 numbers, one for each term"):
        method.update(jnp.eye(3), method.init(jnp.ones(3)))
