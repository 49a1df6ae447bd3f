import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench import weighting
from tests.weighting import stacks

CASES = stacks.peer_cases("surgery_values")
METHOD = weighting.aligned_mtl_weighting()


def expected(gradients, preference=None, mode="min"):
    """Algorithm 1 of the paper, by singular values of the gradients."""
    gradients = np.asarray(gradients, float)
    left, singular, _ = np.linalg.svd(gradients, full_matrices=False)
    rank = np.sum(singular > 1e-9 * singular[0])
    left, values = left[:, :rank], singular[:rank] ** 2
    scale = {"min": values[-1], "median": values[rank // 2], "rmse": values.mean()}[mode]
    terms = len(gradients)
    preference = np.full(terms, 1 / terms) if preference is None else preference
    return (np.sqrt(scale) * left @ (left.T @ preference / np.sqrt(values))) @ gradients


@pytest.mark.parametrize("mode", ["min", "median", "rmse"])
@pytest.mark.parametrize("terms", [2, 3, 8])
def test_random_gradients_of_any_size(terms, mode):
    method = weighting.aligned_mtl_weighting(scale_mode=mode)
    sets = stacks.random_sets(terms, 100, terms, 50, spread=3)
    for found, gradients in zip(stacks.updates_of(method, sets), sets, strict=True):
        assert stacks.distance(found, expected(gradients, mode=mode)) < 1e-5


@pytest.mark.parametrize("mode", ["min", "median", "rmse", "preference"])
def test_as_torchjd(mode):
    for case in CASES:
        gradients = np.array(case["gradients"])
        wanted = case["preference"] if mode == "preference" else None
        scale_mode = "min" if mode == "preference" else mode
        method = weighting.aligned_mtl_weighting(scale_mode=scale_mode, preference=wanted)
        found = stacks.updates_of(method, gradients[None])[0]
        assert stacks.distance(found, case[f"aligned_mtl {mode}"]) < 1e-5


def test_torchjd_drops_a_gradient_because_it_is_small():
    """Which the paper does not: 1e-4 beside 1 is no component in TorchJD's float32."""
    gradients = np.array([[1.0, 0.0], [0.0, 1e-4]])
    found = stacks.updates_of(METHOD, gradients[None])[0]
    np.testing.assert_allclose(found, [0.5e-4, 0.5e-4], rtol=1e-6)


def test_by_hand():
    # Orthogonal: each as long as the shortest.
    gradients = np.array(
        [[[3.0, 0.0], [0.0, 1.0]], [[2.0, 0.0], [2.0, 0.0]], [[2.0, 0], [-2.0, 0]]]
    )
    found = stacks.updates_of(METHOD, gradients)
    # Identical: one component, so their mean. Opposite: nothing is left.
    np.testing.assert_allclose(found, [[0.5, 0.5], [2.0, 0.0], [0.0, 0.0]], atol=1e-6)


def test_the_new_gradients_are_orthogonal_and_equally_long():
    """With one preference at a time, d is that gradient's replacement."""
    gradients = stacks.random_sets(1, 1, 3, 10)[0]
    new = [
        stacks.updates_of(weighting.aligned_mtl_weighting(preference=row), gradients[None])[0]
        for row in np.eye(3).tolist()
    ]
    shortest = np.linalg.svd(gradients.astype(float), compute_uv=False)[-1]
    np.testing.assert_allclose(np.array(new) @ np.array(new).T, shortest**2 * np.eye(3), atol=1e-5)


def test_zero_gradients_and_one_term():
    sets = np.zeros((3, 2, 3))
    sets[1, 0] = [1.0, 2.0, 2.0]
    weights = stacks.weights_of(METHOD, sets)
    np.testing.assert_allclose(weights[0], [0.5, 0.5])  # nothing to align
    np.testing.assert_allclose(weights[1], [0.5, 0.0])
    np.testing.assert_allclose(stacks.weights_of(METHOD, sets[1:2, :1]), [[1.0]], rtol=1e-6)


def test_a_term_left_out_is_not_there():
    three, two = stacks.random_sets(2, 1, 3, 6), None
    two = three[:, [0, 2]]
    weights = stacks.weights_of(METHOD, three, values=[[1.0, jnp.nan, 1.0]])
    np.testing.assert_allclose(weights[:, [0, 2]], stacks.weights_of(METHOD, two), rtol=1e-6)
    assert weights[0, 1] == 0


def test_refused():
    with pytest.raises(ValueError, match="scale_mode: expected one of 'min', 'median', 'rmse'"):
        weighting.aligned_mtl(scale_mode="max")
    with pytest.raises(ValueError, match=r"preference\[1\]: expected a finite number"):
        weighting.aligned_mtl(preference=[1.0, np.inf])
    method = weighting.aligned_mtl(preference=[1.0, 2.0])
    with pytest.raises(ValueError, match="preference: expected 3 numbers, one for each term"):
        method.update(jnp.eye(3), method.init(jnp.ones(3)))


def test_a_preference_may_be_traced():
    gradients = jnp.asarray(stacks.random_sets(3, 1, 2, 5)[0])

    def run(preference):
        method = weighting.aligned_mtl(preference=preference)
        return method.update(gradients, method.init(gradients[0]))[0]

    preferences = jnp.array([[1.0, 0.0], [0.5, 0.5]])
    for found, preference in zip(jax.vmap(run)(preferences), preferences, strict=True):
        assert stacks.distance(found, expected(gradients, np.asarray(preference))) < 1e-5
