"""The steps that are fitted, against cuvis-ai's values, NumPy and an SVD."""

import dataclasses

import jax
import numpy as np
import pytest

from lossbench.anomaly.steps import STEPS, MinMax, Pca, Percentile, UnitNorm, ZScore, options_of
from tests.anomaly.cuvis import CUBE

RNG = np.random.default_rng(0)
X = (RNG.standard_normal((500, 4)) * [1, 20, 3, 9] + 100).astype(np.float32)
FITTED = [ZScore(), MinMax(), MinMax(per="global"), Percentile(), Pca(n_components=2)]


def fitted(step, x):
    return step.arrays(step.empty(x.shape[-1]).update(x))


def test_z_score_is_that_of_cuvis():
    arrays = fitted(ZScore(), CUBE)
    mean = [0.5993368, 0.6004427, 0.6014886, 0.6023331]
    std = [0.2127194, 0.212648, 0.2132386, 0.2141788]
    np.testing.assert_allclose(arrays["mean"], mean, rtol=1e-6)
    np.testing.assert_allclose(arrays["std"], std, rtol=1e-6)
    wanted = [0.1439137, 0.636842, 1.0406383, 1.2996225]
    np.testing.assert_allclose(ZScore().apply(arrays, CUBE)[0, 0, 0], wanted, rtol=1e-5)


def test_a_dead_band_stays_small():
    """By cuvis-ai it is divided by 1e-8: a change of 0.001 becomes 99 992."""
    x = X.copy()
    x[:, 1] = 7.0
    arrays = fitted(ZScore(), x)
    std = x.std(0, ddof=1)
    np.testing.assert_allclose(arrays["std"][1], 1e-3 * np.median(std[[0, 2, 3]]), rtol=1e-5)
    x[:, 1] += 0.001
    assert np.abs(ZScore().apply(arrays, x)[:, 1]).max() < 1
    np.testing.assert_array_equal(fitted(ZScore(), x[:1])["std"], 1)


def test_min_max_is_that_of_cuvis():
    arrays = fitted(MinMax(per="global"), CUBE)
    np.testing.assert_allclose(arrays["low"], [0.3010527], rtol=1e-6)
    np.testing.assert_allclose(arrays["high"], [0.8999873], rtol=1e-6)


@pytest.mark.parametrize("per", ["channel", "global"])
def test_ranges(per):
    axis = 0 if per == "channel" else None
    low, high = X.min(axis), X.max(axis)
    step = MinMax(per=per)
    found = step.apply(fitted(step, X), X)
    np.testing.assert_allclose(found, (X - low) / (high - low), rtol=1e-5, atol=1e-6)
    step = Percentile(low=5, high=95, per=per)
    low, high = np.percentile(X.astype(np.float64), (5, 95), axis=axis)
    found = step.apply(fitted(step, X), X)
    np.testing.assert_allclose(found, np.clip((X - low) / (high - low), 0, 1), atol=0.02)


@pytest.mark.parametrize("step", [MinMax(), Percentile(), MinMax(per="global")])
def test_constants_become_0(step):
    x = np.full((9, 3), 4.0, np.float32)
    np.testing.assert_array_equal(step.apply(fitted(step, x), x), 0)


def test_pca_is_an_svd():
    step = Pca(n_components=3, whiten=True)
    arrays = fitted(step, X)
    d = X.astype(np.float64) - X.mean(0, dtype=np.float64)
    _, singular, rows = np.linalg.svd(d, full_matrices=False)
    std = singular[:3] / np.sqrt(len(X) - 1)
    np.testing.assert_allclose(np.abs(arrays["components"]), np.abs(rows[:3]), atol=1e-4)
    np.testing.assert_allclose(arrays["std"], std, rtol=1e-4)
    y = np.asarray(step.apply(arrays, X), np.float64)
    np.testing.assert_allclose(np.cov(y.T), np.eye(3), atol=1e-4)


@pytest.mark.parametrize("step", FITTED, ids=repr)
def test_arrays_before_there_are_data_have_the_shapes_of_those_after(step):
    shapes = lambda arrays: jax.tree.map(lambda x: (x.shape, x.dtype), arrays)  # noqa: E731
    assert shapes(step.init(4)) == shapes(fitted(step, X))
    assert step.apply(step.init(4), X).shape == (500, step.channels(4))


def test_steps_are_constants():
    for step in STEPS.values():
        assert hash(step()) == hash(step())
        assert set(options_of(step)) <= {field.name for field in dataclasses.fields(step)}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: UnitNorm(eps=0), "unit_norm: eps: expected a number above 0, got 0"),
        (lambda: ZScore(floor=-1.0), "z_score: floor: expected a number above 0, got -1.0"),
        (lambda: MinMax(per="band"), "min_max: per: expected one of 'channel', 'global'"),
        (lambda: Percentile(low=50, high=50), "expected 0 <= low < high <= 100"),
        (lambda: Pca(n_components=2.5), "pca: n_components: expected an integer, got 2.5"),
        (lambda: Pca(n_components=5).channels(4), "expected 1 to 4, the channels there are, got 5"),
    ],
)
def test_options_that_do_not_fit(make, message):
    with pytest.raises(ValueError, match=message):
        make()
