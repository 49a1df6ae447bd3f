import jax.numpy as jnp
import numpy as np
import pytest

from lossbench import weighting
from tests.weighting import stacks

CASES = stacks.peer_cases("surgery_values")
METHOD = weighting.config_weighting()


def expected(gradients, preference=None):
    """Equation 2 of the paper."""
    gradients = np.asarray(gradients, float)
    units = gradients / np.linalg.norm(gradients, axis=1, keepdims=True)
    wanted = np.ones(len(gradients)) if preference is None else preference
    direction = np.linalg.pinv(units, rcond=1e-9) @ wanted
    direction /= np.linalg.norm(direction)
    return np.sum(gradients @ direction) * direction


@pytest.mark.parametrize("terms", [2, 3, 8])
def test_random_gradients_of_any_size(terms):
    sets = stacks.random_sets(terms, 100, terms, 50, spread=3)
    for found, gradients in zip(stacks.updates_of(METHOD, sets), sets, strict=True):
        assert stacks.distance(found, expected(gradients)) < 1e-5
        cosines = (gradients @ found) / np.linalg.norm(gradients, axis=1)
        np.testing.assert_allclose(cosines, cosines.mean(), rtol=1e-4)
        assert np.all(cosines > 0)


@pytest.mark.parametrize("which", ["config", "config preference"])
def test_as_torchjd(which):
    for case in CASES:
        gradients = np.array(case["gradients"])
        wanted = case["preference"] if which == "config preference" else None
        found = stacks.updates_of(weighting.config_weighting(preference=wanted), gradients[None])[0]
        assert stacks.distance(found, case[which]) < 1e-5


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
    """TorchJD returns their sum or 0 there; here it is 0 as soon as float32 sees no more."""
    one = stacks.random_sets(0, 50, 1, 30)
    sets = np.concatenate([one, -np.float32(1.7) * one], axis=1)
    lengths = np.linalg.norm(stacks.updates_of(METHOD, sets), axis=1)
    assert np.all(lengths < 1e-2 * np.linalg.norm(one[:, 0], axis=1))


def test_a_term_left_out_is_not_there():
    three = stacks.random_sets(2, 1, 3, 6)
    weights = stacks.weights_of(METHOD, three, values=[[1.0, jnp.nan, 1.0]])
    two = stacks.weights_of(METHOD, three[:, [0, 2]])
    np.testing.assert_allclose(weights[:, [0, 2]], two, rtol=1e-5)
    assert weights[0, 1] == 0


def test_refused():
    with pytest.raises(ValueError, match=r"preference: expected one number for each term, got 2"):
        weighting.config(preference=2.0)
    method = weighting.config(preference=[1.0, 2.0])
    with pytest.raises(ValueError, match="preference: expected 3 numbers, one for each term"):
        method.update(jnp.eye(3), method.init(jnp.ones(3)))
