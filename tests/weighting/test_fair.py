import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench import weighting
from tests.weighting import solvers, stacks

CASES = solvers.peer_cases()
IMPARTIAL = weighting.imtl_g_weighting()
NASH = weighting.nash_mtl_weighting(max_norm=None)
LIMITED = weighting.nash_mtl_weighting()
FAIR = {alpha: weighting.fairgrad_weighting(alpha=alpha) for alpha in (0.5, 2.0, 5.0)}
INDEPENDENT = ["random", "sizes", "alike", "against"]


def sets_of(kind, most=8):
    return [one for terms in (1, 2, 3, 8) if terms <= most for one in solvers.sets(kind, terms)]


@pytest.mark.parametrize("kind", INDEPENDENT)
def test_imtl_g_reaches_equally_far_along_each_gradient(kind):
    sets = sets_of(kind)
    for weights, gradients in zip(stacks.weights_of(IMPARTIAL, sets), sets, strict=True):
        assert np.sum(weights) == pytest.approx(1, abs=2e-6 * np.sum(np.abs(weights)))
        exact = gradients.astype(float)
        norms = np.linalg.norm(exact, axis=1)
        reach = exact @ (weights @ exact) / norms
        np.testing.assert_allclose(
            reach, np.mean(reach), atol=5e-6 * np.max(np.abs(weights) * norms)
        )


def test_imtl_g_as_torchjd():
    updates = stacks.updates_of(IMPARTIAL, [case["gradients"] for case in CASES])
    for found, case in zip(updates, CASES, strict=True):
        assert stacks.distance(found, case["imtl_g"]) < 1e-5


def test_imtl_g_of_dependent_gradients_is_the_papers():
    sets = [
        [[1.0, 0.0], [-2.0, 0.0]],  # of which TorchJD makes [-5, 0]
        [[1.0, 2.0], [1.0, 2.0]],
        [[1.0, 0.0], [0.0, 1.0], [0.6, -0.8]],  # no reach but 0 is common
        [[1.0, 0.0], [0.0, 0.0]],
        [[1.0, 0.0], [0.0, 3.0]],
    ]
    found = stacks.updates_of(IMPARTIAL, sets)
    wanted = [[0, 0], [1, 2], [0, 0], [1, 0], [0.75, 0.75]]
    np.testing.assert_allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize("kind", INDEPENDENT)
def test_nash_mtl_solves_its_equations_for_gradients_of_every_size(kind):
    sets = sets_of(kind)
    for weights, gradients in zip(stacks.weights_of(NASH, sets), sets, strict=True):
        exact = gradients.astype(float)
        update = weights @ exact
        assert np.all(weights > 0)
        np.testing.assert_allclose(
            weights * (exact @ update), 1, rtol=2e-3 * (kind == "against") + 2e-5
        )
        assert update @ update == pytest.approx(len(weights), rel=1e-4)


def test_nash_mtl_as_torchjd_where_that_solves_the_equations():
    cases = [case for case in CASES if "nash_mtl" in case]
    updates = stacks.updates_of(LIMITED, [case["gradients"] for case in cases])
    solved = 0
    for found, case in zip(updates, cases, strict=True):
        gradients, theirs = np.array(case["gradients"]), np.array(case["nash_mtl"])
        weights = np.linalg.lstsq(gradients.T, theirs, rcond=None)[0] * np.sqrt(len(gradients))
        rest = weights * (gradients @ theirs) * np.sqrt(len(gradients)) - 1
        if np.max(np.abs(rest)) < 1e-5:
            solved += 1
            assert stacks.distance(found, theirs) < 1e-5
        assert np.linalg.norm(found) == pytest.approx(1, rel=1e-5)
    # Of gradients that conflict much it does not.
    assert 8 <= solved < len(cases)


def test_nash_mtl_by_hand_and_without_a_solution():
    sets = [
        [[3.0, 0.0], [0.0, 0.1]],
        [[2.0, 0.0], [2.0, 0.0]],
        [[1.0, 0.0], [-2.0, 0.0]],
        [[1.0, 0.0], [0.0, 0.0]],
        np.zeros((2, 2)),
    ]
    found = stacks.updates_of(NASH, sets)
    wanted = [[1, 1], [np.sqrt(2), 0], [0, 0], [1, 0], [0, 0]]
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=2e-4)
    found = stacks.updates_of(LIMITED, sets)
    wanted = [[np.sqrt(0.5)] * 2, [1, 0], [0, 0], [1, 0], [0, 0]]
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=2e-4)


@pytest.mark.parametrize("alpha", FAIR)
@pytest.mark.parametrize("kind", ["random", "alike", "against"])
def test_fairgrad_solves_its_equations(kind, alpha):
    sets = sets_of(kind)
    for weights, gradients in zip(stacks.weights_of(FAIR[alpha], sets), sets, strict=True):
        exact = gradients.astype(float)
        rest = (exact @ (weights @ exact)) * weights ** (1 / alpha) - 1
        assert np.max(np.abs(rest)) < (1e-2 if kind == "against" else 2e-5)


def test_fairgrad_of_gradients_of_very_different_size():
    """By what it minimizes: no float64 step from its weights makes that less."""
    power = 0.5
    sets = sets_of("sizes")
    for weights, gradients in zip(stacks.weights_of(FAIR[2.0], sets), sets, strict=True):
        exact = gradients.astype(float)
        norms = np.linalg.norm(exact, axis=1)
        unit, at, scale = exact / norms[:, None], weights * norms, norms ** (power - 1)
        slope = unit @ (at @ unit) - scale * at**-power
        curve = unit @ unit.T + np.diag(scale * power * at ** (-power - 1))
        step = np.linalg.solve(curve, slope) @ unit
        assert np.linalg.norm(step) < 1e-5 * np.linalg.norm(at @ unit)


@pytest.mark.parametrize("alpha", [1.0, 2.0])
def test_fairgrad_as_torchjd(alpha):
    method = NASH if alpha == 1 else FAIR[alpha]
    updates = stacks.updates_of(method, [case["gradients"] for case in CASES])
    for found, case in zip(updates, CASES, strict=True):
        assert stacks.distance(found, case[f"fairgrad {alpha:.0f}"]) < 2e-5


def test_fairgrad_options_may_be_traced_and_it_has_a_degree():
    gradients = jnp.asarray(solvers.sets("random", 3)[0])

    @jax.jit
    @jax.vmap
    def run(alpha, size):
        method = weighting.fairgrad(alpha=alpha)
        return method.update(size * gradients, method.init(gradients[0]))[0]

    found = run(jnp.array([1.0, 1.0, 4.0, 4.0]), jnp.array([1.0, 100.0, 1.0, 100.0]))
    assert stacks.distance(found[1], found[0]) < 1e-5
    assert stacks.distance(found[3], 100 ** (-3 / 5) * found[2]) < 1e-5
    nash = weighting.nash_mtl(max_norm=None)
    assert stacks.distance(found[0], nash.update(gradients, nash.init(gradients[0]))[0]) < 1e-5


@pytest.mark.parametrize("method", [IMPARTIAL, NASH, LIMITED, FAIR[2.0]])
def test_terms_left_out_and_zero_gradients(method):
    three = solvers.sets("alike", 3)[0]
    dead = np.array([three[0], 0 * three[1], three[2]])
    sets = [three, dead, three[[0, 2]]]
    values = [[1, np.nan, 1], [1, 1, 1], [1, 1]]
    found = stacks.weights_of(method, sets, values)
    wanted = [found[2][0], 0, found[2][1]]
    np.testing.assert_allclose(found[0], wanted, rtol=1e-5)
    np.testing.assert_allclose(found[1], wanted, rtol=1e-5)


def test_refused():
    with pytest.raises(ValueError, match="alpha: expected a number above 0, got 0"):
        weighting.fairgrad(alpha=0)
    with pytest.raises(ValueError, match="max_norm: expected a number above 0, got -1"):
        weighting.nash_mtl(max_norm=-1)
