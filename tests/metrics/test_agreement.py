"""Accuracy, Cohen's kappa and generalized Dice against loops, scikit-learn and MONAI."""

import dataclasses
import json
from fractions import Fraction
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench.metrics import agreement
from lossbench.metrics._counts import Cells

RNG = np.random.default_rng(0)
CLASSES = 4
PREDICTIONS = RNG.integers(0, 3, (5, 6, 5))  # class 3 is never predicted
LABELS = RNG.integers(0, CLASSES, (5, 6, 5))
LABELS[1] = np.minimum(LABELS[1], 1)  # classes 2 and 3 are absent, 2 is predicted
LABELS[2] = PREDICTIONS[2] = 0  # nothing but the background
PREDICTIONS[3] = np.where(RNG.random((6, 5)) < 0.8, LABELS[3], PREDICTIONS[3])
WHERE = RNG.random(LABELS.shape) < 0.7
WHERE[4] = False  # nothing is counted
STORED = json.loads((Path(__file__).parent / "data" / "sklearn_values.json").read_text())


def matrix(predictions, labels, where, classes=CLASSES):
    """Pixels of each true and predicted class, one after the other; Python's integers."""
    table = [[0] * classes for _ in range(classes)]
    for p, t, counted in zip(predictions.ravel(), labels.ravel(), where.ravel(), strict=True):
        if counted:
            table[t][p] += 1
    return table


def ratio(numerator, denominator):
    return float(Fraction(numerator, denominator)) if denominator else np.nan


def margins(table):
    return [sum(row) for row in table], [sum(column) for column in zip(*table, strict=True)]


def accuracy(table):
    return ratio(sum(row[c] for c, row in enumerate(table)), sum(map(sum, table)))


def cohen_kappa(table):
    """`(p_o - p_e) / (1 - p_e)`, times the square of the pixels: exact."""
    true, predicted = margins(table)
    pixels = sum(true)
    by_chance = sum(t * p for t, p in zip(true, predicted, strict=True))
    observed = pixels * sum(row[c] for c, row in enumerate(table))
    return ratio(observed - by_chance, pixels**2 - by_chance)


def generalized_dice(power=2, absent="skip"):
    def formula(table):
        true, predicted = margins(table)
        there = [Fraction(1, t**power) for t in true if t]
        weight_if_absent = max(there, default=1) if absent == "rarest" else 0
        weights = [Fraction(1, t**power) if t else weight_if_absent for t in true]
        both = sum(w * row[c] for c, (w, row) in enumerate(zip(weights, table, strict=True)))
        each = sum(w * (t + p) for w, t, p in zip(weights, true, predicted, strict=True))
        return ratio(2 * both, each)

    return formula


RAREST = {"absent": "rarest"}
GENERALIZED = (agreement.generalized_dice, agreement.GeneralizedDice)
METRICS = {
    "accuracy": (agreement.accuracy, agreement.Accuracy, {}, accuracy),
    "cohen_kappa": (agreement.cohen_kappa, agreement.CohenKappa, {}, cohen_kappa),
    "generalized_dice": (*GENERALIZED, {}, generalized_dice()),
    "simple": (*GENERALIZED, {"weighting": "simple"}, generalized_dice(1)),
    "uniform": (*GENERALIZED, {"weighting": "uniform"}, generalized_dice(0)),
    "rarest": (*GENERALIZED, RAREST, generalized_dice(2, "rarest")),
    "rarest, simple": (
        *GENERALIZED,
        {"weighting": "simple", **RAREST},
        generalized_dice(1, "rarest"),
    ),
}
CLOSE = {"rtol": 1e-6, "atol": 3e-7}


@pytest.fixture(params=METRICS)
def name(request):
    return request.param


def expected(name, predictions, labels, where):
    rows = zip(predictions, labels, where, strict=True)
    return [METRICS[name][3](matrix(*row)) for row in rows]


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
    assert np.isnan(value[4]) == masked
    assert np.isnan(value[2]) == (name == "cohen_kappa")


@pytest.mark.parametrize(
    ("stored", "name"),
    [
        ("accuracy", "accuracy"),
        ("cohen_kappa", "cohen_kappa"),
        ("generalized_dice", "rarest"),
        ("generalized_dice simple", "rarest, simple"),
    ],
)
def test_what_scikit_learn_and_monai_give(stored, name):
    metric, _, options, _ = METRICS[name]
    predictions, labels = (jnp.asarray(STORED[k]) for k in ("predictions", "labels"))
    value = metric(predictions, labels, num_classes=3, **options)
    np.testing.assert_allclose(value, STORED["values"][stored], **CLOSE)


def test_all_right_is_one_and_all_wrong_the_least(name):
    metric, _, options, _ = METRICS[name]
    labels = jnp.array([[0, 0, 1, 1]])
    np.testing.assert_array_equal(metric(labels, labels, num_classes=2, **options), [1])
    least = -1 if name == "cohen_kappa" else 0
    np.testing.assert_array_equal(metric(1 - labels, labels, num_classes=2, **options), [least])


def test_a_label_that_is_no_class_is_left_out_and_such_a_prediction_is_wrong(name):
    metric, _, options, _ = METRICS[name]
    predictions, labels = jnp.array([[0, 1, 1, 0, 1, 0]]), jnp.array([[0, 1, 0, 255, -1, 1]])
    where = jnp.array([[True, True, True, False, False, True]])
    value = metric(predictions, labels, num_classes=2, **options)
    masked = metric(predictions, labels, num_classes=2, where=where, **options)
    np.testing.assert_array_equal(value, masked)
    right, wrong = jnp.array([[0, 0, 1, 1]]), jnp.array([[0, 0, 1, 9]])
    assert metric(wrong, right, num_classes=2, **options) < 1


def test_options_that_there_are_not_are_refused_by_name():
    ids, room = jnp.array([[0, 1]]), {"cases": 1, "num_classes": 2}
    for option in ("weighting", "absent"):
        message = f"{option}: expected one of .*, got 'linear'"
        with pytest.raises(ValueError, match=message):
            agreement.generalized_dice(ids, ids, num_classes=2, **{option: "linear"})
        with pytest.raises(ValueError, match=message):
            agreement.GeneralizedDice.empty(**room, **{option: "linear"})
    with pytest.raises(ValueError, match=r"other: expected absent 'skip', got 'rarest'"):
        agreement.GeneralizedDice.empty(**room).merge(
            agreement.GeneralizedDice.empty(**room, absent="rarest")
        )


update = jax.jit(lambda state, *args, **options: state.update(*args, **options))
compute = jax.jit(lambda state: state.compute())


def test_the_scores_of_a_stream_have_one_column(name):
    _, state, options, formula = METRICS[name]
    # One case more than there are: it is not seen and does not count.
    state = state.empty(cases=len(LABELS) + 1, num_classes=CLASSES, **options)
    case = jnp.arange(len(LABELS))
    scores = compute(update(state, PREDICTIONS, LABELS, case=case, where=WHERE))
    truth = np.array(expected(name, PREDICTIONS, LABELS, WHERE))
    assert scores.per_case.shape == (len(LABELS) + 1, 1)
    np.testing.assert_allclose(scores.per_case[:-1, 0], truth, **CLOSE)
    assert np.isnan(scores.per_case[-1, 0])
    mean = np.mean(truth[~np.isnan(truth)])
    np.testing.assert_allclose(scores.mean, mean, **CLOSE)
    np.testing.assert_allclose(scores.per_class, [mean], **CLOSE)
    np.testing.assert_allclose(
        scores.pooled, [formula(matrix(PREDICTIONS, LABELS, WHERE))], **CLOSE
    )
    assert scores.undefined == np.isnan(truth).sum() > 0


@pytest.mark.parametrize(
    "table",
    [
        [[2**31 - 40, 3], [5, 7]],  # a small lesion, half of it found
        [[2**29, 2**29], [2**29, 2**29 - 1]],  # a chance
        [[0, 2**30], [2**30 - 1, 0]],
    ],
    ids=str,
)
def test_large_counts_neither_overflow_nor_cancel(name, table):
    """A case of nearly 2^31 voxels, and a stream of two of them."""
    _, state, options, formula = METRICS[name]
    (tn, fp), (fn, tp) = table
    counts = Cells(*(jnp.array([row] * 2, jnp.int32) for row in ([tn, tp], [fn, fp], [fp, fn])), 0)
    counts = counts._replace(true_negative=counts.true_positive[:, ::-1])
    state = state.empty(cases=2, num_classes=2, **options)
    scores = compute(dataclasses.replace(state, counts=counts, seen=jnp.array([True, True])))
    np.testing.assert_allclose(scores.per_case[:, 0], [formula(table)] * 2, **CLOSE)
    np.testing.assert_allclose(scores.pooled, [formula(table)], **CLOSE)
