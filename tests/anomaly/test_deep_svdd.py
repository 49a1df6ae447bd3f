"""The sphere as a collection of variables: it moves in training, and in training alone."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench import losses
from lossbench.anomaly.deep_svdd import DeepSvdd
from lossbench.anomaly.pipeline import Pipeline
from lossbench.anomaly.preprocessed import Preprocessed
from lossbench.anomaly.svdd_options import SvddOptions
from lossbench.models import SVDDEncoder
from tests.training.conftest import same

PIXELS = jax.random.normal(jax.random.key(0), (2, 50, 5)) + 1
WHERE = jax.random.uniform(jax.random.key(1), (2, 50)) < 0.8
BATCHES = [{"image": PIXELS, "where": WHERE}]


def prepared(warmup_steps=0, **options):
    detector = DeepSvdd(
        SVDDEncoder(features=(8, 4)), SvddOptions(**options), warmup_steps=warmup_steps
    )
    variables = detector.init(jax.random.key(2), PIXELS, WHERE)
    return detector, detector.prepare(variables, lambda: BATCHES)


@pytest.fixture(scope="module")
def plain():
    return prepared()


def embeddings_of(detector, variables):
    inner = {"params": variables["params"]}
    return np.asarray(detector.model.apply(inner, PIXELS)["embeddings"], np.float64)


def test_the_centre_is_the_pushed_mean_of_the_first_embeddings_that_count(plain):
    detector, variables = plain
    mean = embeddings_of(detector, variables)[np.asarray(WHERE)].mean(0)
    pushed = np.where(np.abs(mean) < 0.1, np.where(mean < 0, -0.1, 0.1), mean)
    np.testing.assert_allclose(variables["svdd"]["center"], pushed, rtol=1e-5)


def test_scores_are_squared_distances_and_the_threshold_has_the_nu_property(plain):
    detector, variables = plain
    outputs = jax.jit(detector.apply)(variables, PIXELS)
    apart = embeddings_of(detector, variables) - np.asarray(variables["svdd"]["center"])
    np.testing.assert_allclose(outputs["scores"], (apart**2).sum(-1), rtol=1e-4)
    outside = np.asarray(outputs["scores"] > outputs["threshold"])[np.asarray(WHERE)]
    assert 0.1 - 2 / WHERE.sum() < outside.mean() <= 0.1


def test_a_bare_call_changes_no_state_and_training_does(plain):
    detector, variables = plain
    before = jax.tree.map(jnp.copy, variables)
    detector.apply(variables, PIXELS)
    assert same(before, variables)
    _, changed = detector.apply(variables, PIXELS * 3, WHERE, mutable=["svdd"])
    assert same(before, variables)
    assert int(changed["svdd"]["steps"]) == 1
    assert changed["svdd"]["radius"] > variables["svdd"]["radius"]
    assert np.array_equal(changed["svdd"]["center"], variables["svdd"]["center"])
    assert changed["svdd"]["outliers"] > 0.1 * WHERE.sum()


def test_an_ema_centre_moves_by_its_rate_towards_the_batch():
    detector, variables = prepared(center="ema", center_rate=0.25)
    outputs, changed = detector.apply(variables, PIXELS * 2, WHERE, mutable=["svdd"])
    mean = np.asarray(outputs["embeddings"], np.float64)[np.asarray(WHERE)].mean(0)
    first = np.asarray(variables["svdd"]["center"], np.float64)
    np.testing.assert_allclose(changed["svdd"]["center"], 0.75 * first + 0.25 * mean, rtol=1e-5)
    masked = detector.apply(variables, PIXELS, jnp.zeros_like(WHERE), mutable=["svdd"])[1]
    assert np.array_equal(masked["svdd"]["center"], variables["svdd"]["center"])


def test_the_radius_counts_as_0_during_the_warmup():
    detector, variables = prepared(warmup_steps=1)
    assert detector.apply(variables, PIXELS)["radius"] == 0
    assert detector.apply(variables, PIXELS)["threshold"] > 0
    _, changed = detector.apply(variables, PIXELS, WHERE, mutable=["svdd"])
    assert detector.apply({**variables, **changed}, PIXELS)["radius"] > 0


def test_a_learned_radius_is_a_parameter_with_a_gradient():
    detector, variables = prepared(radius="learned", initial_radius=0.3)
    np.testing.assert_allclose(detector.apply(variables, PIXELS)["radius"], 0.3, rtol=1e-5)

    def loss(params):
        outputs = detector.apply({**variables, "params": params}, PIXELS)
        return losses.svdd_soft_boundary(
            outputs["embeddings"], outputs["center"], outputs["radius"], nu=0.1
        ).mean()

    gradient = jax.grad(loss)(variables["params"])
    assert gradient["svdd"]["radius"] != 0
    assert "svdd" not in prepared()[1]["params"]


def test_the_radius_of_the_end_is_that_of_all_the_data(plain):
    detector, variables = plain
    stale = {**variables, "svdd": {**variables["svdd"], "radius": jnp.float32(99)}}
    fresh = detector.finish(stale, lambda: BATCHES)
    assert np.array_equal(fresh["svdd"]["radius"], variables["svdd"]["radius"])


def test_the_monitor_sees_a_collapse_and_a_centre_that_runs_away(plain):
    detector, variables = plain
    facts = detector.examine(variables, PIXELS, WHERE)
    assert detector.alarm(facts) == ""
    np.testing.assert_allclose([facts["spread"], facts["distinct"]], 1, rtol=1e-5)
    dead = {**variables, "params": jax.tree.map(jnp.zeros_like, variables["params"])}
    assert "collapsed" in detector.alarm(detector.examine(dead, PIXELS, WHERE))
    sphere = {**variables["svdd"], "center": 3 * variables["svdd"]["center"]}
    moved = detector.examine({**variables, "svdd": sphere}, PIXELS, WHERE)
    assert "run away" in detector.alarm(moved)


def test_preprocessing_is_fitted_first_and_lies_with_the_parameters():
    pipeline = Pipeline.from_config({"z_score": {}})
    model = Preprocessed(pipeline, SVDDEncoder(features=(8, 4)))
    detector = DeepSvdd(model, SvddOptions())
    shifted = [{**batch, "image": 100 * batch["image"] + 7} for batch in BATCHES]
    variables = detector.init(jax.random.key(2), PIXELS, WHERE)
    variables = detector.prepare(variables, lambda: shifted)
    counted = np.asarray(shifted[0]["image"], np.float64)[np.asarray(WHERE)]
    fitted = variables["params"]["preprocessing"]["z_score"]
    np.testing.assert_allclose(fitted["mean"], counted.mean(0), rtol=1e-5)
    outputs = detector.apply(variables, shifted[0]["image"])
    inside = np.asarray(outputs["image"], np.float64)[np.asarray(WHERE)]
    np.testing.assert_allclose(inside.std(0, ddof=1), 1, rtol=1e-4)


def test_a_model_without_embeddings_is_refused():
    class Logits:
        def init(self, key, image):
            return {"params": {"w": jnp.ones(image.shape[-1])}}

        def apply(self, variables, image):
            return {"logits": image * variables["params"]["w"][None]}

    with pytest.raises(ValueError, match=r"no output 'embeddings'.*its outputs are: logits"):
        DeepSvdd(Logits()).init(jax.random.key(0), jnp.ones((1, 3)))


@pytest.mark.parametrize("radius", [1e-3, 0.1, 5.0, 100.0])
def test_a_learned_radius_begins_where_it_was_told_to(radius):
    detector, variables = prepared(radius="learned", initial_radius=radius)
    np.testing.assert_allclose(detector.apply(variables, PIXELS)["radius"], radius, rtol=1e-4)


def test_equal_inputs_lie_inside_whatever_the_program():
    """All embeddings are the same but for their last bits: a constant scene flags nothing."""
    detector = DeepSvdd(SVDDEncoder(features=(8, 4)))
    scene = jnp.broadcast_to(PIXELS[:1, :1], (1, 50, 5))
    variables = detector.init(jax.random.key(2), scene)
    variables = detector.prepare(variables, lambda: [{"image": scene}])
    for apply in (detector.apply, jax.jit(detector.apply)):
        outputs = apply(variables, scene)
        assert not (outputs["scores"] > outputs["threshold"]).any()


def test_too_few_embeddings_tell_nothing(plain):
    detector, variables = plain
    for counted in (0, 1, 7):
        where = jnp.arange(100).reshape(2, 50) < counted
        assert detector.alarm(detector.examine(variables, PIXELS, where)) == ""


def test_the_monitor_compares_with_embeddings_as_in_training():
    """Of a network with batch normalization the running statistics are still 0 and 1."""
    model = SVDDEncoder(features=(8, 4), normalization="batch_no_affine")
    detector = DeepSvdd(model)
    variables = detector.init(jax.random.key(2), 0.01 * PIXELS, WHERE)
    variables = detector.prepare(variables, lambda: [{"image": 0.01 * PIXELS, "where": WHERE}])
    inner = {k: v for k, v in variables.items() if k != "svdd"}
    outputs, _ = model.apply(inner, 0.01 * PIXELS, WHERE, mutable=["batch_stats"])
    kept = np.asarray(outputs["embeddings"], np.float64)[np.asarray(WHERE)]
    expected = np.sqrt(kept.var(0).mean())
    np.testing.assert_allclose(variables["svdd"]["first"]["spread"], expected, rtol=1e-4)


def test_an_empty_set_or_nan_has_no_centre():
    detector = DeepSvdd(SVDDEncoder(features=(8, 4)))
    variables = detector.init(jax.random.key(0), PIXELS, WHERE)
    nothing = [{"image": PIXELS, "where": jnp.zeros_like(WHERE)}]
    with pytest.raises(ValueError, match="nothing counts"):
        detector.prepare(variables, lambda: nothing)
    assert dataclasses.is_dataclass(detector)
