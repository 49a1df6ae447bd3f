"""Streams of statistics, against float64 NumPy over all pixels at once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench.anomaly.statistics import Covariance, Moments, Quantiles, Range

RNG = np.random.default_rng(0)
N, C = 3001, 3
# Means of 1e4 with deviations of 1, correlated.
FAR = (RNG.standard_normal((N, C)) @ [[1, 0.9, 0], [0, 0.4, 0], [0, 0.1, 1]] + 1e4).astype("f4")
WHERE = RNG.random(N) < 0.6
CUTS = (0, 1, 4, 700, N)


def wide(x):
    return np.asarray(x, np.float64)


def both(pair):
    return wide(pair.high) + wide(pair.low)


def streamed(empty, x, where, order=(0, 1, 2, 3)):
    """States of unequal batches, in some order of merging."""
    parts = [empty.update(x[CUTS[i] : CUTS[i + 1]], where[CUTS[i] : CUTS[i + 1]]) for i in order]
    return parts[0].merge(parts[1]).merge(parts[2].merge(parts[3]))


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 0, 2, 1)])
def test_moments_are_those_of_float64(order):
    found = streamed(Moments.empty(C), FAR, WHERE, order).compute()
    kept = wide(FAR[WHERE])
    assert found.number == WHERE.sum()
    np.testing.assert_allclose(found.mean, kept.mean(0), rtol=1e-7)
    np.testing.assert_allclose(found.variance, kept.var(0, ddof=1), rtol=1e-6)
    np.testing.assert_allclose(found.std, kept.std(0, ddof=1), rtol=1e-6)


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 0, 2, 1)])
def test_covariance_in_pairs_has_nine_digits(order):
    state = streamed(Covariance.empty(C), FAR, WHERE, order)
    kept = wide(FAR[WHERE])
    mean, covariance = state.pairs()
    std = kept.std(0)
    np.testing.assert_allclose((both(mean) - kept.mean(0)) / std, 0, atol=1e-8)
    away = (both(covariance) - np.cov(kept.T)) / std / std[:, None]
    np.testing.assert_allclose(away, 0, atol=1e-8)
    np.testing.assert_array_equal(state.compute().covariance, covariance.high)


@pytest.mark.parametrize(("high", "exactly"), [(1000, 1e-13), (30000, 2e-9)])
def test_integers(high, exactly):
    x = RNG.integers(-3000, high, (2000, C)).astype(np.int16)
    mean, covariance = Covariance.empty(C).update(x).pairs(ddof=0)
    np.testing.assert_allclose(both(mean), wide(x).mean(0), rtol=1e-12)
    away = (both(covariance) - np.cov(wide(x).T, ddof=0)) / wide(x).var()
    np.testing.assert_allclose(away, 0, atol=exactly)


def test_a_space_of_any_rank_and_jit():
    image = FAR[:3000].reshape(3, 50, 20, C)
    where = WHERE[:3000].reshape(3, 50, 20)
    state = jax.jit(lambda s, x, w: s.update(x, w))(Moments.empty(C), image, where)
    kept = wide(image[where])
    np.testing.assert_allclose(state.compute(ddof=0).variance, kept.var(0), rtol=1e-6)


def test_what_is_masked_may_be_anything():
    x = np.where(WHERE[:, None], FAR, np.nan)
    for empty in (Moments.empty(C), Covariance.empty(C), Range.empty(C)):
        plain, masked = empty.update(FAR, WHERE).compute(), empty.update(x, WHERE).compute()
        jax.tree.map(np.testing.assert_array_equal, plain, masked)


def test_a_nan_that_counts_stays():
    x = FAR[:50].copy()
    x[3, 1] = np.nan
    assert np.isnan(Moments.empty(C).update(x).compute().mean).tolist() == [False, True, False]
    assert np.isnan(Range.empty(C).update(x).compute().low).tolist() == [False, True, False]
    assert np.isnan(Covariance.empty(C).update(x).compute().covariance[1]).all()


def test_nothing_is_undefined_and_changes_nothing():
    nothing = Moments.empty(C)
    assert np.isnan(nothing.compute().mean).all()
    state = nothing.update(FAR)
    for same in (state.merge(nothing), nothing.merge(state), state.update(FAR, WHERE & False)):
        jax.tree.map(np.testing.assert_array_equal, same, state)
    one = nothing.update(FAR[:1]).compute()
    np.testing.assert_array_equal(one.mean, FAR[0])
    assert np.isnan(one.variance).all()
    assert np.isnan(Range.empty(C).compute().high).all()


def test_constants_have_no_variance():
    x = np.full((1000, 2), [0.1, 1e4], np.float32)
    np.testing.assert_array_equal(Moments.empty(2).update(x).compute().variance, 0)
    np.testing.assert_array_equal(Covariance.empty(2).update(x).compute().covariance, 0)


def test_range():
    found = streamed(Range.empty(C), FAR, WHERE).compute()
    np.testing.assert_array_equal(found.low, FAR[WHERE].min(0))
    np.testing.assert_array_equal(found.high, FAR[WHERE].max(0))


@pytest.mark.parametrize("per_channel", [True, False])
def test_quantiles(per_channel):
    x = (RNG.standard_normal((N, C)) * [1, 10, 100] + [50, 0, 1000]).astype(np.float32)
    shares = (0.02, 0.5, 0.98)
    empty = Quantiles.empty(C, per_channel=per_channel, bins=2**12)
    found = streamed(empty, x, WHERE).compute(shares)
    kept = wide(x[WHERE])
    wanted = np.quantile(kept, shares, axis=0 if per_channel else None)
    wanted = wanted.T if per_channel else wanted[None]
    np.testing.assert_allclose(found, wanted, rtol=1e-2, atol=0.05)


def test_integers_have_exact_quantiles():
    x = RNG.integers(0, 300, (500, 2)).astype(np.uint16)
    found = Quantiles.empty(2).update(x).compute((0.0, 0.25, 0.5, 1.0))
    np.testing.assert_allclose(found, np.quantile(wide(x), (0, 0.25, 0.5, 1), axis=0).T, rtol=1e-6)


def test_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match="expected 3 channels on the last axis"):
        Moments.empty(3).update(jnp.ones((4, 2)))
    with pytest.raises(ValueError, match="where: expected bool"):
        Moments.empty(2).update(jnp.ones((4, 2)), jnp.ones(4))
    with pytest.raises(ValueError, match="where: expected shape"):
        Covariance.empty(2).update(jnp.ones((4, 2)), jnp.ones((4, 2), bool))
    with pytest.raises(ValueError, match="expected floats or integers"):
        Range.empty(2).update(jnp.ones((4, 2), bool))
    with pytest.raises(ValueError, match="other: expected shape"):
        Moments.empty(2).merge(Moments.empty(3))
    with pytest.raises(ValueError, match="other: expected Moments, got Range"):
        Moments.empty(2).merge(Range.empty(2))
    with pytest.raises(ValueError, match="from 0 to 1, got 2"):
        Quantiles.empty(2).compute((2,))


@pytest.mark.long
def test_ten_million_pixels():
    block = (RNG.standard_normal((250_000, 2)) + 1e4).astype(np.float32)
    state = Covariance.empty(2)
    for _ in range(40):
        state = state.update(block)
    found = state.compute(ddof=0)
    assert found.number == 1e7
    np.testing.assert_allclose(found.mean, wide(block).mean(0), rtol=1e-7)
    np.testing.assert_allclose(np.diagonal(found.covariance), wide(block).var(0), rtol=1e-6)
