import fractions
import inspect

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType

from lossbench.metrics.score_statistics import QUANTILES, pixel_statistics, score_statistics
from tests.metrics import rankings
from tests.metrics.rx_scores import rx_scores

NAMES, SCORES, LABELS, WHERE, _ = rankings.examples()


def quantile(scores, share):
    """Between the two scores next to its place; their weighted mean, and the larger in size."""
    place = fractions.Fraction(share).limit_denominator(1000) * (len(scores) - 1)
    ordered, low = np.sort(scores), int(place)
    part = float(place - low)
    near = ordered[low : low + 2]
    if part == 0 or near[0] == near[1]:
        return near[0], abs(near[0])
    if np.isinf(near).all():
        return np.nan, np.inf
    return (1 - part) * near[0] + part * near[1], abs(near).max()


def test_equals_the_definition():
    found = score_statistics(jnp.asarray(SCORES), quantiles=QUANTILES, where=jnp.asarray(WHERE))
    missing = 0
    for i, name in enumerate(NAMES):
        scores = SCORES[i][WHERE[i]].astype(np.float64)
        mine = [float(x[i]) for x in found[:4]]
        if not len(scores):
            assert np.isnan([*mine, *found.quantiles[i]]).all()
            missing += 1
            continue
        np.testing.assert_array_equal(mine[2:], [scores.min(), scores.max()], err_msg=name)
        if np.isfinite(scores).all():
            unit = np.ptp(scores) or 1
            np.testing.assert_allclose(mine[0] / unit, scores.mean() / unit, atol=1e-6)
            if len(scores) > 1:
                std = scores.std(ddof=1)
                np.testing.assert_allclose(mine[1], std, rtol=1e-5, atol=1e-40, err_msg=name)
        else:
            assert np.isnan(mine[:2]).all()
        missing += np.isnan([*mine, *found.quantiles[i]]).any()
        for share, value in zip(QUANTILES, found.quantiles[i], strict=True):
            wanted, size = quantile(scores, share)
            np.testing.assert_allclose(
                value, wanted, atol=1e-6 * size if np.isfinite(size) else 0, err_msg=name
            )
    assert found.undefined == missing > 0


def test_quantiles_are_those_of_numpy():
    rng = np.random.default_rng(0)
    for count in (1, 2, 100):
        scores = rng.normal(size=(2, count)).astype(np.float32)
        found = score_statistics(jnp.asarray(scores))
        wanted = np.quantile(scores.astype(np.float64), QUANTILES, axis=1).T
        np.testing.assert_allclose(found.quantiles, wanted, rtol=1e-5, atol=1e-7)
        assert found.undefined == (2 if count == 1 else 0)  # the deviation


def test_any_size_and_offset():
    """Squares of 1e30 are past all floats, and those of 1e-30 are 0; 1e5 leaves them few digits."""
    noise = np.random.default_rng(1).normal(size=(4, 999))
    scores = noise * [[1e30], [1e-30], [1], [1]] + [[0], [0], [1e5], [0]]
    scores[3] = 0.1
    scores = scores.astype(np.float32)
    found = score_statistics(jnp.asarray(scores))
    exact = scores.astype(np.float64)
    np.testing.assert_allclose(found.std[:3], exact.std(1, ddof=1)[:3], rtol=1e-5)
    unit = np.maximum(abs(exact.mean(1)), np.ptp(exact, axis=1))
    np.testing.assert_allclose(found.mean / unit, exact.mean(1) / unit, atol=1e-6)
    assert found.mean[3] == np.float32(0.1)
    assert found.std[3] == 0


def test_ranges_at_either_end_of_the_floats():
    """The reciprocal of 3e38 is below the normal floats, and so are steps between 1.2e-38."""
    scores = np.array([[0, 1, 3e38], [1e37, 2e38, 3e38], [1.2e-38, 1.3e-38, 1.6e-38]], np.float32)
    found = score_statistics(jnp.asarray(scores), quantiles=(0.25, 0.5))
    exact = scores.astype(np.float64)
    np.testing.assert_allclose(found.mean[:2], exact.mean(1)[:2], rtol=1e-6)
    np.testing.assert_allclose(found.std[:2], exact.std(1, ddof=1)[:2], rtol=1e-6)
    for each in (found.mean, *found.quantiles.T):
        assert (each >= scores.min(1)).all()
        assert (each <= scores.max(1)).all()
    assert found.undefined == 0


def test_places_beyond_what_float32_counts():
    """The quantiles 0.95 and 0.99 of 2^31 - 1 scores: places are found in integers."""
    last = 2**31 - 2
    for above, of in ((19, 20), (99, 100), (9999, 10_000), (1, 1)):
        rest = above * (last % of)
        assert rest < 2**31
        assert above * (last // of) + rest // of == above * last // of


def test_cuvis_ai_where_it_is_right():
    """Its deviation is n - 1 and its quantiles are linear, but its median is the lower of two."""
    scores = jnp.asarray(rx_scores(), jnp.float32).reshape(1, -1)
    found = score_statistics(scores)
    mine = [x[0] for x in found[:4]] + list(found.quantiles[0])
    stored = [3.932439, 0.1058, 3.758883, 4.153453, 3.865841, None, 3.989897, 4.14238, 4.153385]
    for value, wanted in zip(mine, stored, strict=True):
        if wanted is not None:
            np.testing.assert_allclose(value, wanted, rtol=2e-5)
    lower_median = 3.922167
    ordered = np.sort(scores[0])
    np.testing.assert_allclose(ordered[29], lower_median, rtol=1e-5)
    np.testing.assert_allclose(found.quantiles[0, 1], (ordered[29] + ordered[30]) / 2, rtol=1e-6)
    assert found.quantiles[0, 1] > ordered[29]


def test_pixels_are_counted():
    masks = jnp.asarray(LABELS.reshape(-1, 4, 6))
    for where in (None, WHERE.reshape(-1, 4, 6)):
        found = pixel_statistics(masks, where=None if where is None else jnp.asarray(where))
        counted = np.ones(LABELS.shape, bool) if where is None else WHERE
        total, anomalous = counted.sum(1), (counted & LABELS).sum(1)
        np.testing.assert_array_equal(found.total, total)
        np.testing.assert_array_equal(found.anomalous, anomalous)
        wanted = np.where(total > 0, 100 * anomalous / np.maximum(total, 1), np.nan)
        np.testing.assert_allclose(found.percentage.values, wanted, rtol=1e-6)
        assert found.percentage.undefined == (total == 0).sum()
        assert np.isnan(found.percentage.mean) == (total == 0).any()


def test_masked_equals_removed_and_a_nan_counts_only_where_it_counts():
    scores = jnp.asarray(SCORES[:3])
    where = jnp.ones(scores.shape, bool).at[:, 20:].set(False)
    kept = score_statistics(scores[:, :20])
    for rubbish in (jnp.nan, jnp.inf, -1e30):
        hidden = score_statistics(scores.at[:, 20:].set(rubbish), where=where)
        chex.assert_trees_all_close(hidden, kept, rtol=1e-6)
    found = score_statistics(scores.at[1, 3].set(jnp.nan))
    assert found.undefined == 1
    assert all(np.isnan(x[1]).all() and np.isfinite(x[0]).all() for x in found[:5])


def test_jit_vmap_dtypes_and_devices():
    scores = jnp.asarray(SCORES[:4])
    labels = jnp.asarray(LABELS[:4])

    def function(scores, labels):
        return score_statistics(scores), pixel_statistics(labels)

    whole = function(scores, labels)
    space = (4, 2, 3, 4)
    shaped = jax.jit(function)(scores.reshape(space), labels.reshape(space))
    chex.assert_trees_all_close(shaped, whole, rtol=1e-6)
    alone = jax.jit(jax.vmap(function))(scores[:, None], labels[:, None])
    np.testing.assert_allclose(alone[0].quantiles[:, 0], whole[0].quantiles, rtol=1e-6)
    half = scores.astype(jnp.bfloat16)
    chex.assert_trees_all_equal(score_statistics(half), score_statistics(half.astype(jnp.float32)))
    mesh = jax.make_mesh(
        (4,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices("cpu")[:4]
    )
    spread = jax.device_put((scores, labels), jax.NamedSharding(mesh, jax.P("data")))
    chex.assert_trees_all_close(jax.device_get(jax.jit(function)(*spread)), whole, rtol=1e-6)
    with jax.numpy_dtype_promotion("strict"):
        assert "callback" not in str(jax.make_jaxpr(function)(scores, labels))
    with jax.enable_x64(True):
        assert score_statistics(jnp.ones((1, 3), jnp.float64)).quantiles.dtype == jnp.float64


@pytest.mark.parametrize(
    ("function", "given", "message"),
    [
        (score_statistics, {"scores": jnp.ones((2, 3), bool)}, "scores: expected a floating"),
        (score_statistics, {"scores": jnp.ones((2, 0))}, "scores: .* not empty"),
        (score_statistics, {"scores": jnp.ones((2, 3)), "quantiles": (2,)}, "quantiles: expected"),
        (pixel_statistics, {"masks": jnp.ones((2, 3))}, r"masks: expected a mask \(bool"),
        (pixel_statistics, {"masks": jnp.ones((0, 3), bool)}, "masks: .* not empty"),
        (
            pixel_statistics,
            {"masks": jnp.ones((2, 3), bool), "where": jnp.ones((2, 3))},
            "where: expected bool",
        ),
        (
            pixel_statistics,
            {"masks": jnp.ones((2, 3), bool), "where": jnp.ones((2,), bool)},
            "where: expected shape",
        ),
    ],
)
def test_what_does_not_fit_is_refused_by_name(function, given, message):
    # The public function as users have it, without the annotations' own check.
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(function)(**given)
