"""Scores of bands against float64, and a greedy choice in plain Python."""

import jax
import numpy as np
import pytest

from lossbench.anomaly import band_scores as b
from tests.anomaly.cuvis import auc

RNG = np.random.default_rng(0)
N = 200
LABELS = RNG.random(N) < 0.3
WHERE = RNG.random(N) < 0.8
# Bright, dark, with ties, alike to the first, noise, constant.
X = RNG.standard_normal((N, 6)) * [1, 2, 1, 1, 1, 0]
X[:, 0] += 2 * LABELS
X[:, 1] -= 5 * LABELS
X[:, 2] = np.round(X[:, 2] + LABELS)
X[:, 3] = X[:, 0] * 3 + 0.1 * X[:, 3]
X = (X + 10).astype(np.float32)
KEPT, TRUTH = X[WHERE].astype(np.float64), LABELS[WHERE]


def fisher(x, y):
    a, n = x[y], x[~y]
    with np.errstate(invalid="ignore"):
        found = (a.mean(0) - n.mean(0)) ** 2 / (a.var(0) + n.var(0))
    return np.nan_to_num(found)


def folded(x, y):
    areas = np.array([auc(column, y) for column in x.T])
    return np.maximum(areas, 1 - areas)


def information(x, y, bins=10):
    found = []
    for column in x.T:
        wide = max(column.max() - column.min(), 1e-30)
        place = np.minimum((column - column.min()) / wide * bins, bins - 1).astype(int)
        joint = np.array([[np.mean((place == i) & (y == k)) for k in (0, 1)] for i in range(bins)])
        apart = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
        on = joint > 0
        found.append((joint[on] * np.log2(joint[on] / apart[on])).sum())
    return np.array(found)


PAIRS = [
    (b.fisher_scores, fisher),
    (b.auc_scores, folded),
    (b.mutual_information_scores, information),
]


@pytest.mark.parametrize(("score", "reference"), PAIRS)
def test_scores_are_those_of_float64(score, reference):
    x = np.where(WHERE[:, None], X, np.nan)
    found = score(x, LABELS, where=WHERE)
    np.testing.assert_allclose(found, reference(KEPT, TRUTH), rtol=1e-4, atol=1e-6)
    space = score(X.reshape(20, 10, 6), LABELS.reshape(20, 10))
    wanted = reference(X.astype(np.float64), LABELS)
    np.testing.assert_allclose(space, wanted, rtol=1e-4, atol=1e-6)


def test_a_dark_band_is_worth_as_much_and_a_constant_one_nothing():
    found = np.asarray(b.auc_scores(X, LABELS))
    assert found[1] > 0.9
    np.testing.assert_allclose(b.auc_scores(-X, LABELS), found, rtol=1e-6)
    nothing = [score(X, LABELS)[-1] for score, _ in PAIRS]
    np.testing.assert_allclose(nothing, [0, 0.5, 0], atol=1e-6)


def greedy(scores, x, count, redundancy):
    with np.errstate(invalid="ignore"):
        alike = np.nan_to_num(np.abs(np.corrcoef(x.T)))
    chosen = []
    for _ in range(count):
        worth = [
            s - redundancy * max([alike[i, j] for j in chosen], default=0)
            for i, s in enumerate(scores)
        ]
        chosen.append(max(set(range(len(scores))) - set(chosen), key=lambda i: worth[i]))
    return chosen


@pytest.mark.parametrize("method", ["fisher", "auc", "mutual_information", "sum"])
@pytest.mark.parametrize("redundancy", [0.0, 2.0])
def test_bands_are_those_of_a_greedy_choice(method, redundancy):
    every = dict(zip(b.METHODS, (fisher, folded, information), strict=True))
    scores = [f(KEPT, TRUTH) for name, f in every.items() if method in (name, "sum")]
    scores = sum((s - s.mean()) / s.std() for s in scores)
    options = {"count": 4, "method": method, "redundancy": redundancy, "where": WHERE}
    found = b.select_bands(X, LABELS, **options)
    np.testing.assert_allclose(found.scores, scores, rtol=1e-3, atol=1e-4)
    assert found.bands.tolist() == greedy(scores, KEPT, 4, redundancy)


def test_redundancy_keeps_neighbors_apart():
    alike = {0, 3}
    assert alike <= set(b.select_bands(X, LABELS, count=3, redundancy=0.0).bands.tolist())
    assert not alike <= set(b.select_bands(X, LABELS, count=3, redundancy=5.0).bands.tolist())


def test_perfect_constants_are_infinitely_far_apart():
    x = np.stack([LABELS * 1.0, X[:, 0]], axis=1).astype(np.float32)
    assert np.isinf(b.fisher_scores(x, LABELS)[0])
    assert np.isfinite(b.select_bands(x, LABELS, count=1).scores).all()


def test_an_absent_class():
    none = LABELS & False
    for score, _ in PAIRS:
        with pytest.raises(ValueError, match="anomalous and normal pixels that count, got 0 and"):
            score(X, none)
        assert np.isnan(jax.jit(score)(X, none)).all()


def test_what_does_not_fit():
    with pytest.raises(ValueError, match="labels: expected bool"):
        b.fisher_scores(X, LABELS.astype(int))
    with pytest.raises(ValueError, match="labels: expected shape"):
        b.auc_scores(X, LABELS[:5])
    with pytest.raises(ValueError, match="count: expected 1 to 6"):
        b.select_bands(X, LABELS, count=7)
    with pytest.raises(ValueError, match="method: expected one of 'fisher'"):
        b.select_bands(X, LABELS, count=1, method="mrmr")
    with pytest.raises(ValueError, match="bins: expected at least 2"):
        b.mutual_information_scores(X, LABELS, bins=1)
    with pytest.raises(ValueError, match="redundancy: expected a number of at least 0"):
        b.select_bands(X, LABELS, count=1, redundancy=-1.0)
