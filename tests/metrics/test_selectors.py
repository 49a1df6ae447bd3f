"""Entropy and concentration of selectors against SciPy, and Gini's mean difference in float64."""

import inspect

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lossbench.metrics.selectors import selector_concentration, selector_entropy

RNG = np.random.default_rng(0)
CHANNELS = 7
WEIGHTS = np.concatenate(
    [
        RNG.random((4, CHANNELS)),
        np.exp(5 * RNG.standard_normal((4, CHANNELS))),
        RNG.integers(0, 3, (4, CHANNELS)) + np.eye(4, CHANNELS),  # zeros and ties
    ]
).astype(np.float32)
FUNCTIONS = (selector_entropy, selector_concentration)
CLOSE = {"rtol": 2e-6, "atol": 3e-7}


def gini(w):
    """Half of the mean difference of all pairs, relative to the mean."""
    w = np.asarray(w, np.float64)
    return np.abs(w[:, None] - w[None]).mean() / (2 * w.mean())


def test_entropy_is_scipys():
    found = selector_entropy(jnp.asarray(WEIGHTS))
    wanted = stats.entropy(WEIGHTS.astype(np.float64), axis=1)
    np.testing.assert_allclose(found.nats, wanted, **CLOSE)
    np.testing.assert_allclose(found.normalized, wanted / np.log(CHANNELS), **CLOSE)
    assert found.undefined == 0


def test_concentration_is_half_the_relative_mean_difference():
    found = selector_concentration(jnp.asarray(WEIGHTS))
    wanted = np.array([gini(w) for w in WEIGHTS])
    np.testing.assert_allclose(found.gini, wanted, **CLOSE)
    np.testing.assert_allclose(found.normalized, wanted / (1 - 1 / CHANNELS), **CLOSE)
    assert found.undefined == 0


@pytest.mark.parametrize("channels", [2, 3, 61, 100])
def test_both_ends_are_met_exactly(channels):
    """All alike: the highest entropy and no concentration; one alone: none and the highest."""
    ends = jnp.stack([jnp.full((channels,), 0.3), jnp.zeros((channels,)).at[1].set(0.7)])
    entropy, concentration = selector_entropy(ends), selector_concentration(ends)
    np.testing.assert_allclose(entropy.normalized[0], 1, rtol=1e-6)
    assert entropy.normalized[0] <= 1
    np.testing.assert_array_equal(entropy.nats[1], 0)
    assert not np.signbit(entropy.nats[1])
    np.testing.assert_array_equal(concentration.gini[0], 0)
    np.testing.assert_allclose(concentration.gini[1], 1 - 1 / channels, rtol=1e-6)
    np.testing.assert_allclose(concentration.normalized[1], 1, rtol=1e-6)
    assert concentration.normalized[1] <= 1


def test_of_cuvis_the_entropy_is_off_by_its_epsilon_and_the_coefficient_is_the_same():
    """What cuvis-ai 0.19.3 gives, whose shares and logarithms have 1e-6 added to them."""
    w = (0.4 * np.sin(0.5 * np.arange(6) + 0.1) + 0.6).astype(np.float32)
    entropy, concentration = (
        selector_entropy(jnp.asarray(w)),
        selector_concentration(jnp.asarray(w)),
    )
    np.testing.assert_allclose(concentration.gini, 0.076342, atol=1e-6)
    off = 1.7814271 - np.float64(entropy.nats)
    assert 1e-6 < abs(off) < 1e-5
    np.testing.assert_allclose(entropy.nats, stats.entropy(w.astype(np.float64)), rtol=1e-6)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(0, 1000), min_size=CHANNELS, max_size=CHANNELS).filter(any),
    st.sampled_from([1e-30, 1e-3, 1.0, 1e35]),
)
def test_scale_and_order_do_not_matter_and_values_are_in_bounds(weights, scale):
    w = np.array(weights, np.float32)
    rows = jnp.asarray(np.stack([w, w[::-1], w * np.float32(scale)]))
    for found in (selector_entropy(rows), selector_concentration(rows)):
        for value in found[:2]:
            np.testing.assert_allclose(value, [value[0]] * 3, rtol=1e-4, atol=1e-6)
        assert ((found.normalized >= 0) & (found.normalized <= 1)).all()
        assert found.undefined == 0


def test_undefined_is_nan_and_counted():
    bad = jnp.asarray(WEIGHTS[:6])
    bad = bad.at[1].set(0).at[2, 3].set(-0.1).at[3, 0].set(jnp.nan).at[4, 1].set(jnp.inf)
    for function in FUNCTIONS:
        found = function(bad)
        assert found.undefined == 4
        for value in found[:2]:
            np.testing.assert_array_equal(np.isnan(value), [0, 1, 1, 1, 1, 0])
        np.testing.assert_array_equal(found[0][0], function(jnp.asarray(WEIGHTS[:6]))[0][0])


@pytest.mark.parametrize("function", FUNCTIONS)
def test_one_selector_many_dtypes_jit_and_vmap(function):
    rows = jnp.asarray(WEIGHTS)
    whole = function(rows)
    chex.assert_shape(function(rows[0])[0], ())
    np.testing.assert_array_equal(function(rows[0])[0], whole[0][0])
    chex.assert_trees_all_equal(jax.jit(function)(rows), whole)
    nested = function(rows.reshape(3, 4, CHANNELS))
    chex.assert_trees_all_equal(nested[0].reshape(-1), whole[0])
    np.testing.assert_array_equal(jax.vmap(function)(rows)[1], whole[1])
    for dtype in (jnp.bfloat16, jnp.float16):
        half = jnp.clip(rows, 0, 1000).astype(dtype)
        chex.assert_trees_all_equal(function(half), function(half.astype(jnp.float32)))
    with jax.numpy_dtype_promotion("strict"):
        assert "callback" not in str(jax.make_jaxpr(function)(rows))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_what_does_not_fit_is_refused_by_name(function):
    bare = inspect.unwrap(function)
    with pytest.raises(ValueError, match="weights: expected a floating dtype, got int32"):
        bare(jnp.arange(3))
    for weights in (jnp.ones((4, 1)), jnp.float32(1), jnp.ones((3, 0))):
        with pytest.raises(ValueError, match=r"weights: .* 2 channels or more, got"):
            bare(weights)
