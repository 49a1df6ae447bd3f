"""The Laplacian of bands against cuvis-ai's values and NumPy."""

import jax
import numpy as np
import pytest

from lossbench.anomaly.lad import fit_lad
from tests.anomaly.cuvis import FULL_RANK

RISING = FULL_RANK + np.arange(4, dtype=np.float32) * np.float32(0.2)
RNG = np.random.default_rng(0)
X = (RNG.standard_normal((50, 4)) * [1, 2, 3, 4] + [50, 60, 80, 20]).astype(np.float32)
WHERE = RNG.random(50) < 0.7


def reference(x, kept, alpha=None, normalized=True):
    x, kept = x.astype(np.float64), kept.astype(np.float64)
    mean = kept.mean(0)
    alpha = mean.mean() if alpha is None else alpha(mean)
    a = 1 / (1 + ((mean[:, None] - mean[None]) / alpha) ** 2)
    np.fill_diagonal(a, 0)
    d = a.sum(1)
    laplacian = np.diag(d) - a
    if normalized:
        laplacian /= np.sqrt(d[:, None] * d[None])
    return np.einsum("ni,ij,nj->n", x - mean, laplacian, x - mean)


def test_cuvis_values():
    found = fit_lad(RISING)
    mean = [0.6003966, 0.7999173, 1.0014491, 1.2029353]
    np.testing.assert_allclose(found.mean.high, mean, rtol=1e-6)
    laplacian = [
        [1.0, -0.3658328, -0.3202961, -0.2788901],
        [-0.3658328, 1.0, -0.3476805, -0.3199485],
        [-0.3202961, -0.3476805, 1.0, -0.365628],
        [-0.2788901, -0.3199485, -0.365628, 1.0],
    ]
    np.testing.assert_allclose(found.laplacian, laplacian, rtol=1e-5)
    scores = [0.0375334, 0.0234563, 0.0647643, 0.0346617, 0.0573588, 0.0627084]
    np.testing.assert_allclose(found.scores(RISING)[0, 0], scores, rtol=1e-4)


@pytest.mark.parametrize("normalized", [True, False])
def test_scores_are_those_of_float64(normalized):
    x = np.where(WHERE[:, None], X, np.nan)
    found = fit_lad(x, where=WHERE, normalized=normalized).scores(X)
    wanted = reference(X, X[WHERE], normalized=normalized)
    np.testing.assert_allclose(found, wanted, rtol=1e-4)
    found = fit_lad(X, scale="spread", normalized=normalized).scores(X)
    np.testing.assert_allclose(found, reference(X, X, np.std, normalized), rtol=1e-4)


def test_centered_data_are_refused_unless_told():
    centered = X - X.mean(0)
    with pytest.raises(ValueError, match='scale="spread"'):
        fit_lad(centered)
    assert np.isnan(jax.jit(lambda x: fit_lad(x).scores(x))(centered)).all()
    scores = fit_lad(centered, scale="spread").scores(centered)
    assert np.isfinite(scores).all()
    # All means are 0: the graph is complete, with weights of 1.
    d = centered.astype(np.float64)
    wanted = (d**2).sum(1) - (d.sum(1) ** 2 - (d**2).sum(1)) / 3
    np.testing.assert_allclose(scores, wanted, rtol=1e-3)


def test_a_single_band_and_a_constant_scene():
    np.testing.assert_array_equal(fit_lad(X[:, :1]).scores(X[:, :1]), 0)
    np.testing.assert_array_equal(fit_lad(X[:1]).scores(X[:1]), 0)


def test_what_does_not_fit():
    with pytest.raises(ValueError, match="at least 1 pixel that counts"):
        fit_lad(X, where=WHERE & False)
    with pytest.raises(ValueError, match="scale: expected one of 'mean', 'spread'"):
        fit_lad(X, scale="median")
    with pytest.raises(ValueError, match="expected 4 channels"):
        fit_lad(X).scores(X[:, :3])
