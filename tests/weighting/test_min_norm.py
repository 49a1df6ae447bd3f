import numpy as np
import pytest

from lossbench import weighting
from tests.weighting import solvers, stacks

CASES = solvers.peer_cases()
METHOD = weighting.mgda_weighting()


@pytest.mark.parametrize("kind", solvers.KINDS)
def test_the_shortest_convex_combination(kind):
    sets = [one for terms in (1, 2, 3, 8) for one in solvers.sets(kind, terms)]
    for weights, gradients in zip(stacks.weights_of(METHOD, sets), sets, strict=True):
        exact = gradients.astype(float)
        assert np.all(weights >= 0)
        assert np.sum(weights) == pytest.approx(1, abs=1e-6)
        found, wanted = weights @ exact, solvers.shortest(exact)
        shortest = np.linalg.norm(exact, axis=1).min()
        assert np.linalg.norm(found - wanted) < 2e-5 * shortest
        # What makes it the shortest: no gradient has a smaller product with it than itself.
        norms = np.linalg.norm(exact, axis=1)
        assert np.all(exact @ found / norms >= found @ found / norms - 2e-5 * shortest)


def test_as_torchjd_for_two_gradients():
    cases = [case for case in CASES if len(case["gradients"]) <= 2]
    updates = stacks.updates_of(METHOD, [case["gradients"] for case in cases])
    for found, case in zip(updates, cases, strict=True):
        assert stacks.distance(found, case["mgda"]) < 1e-5


def test_torchjd_stops_before_the_shortest_for_more():
    cases = [case for case in CASES if len(case["gradients"]) > 2]
    updates = stacks.updates_of(METHOD, [case["gradients"] for case in cases])
    lengths = [[np.linalg.norm(x) for x in (u, c["mgda"])] for u, c in zip(updates, cases)]  # noqa: B905
    ours, theirs = np.array(lengths).T
    assert np.all(ours <= theirs * (1 + 1e-5))
    assert np.max(theirs / ours) > 1.1


def test_by_hand():
    sets = [
        [[2.0, 0.0], [0.0, 1.0]],
        [[1.0, 0.0], [3.0, 0.0]],
        [[1.0, 0.0], [-3.0, 0.0]],
        [[2.0, 2.0], [2.0, 2.0]],
        [[1.0, 2.0], [-1.0, 2.0], [0.0, 5.0]],
        [[3.0, 0.0], [0.0, 0.0]],
    ]
    wanted = [[0.4, 0.8], [1, 0], [0, 0], [2, 2], [0, 2], [0, 0]]
    np.testing.assert_allclose(stacks.updates_of(METHOD, sets), wanted, atol=1e-6)


def test_zero_gradients_and_terms_left_out():
    three = solvers.sets("against", 3)[0]
    sets = [np.zeros((2, 3)), [[1.0], [0.0], [0.0]], three, three[[0, 2]]]
    values = [[1, 1], [1, 1, 1], [1, np.nan, 1], [1, 1]]
    found = stacks.weights_of(METHOD, sets, values)
    np.testing.assert_allclose(found[0], [0.5, 0.5])
    np.testing.assert_allclose(found[1], [0, 0.5, 0.5])
    np.testing.assert_allclose(found[2], [found[3][0], 0, found[3][1]], rtol=1e-6)


def test_weights_turn_with_the_terms_and_not_with_the_size():
    gradients = solvers.sets("random", 3)[0]
    order = [2, 0, 1]
    found, turned, larger = stacks.weights_of(
        METHOD, [gradients, gradients[order], 1e4 * gradients]
    )
    np.testing.assert_allclose(turned, found[order], atol=1e-6)
    np.testing.assert_allclose(larger, found, atol=1e-6)
