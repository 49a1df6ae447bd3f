import inspect

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType

from lossbench.metrics.panel import anomaly_detection
from tests.metrics import detections

DECISIONS, TARGETS, SCORES, WHERE = detections.examples()
GIVEN = tuple(jnp.asarray(x) for x in (DECISIONS, TARGETS, SCORES))
EVERY = jnp.ones(WHERE.shape, bool)  # given, so that all tests share a program


def panel(decisions, targets, scores, where=EVERY):
    return anomaly_detection(decisions, targets, scores, where=where)


@pytest.mark.parametrize("masked", [False, True])
def test_equals_the_definition(masked):
    where = WHERE if masked else np.ones(WHERE.shape, bool)
    found = panel(*GIVEN, jnp.asarray(where))
    pixel, each, image = detections.report(DECISIONS, TARGETS, SCORES, where)
    np.testing.assert_allclose(found.pixel, pixel, rtol=2e-6)
    np.testing.assert_allclose(found.image, image, rtol=2e-6)
    for score, wanted in zip(found.per_image, each, strict=True):
        np.testing.assert_allclose(score.values, wanted, rtol=2e-6, atol=1e-7)
        assert score.undefined == np.isnan(wanted).sum() > 0
        np.testing.assert_allclose(score.mean, np.nanmean(wanted), rtol=2e-6)


def test_undefined_is_nan_and_never_0_or_1():
    """A normal image that is found to be so has no precision, no recall and no F1.

    The node `AnomalyDetectionMetrics` of cuvis-ai gives 0 for all of these, and an average
    precision of -0.
    """
    nothing = jnp.zeros(WHERE.shape, bool)
    found = panel(nothing, nothing, GIVEN[2])
    for level in (found.pixel, found.image):
        assert np.isnan(level).all()
    for score in found.per_image:
        assert np.isnan(score.values).all()
        assert np.isnan(score.mean)
        assert score.undefined == len(nothing)
    missed = panel(nothing, ~nothing, GIVEN[2])
    assert np.isnan(missed.pixel.precision)
    np.testing.assert_array_equal([missed.pixel.recall, missed.pixel.f1, missed.pixel.iou], 0)
    empty = panel(*GIVEN, nothing)
    assert np.isnan(jax.tree.leaves((empty.pixel, empty.image))).all()


def test_without_scores_there_is_no_average_precision():
    found = anomaly_detection(*GIVEN[:2])
    assert found.pixel.average_precision is None
    assert found.image.average_precision is None
    assert found.per_image.average_precision is None
    whole = panel(*GIVEN)
    chex.assert_trees_all_equal(found.pixel[:4], whole.pixel[:4])


def test_a_few_false_pixels_in_every_image_make_the_image_level_worthless():
    """Nine of ten pixels flagged are right, and yet every normal image is called anomalous."""
    targets = np.zeros((10, 100), bool)
    targets[0, :90] = True
    decisions = targets.copy()
    decisions[:, 99] = True
    found = anomaly_detection(jnp.asarray(decisions), jnp.asarray(targets))
    np.testing.assert_allclose(found.pixel.precision, 0.9)
    np.testing.assert_allclose(found.image.precision, 0.1)


def test_scores_are_not_squashed():
    """Squared distances: a sigmoid, which cuvis-ai takes, makes nearly all of them equal."""
    rng = np.random.default_rng(0)
    scores = np.concatenate([rng.chisquare(27, 4000), 2.2 * rng.chisquare(27, 200)])
    targets = np.arange(4200) >= 4000
    given = jnp.asarray(targets)[None], jnp.asarray(scores, jnp.float32)[None]
    truth = detections.average_precision(np.float32(scores), targets)
    found = anomaly_detection(given[0], *given).pixel.average_precision
    np.testing.assert_allclose(found, truth, rtol=1e-5)
    assert truth > 0.8
    squashed = anomaly_detection(given[0], given[0], jax.nn.sigmoid(given[1]))
    assert squashed.pixel.average_precision < 0.06


def test_nan_counts_only_where_it_counts():
    scores = GIVEN[2].at[0, 0, 0].set(jnp.nan)
    here = EVERY.at[0, 0, 0].set(False)
    broken, whole = panel(*GIVEN[:2], scores), panel(*GIVEN)
    assert np.isnan(broken.pixel.average_precision)
    assert np.isnan(broken.image.average_precision)
    assert np.isnan(broken.per_image.average_precision.values[0])
    chex.assert_trees_all_close(broken.pixel[:4], whole.pixel[:4])
    masked = [panel(*GIVEN[:2], s, here) for s in (scores, GIVEN[2])]
    chex.assert_trees_all_equal(*masked)


@pytest.mark.long
def test_vmap_dtypes_and_devices():
    mesh = jax.make_mesh(
        (4,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices("cpu")[:4]
    )
    whole = panel(*GIVEN)
    spread = jax.device_put(GIVEN, jax.NamedSharding(mesh, jax.P("data")))
    chex.assert_trees_all_close(jax.device_get(panel(*spread)), whole, rtol=1e-6)
    many = jax.jit(jax.vmap(panel))(*(jnp.stack([x, x[::-1]]) for x in GIVEN))
    chex.assert_trees_all_close(jax.tree.map(lambda x: x[0], many), whole, rtol=1e-6)
    half = GIVEN[2].astype(jnp.bfloat16)  # small integers, all of which it has
    chex.assert_trees_all_equal(panel(*GIVEN[:2], half), whole)
    with jax.numpy_dtype_promotion("strict"):
        assert "callback" not in str(jax.make_jaxpr(panel)(*GIVEN))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"decisions": GIVEN[2]}, r"decisions: expected a mask \(bool, true = flagged\)"),
        ({"targets": GIVEN[2]}, r"targets: expected a mask \(bool, true = anomalous\)"),
        ({"targets": GIVEN[1][:, 1:]}, "targets: expected shape"),
        ({"scores": GIVEN[1]}, "scores: expected a floating dtype"),
        ({"scores": GIVEN[2][:, 1:]}, "scores: expected shape"),
        ({"where": GIVEN[2]}, "where: expected bool"),
        ({"where": GIVEN[1][:, 1:]}, "where: expected shape"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(change, message):
    given = dict(zip(("decisions", "targets", "scores"), GIVEN, strict=True))
    # The public function as users have it, without the annotations' own check.
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(anomaly_detection)(**{**given, **change})
