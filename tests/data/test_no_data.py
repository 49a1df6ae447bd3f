import numpy as np
import pytest

from lossbench.data.no_data import is_missing


@pytest.mark.parametrize("dtype", [np.int16, ">i2", np.float32, np.float64, ">f4"])
def test_a_value_in_one_band(dtype):
    stored = np.array([[[1, -9999, 3], [0, 0, 0], [4, 5, 6]]], dtype)
    np.testing.assert_array_equal(is_missing(stored, -9999.0), stored == -9999)


def test_zero_counts_only_in_every_band():
    stored = np.array([[[0, 5, 0], [0, 0, 0]]], np.uint16)
    np.testing.assert_array_equal(is_missing(stored, 0.0)[0], [[False] * 3, [True] * 3])


@pytest.mark.parametrize("value", [-1.0, 0.5, 70000.0, np.inf, -np.inf, -3.4e38])
def test_a_value_that_the_type_does_not_hold(value):
    assert not is_missing(np.arange(6, dtype=np.uint16).reshape(1, 2, 3), value).any()


def test_decimals_are_those_of_the_type():
    stored = np.array([[[-3.4028235e38, 0.1]]], np.float32)
    np.testing.assert_array_equal(is_missing(stored, -3.4028235e38)[0, 0], [True, False])
    np.testing.assert_array_equal(is_missing(stored, 0.1)[0, 0], [False, True])
    assert not is_missing(stored, 1e300).any()


def test_nan():
    stored = np.array([[[np.nan, 1.0]]], np.float32)
    np.testing.assert_array_equal(is_missing(stored, np.nan)[0, 0], [True, False])
    assert not is_missing(np.ones((1, 1, 2), np.int16), np.nan).any()
