"""Curves over a stream: their points are some of those of the function."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench.metrics import curves
from lossbench.metrics.curve_stream import PrCurve, RocCurve
from tests.metrics import rankings

CURVES = {"roc_curve": RocCurve, "pr_curve": PrCurve}
NAMES, *ROWS, _ = rankings.examples()


@pytest.mark.parametrize("name", CURVES)
def test_points_of_a_curve_are_some_of_those_of_the_function(name):
    empty, rows = CURVES[name].empty(bins=32), [jnp.asarray(x) for x in ROWS]
    each = jax.jit(jax.vmap(lambda s, y, w: empty.update(s, y, where=w).compute()))
    all_found = jax.device_get(each(*(x[:, None] for x in rows)))
    all_wanted = jax.device_get(getattr(curves, name)(*rows[:2], where=rows[2]))
    assert all_found[0].shape == (len(NAMES), 1, 32 + 2)
    for i, row in enumerate(NAMES):
        points, all_points = all_found.points[i, 0], all_wanted.points[i]
        at = np.stack([x[i, 0] for x in all_found[:2]], 1)[points]
        wanted = np.stack([x[i] for x in all_wanted[:2]], 1)[all_points]
        same = np.isclose(at[:, None], wanted[None], rtol=1e-6, equal_nan=True).all(2)
        assert same.any(1).all(), row
        for end in (0, -1):
            np.testing.assert_allclose(at[end], wanted[end], rtol=1e-6, err_msg=row)
        thresholds = all_found.thresholds[i, 0][points]
        assert (thresholds[2:] < thresholds[1:-1]).all(), row
        assert (all_found.undefined[i] == 1) == np.isnan(wanted).any()
        if row in ("tied", "constant", "perfect", "tied from 0"):  # with a bin for every score
            np.testing.assert_array_equal(thresholds, all_wanted.thresholds[i][all_points])


@pytest.mark.parametrize("name", CURVES)
def test_a_curve_with_a_nan_is_nan(name):
    scores, empty = jnp.array([[1.0, 0.0, jnp.nan]]), CURVES[name].empty(bins=4)
    found = empty.update(scores, scores > 0, where=~jnp.isnan(scores)).compute()
    assert not np.isnan(found[0]).any()
    found = empty.update(scores, scores > 0).compute()
    assert np.isnan(found[0]).all()
    assert found.undefined == 1
