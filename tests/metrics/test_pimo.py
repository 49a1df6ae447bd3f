import functools
import inspect
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossbench.metrics.pimo import aupimo
from tests.metrics import anomalies

compiled = jax.jit(aupimo)
PEER = json.loads((Path(__file__).parent / "data" / "anomaly_values.json").read_text())
LOWER, UPPER = 0.02, 0.3
SCORES, LABELS = anomalies.maps()
NOISE = SCORES - LABELS
MAPS = {
    "random": SCORES,
    "tied": np.round(2 * SCORES),
    "constant": np.zeros(LABELS.shape),
    "perfect": LABELS + 0.0,
    "wrong": 1.0 - LABELS,
    "infinite": np.where(NOISE > 1.2, np.inf, SCORES),
    "two values": (SCORES > 1) * 3.0,
    "far": SCORES * 1e30,
}


def found(scores, labels=LABELS, lower=LOWER, upper=UPPER, where=None):
    """By the compiled function; bounds are traced, so there is one program."""
    where = None if where is None else jnp.asarray(where)
    given = jnp.asarray(scores, jnp.float32), jnp.asarray(labels)
    return compiled(*given, lower=jnp.float32(lower), upper=jnp.float32(upper), where=where)


@pytest.mark.parametrize("name", MAPS)
def test_equals_the_definition(name):
    scores = MAPS[name].astype(np.float32)
    for bounds in ((LOWER, UPPER), (0.05, 0.06), (0.25, 1.0)):
        given = found(scores, LABELS, *bounds)
        wanted, levels = anomalies.image_areas(scores, LABELS, *bounds)
        np.testing.assert_allclose(given.values, wanted, rtol=3e-6, atol=1e-7, err_msg=f"{bounds}")
        np.testing.assert_allclose(given.mean, np.nanmean(wanted), rtol=3e-6, atol=1e-7)
        assert given.levels == levels
        assert (given.undefined, given.anomalous) == (0, LABELS.any((1, 2)).sum())


@pytest.mark.parametrize("name", ["random", "tied", "constant"])
def test_masked_is_removed_and_images_weigh_the_same(name):
    """The false positive rate is a mean over images, of which each has its own number of pixels."""
    rng = np.random.default_rng(3)
    where = rng.random(LABELS.shape) < np.linspace(0.2, 1, len(LABELS))[:, None, None]
    where[1] = False  # neither normal nor anomalous
    scores = MAPS[name].astype(np.float32)
    given = found(np.where(where, scores, np.nan), where=where)
    wanted, levels = anomalies.image_areas(scores, LABELS, LOWER, UPPER, where)
    np.testing.assert_allclose(given.values, wanted, rtol=3e-6, atol=1e-7)
    assert (given.levels, given.undefined) == (levels, 0)
    without = anomalies.image_areas(
        *(np.delete(x, 1, 0) for x in (scores, LABELS)), LOWER, UPPER, np.delete(where, 1, 0)
    )
    np.testing.assert_allclose(np.delete(wanted, 1), without[0], rtol=1e-12)


def test_mask_that_hides_nothing_changes_nothing():
    given, masked = found(SCORES), found(SCORES, where=np.ones(LABELS.shape, bool))
    np.testing.assert_allclose(given.values, masked.values, rtol=1e-6)
    assert given.levels == masked.levels


def test_what_is_unlabeled_in_an_anomalous_image_is_not_looked_at():
    elsewhere = LABELS.any((1, 2), keepdims=True) & ~LABELS
    for other in (1e9, np.nan):
        given = found(np.where(elsewhere, other, SCORES))
        np.testing.assert_array_equal(given.values, found(SCORES).values)
        assert given.undefined == 0


def test_bounds_of_the_value():
    normal = ~LABELS.any((1, 2))
    for name, value in (("perfect", 1.0), ("wrong", 0.0)):
        values = found(MAPS[name]).values
        np.testing.assert_array_equal(values, np.where(normal, np.nan, value))


def test_undefined_is_nan_and_counted():
    anomalous = int(LABELS.any((1, 2)).sum())
    first = int(np.argmax(LABELS.any((1, 2))))
    pixel = tuple(np.argwhere(LABELS)[0])
    broken = SCORES.copy()
    broken[pixel] = np.nan
    given = found(broken)  # of one image
    assert (given.undefined, given.anomalous) == (1, anomalous)
    assert np.isnan(given.values[first])
    assert np.isnan(given.mean)
    others = np.arange(len(LABELS)) != first
    np.testing.assert_array_equal(given.values[others], found(SCORES).values[others])

    broken = SCORES.copy()
    broken[~LABELS.any((1, 2))] = np.nan
    full = np.ones(LABELS.shape, bool)
    for scores, labels, count in (
        (broken, LABELS, anomalous),
        (SCORES, full, len(LABELS)),  # no normal image
        (SCORES, ~full, 0),  # no anomalous one
    ):
        given = found(scores, labels)
        assert np.isnan(given.values).all()
        assert np.isnan(given.mean)
        assert (given.undefined, given.anomalous) == (count, count)


def test_rates_that_so_few_pixels_cannot_tell_are_undefined():
    """100 pixels tell 1 / 100 but nothing less, and masked ones do not help."""
    labels = np.zeros((2, 100), bool)
    labels[1, :3] = True
    scores = np.random.default_rng(0).normal(size=labels.shape)
    for lower, undefined in ((0.01, 0), (0.0099, 1), (1e-5, 1)):
        given = found(scores, labels, lower)
        assert given.undefined == undefined
        assert np.isnan(given.mean) == undefined
    where = np.ones(labels.shape, bool)
    where[0, 0] = False
    assert found(scores, labels, 0.01, where=where).undefined == 1


def test_levels_say_how_fine_the_steps_are():
    labels = np.zeros((2, 100), bool)
    labels[1, :3] = True
    scores = np.arange(200.0).reshape(2, 100)
    assert found(scores, labels, 0.01, 0.1).levels == 10
    assert found(np.floor(scores / 20), labels, 0.01, 0.5).levels == 2  # 0.2 and 0.4


def test_equals_anomalib_where_the_bounds_are_rates_that_there_are():
    """Its 100 000 thresholds at equal steps miss a few of the scores that are close together."""
    theirs = np.array(PEER["aupimo"]["random"][1], float)
    values = found(SCORES, LABELS, *PEER["bounds"][1]).values
    np.testing.assert_allclose(values, theirs, atol=2e-4)


@pytest.mark.parametrize("name", ["random", "tied"])
def test_anomalib_moves_the_bounds_and_not_the_scale(name):
    """It goes on to the nearest rates there are, here of ties up to .38 instead of .3.

    The area up to there is divided by what the range that was asked for has, so it is another
    number, larger by up to a tenth here; and it is straight in the logarithm between tied scores.
    """
    for bounds, theirs in zip(PEER["bounds"], PEER["aupimo"][name], strict=True):
        theirs = np.array(theirs, float)
        moved = anomalies.areas_of_anomalib(MAPS[name].astype(np.float32), LABELS, *bounds)
        np.testing.assert_allclose(moved, theirs, atol=3e-4)
    values = found(MAPS["tied"], LABELS, *PEER["bounds"][0]).values
    assert np.nanmax(np.array(PEER["aupimo"]["tied"][0], float) - values) > 0.05


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 3, 1000]))
def test_any_rising_map_of_the_scores_gives_the_same(seed, steps):
    rng = np.random.default_rng(seed)
    scores = (rng.integers(-steps, steps + 1, LABELS.shape) / 4).astype(np.float32)
    values = found(scores).values
    np.testing.assert_array_equal(values, found(np.cbrt(scores) * 7 - 3).values)
    kept = ~np.isnan(values)
    np.testing.assert_array_equal(kept, LABELS.any((1, 2)))
    assert ((values[kept] >= 0) & (values[kept] <= 1)).all()


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_short_floats_are_taken_as_they_are(dtype):
    short = jnp.asarray(SCORES, dtype)
    bounds = {"lower": jnp.float32(LOWER), "upper": jnp.float32(UPPER)}
    values = compiled(short, jnp.asarray(LABELS), **bounds).values
    assert values.dtype == jnp.float32
    np.testing.assert_array_equal(values, found(np.asarray(short, np.float32)).values)


def test_vmap_sharding_and_no_callback():
    given = jnp.asarray(SCORES, jnp.float32), jnp.asarray(LABELS)
    plain = functools.partial(aupimo, lower=LOWER, upper=UPPER)
    many = jax.vmap(plain)(*(jnp.stack([x, x[::-1]]) for x in given))
    values = found(SCORES).values
    np.testing.assert_allclose(many.values, [values, values[::-1]], rtol=1e-6)
    with jax.numpy_dtype_promotion("strict"):
        assert "callback" not in str(jax.make_jaxpr(plain)(*given))
    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    apart = (jax.device_put(x, jax.NamedSharding(mesh, jax.P("data"))) for x in given)
    np.testing.assert_allclose(jax.jit(plain)(*apart).values, values, rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lower": 0.0}, "lower: expected above 0 to 1, got 0.0"),
        ({"upper": 30}, "upper: expected above 0 to 1, got 30"),
        ({"lower": 0.5, "upper": 0.1}, "lower: expected below upper, which is 0.1, got 0.5"),
        ({"labels": jnp.ones(LABELS.shape)}, "labels: expected a mask"),
        ({"labels": jnp.ones((3, 4), bool)}, "labels: expected shape"),
        ({"scores": jnp.ones(LABELS.shape, jnp.int32)}, "scores: expected a floating dtype"),
        ({"where": jnp.ones(LABELS.shape)}, "where: expected bool"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(change, message):
    given = {"scores": jnp.asarray(SCORES, jnp.float32), "labels": jnp.asarray(LABELS)}
    # The public function as users have it, without the annotations' own check.
    bare = functools.partial(inspect.unwrap(aupimo), **{**given, **change})
    with pytest.raises(ValueError, match=message):
        bare()
