"""RX against float64 NumPy, cuvis-ai's values, and Ledoit and Wolf's estimate."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench.anomaly.rx import fit_rx
from lossbench.anomaly.statistics import Covariance
from tests.anomaly.cuvis import FULL_RANK, auc, scene

RNG = np.random.default_rng(0)
X = (RNG.standard_normal((400, 5)) @ RNG.standard_normal((5, 5)) * 30 + 1000).astype(np.float32)
WHERE = RNG.random(400) < 0.7


def rx(x, kept=None, shrinkage=0.0):
    x = np.asarray(x, np.float64)
    kept = x if kept is None else np.asarray(kept, np.float64)
    s = np.cov(kept.T)
    s = (1 - shrinkage) * s + shrinkage * np.trace(s) / len(s) * np.eye(len(s))
    d = x - kept.mean(0)
    return np.einsum("ni,ij,nj->n", d, np.linalg.inv(s), d)


def ledoit_wolf(x):
    """Lemmas 3.2 to 3.4 of the paper, one matrix a pixel."""
    d = np.asarray(x, np.float64) - np.mean(x, 0, dtype=np.float64)
    n, p = d.shape
    s = d.T @ d / n
    m = np.trace(s) / p
    delta = ((s - m * np.eye(p)) ** 2).sum() / p
    beta = sum(((np.outer(row, row) - s) ** 2).sum() for row in d) / p / n**2
    return min(beta, delta) / delta


def test_scores_are_those_of_float64():
    np.testing.assert_allclose(fit_rx(X).scores(X), rx(X), rtol=1e-5)
    cube = X.reshape(20, 20, 5)
    found = fit_rx(cube, where=WHERE.reshape(20, 20)).scores(cube)
    assert found.shape == (20, 20)
    np.testing.assert_allclose(found.reshape(-1), rx(X, X[WHERE]), rtol=1e-5)


GOLDEN = [
    (FULL_RANK, [3.7590675, 3.9898458, 3.9855473, 3.9532604, 3.9218328, 3.8657486]),
    (FULL_RANK[:1], [3.5281062, 3.3795741, 3.3346102, 3.3094113, 3.8345346, 4.1926184]),
]


@pytest.mark.parametrize(("cube", "wanted"), GOLDEN, ids=["all", "one image"])
def test_cuvis_values(cube, wanted):
    """It adds 1e-6 to each variance, whatever their unit; without, its values would be ours."""
    rows = cube.reshape(-1, 4).astype(np.float64)
    d, s = rows - rows.mean(0), np.cov(rows.T)
    for ridge, values, exactly in (
        (1e-6, wanted, 1e-5),
        (0, fit_rx(cube).scores(cube)[0, 0], 1e-5),
    ):
        scores = np.einsum("ni,ij,nj->n", d, np.linalg.inv(s + ridge * np.eye(4)), d)
        np.testing.assert_allclose(scores[:6], values, rtol=exactly)
    np.testing.assert_allclose(fit_rx(cube).scores(cube)[0, 0], wanted, rtol=1e-3)


def test_from_a_stream_of_scenes():
    stream = Covariance.empty(5).update(X[:100]).merge(Covariance.empty(5).update(X[100:]))
    np.testing.assert_allclose(fit_rx(stream).scores(X), rx(X), rtol=1e-5)


def test_nan_under_the_mask_reaches_its_own_score_alone():
    x = np.where(WHERE[:, None], X, np.nan)
    found = np.asarray(fit_rx(x, where=WHERE).scores(x))
    np.testing.assert_allclose(found[WHERE], rx(X[WHERE]), rtol=1e-5)
    assert np.isnan(found[~WHERE]).all()


def test_a_condition_of_1e9():
    """Float32 has 7 digits, and neighboring bands of scenes need 10: see `Covariance`."""
    n, c = 4000, 12
    basis, _ = np.linalg.qr(RNG.standard_normal((c, c)))
    x = (RNG.standard_normal((n, c)) * np.logspace(0, -4.5, c)) @ basis * 1e4
    x = np.round(x + 2000).astype(np.int16).astype(np.float32)
    covariance = np.cov(np.asarray(x, np.float64).T)
    assert np.linalg.cond(covariance) > 1e8
    np.testing.assert_allclose(fit_rx(x, floor=0.0).scores(x), rx(x), rtol=1e-3)


def test_shrinkage():
    found = fit_rx(X, shrinkage=0.3)
    np.testing.assert_allclose(found.scores(X), rx(X, shrinkage=0.3), rtol=1e-5)
    few = X[:25]
    found = fit_rx(few, shrinkage="ledoit_wolf")
    np.testing.assert_allclose(found.shrinkage, ledoit_wolf(few), rtol=1e-4)
    wanted = rx(X, few, shrinkage=ledoit_wolf(few))
    np.testing.assert_allclose(found.scores(X), wanted, rtol=1e-3)


def test_bands_that_are_constant_or_the_same():
    more = np.concatenate([X, X[:, :1], np.full((400, 1), 7, np.float32)], axis=1)
    found = np.asarray(fit_rx(more).scores(more))
    np.testing.assert_allclose(found, rx(X), rtol=1e-3)
    detector = fit_rx(more)
    more[:, -1] = 8
    np.testing.assert_array_equal(detector.scores(more), found)


def test_it_runs_inside_jit_and_is_a_tree():
    inside = jax.jit(lambda x: fit_rx(x).scores(x))(X)
    np.testing.assert_allclose(inside, rx(X), rtol=1e-5)
    detector = fit_rx(X)
    again = jax.tree.unflatten(jax.tree.structure(detector), jax.tree.leaves(detector))
    np.testing.assert_array_equal(again.scores(X), detector.scores(X))


def test_too_few_pixels():
    with pytest.raises(ValueError, match="at least 2 pixels that count, got 1"):
        fit_rx(X[:1])
    assert np.isnan(jax.jit(lambda x: fit_rx(x).scores(x))(X[:1])).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shrinkage": 1.5}, "a number from 0 to 1 or 'ledoit_wolf', got 1.5"),
        ({"shrinkage": "oas"}, "a number from 0 to 1 or 'ledoit_wolf', got 'oas'"),
        ({"floor": -1}, "floor: expected a number of at least 0, got -1"),
    ],
)
def test_options_that_do_not_fit(options, message):
    with pytest.raises(ValueError, match=message):
        fit_rx(X, **options)


def test_a_covariance_has_its_pixels_already():
    stream = Covariance.empty(5).update(X)
    with pytest.raises(ValueError, match="where: a Covariance"):
        fit_rx(stream, where=jnp.asarray(WHERE))
    with pytest.raises(ValueError, match="needs the pixels"):
        fit_rx(stream, shrinkage="ledoit_wolf")
    with pytest.raises(ValueError, match="expected 5 channels"):
        fit_rx(stream).scores(X[:, :4])


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("abu-airport-4.mat", 0.9526),
        ("abu-beach-2.mat", 0.9106),
        ("abu-urban-1.mat", 0.9907),
        ("abu-urban-3.mat", 0.9513),
        ("hydice_urban_80x100x175.mat", 0.9857),
    ],
)
def test_scenes_have_the_auc_of_float64(name, published):
    """Integers of 16 bits, 200 bands, a condition up to 1e9."""
    cube, labels = scene(name)
    wanted = auc(rx(cube.reshape(-1, cube.shape[-1])), labels)
    assert abs(wanted - published) < 1e-4
    assert abs(auc(fit_rx(cube).scores(cube), labels) - wanted) < 1e-4
