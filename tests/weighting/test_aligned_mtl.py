import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench import weighting
from tests.weighting import stacks

PEER = stacks.peer_values("surgery_values")
CASES = PEER["cases"]
METHODS = {
    mode: weighting.aligned_mtl_weighting(scale_mode=mode) for mode in ("min", "median", "rmse")
}
METHOD = METHODS["min"]


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


@pytest.mark.parametrize("mode", METHODS)
def test_random_gradients_of_any_size(mode):
    sets = [one for terms in (2, 3, 8) for one in stacks.random_sets(terms, 40, terms, 50, 3)]
    for found, gradients in zip(stacks.updates_of(METHODS[mode], sets), sets, strict=True):
        assert stacks.distance(found, expected(gradients, mode=mode)) < 1e-5


@pytest.mark.parametrize("mode", METHODS)
def test_as_torchjd(mode):
    updates = stacks.updates_of(METHODS[mode], [case["gradients"] for case in CASES])
    for found, case in zip(updates, CASES, strict=True):
        assert stacks.distance(found, case[f"aligned_mtl {mode}"]) < 1e-5


def test_a_preference_as_torchjd():
    method = weighting.aligned_mtl_weighting(preference=[1.0, 1.5, 2.0])
    cases = [case for case in CASES if len(case["gradients"]) == 3]

    @jax.jit
    @jax.vmap
    def run(gramian):
        return method.update(jnp.ones(3), (), gramian)[0]

    gramians = stacks.gramians([case["gradients"] for case in cases])[: len(cases), :3, :3]
    for weights, case in zip(run(gramians), cases, strict=True):
        found = np.asarray(weights, float) @ np.array(case["gradients"])
        assert stacks.distance(found, case["aligned_mtl preference"]) < 1e-5


def test_torchjd_drops_a_gradient_because_it_is_small():
    """Which the paper does not: 1e-4 beside 1 is no component in TorchJD's float32."""
    peer = PEER["aligned_mtl of a small gradient in float32"]
    np.testing.assert_allclose(peer["update"], [0.5, 0.0])
    found = stacks.updates_of(METHOD, [peer["gradients"]])[0]
    np.testing.assert_allclose(found, expected(peer["gradients"]), rtol=1e-6)
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
    gradients = jnp.asarray(stacks.random_sets(1, 1, 3, 10)[0])

    @jax.vmap  # a preference may be traced
    def run(preference):
        method = weighting.aligned_mtl(preference=preference)
        return method.update(gradients, method.init(gradients[0]))[0]

    new = np.asarray(run(jnp.eye(3)), float)
    shortest = np.linalg.svd(np.asarray(gradients, float), compute_uv=False)[-1]
    np.testing.assert_allclose(new @ new.T, shortest**2 * np.eye(3), atol=1e-5)


def test_zero_gradients_and_one_term():
    sets = [np.zeros((2, 3)), [[1.0, 2.0, 2.0], [0.0, 0.0, 0.0]], [[1.0, 2.0, 2.0]]]
    nothing, one_of_two, one = stacks.weights_of(METHOD, sets)
    np.testing.assert_allclose(nothing, [0.5, 0.5])
    np.testing.assert_allclose(one_of_two, [0.5, 0.0], rtol=1e-6)
    np.testing.assert_allclose(one, [1.0], rtol=1e-6)


def test_a_term_left_out_is_not_there():
    three = stacks.random_sets(2, 1, 3, 6)[0]
    sets, values = [three, three[[0, 2]]], [[1.0, np.nan, 1.0], [1.0, 1.0]]
    found, wanted = stacks.weights_of(METHOD, sets, values)
    np.testing.assert_allclose(found, [wanted[0], 0, wanted[1]], rtol=1e-6)


def test_refused():
    with pytest.raises(ValueError, match="scale_mode: expected one of 'min', 'median', 'rmse'"):
        weighting.aligned_mtl(scale_mode="max")
    with pytest.raises(ValueError, match=r"preference\[1\]: expected a finite number"):
        weighting.aligned_mtl(preference=[1.0, np.inf])
    method = weighting.aligned_mtl(preference=[1.0, 2.0])
    with pytest.raises(ValueError, match="preference: expected 3 numbers, one for each term"):
        method.update(jnp.eye(3), method.init(jnp.ones(3)))
