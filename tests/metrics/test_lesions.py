import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench.metrics.by_class import by_class
from lossbench.metrics.lesions import lesion_detection
from tests.metrics import instances

STATIC = ("connectivity", "empty")
detect = jax.jit(lesion_detection, static_argnames=STATIC)
SCORES = ("sensitivity", "precision", "f1", "dice")
COUNTS = ("true_positives", "false_negatives", "false_positives")


def by_loops(prediction, label, threshold, connectivity):
    """Scores and counts of one example; NaN where undefined."""
    found, true = (instances.components(m, connectivity) for m in (prediction, label))
    matches = [[p for p in found if instances.iou(p, t) > threshold] for t in true]
    tp = sum(len(match) > 0 for match in matches)
    fn = len(true) - tp
    fp = sum(all(instances.iou(p, t) <= threshold for t in true) for p in found)
    dice = 0.0
    for t, match in zip(true, matches, strict=True):
        union = np.any([np.zeros_like(t), *match], axis=0)
        dice += 2 * (union & t).sum() / (union.sum() + t.sum()) if match else 0.0
    ratio = lambda a, b: a / b if b else np.nan  # noqa: E731
    scores = ratio(tp, tp + fn), ratio(tp, tp + fp), ratio(2 * tp, 2 * tp + fp + fn)
    return (*scores, ratio(dice, tp + fn + fp), tp, fn, fp)


@pytest.mark.parametrize("connectivity", [None, 1])
@pytest.mark.parametrize("space", [(30,), (13, 12), (7, 8, 6)], ids=str)
def test_the_scores_are_those_of_loops(space, connectivity):
    predictions, labels = instances.masks(space, 6)
    for threshold in (0.0, 0.1, 0.3, 0.5, 0.75):
        found = detect(
            jnp.asarray(predictions),
            jnp.asarray(labels),
            threshold=threshold,
            connectivity=connectivity,
        )
        wanted = [
            by_loops(p, t, threshold, connectivity)
            for p, t in zip(predictions, labels, strict=True)
        ]
        *scores, tp, fn, fp = np.array(wanted).T
        for name, values in zip(SCORES, scores, strict=True):
            score = getattr(found, name)
            np.testing.assert_allclose(score.values, values, rtol=1e-6, err_msg=name)
            assert score.undefined == np.isnan(values).sum()
        for name, values in zip(COUNTS, (tp, fn, fp), strict=True):
            np.testing.assert_array_equal(getattr(found, name), values)
    assert 0 < np.sum(tp[:6]) < np.sum((tp + fn)[:6])


def test_many_lesions_need_two_keys():
    """Beyond 2^16 of both kinds a pair no longer fits into 32 bits."""
    labels = np.zeros((1, 2**18 + 7), bool)
    labels[:, ::2] = True
    predictions = labels.copy()
    predictions[:, :8] = [True, False, False, True, False, False, True, False]
    found = detect(jnp.asarray(predictions), jnp.asarray(labels))
    number = labels.sum()
    assert found.true_positives == number - 2
    assert found.false_negatives == 2
    assert found.false_positives == 1


def test_one_prediction_over_all_finds_all_and_its_dice_says_how_well():
    labels = np.zeros((1, 9, 9), bool)
    labels[0, ::4, ::4] = True
    found = detect(jnp.ones((1, 9, 9), bool), jnp.asarray(labels))
    assert found.sensitivity.values == found.precision.values == found.f1.values == 1
    np.testing.assert_allclose(found.dice.values, 2 / 82, rtol=1e-6)


def test_empty_masks():
    labels = jnp.zeros((4, 4, 4), bool).at[2:, 0].set(True)
    predictions = labels.at[2].set(False).at[1, 0].set(True)
    for empty, both, no_label, no_prediction in (
        ("nan", np.nan, np.nan, np.nan),
        ("skip", np.nan, np.nan, np.nan),
        ("worst", 1, 0, 0),
        ("zero", 0, 0, 0),
    ):
        found = detect(predictions, labels, empty=empty)
        for name, values in (
            ("sensitivity", [both, no_label, 0, 1]),
            ("precision", [both, 0, no_prediction, 1]),
            ("f1", [both, 0, 0, 1]),
            ("dice", [both, 0, 0, 1]),
        ):
            score = getattr(found, name)
            np.testing.assert_array_equal(score.values, values)
            mean = np.nanmean(values) if empty == "skip" else np.mean(values)
            np.testing.assert_allclose(score.mean, mean, rtol=1e-6)
    assert [int(getattr(found, name).undefined) for name in SCORES] == [2, 2, 1, 1]
    np.testing.assert_array_equal(found.false_positives, [0, 1, 0, 0])


def test_inside_of_jax():
    predictions, labels = (jnp.asarray(m[:8]) for m in instances.masks((9, 8), 8))
    alone = detect(predictions, labels, threshold=jnp.array(0.2))
    thresholds = jnp.array([0.2, 0.6])
    swept = jax.jit(jax.vmap(lambda t: lesion_detection(predictions, labels, threshold=t)))(
        thresholds
    )
    np.testing.assert_array_equal(swept.dice.values[0], alone.dice.values)
    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    spread = jax.device_put((predictions, labels), jax.NamedSharding(mesh, jax.P("data")))
    there = detect(*spread, threshold=jnp.array(0.2))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), there, alone)
    with jax.numpy_dtype_promotion("strict"):
        assert "callback" not in str(jax.make_jaxpr(lesion_detection)(predictions, labels))


def test_by_class():
    rng = np.random.default_rng(0)
    predictions, labels = (jnp.asarray(rng.integers(0, 3, (2, 6, 5))) for _ in range(2))
    every = jax.jit(lambda p, t: by_class(lesion_detection, p, t, num_classes=3))
    found = every(predictions, labels)
    alone = detect(predictions == 2, labels == 2)
    np.testing.assert_array_equal(found.f1.values[2], alone.f1.values)
    np.testing.assert_array_equal(found.false_positives[2], alone.false_positives)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"predictions": jnp.zeros((1, 3, 4))}, r"predictions: expected a mask \(bool\)"),
        ({"labels": jnp.zeros((1, 4, 3), bool)}, "predictions: expected shape"),
        ({"connectivity": 3}, "connectivity: expected 1 to 2 or None, got 3"),
        ({"threshold": 1}, "threshold: expected 0 to below 1, got 1"),
        ({"empty": "best"}, "empty: expected one of"),
    ],
)
def test_wrong_arguments_are_named(change, message):
    masks = {"predictions": jnp.zeros((1, 3, 4), bool), "labels": jnp.zeros((1, 3, 4), bool)}
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(lesion_detection)(**{**masks, **change})


def test_masks_without_space_are_refused():
    nothing = jnp.zeros((3,), bool)
    with pytest.raises(ValueError, match="labels: expected shape"):
        inspect.unwrap(lesion_detection)(nothing, nothing)


def test_a_ratio_that_equals_the_threshold_is_not_above_it():
    labels = jnp.zeros((1, 300), bool).at[0, :200].set(True)
    predictions = jnp.zeros((1, 300), bool).at[0, 137:300].set(True)  # 63 of 300
    assert lesion_detection(predictions, labels, threshold=0.21).true_positives[0] == 0
    assert lesion_detection(predictions, labels, threshold=0.2099).true_positives[0] == 1
