import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench.anomaly.deep_svdd import DeepSvdd
from lossbench.anomaly.lad import fit_lad
from lossbench.anomaly.pipeline import Pipeline
from lossbench.anomaly.svdd_options import SvddOptions
from lossbench.detection import classical_detector, trained_detector
from lossbench.detection.detector import outputs_to_scores
from lossbench.metrics import Threshold
from lossbench.models import SVDDEncoder
from tests.detection.conftest import WAVELENGTHS


def by_hand(detector, scene):
    """Squared distances to the center in float64."""
    arrays = detector.variables["params"]
    x = scene[..., 1:11].astype(np.float64)
    fitted = arrays["preprocessing"]["z_score"]
    x = (x - fitted["mean"]) / fitted["std"]
    x = x @ np.asarray(arrays["dense_0"]["kernel"], np.float64)
    x = np.where(x < 0, 0.01 * x, x) @ np.asarray(arrays["dense_1"]["kernel"], np.float64)
    return ((x - detector.variables["svdd"]["center"]) ** 2).sum(-1)


def test_scores_are_those_of_the_formula(svdd, scene):
    scores = svdd.scores(scene)
    assert scores.shape == (12, 15)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, by_hand(svdd, scene), rtol=1e-5)
    assert np.unravel_index(scores.argmax(), scores.shape) == (3, 4)


@pytest.mark.parametrize("which", ["svdd", "rx"])
def test_the_size_of_blocks_changes_nothing(which, scene, request):
    detector = request.getfixturevalue(which)
    whole = detector.scores(scene)
    np.testing.assert_allclose(detector.scores(scene, block=64), whole, rtol=1e-5)
    rows = detector.scores(scene.reshape(-1, 12))
    np.testing.assert_array_equal(rows.reshape(whole.shape), whole)
    np.testing.assert_allclose(detector.scores(scene[3, 4]), whole[3, 4], rtol=1e-5)
    assert detector.scores(scene[:0]).shape == (0, 15)


def test_a_share_nu_of_the_training_pixels_is_flagged_and_a_pixel_with_nan_is_not(svdd, scene):
    flagged = svdd.decide(scene)
    # The score at the sphere itself may be on either side of its radius's square, rounded.
    assert flagged.sum() - int(0.05 * flagged.size) in (0, 1)
    assert flagged[3, 4]
    spoiled = scene.astype(np.float64)
    spoiled[3, 4, 5] = np.nan
    assert np.isnan(svdd.scores(spoiled)[3, 4])
    again = svdd.decide(spoiled)
    assert not again[3, 4]
    assert again.sum() == flagged.sum() - 1


def test_the_threshold_is_just_above_the_squared_radius(svdd):
    radius = np.float32(svdd.variables["svdd"]["radius"])
    assert np.float32(svdd.threshold.value) == np.nextafter(radius * radius, np.float32(np.inf))
    assert (svdd.threshold.how, svdd.threshold.split) == ("nu", "train")


def test_a_constant_map_flags_nothing_and_nothing_changes(svdd, scene):
    before = jax.tree.map(np.copy, svdd.variables)
    svdd.decide(np.broadcast_to(scene[0, 0], scene.shape))
    assert jax.tree.all(jax.tree.map(np.array_equal, before, svdd.variables))
    model = DeepSvdd(SVDDEncoder(features=(8, 4)), SvddOptions(nu=0.1))
    image = np.ones((1, 6, 5), np.float32)
    variables = model.prepare(model.init(jax.random.key(0), image), lambda: [{"image": image}])
    detector = trained_detector(model, variables, shape=(6, 5))
    assert not detector.decide(image[0]).any()


def test_another_scene_is_refused(svdd, scene):
    for image, wavelengths, message in (
        (scene[..., :7], None, r"expected 12 channels .*as in training, got shape \(12, 15, 7\)"),
        (scene > 200, None, "expected floats or integers, got bool"),
        (np.float32(3), None, "expected 12 channels"),
        (scene, WAVELENGTHS[:3], "expected 12, one a channel, got 3"),
        (scene, (*WAVELENGTHS[:4], 640.0, *WAVELENGTHS[5:]), "band 4 is at 640 nm, but .* 600 nm"),
    ):
        with pytest.raises(ValueError, match=message):
            svdd.scores(image, wavelengths=wavelengths)
    svdd.check(scene.shape, scene.dtype, [nm + 0.4 for nm in WAVELENGTHS])


def test_a_network_that_judges_images_as_a_whole_gives_one_number():
    model = DeepSvdd(SVDDEncoder("lenet", channels=(2,), window=3, features=(4,)), SvddOptions())
    images = np.random.default_rng(0).normal(size=(20, 4, 4, 1)).astype(np.float32)
    variables = model.init(jax.random.key(0), images)
    variables = model.prepare(variables, lambda: [{"image": images}])
    detector = trained_detector(model, variables, shape=(4, 4, 1))
    assert not detector.pixelwise
    want = model.apply(variables, images)["scores"]
    found = np.array([detector.scores(image) for image in images[:3]])
    np.testing.assert_allclose(found, want[:3], rtol=1e-5)
    assert detector.decide(images[0]).shape == ()
    with pytest.raises(ValueError, match=r"size it was trained on, \(4, 4, 1\), got .*\(5, 4, 1\)"):
        detector.scores(np.zeros((5, 4, 1)))


class Logits(nn.Module):
    num_classes: int = 1

    @nn.compact
    def __call__(self, image):
        return {"logits": nn.Dense(self.num_classes)(image)}


def test_logits_are_scores_and_above_0_anomalous():
    image = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32)
    model = Logits()
    variables = model.init(jax.random.key(0), image[None])
    detector = trained_detector(model, variables, shape=image.shape, name="own:Logits")
    logits = np.asarray(model.apply(variables, image[None])["logits"])[0, ..., 0]
    np.testing.assert_allclose(detector.scores(image), logits, rtol=1e-5)
    np.testing.assert_array_equal(detector.decide(image), logits > 0)
    assert detector.kind == "network"
    assert detector.threshold.how == "fixed"


def test_what_has_no_scores_is_refused():
    model = Logits(3)
    variables = model.init(jax.random.key(0), jnp.zeros((1, 5)))
    with pytest.raises(ValueError, match="more than two classes apart"):
        trained_detector(model, variables, shape=(5,))
    assert outputs_to_scores({"scores": 7}) == 7


def test_a_classical_detector_behind_preprocessing(scene):
    pipeline = Pipeline.from_config(
        {"min_max": {}, "bandpass": {"high": 700}}, wavelengths=WAVELENGTHS
    )
    arrays = pipeline.fit(lambda: [(scene, None)])
    fitted = fit_lad(pipeline.apply(arrays, scene))
    detector = classical_detector(
        fitted, Threshold.fixed(1.0), pipeline=pipeline, arrays=arrays, channels=12
    )
    want = fitted.scores(pipeline.apply(arrays, scene))
    np.testing.assert_allclose(detector.scores(scene), want, rtol=1e-5)
    with pytest.raises(ValueError, match="it gives 7 channels, and the detector was fitted to 12"):
        classical_detector(
            fit_lad(scene), Threshold.fixed(1.0), pipeline=pipeline, arrays=arrays, channels=12
        )
    with pytest.raises(ValueError, match="say how many come into the pipeline"):
        classical_detector(fitted, Threshold.fixed(1.0), pipeline=pipeline, arrays=arrays)


def test_another_threshold_is_another_detector(rx, scene):
    above = dataclasses.replace(rx, threshold=Threshold.fixed(float(rx.scores(scene).max())))
    assert np.argwhere(above.decide(scene)).tolist() == [[3, 4]]
