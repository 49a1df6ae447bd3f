import functools

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from lossbench.metrics import _sums

add = jax.jit(_sums.add)
add_counts = jax.jit(_sums.add_counts)
counts = st.lists(st.integers(0, 2**31 - 1), min_size=8, max_size=8)


def exact(total):
    """The sums as float64, which holds both parts."""
    return np.asarray(total.high, np.float64) + np.asarray(total.low, np.float64)


def of(number):
    """A sum that holds a number up to 2^47, which no int32 brings in at once."""
    high = np.float32(number)
    return _sums.RunningSum(jnp.array([high]), jnp.array([number - int(high)], jnp.float32))


def test_one_float32_would_stand_still():
    """Compiled, so XLA has not simplified away what looks like nothing."""
    total = of(2**24)
    step = jax.jit(lambda s: jax.lax.fori_loop(0, 1000, lambda _, s: _sums.add(s, of(1)), s))
    assert exact(step(total)) == 2**24 + 1000
    assert exact(step(of(2**46 + 1))) == 2**46 + 1001


@settings(max_examples=50, deadline=None)
@given(numbers=counts, order=st.permutations(range(8)))
def test_integers_are_exact_and_have_one_form_in_any_order(numbers, order):
    start = _sums.zeros((1,))
    one = functools.reduce(add_counts, jnp.asarray(numbers, jnp.int32)[:, None], start)
    parts = [of(numbers[i]) for i in order]
    while len(parts) > 1:  # a tree
        parts = [add(*parts[i : i + 2]) for i in range(0, len(parts), 2)]
    assert exact(one) == sum(numbers)
    np.testing.assert_array_equal(jnp.stack(one), jnp.stack(parts[0]))
    assert one.high == np.float32(sum(numbers))


@settings(max_examples=50, deadline=None)
@given(st.integers(-(2**46), 2**46), st.integers(-(2**46), 2**46))
def test_every_sum_up_to_2_to_the_47_is_exact(a, b):
    found = add(of(a), of(b))
    assert exact(found) == a + b
    assert found.high == np.float32(a + b)


def test_the_ends_of_int32():
    numbers = np.array([2**31 - 1, -(2**31), 2**24 + 1, -(2**24) - 1, -1, 0])
    np.testing.assert_array_equal(exact(_sums.of_counts(jnp.asarray(numbers, jnp.int32))), numbers)


def test_counts_that_fit_an_int32_are_exact_and_others_the_largest():
    numbers = [0, 7, 2**24 + 1, 2**31 - 65, 2**31 - 64, 2**31 - 2, 2**31 - 1]
    more = [2**31, 2**31 + 1, 2**31 + 256, 2**40 - 1]
    found = [int(_sums.as_counts(of(number))[0]) for number in numbers + more]
    assert found == numbers + [2**31 - 1] * len(more)


def test_cumulative_sums_are_exact():
    rng = np.random.default_rng(0)
    numbers = rng.integers(0, 2**31, (2, 1000))
    total = _sums.of_counts(jnp.asarray(numbers, jnp.int32))
    found = jax.jit(lambda s: _sums.cumulative(s))(total)
    np.testing.assert_array_equal(exact(found), numbers.cumsum(1))
    np.testing.assert_array_equal(found.high, numbers.cumsum(1).astype(np.float32))


def test_other_sums_keep_14_digits():
    rng = np.random.default_rng(0)
    numbers = (rng.random(2**16) * 10.0 ** rng.integers(-6, 1, 2**16)).astype(np.float32)
    single = _sums.RunningSum(jnp.asarray(numbers), jnp.zeros(numbers.shape, jnp.float32))
    found = exact(jax.jit(lambda s: _sums.cumulative(s))(single))
    np.testing.assert_allclose(found, numbers.astype(np.float64).cumsum(), rtol=1e-13)


def test_a_power_of_two_scales_exactly():
    np.testing.assert_array_equal(exact(_sums.scaled(of(2**40 + 3), 0.125)), (2**40 + 3) / 8)
