"""The largest values of a row against sorting."""

import hypothesis.extra.numpy as arrays
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossbench.ops.hardest import largest

select = jax.jit(largest)


def by_sorting(values, counted, k):
    """Whoever is above the k-th value has 1; those equal to it share what is left."""
    weights = np.zeros(values.shape)
    for row in range(len(values)):
        kept = np.ones(values.shape[1], bool) if counted is None else counted[row]
        ordered = np.sort(values[row][kept])[::-1]
        if k[row] == 0:
            continue
        last = ordered[k[row] - 1]
        above, tied = kept & (values[row] > last), kept & (values[row] == last)
        weights[row] = above + tied * (k[row] - above.sum()) / tied.sum()
    return weights


def check(values, counted, k):
    k, mask = np.asarray(k, np.int32), None if counted is None else jnp.asarray(counted)
    weights = np.asarray(select(jnp.asarray(values), mask, k))
    assert weights.dtype == values.dtype
    expected = by_sorting(values, counted, k)
    np.testing.assert_allclose(weights, expected, rtol=1e-6)
    np.testing.assert_array_equal(weights == 1, expected == 1)
    np.testing.assert_allclose(np.sum(weights, axis=-1, dtype=np.float64), k, rtol=1e-6)


@pytest.mark.parametrize("masked", [False, True], ids=["all", "masked"])
def test_distinct_values_are_chosen_as_by_sorting(masked):
    rng = np.random.default_rng(0)
    values = (10.0 ** rng.uniform(-37, 38, (8, 300))).astype(np.float32)
    counted = rng.random(values.shape) < 0.5 if masked else None
    most = np.full(8, 300) if counted is None else counted.sum(1)
    for share in (0.0, 0.003, 0.3, 0.997, 1.0):
        check(values, counted, np.floor(share * most))
    check(values, counted, rng.integers(0, most + 1))


ELEMENTS = [0.0, 1e-45, 3e-45, 1e-40, 1.1754944e-38, 1.0, np.nextafter(np.float32(1), 2), 3.4e38]


@settings(max_examples=60, deadline=None)
@given(
    arrays.arrays(np.float32, (2, 9), elements=st.sampled_from([np.float32(e) for e in ELEMENTS])),
    arrays.arrays(np.bool_, (2, 9)),
    st.floats(0, 1),
)
def test_ties_share_down_to_denormals_and_zeros(values, counted, share):
    check(values, counted, np.round(share * counted.sum(1)))


@pytest.mark.parametrize("k", [0, 1, 3, 5])
def test_the_whole_row_tied_shares_alike(k):
    for value in (0.0, 2.5):
        check(np.full((1, 5), value, np.float32), None, [k])


def test_a_negative_zero_is_a_zero():
    weights = select(jnp.array([[-0.0, 0.0]]), None, jnp.array([1]))
    np.testing.assert_array_equal(weights, [[0.5, 0.5]])


def test_what_does_not_count_is_never_chosen():
    values = np.array([[9.0, 0.0, 8.0, 0.0]], np.float32)
    counted = np.array([[False, True, False, True]])
    for k, expected in ((0, 0), (1, 0.5), (2, 1)):
        weights = select(jnp.asarray(values), jnp.asarray(counted), jnp.array([k]))
        np.testing.assert_array_equal(weights, [[0, expected, 0, expected]])
    nothing = jnp.zeros((1, 4), bool)
    np.testing.assert_array_equal(select(jnp.asarray(values), nothing, jnp.array([0])), 0)


def test_float64_is_told_apart_beyond_float32():
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        values = 1 + rng.permutation(400).reshape(2, 200) * 2.0**-52
        check(values, rng.random(values.shape) < 0.7, [3, 60])
        check(10.0 ** rng.uniform(-320, 308, (2, 200)), None, [1, 150])


def test_a_traced_k_is_one_program():
    values = jnp.arange(6.0)[None]
    weights = jax.jit(jax.vmap(lambda k: largest(values, None, k[None])))(jnp.arange(7))
    for k in range(7):
        np.testing.assert_array_equal(weights[k, 0], np.arange(6) >= 6 - k)


def test_the_weights_are_constants_of_the_derivative():
    values = jnp.array([[3.0, 1.0, 2.0, 2.0]])
    weighted = lambda v: jnp.sum(v * largest(v, None, jnp.array([2])))  # noqa: E731
    np.testing.assert_array_equal(jax.grad(weighted)(values), [[1, 0, 0.5, 0.5]])
    change = jax.jvp(lambda v: largest(v, None, jnp.array([2])), (values,), (jnp.ones((1, 4)),))[1]
    np.testing.assert_array_equal(change, 0)
