import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench.metrics import _cell_sums

RNG = np.random.default_rng(0)
N, CELLS = 2000, 3
INDEX = RNG.integers(0, CELLS + 1, N)  # one past the table too, which is dropped
weights = jax.jit(lambda index, values: _cell_sums.weights(index, values, CELLS))


def of(values):
    found = weights(jnp.asarray(INDEX, jnp.int32), jnp.asarray(values, jnp.float32))
    return np.asarray(found.high, np.float64) + np.asarray(found.low, np.float64)


def wanted(values):
    values = np.asarray(values, np.float32).astype(np.float64)
    return np.array([values[cell == INDEX].sum() for cell in range(CELLS)])


def test_counts():
    found = _cell_sums.counts(jnp.asarray(INDEX, jnp.int32), CELLS)
    np.testing.assert_array_equal(found.high, wanted(np.ones(N)))
    assert not found.low.any()


@pytest.mark.parametrize(
    "values",
    [
        np.zeros(N),
        INDEX % 2,  # counted, as padding is
        RNG.integers(0, 1000, N),
        RNG.integers(0, 64, N) / 64,
        RNG.integers(0, 64, N) * 2.0**-90,
        RNG.integers(0, 64, N) * 2.0**100,
    ],
    ids=["nothing", "0 or 1", "whole", "fractions", "tiny", "huge"],
)
def test_sums_that_need_no_rounding_are_exact(values):
    np.testing.assert_array_equal(of(values), wanted(values))


def test_weights_that_differ_by_a_million_lose_nothing_to_each_other():
    """1 / the number of pixels of a region, of which some have one and others a million."""
    values = (10.0 ** RNG.uniform(-6, 0, N)).astype(np.float32)
    np.testing.assert_allclose(of(values), wanted(values), rtol=1e-9)
    small = np.where(INDEX == 0, values.max(), np.float32(1e-6))
    np.testing.assert_allclose(of(small), wanted(small), rtol=1e-6)


def test_many_equal_weights_lose_nothing_to_their_sum():
    """2^18 tenths: a float32 sum of them, one after the other, is wrong in the fourth digit."""
    tenths = jnp.full((2**18,), 0.1)
    found = _cell_sums.weights(jnp.zeros(tenths.shape, jnp.int32), tenths, 1)
    np.testing.assert_allclose(found.high, [2**18 * np.float64(np.float32(0.1))], rtol=1e-7)


def test_the_order_changes_no_bit():
    values = RNG.random(N).astype(np.float32)
    order = RNG.permutation(N)
    found = [
        weights(jnp.asarray(INDEX[i], jnp.int32), jnp.asarray(values[i])) for i in (..., order)
    ]
    np.testing.assert_array_equal(jnp.stack(found[0]), jnp.stack(found[1]))


def test_long_batches_are_added_in_parts(monkeypatch):
    index, values = jnp.asarray(INDEX[:48], jnp.int32), jnp.arange(48) / 7
    at_once = _cell_sums.weights(index, values, CELLS)
    monkeypatch.setattr(_cell_sums, "LONGEST", 20)
    in_parts = _cell_sums.weights(index, values, CELLS)
    np.testing.assert_allclose(in_parts.high, at_once.high, rtol=1e-7)
