import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench import weighting
from tests.weighting import solvers, stacks

CASES = solvers.peer_cases()
METHODS = {
    "upgrad": weighting.upgrad_weighting(),
    "dual_projection": weighting.dual_projection_weighting(),
}
BOTH = pytest.mark.parametrize("name", METHODS)


def expected(name, gradients):
    gradients = np.asarray(gradients, float)
    if name == "dual_projection":
        return solvers.project(gradients, gradients.mean(axis=0))
    return np.mean([solvers.project(gradients, one) for one in gradients], axis=0)


@BOTH
@pytest.mark.parametrize("kind", solvers.KINDS)
def test_projections_of_gradients_of_every_kind(name, kind):
    for terms in (2, 3, 8):
        sets = solvers.sets(kind, terms)
        for found, gradients in zip(stacks.updates_of(METHODS[name], sets), sets, strict=True):
            wanted = expected(name, gradients)
            # Dependent gradients may leave hardly a direction; its error is a root of float32's.
            error = 2e-3 if kind == "dependent" else 3e-6
            assert np.linalg.norm(found - wanted) < error * solvers.largest(gradients)


@BOTH
@pytest.mark.parametrize("kind", solvers.KINDS)
def test_no_conflict_and_no_weight_below_the_mean(name, kind):
    sets = [one for terms in (2, 3, 8) for one in solvers.sets(kind, terms)]
    for weights, gradients in zip(stacks.weights_of(METHODS[name], sets), sets, strict=True):
        assert np.all(weights >= 1 / len(weights) * (1 - 1e-6))
        norms = np.linalg.norm(gradients.astype(float), axis=1)
        products = gradients.astype(float) @ (weights @ gradients.astype(float))
        assert np.all(products / norms >= -2e-6 * np.max(weights * norms))


@BOTH
def test_as_torchjd_without_its_regularization(name):
    updates = stacks.updates_of(METHODS[name], [case["gradients"] for case in CASES])
    for found, case in zip(updates, CASES, strict=True):
        assert stacks.distance(found, case[name]) < 1e-5


@BOTH
def test_as_torchjd_with_it(name):
    method = getattr(weighting, f"{name}_weighting")(regularization=1e-4)
    updates = stacks.updates_of(method, [case["gradients"] for case in CASES])
    for found, case in zip(updates, CASES, strict=True):
        assert stacks.distance(found, case[f"{name} default"]) < 1e-5


@BOTH
def test_torchjd_is_far_off_for_some_gradients_by_default(name):
    errors = [stacks.distance(case[f"{name} default"], case[name]) for case in CASES]
    assert np.median(errors) < 1e-2 < 0.3 < max(errors)


@BOTH
def test_a_preference_as_torchjd(name):
    cases = [case for case in CASES if len(case["gradients"]) == 3]
    gramians = stacks.gramians([case["gradients"] for case in cases])[: len(cases), :3, :3]

    @jax.jit
    def run(preference):  # may be traced
        method = getattr(weighting, f"{name}_weighting")(preference=preference)
        return jax.vmap(lambda gramian: method.update(jnp.ones(3), (), gramian)[0])(gramians)

    for weights, case in zip(run(jnp.array([1.0, 1.5, 2.0])), cases, strict=True):
        found = np.asarray(weights, float) @ np.array(case["gradients"])
        assert stacks.distance(found, case[f"{name} preference"]) < 1e-5


def test_by_hand():
    sets = [
        [[-4.0, 1.0, 1.0], [6.0, 1.0, 1.0]],
        [[2.0, 0.0], [2.0, 0.0]],
        [[1.0, 0.0], [-3.0, 0.0]],
        [[1.0, 0.0], [0.0, 2.0]],
    ]
    # g1 + 22/38 g2 and g2 + 22/18 g1, halved; both of them; nothing; no conflict.
    wanted = [[0.5 * (-4 + 132 / 38 + 6 - 88 / 18), 0.5 * (60 / 38 + 40 / 18)], [2, 0], [0, 0]]
    found = stacks.updates_of(METHODS["upgrad"], sets)
    np.testing.assert_allclose(found[0], np.array(wanted[0])[[0, 1, 1]], rtol=1e-5)
    np.testing.assert_allclose(found[1:3], wanted[1:], atol=1e-6)
    np.testing.assert_allclose(found[3], [0.5, 1], rtol=1e-6)
    # The mean (1, 1, 1) conflicts with the first gradient: 2 of 18 of it are taken away.
    found = stacks.updates_of(METHODS["dual_projection"], sets)
    np.testing.assert_allclose(found[0], [5 / 9, 10 / 9, 10 / 9], rtol=1e-5)


@BOTH
def test_zero_gradients_and_terms_left_out(name):
    three = solvers.sets("against", 3)[0]
    sets = [np.zeros((2, 3)), [[3.0, 4.0], [0.0, 0.0]], [[3.0, 4.0]], three, three[[0, 2]]]
    values = [[1, 1], [1, 1], [1], [1, np.inf, 1], [1, 1]]
    found = stacks.weights_of(METHODS[name], sets, values)
    np.testing.assert_allclose(found[0], [0.5, 0.5])
    np.testing.assert_allclose(found[1], [0.5, 0.5])
    np.testing.assert_allclose(found[2], [1.0])
    np.testing.assert_allclose(found[3], [found[4][0], 0, found[4][1]], rtol=1e-5)


def test_the_transformation_and_what_it_refuses():
    gradients = {"a": jnp.array([[1.0], [-1.0]]), "b": jnp.array([[1.0], [2.0]])}
    for method in (weighting.upgrad(), weighting.dual_projection(skip_nonfinite=True)):
        update, state = method.update(gradients, method.init({"a": 1.0, "b": 1.0}))
        assert jax.tree.leaves(state) == []
        np.testing.assert_allclose([update["a"][0], update["b"][0]], [0, 1.5], atol=1e-6)
    with pytest.raises(ValueError, match=r"preference\[1\]: expected 0 or a number above it"):
        weighting.upgrad(preference=[1.0, -1.0])
    with pytest.raises(ValueError, match="regularization: expected 0 or a number above it"):
        weighting.dual_projection(regularization=-1.0)
    with pytest.raises(ValueError, match="needs the Gramian"):
        METHODS["upgrad"].update(jnp.ones(2), ())
