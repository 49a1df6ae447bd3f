"""Rates of each class against loops over pixels and scikit-learn."""

import dataclasses
import json
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench.metrics import rates
from lossbench.metrics._counts import Cells
from lossbench.metrics.overlap import dice

RNG = np.random.default_rng(0)
CLASSES = 4
PREDICTIONS = RNG.integers(0, 3, (5, 6, 5))  # class 3 is never predicted
LABELS = RNG.integers(0, CLASSES, (5, 6, 5))
LABELS[1] = np.minimum(LABELS[1], 1)  # classes 2 and 3 are absent, 2 is predicted
LABELS[2] = PREDICTIONS[2] = 0  # nothing but the background
PREDICTIONS[3] = np.where(RNG.random((6, 5)) < 0.8, LABELS[3], PREDICTIONS[3])
WHERE = RNG.random(LABELS.shape) < 0.7
STORED = json.loads((Path(__file__).parent / "data" / "sklearn_values.json").read_text())


def cells(predictions, labels, where, c):
    """The four cells of a class, one pixel after the other."""
    tp = fp = fn = tn = 0
    for p, t, counted in zip(predictions.ravel(), labels.ravel(), where.ravel(), strict=True):
        if counted:
            tp += int(p == c and t == c)
            fp += int(p == c and t != c)
            fn += int(p != c and t == c)
            tn += int(p != c and t != c)
    return tp, fp, fn, tn


def f_beta(beta):
    def formula(tp, fp, fn, tn):
        below = (1 + beta**2) * tp + beta**2 * fn + fp
        return (1 + beta**2) * tp / below if below else np.nan

    return formula


def mcc(tp, fp, fn, tn):
    """In Python's integers, which are exact."""
    margins = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
    return (tp * tn - fp * fn) / math.sqrt(margins) if margins else np.nan


# Function, state, options and formula.
METRICS = {
    "precision": (
        rates.precision,
        rates.Precision,
        {},
        lambda tp, fp, fn, tn: tp / (tp + fp) if tp + fp else np.nan,
    ),
    "recall": (
        rates.recall,
        rates.Recall,
        {},
        lambda tp, fp, fn, tn: tp / (tp + fn) if tp + fn else np.nan,
    ),
    "specificity": (
        rates.specificity,
        rates.Specificity,
        {},
        lambda tp, fp, fn, tn: tn / (tn + fp) if tn + fp else np.nan,
    ),
    "f_beta": (rates.f_beta, rates.FBeta, {}, f_beta(1)),
    "f_beta 2": (rates.f_beta, rates.FBeta, {"beta": 2}, f_beta(2)),
    "f_beta 0.5": (rates.f_beta, rates.FBeta, {"beta": 0.5}, f_beta(0.5)),
    "mcc": (rates.mcc, rates.Mcc, {}, mcc),
}
# A difference of two square roots, each exact to single precision.
CLOSE = {"rtol": 1e-6, "atol": 3e-7}


@pytest.fixture(params=METRICS)
def name(request):
    return request.param


def expected(name, predictions, labels, where):
    rows = zip(predictions, labels, where, strict=True)
    return [[METRICS[name][3](*cells(*row, c)) for c in range(CLASSES)] for row in rows]


@pytest.mark.parametrize("masked", [False, True], ids=["all", "masked"])
def test_the_value_is_the_formula(name, masked):
    metric, _, options, _ = METRICS[name]
    value = metric(
        jnp.asarray(PREDICTIONS),
        jnp.asarray(LABELS),
        num_classes=CLASSES,
        where=jnp.asarray(WHERE) if masked else None,
        **options,
    )
    where = WHERE if masked else np.ones_like(WHERE)
    np.testing.assert_allclose(value, expected(name, PREDICTIONS, LABELS, where), **CLOSE)


def test_what_scikit_learn_gives(name):
    metric, _, options, _ = METRICS[name]
    predictions, labels = (jnp.asarray(STORED[k]) for k in ("predictions", "labels"))
    value = np.array(metric(predictions, labels, num_classes=3, **options))
    theirs = np.array(STORED["values"][name])
    if name == "mcc":  # theirs is 0 also where it has no value, as with a class that is nowhere
        assert np.isnan(value).sum() == 7
        assert np.all(theirs[np.isnan(value)] == 0)
        theirs = np.where(np.isnan(value), np.nan, theirs)
    np.testing.assert_allclose(value, theirs, **CLOSE)


@pytest.mark.parametrize(
    ("name", "predictions", "labels"),
    [
        ("precision", [0, 0], [0, 1]),
        ("recall", [0, 1], [0, 0]),
        ("specificity", [0, 1], [1, 1]),
        ("f_beta", [0, 0], [0, 0]),
        ("mcc", [0, 0], [0, 1]),
        ("mcc", [1, 1], [0, 1]),
        ("mcc", [0, 1], [0, 0]),
        ("mcc", [1, 0], [1, 1]),
    ],
)
def test_a_margin_without_a_pixel_is_undefined(name, predictions, labels):
    value = METRICS[name][0](jnp.array([predictions]), jnp.array([labels]), num_classes=2)
    assert np.isnan(value[0, 1])


def test_a_mask_is_two_classes(name):
    metric, _, options, _ = METRICS[name]
    value = metric(
        jnp.asarray(PREDICTIONS == 1), jnp.asarray(LABELS == 1), num_classes=2, **options
    )
    ones = np.ones(LABELS.shape, bool)
    truth = np.array(expected(name, PREDICTIONS == 1, LABELS == 1, ones))
    np.testing.assert_allclose(value, truth[:, :2], **CLOSE)


def test_all_right_is_one_and_all_wrong_the_least(name):
    metric, _, options, _ = METRICS[name]
    labels = jnp.array([[0, 0, 1, 1, 1]])
    np.testing.assert_array_equal(metric(labels, labels, num_classes=2, **options), [[1, 1]])
    least = -1 if name == "mcc" else 0
    wrong = metric(1 - labels, labels, num_classes=2, **options)
    np.testing.assert_allclose(wrong, [[least, least]], rtol=1e-6)


def test_truth_and_prediction_change_places():
    one, other = jnp.asarray(PREDICTIONS), jnp.asarray(LABELS)
    swapped = rates.recall(other, one, num_classes=CLASSES)
    np.testing.assert_array_equal(rates.precision(one, other, num_classes=CLASSES), swapped)
    there, back = (rates.mcc(*pair, num_classes=CLASSES) for pair in [(one, other), (other, one)])
    np.testing.assert_allclose(there, back, **CLOSE)


def test_f_beta_lies_between_precision_and_recall():
    ids, options = (jnp.asarray(PREDICTIONS), jnp.asarray(LABELS)), {"num_classes": CLASSES}
    found = {beta: rates.f_beta(*ids, beta=beta, **options) for beta in (0, 1, 1e4)}
    np.testing.assert_array_equal(found[0], rates.precision(*ids, **options))
    np.testing.assert_array_equal(found[1], dice(*ids, **options))
    true = ~np.isnan(rates.recall(*ids, **options))  # elsewhere it is 0: what is predicted is wrong
    np.testing.assert_allclose(
        found[1e4][true], rates.recall(*ids, **options)[true], rtol=1e-6, atol=1e-6
    )


def test_an_id_that_is_no_class_is_in_none(name):
    """As for Dice: a label of 255 counts against the class predicted there."""
    metric, _, options, formula = METRICS[name]
    predictions, labels = np.array([0, 1, 1, 0, -1, 9]), np.array([0, 1, 255, -1, 1, 0])
    value = metric(jnp.array([predictions]), jnp.array([labels]), num_classes=2, **options)
    truth = [formula(*cells(predictions, labels, np.ones(6, bool), c)) for c in range(2)]
    np.testing.assert_allclose(value[0], truth, **CLOSE)


@pytest.mark.parametrize("beta", [-1, math.inf, math.nan])
def test_a_beta_without_meaning_is_refused(beta):
    ids = jnp.array([[0, 1]])
    message = f"beta: expected a finite number of at least 0, got {beta}"
    with pytest.raises(ValueError, match=message):
        rates.f_beta(ids, ids, num_classes=2, beta=beta)
    with pytest.raises(ValueError, match=message):
        rates.FBeta.empty(cases=1, num_classes=2, beta=beta)


# --- states -------------------------------------------------------------------------------------

update = jax.jit(lambda state, *args, **options: state.update(*args, **options))
compute = jax.jit(lambda state: state.compute())


def test_scores_of_a_stream_are_means_of_what_is_defined(name):
    _, state, options, formula = METRICS[name]
    # One case more than there are: it is not seen and does not count.
    state = state.empty(cases=len(LABELS) + 1, num_classes=CLASSES, **options)
    case = jnp.arange(len(LABELS))
    scores = compute(update(state, PREDICTIONS, LABELS, case=case, where=WHERE))
    truth = np.array(expected(name, PREDICTIONS, LABELS, WHERE))
    np.testing.assert_allclose(scores.per_case[:-1], truth, **CLOSE)
    assert np.all(np.isnan(scores.per_case[-1]))
    mean = lambda x: np.mean(x[~np.isnan(x)]) if np.any(~np.isnan(x)) else np.nan  # noqa: E731
    np.testing.assert_allclose(scores.per_class, [mean(column) for column in truth.T], **CLOSE)
    of_cases = np.array([mean(row[1:]) for row in truth])
    np.testing.assert_allclose(scores.mean, mean(of_cases), **CLOSE)
    pooled = [formula(*cells(PREDICTIONS, LABELS, WHERE, c)) for c in range(CLASSES)]
    np.testing.assert_allclose(scores.pooled, pooled, **CLOSE)
    assert scores.undefined == np.isnan(truth).sum() > 0


@pytest.mark.parametrize(
    "row",
    [
        (2**29, 2**29, 2**29, 2**29 - 1),  # a chance
        (2**31 - 4, 1, 1, 1),  # a background without much else
        (3, 5, 7, 2**31 - 16),  # a small lesion
        (2**30, 0, 2**30 - 1, 1),
    ],
    ids=str,
)
def test_large_counts_neither_overflow_nor_cancel(name, row):
    """A case of nearly 2^31 voxels, and a stream of two of them."""
    _, state, options, formula = METRICS[name]
    state = state.empty(cases=2, num_classes=1, **options)
    counts = Cells(*(jnp.full((2, 1), n, jnp.int32) for n in row))
    scores = compute(dataclasses.replace(state, counts=counts, seen=jnp.array([True, True])))
    np.testing.assert_allclose(scores.per_case[:, 0], [formula(*row)] * 2, **CLOSE)
    np.testing.assert_allclose(scores.pooled, [formula(*row)], **CLOSE)


def test_cells_stay_exact_beyond_the_integers_of_float32():
    """One case in 257 pieces of 2^16 pixels: 2^24 + 2^16 in all, and one of them is wrong."""
    labels = jnp.ones((1, 2**16), jnp.int32)
    case = jnp.zeros(1, jnp.int32)
    state = rates.Recall.empty(cases=1, num_classes=2)
    state = state.update(labels.at[0, 0].set(0), labels, case=case)
    add = lambda _, s: s.update(labels, labels, case=case)  # noqa: E731
    state = jax.jit(lambda s: jax.lax.fori_loop(0, 256, add, s))(state)
    pixels = 2**24 + 2**16
    np.testing.assert_array_equal(state.counts.true_positive, [[0, pixels - 1]])
    np.testing.assert_array_equal(state.counts.false_negative, [[0, 1]])
    np.testing.assert_array_equal(state.counts.false_positive, [[1, 0]])
    np.testing.assert_array_equal(state.counts.true_negative, [[pixels - 1, 0]])


def test_merge_refuses_another_beta():
    room = {"cases": 1, "num_classes": 2}
    with pytest.raises(ValueError, match=r"other: expected beta 1.0, got 2.0"):
        rates.FBeta.empty(**room).merge(rates.FBeta.empty(**room, beta=2))
