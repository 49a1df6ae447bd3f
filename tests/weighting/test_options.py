import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lossbench import weighting
from lossbench.weighting import _options


@pytest.mark.parametrize("given", [1, 2.5, np.float32(3), np.int64(1), jnp.array(0.5)])
def test_numbers_of_all_kinds_are_taken(given):
    _options.above_zero(rate=given)
    _options.not_negative(rate=given)


@pytest.mark.parametrize(
    "given", [0, -1.0, np.nan, np.inf, True, "1", None, [1.0, 2.0], jnp.ones(2), {}]
)
def test_what_is_no_number_above_zero_is_refused_by_its_name(given):
    with pytest.raises(ValueError, match="rate: expected a number above 0, got"):
        _options.above_zero(rate=given)


def test_shares_have_their_ends():
    _options.share(a=0, b=1)
    _options.share_below_one(a=0)
    with pytest.raises(ValueError, match="b: expected a number from 0 to below 1, got 1"):
        _options.share_below_one(a=0, b=1)
    with pytest.raises(ValueError, match=r"a: expected a number from 0 to 1, got 1\.5"):
        _options.share(a=1.5)


def test_traced_numbers_pass():
    def checked(number, numbers):
        _options.above_zero(rate=number)
        _options.rate(number)
        _options.numbers("weights", numbers)
        _options.numbers("weights", [number, 1.0])
        return _options.of_each("weights", [number, 1.0], 2) + _options.of_each("w", numbers, 2)

    np.testing.assert_array_equal(jax.jit(checked)(-1.0, jnp.array([1.0, 2.0])), [0, 3])


def test_rates_are_numbers_or_schedules():
    for rate in (0, 0.1, optax.constant_schedule(0.1)):
        _options.rate(rate)
    with pytest.raises(ValueError, match="learning_rate: expected 0 or a number above it"):
        _options.rate("0.1")


@pytest.mark.parametrize("given", [1.0, True, -1, "2", None])
def test_whole_numbers_are_whole(given):
    with pytest.raises(ValueError, match="window: expected a whole number, 0 or above, got"):
        _options.whole(0, window=given)
    _options.whole(0, window=np.int32(3))


def test_numbers_of_each_term_are_as_many_as_terms():
    np.testing.assert_array_equal(_options.of_each("weights", (1, 2), 2), [1, 2])
    assert _options.of_each("weights", np.ones(2), 2).dtype == jnp.float32
    with pytest.raises(ValueError, match="weights: expected 3 numbers, one for each term, got 2"):
        _options.of_each("weights", [1.0, 2.0], 3)
    for given in (1.0, "12", {"a": 1}, None, np.ones((2, 2))):
        with pytest.raises(ValueError, match="weights: expected one number for each term, got"):
            _options.numbers("weights", given)


def test_a_preference_is_for_some_term():
    _options.preference(None)
    _options.preference([0.0, 1.0])
    _options.preference(np.array([-1.0, 0.0]), negative=True)
    jax.jit(_options.preference)(jnp.zeros(2))
    jax.jit(lambda one: _options.preference([0.0, one]))(0.0)
    with pytest.raises(ValueError, match=r"preference\[0\]: expected 0 or a number above it"):
        _options.preference([-1.0, 0.0])
    for build in (
        weighting.upgrad,
        weighting.dual_projection,
        weighting.stch,
        weighting.config,
        weighting.aligned_mtl,
    ):
        for zeros in ([0, 0.0], jnp.zeros(2)):
            with pytest.raises(ValueError, match="preference: expected one that is not 0 for ev"):
                build(preference=zeros)
