"""Means over named axes, against NumPy's of the defined values."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench.metrics import mean_over

TABLE = np.random.default_rng(0).random((4, 3)).astype(np.float32)
TABLE[1, 2] = TABLE[3, :2] = np.nan


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ((), TABLE),
        (("cases",), np.nanmean(TABLE, axis=0)),
        (("classes",), np.nanmean(TABLE, axis=1)),
        (("classes", "cases"), np.nanmean(np.nanmean(TABLE, axis=1))),
        (("cases", "classes"), np.nanmean(np.nanmean(TABLE, axis=0))),
        ((("cases", "classes"),), np.nanmean(TABLE)),
        ((("classes", "cases"),), np.nanmean(TABLE)),
    ],
)
def test_the_order_of_the_axes_is_that_of_the_means(order, expected):
    found = jax.jit(lambda table: mean_over(table, *order))(TABLE)
    np.testing.assert_allclose(found.values, expected, rtol=1e-6)
    assert found.undefined == 3


def test_axes_of_any_number_and_name():
    table = jnp.stack([TABLE, 1 - TABLE, TABLE / 2])
    axes = ("models", "cases", "classes")
    found = mean_over(table, ("cases", "classes"), axes=axes)
    np.testing.assert_allclose(found.values, np.nanmean(table, axis=(1, 2)), rtol=1e-6)
    last = mean_over(table, "classes", "models", axes=axes).values
    np.testing.assert_allclose(last, np.nanmean(table, axis=2).mean(0), rtol=1e-6)


def test_nothing_defined_is_nan_and_counted():
    found = mean_over(jnp.full((2, 2), jnp.nan), "classes", "cases")
    assert np.isnan(found.values)
    assert found.undefined == 4


@pytest.mark.parametrize(
    ("order", "axes", "message"),
    [
        (("case",), ("cases", "classes"), "order: expected names among .'cases', 'classes'., got"),
        (("cases", "cases"), ("cases", "classes"), "order: .*'classes',., got 'cases'"),
        ((("cases", "cases"),), ("cases", "classes"), "order: .* got 'cases'"),
        (("cases",), ("cases",), "axes: expected a name for each of the table's 2 axes"),
        (("cases",), ("cases", "cases"), "axes: expected a name for each"),
    ],
)
def test_wrong_names_are_refused(order, axes, message):
    with pytest.raises(ValueError, match=message):
        mean_over(jnp.asarray(TABLE), *order, axes=axes)
