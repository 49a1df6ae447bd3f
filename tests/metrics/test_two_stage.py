import functools
import inspect

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType

from lossbench.metrics.deciders import ImageQuantile, Threshold, fit_f1
from lossbench.metrics.thresholds import decide, quantile_threshold
from lossbench.metrics.two_stage import TwoStage, top_mean, two_stage
from tests.metrics.rx_scores import rx_scores

RNG = np.random.default_rng(0)
SCORES = RNG.normal(size=(4, 5, 8)).astype(np.float32)
WHERE = RNG.random(SCORES.shape) < 0.7


@pytest.mark.parametrize("masked", [False, True])
def test_the_mean_of_the_highest(masked):
    where = WHERE if masked else np.ones(SCORES.shape, bool)
    shares = np.array([1e-6, 0.025, 0.1, 0.26, 1], np.float32)
    given = {"scores": jnp.asarray(SCORES), "where": jnp.asarray(where)}
    function = functools.partial(top_mean, **given)
    found = jax.vmap(lambda share: function(share=share))(jnp.asarray(shares))
    for i, share in enumerate(shares):
        for k, (scores, counted) in enumerate(zip(SCORES, where, strict=True)):
            kept = np.sort(scores[counted].astype(np.float64))[::-1]
            number = int(np.ceil(float(share) * len(kept) - 1e-5))
            np.testing.assert_allclose(found.values[i, k], kept[:number].mean(), atol=1e-6)
    assert not found.undefined.any()


def test_a_share_that_is_met_exactly_takes_no_more():
    """0.001 of 1000 is one score, though their product in float32 is a little more."""
    scores = jnp.asarray(RNG.permutation(1000), jnp.float32)[None]
    counts = np.arange(1, 1001)
    function = lambda share: top_mean(scores, share=share).values[0]  # noqa: E731
    found = jax.vmap(function)(jnp.asarray(counts / 1000, jnp.float32))
    np.testing.assert_allclose(found, 999 - (counts - 1) / 2, rtol=1e-6)


def test_pixels_of_images_that_pass():
    scores, where = jnp.asarray(SCORES), jnp.asarray(WHERE)
    each = top_mean(scores, share=0.1, where=where).values
    gate = float(np.median(each))
    for pixel in (0.5, quantile_threshold(scores, quantile=0.8, where=where).values):
        found = two_stage(
            scores, image_threshold=gate, pixel_threshold=pixel, share=0.1, where=where
        )
        np.testing.assert_array_equal(found.images, each >= gate)
        assert found.images.sum() == 2
        wanted = decide(scores, pixel) & where & (each >= gate)[:, None, None]
        np.testing.assert_array_equal(found.pixels, wanted)


def test_nothing_is_flagged_where_a_score_or_threshold_is_nan():
    scores = jnp.asarray(SCORES).at[1, 0, 0].set(jnp.nan)
    found = two_stage(scores, image_threshold=-9, pixel_threshold=-9)
    np.testing.assert_array_equal(found.images, [True, False, True, True])
    assert not found.pixels[1].any()
    assert top_mean(scores).undefined == 1
    for image, pixel in ((jnp.nan, -9.0), (-9.0, jnp.nan)):
        assert not two_stage(scores, image_threshold=image, pixel_threshold=pixel).pixels.any()
    nothing = two_stage(
        scores, image_threshold=-9, pixel_threshold=-9, where=jnp.zeros(scores.shape, bool)
    )
    assert not nothing.pixels.any()
    assert not nothing.images.any()
    masked = top_mean(scores, where=~jnp.isnan(scores))
    assert masked.undefined == 0
    # Nor has the mean of both infinities a value.
    both = top_mean(jnp.array([[jnp.inf, -jnp.inf, 0]]), share=1)
    assert np.isnan(both.values[0])
    assert both.undefined == 1


def test_a_fitted_gate_before_a_fitted_threshold():
    labels = jnp.asarray(SCORES > 1.8)
    anomalous = labels.any((1, 2))
    assert 0 < anomalous.sum() < 4
    scores = jnp.asarray(SCORES)
    gate = fit_f1(top_mean(scores, share=0.05).values, anomalous, split="validation")
    both = TwoStage(gate, fit_f1(scores, labels, split="validation"), share=0.05)
    compiled = jax.jit(lambda state, s: state.decide(s))
    found = compiled(both, scores)
    np.testing.assert_array_equal(found.pixels, labels)
    np.testing.assert_array_equal(found.images, anomalous)
    chex.assert_trees_all_equal(both.decide(scores), found)
    swapped = compiled(TwoStage(gate, Threshold.fixed(9.0), share=0.05), scores)
    assert not swapped.pixels.any()
    assert len(jax.tree.leaves(both)) == 6


@pytest.mark.parametrize("masked", [False, True])
def test_a_fitted_gate_before_a_quantile_of_each_image(masked):
    scores, where = jnp.asarray(SCORES), jnp.asarray(WHERE) if masked else None
    both = TwoStage(Threshold.fixed(1.6), ImageQuantile(0.8), share=0.1)
    found = jax.jit(lambda state, s: state.decide(s, where=where))(both, scores)
    pixel = quantile_threshold(scores, quantile=0.8, where=where).values
    wanted = two_stage(scores, image_threshold=1.6, pixel_threshold=pixel, share=0.1, where=where)
    chex.assert_trees_all_equal(found, wanted)
    assert 0 < found.images.sum() < 4


def test_cuvis_ai_on_what_it_gets_right():
    """The nodes `QuantileBinaryDecider` and `TwoStageBinaryDecider` of cuvis-ai 0.19.3.

    It flags `score >= quantile`, so all of a constant map.
    """
    scores = jnp.asarray(rx_scores(), jnp.float32)
    quantile = quantile_threshold(scores, quantile=0.9).values
    np.testing.assert_array_equal(decide(scores, quantile).sum((1, 2)), [3, 3])
    np.testing.assert_allclose(top_mean(scores, share=0.1).values, [4.142839, 4.1428328], rtol=2e-5)
    found = two_stage(scores, image_threshold=6, pixel_threshold=quantile, share=0.1)
    assert found.pixels.sum() == 0
    passed = two_stage(scores, image_threshold=4, pixel_threshold=quantile, share=0.1)
    np.testing.assert_array_equal(passed.pixels.sum((1, 2)), [3, 3])
    constant = jnp.full((1, 5, 6), 4.0)
    assert np.mean(constant >= np.quantile(constant, 0.9)) == 1
    assert not decide(constant, quantile_threshold(constant, quantile=0.9).values).any()


def test_four_devices_and_no_callback():
    scores = jnp.asarray(SCORES)

    def function(scores):
        return two_stage(scores, image_threshold=1, pixel_threshold=0.5, share=0.1)

    mesh = jax.make_mesh(
        (4,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices("cpu")[:4]
    )
    spread = jax.device_put(scores, jax.NamedSharding(mesh, jax.P("data")))
    chex.assert_trees_all_equal(jax.device_get(jax.jit(function)(spread)), function(scores))
    with jax.numpy_dtype_promotion("strict"):
        assert "callback" not in str(jax.make_jaxpr(function)(scores))
    half = scores.astype(jnp.bfloat16)
    chex.assert_trees_all_equal(function(half), function(half.astype(jnp.float32)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"share": 0}, "share: expected above 0 to 1, got 0"),
        ({"share": 1.5}, "share: expected above 0 to 1, got 1.5"),
        ({"scores": jnp.ones((4, 0))}, "scores: expected shape .* not empty"),
        ({"pixel_threshold": jnp.ones((3,))}, "pixel_threshold: expected one number, or one an"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(change, message):
    given = {"scores": jnp.asarray(SCORES), "image_threshold": 0, "pixel_threshold": 0}
    with pytest.raises(ValueError, match=message):
        two_stage(**{**given, **change})


def test_wrong_arrays_are_refused_by_name():
    # The public function as users have it, without the annotations' own check.
    bare = inspect.unwrap(top_mean)
    for more, message in (
        ({"scores": jnp.ones((2, 3), bool)}, "scores: expected a floating dtype"),
        ({"where": jnp.ones((2, 3), bool)}, "where: expected shape"),
        ({"where": jnp.ones(SCORES.shape)}, "where: expected bool"),
    ):
        with pytest.raises(ValueError, match=message):
            bare(**{"scores": jnp.asarray(SCORES), **more})
