import numpy as np

from lossbench.testing.compare import change, close, not_finite, number, share
from lossbench.testing.engine import Result


def test_close_is_relative_to_each_number_and_to_the_largest():
    assert close(np.array([1.0, 0.0]), np.array([1.00005, 5e-6]))
    assert not close(np.array([1.0, 0.0]), np.array([1.0, 1e-4]))
    assert not close(np.array(1.0), np.array(np.nan))


def test_change_names_the_worst_number():
    assert change(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.5, 3.1])) == "2 becomes 2.5"
    assert change(np.array([1.0, 2.0]), np.array([1.5, np.nan])) == "2 becomes nan"


def test_what_is_not_finite_is_said_with_its_share():
    good, bad = np.ones(4), np.array([1.0, np.nan, np.inf, 2.0])
    assert not_finite(Result(good, good, "float32", "float32")) == ""
    assert not_finite(Result(bad, good, "float32", "float32")) == "value nan"
    assert not_finite(Result(good, bad, "float32", "float32")).startswith("50 % of the gradient")
    assert share(bad) == "50 %"
    assert number(good) == "1"
