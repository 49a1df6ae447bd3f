import inspect
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench.metrics import curves
from lossbench.metrics.ranking import average_precision, roc_auc
from tests.metrics import rankings

NAMES, SCORES, LABELS, WHERE, WEIGHTS = rankings.examples()
VARIANTS = {
    "plain": {"where": jnp.ones(WHERE.shape, bool)},  # so that it shares a program
    "masked": {"where": jnp.asarray(WHERE)},
    "weighted": {"where": jnp.asarray(WHERE), "weights": jnp.asarray(WEIGHTS)},
}
STORED = Path(__file__).parent / "data" / "ranking_values.json"
GIVEN = jnp.asarray(SCORES), jnp.asarray(LABELS)


def weights_of(variant):
    counted = np.ones(LABELS.shape) if variant == "plain" else WHERE.astype(float)
    return counted * WEIGHTS if variant == "weighted" else counted


@pytest.fixture(scope="module", params=VARIANTS)
def both(request):
    """The variant and both curves."""
    more = VARIANTS[request.param]
    roc, pr = (f(*GIVEN, **more) for f in (curves.roc_curve, curves.pr_curve))
    return request.param, jax.device_get(roc), jax.device_get(pr)


def test_equals_the_definition_at_every_threshold(both):
    variant, roc, pr = both
    of_roc = of_pr = 0
    for i, name in enumerate(NAMES):
        at, tp, fp = rankings.curve(SCORES[i], LABELS[i], weights_of(variant)[i])
        positives, negatives = tp[-1] or np.nan, fp[-1] or np.nan
        precision = np.where(tp + fp > 0, tp / np.maximum(tp + fp, 1e-9), 1)
        of_roc += np.isnan(positives + negatives)
        of_pr += np.isnan(positives)
        for found, wanted, points in (
            (roc.fpr, fp / negatives, roc.points),
            (roc.tpr, tp / positives, roc.points),
            (roc.thresholds, at, roc.points),
            (pr.precision, precision, pr.points),
            (pr.recall, tp / positives, pr.points),
            (pr.thresholds, at, pr.points),
        ):
            np.testing.assert_allclose(found[i, points[i]], wanted, rtol=1e-6, err_msg=name)
    assert roc.undefined == of_roc > 0
    assert pr.undefined == of_pr > 0


def test_equals_scikit_learn(both):
    variant, roc, pr = both
    stored = json.loads(STORED.read_text())["curves"]
    for name, curve in (("roc_curve", roc), ("pr_curve", pr)):
        for row, wanted in stored[name][variant].items():
            i = NAMES.index(row)
            points = curve.points[i]
            for field, values in wanted.items():
                # Where ours has an infinite threshold, scikit-learn has none, or one of its own.
                start = 1 if field == "thresholds" else 0
                found = getattr(curve, field)[i, points][start:]
                np.testing.assert_allclose(found, values, rtol=1e-6, err_msg=f"{name} {row}")


def test_places_that_are_no_point_repeat_one(both):
    """So areas need no mask."""
    variant, roc, pr = both
    auc = roc_auc(*GIVEN, **VARIANTS[variant]).values
    height = (roc.tpr[:, 1:] + roc.tpr[:, :-1]) / 2
    np.testing.assert_allclose((np.diff(roc.fpr) * height).sum(1), auc, atol=1e-6)
    ap = average_precision(*GIVEN, **VARIANTS[variant]).values
    np.testing.assert_allclose((np.diff(pr.recall) * pr.precision[:, 1:]).sum(1), ap, atol=1e-6)
    for curve in (roc, pr):
        assert curve.points[:, 0].all()
        assert (curve.thresholds[:, 0] == np.inf).all()
        ordered = np.diff(curve.thresholds[: NAMES.index("infinite")]) <= 0
        assert ordered[~np.isnan(ordered)].all()


@pytest.mark.parametrize("function", [curves.roc_curve, curves.pr_curve])
def test_nan_space_and_vmap(function):
    scores, labels = GIVEN[0][:3], GIVEN[1][:3]
    whole = function(scores, labels)
    broken = function(scores.at[1, 3].set(jnp.nan), labels)
    assert broken.undefined == 1
    for a, b in zip(whole[:3], broken[:3], strict=True):
        assert np.isnan(b[1]).all()
        np.testing.assert_array_equal(a[::2], b[::2])
    with jax.numpy_dtype_promotion("strict"):
        assert "callback" not in str(jax.make_jaxpr(function)(scores, labels))
    space = function(scores.reshape(3, 4, 6), labels.reshape(3, 4, 6))
    alone = jax.vmap(function)(scores[:, None], labels[:, None])
    for a, b, c in zip(whole[:4], space[:4], alone[:4], strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c[:, 0])


@pytest.mark.parametrize("function", [curves.roc_curve, curves.pr_curve])
def test_class_ids_are_refused(function):
    with pytest.raises(ValueError, match=r"labels: expected a mask .*`ids == c`"):
        inspect.unwrap(function)(GIVEN[0], GIVEN[1].astype(jnp.int32))
