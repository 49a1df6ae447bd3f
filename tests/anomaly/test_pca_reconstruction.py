"""Principal components against cuvis-ai's values and an SVD in float64."""

import jax
import numpy as np
import pytest

from lossbench.anomaly.pca_reconstruction import fit_pca_reconstruction
from lossbench.anomaly.statistics import Covariance
from tests.anomaly.cuvis import FULL_RANK

RNG = np.random.default_rng(0)
X = (RNG.standard_normal((80, 5)) @ RNG.standard_normal((5, 5)) + 40).astype(np.float32)
WHERE = RNG.random(80) < 0.7


def test_cuvis_values():
    """Its shares are over the components that are kept, and add up to 1 whatever is left out."""
    found = fit_pca_reconstruction(FULL_RANK, components=2)
    np.testing.assert_allclose(found.variance, [0.1532026, 0.0347338], rtol=1e-5)
    components = [
        [0.4685897, 0.5260565, 0.5409402, 0.4594257],
        [0.7042488, 0.0172854, 0.0094914, 0.7096793],
    ]
    np.testing.assert_allclose(np.abs(found.components), components, atol=1e-5)
    kept = [0.8151789, 0.1848158]
    np.testing.assert_allclose(found.variance / found.variance.sum(), kept, rtol=1e-4)
    every = np.trace(np.cov(FULL_RANK.reshape(-1, 4).astype(np.float64).T))
    np.testing.assert_allclose(found.explained, found.variance / every, rtol=1e-5)
    assert found.explained.sum() < 0.95


def test_scores_are_the_residuals_of_an_svd():
    kept = X[WHERE].astype(np.float64)
    d = X.astype(np.float64) - kept.mean(0)
    _, singular, rows = np.linalg.svd(kept - kept.mean(0), full_matrices=False)
    found = fit_pca_reconstruction(np.where(WHERE[:, None], X, np.nan), components=2, where=WHERE)
    wanted = ((d - d @ rows[:2].T @ rows[:2]) ** 2).sum(1)
    np.testing.assert_allclose(found.scores(X), wanted, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(np.abs(found.project(X)), np.abs(d @ rows[:2].T), atol=1e-3)
    np.testing.assert_allclose(found.variance, singular[:2] ** 2 / (len(kept) - 1), rtol=1e-5)
    largest = np.take_along_axis(
        np.asarray(found.components), np.abs(found.components).argmax(1)[:, None], 1
    )
    assert (largest > 0).all()


def test_from_a_stream_inside_jit_and_of_constants():
    stream = Covariance.empty(5).update(X[:30]).update(X[30:])
    fit = lambda x: fit_pca_reconstruction(x, components=2).scores(X)  # noqa: E731
    np.testing.assert_allclose(fit(stream), fit(X), rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(jax.jit(fit)(X), fit(X), rtol=1e-3, atol=1e-5)
    same = fit_pca_reconstruction(X * 0 + 7, components=1)
    np.testing.assert_array_equal(same.explained, 0)
    np.testing.assert_array_equal(same.scores(X * 0 + 7), 0)


def test_what_does_not_fit():
    with pytest.raises(ValueError, match="components: expected 1 to 5"):
        fit_pca_reconstruction(X, components=6)
    with pytest.raises(ValueError, match="at least 2 pixels that count, got 1"):
        fit_pca_reconstruction(X[:1], components=1)
    with pytest.raises(ValueError, match="where: a Covariance"):
        fit_pca_reconstruction(Covariance.empty(5).update(X), components=1, where=WHERE)
