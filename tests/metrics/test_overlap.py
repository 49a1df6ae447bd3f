"""Dice and intersection over union against loops over pixels."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench import debug_checks, metrics
from lossbench.metrics._counts import Counts

RNG = np.random.default_rng(0)
CLASSES = 4
PREDICTIONS = RNG.integers(0, 3, (4, 6, 5))  # class 3 is never predicted
LABELS = RNG.integers(0, CLASSES, (4, 6, 5))
LABELS[1] = np.minimum(LABELS[1], 1)  # classes 2 and 3 are absent, 2 is predicted
WHERE = RNG.random((4, 6, 5)) < 0.7


def counts(predictions, labels, where, c):
    """True positives, false positives, false negatives of a class, one pixel after the other."""
    tp = fp = fn = 0
    for p, t, counted in zip(predictions.ravel(), labels.ravel(), where.ravel(), strict=True):
        if counted:
            tp += p == c and t == c
            fp += p == c and t != c
            fn += p != c and t == c
    return tp, fp, fn


FORMULAS = {
    "dice": lambda tp, fp, fn: 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else np.nan,
    "iou": lambda tp, fp, fn: tp / (tp + fp + fn) if tp + fp + fn else np.nan,
}


def expected(name, predictions, labels, where):
    rows = zip(predictions, labels, where, strict=True)
    return [[FORMULAS[name](*counts(*row, c)) for c in range(CLASSES)] for row in rows]


@pytest.fixture(params=FORMULAS)
def name(request):
    return request.param


@pytest.mark.parametrize("masked", [False, True], ids=["all", "masked"])
def test_the_value_is_the_formula(name, masked):
    where = WHERE if masked else np.ones_like(WHERE)
    value = getattr(metrics, name)(
        jnp.asarray(PREDICTIONS),
        jnp.asarray(LABELS),
        num_classes=CLASSES,
        where=jnp.asarray(WHERE) if masked else None,
    )
    np.testing.assert_allclose(value, expected(name, PREDICTIONS, LABELS, where), rtol=1e-6)
    assert np.isnan(value[1, 3])  # in neither truth nor prediction
    assert value[1, 2] == 0  # predicted, but not there


def test_a_mask_is_two_classes(name):
    predictions, labels = jnp.asarray(PREDICTIONS == 1), jnp.asarray(LABELS == 1)
    value = getattr(metrics, name)(predictions, labels, num_classes=2)
    ones = np.ones(labels.shape, bool)
    truth = expected(name, PREDICTIONS == 1, LABELS == 1, ones)
    np.testing.assert_allclose(value, np.array(truth)[:, :2], rtol=1e-6)


def test_perfect_is_one_and_disjoint_is_zero(name):
    labels = jnp.array([[0, 0, 1, 1]])
    metric = getattr(metrics, name)
    np.testing.assert_array_equal(metric(labels, labels, num_classes=2), [[1, 1]])
    np.testing.assert_array_equal(metric(1 - labels, labels, num_classes=2), [[0, 0]])


update = jax.jit(lambda state, *args, **options: state.update(*args, **options))
compute = jax.jit(lambda state: state.compute())


def test_scores_of_a_stream_are_means_of_what_is_defined(name):
    # One case more than there are: it is not seen and does not count.
    state = metrics.STATES[name].empty(cases=len(LABELS) + 1, num_classes=CLASSES)
    case = jnp.arange(len(LABELS))
    scores = compute(update(state, PREDICTIONS, LABELS, case=case, where=WHERE))
    truth = np.array(expected(name, PREDICTIONS, LABELS, WHERE))
    np.testing.assert_allclose(scores.per_case[:-1], truth, rtol=1e-6)
    assert np.all(np.isnan(scores.per_case[-1]))
    by_class = [[v for v in truth[:, c] if not np.isnan(v)] for c in range(CLASSES)]
    np.testing.assert_allclose(scores.per_class, [np.mean(v) for v in by_class], rtol=1e-6)
    foreground = [np.mean([v for v in row[1:] if not np.isnan(v)]) for row in truth]
    np.testing.assert_allclose(scores.mean, np.mean(foreground), rtol=1e-6)
    pooled = [FORMULAS[name](*counts(PREDICTIONS, LABELS, WHERE, c)) for c in range(CLASSES)]
    np.testing.assert_allclose(scores.pooled, pooled, rtol=1e-6)
    assert scores.undefined == np.isnan(truth).sum() > 0


def test_a_case_without_foreground_is_counted_and_left_out_of_the_mean(name):
    labels = jnp.array([[0, 1], [0, 0]])
    state = metrics.STATES[name].empty(cases=2, num_classes=2)
    scores = compute(update(state, labels, labels, case=jnp.array([0, 1])))
    np.testing.assert_array_equal(scores.per_case, [[1, 1], [1, np.nan]])
    assert scores.mean == 1
    assert scores.undefined == 1


def test_counts_stay_exact_beyond_the_integers_of_float32(name):
    """One case in 257 pieces of 2^16 pixels: 2^24 + 2^16 in all, and one of them is wrong."""
    labels = jnp.ones((1, 2**16), jnp.int32)
    case = jnp.zeros(1, jnp.int32)
    state = metrics.STATES[name].empty(cases=1, num_classes=2)
    state = state.update(labels.at[0, 0].set(0), labels, case=case)
    add = lambda _, s: s.update(labels, labels, case=case)  # noqa: E731
    state = jax.jit(lambda s: jax.lax.fori_loop(0, 256, add, s))(state)
    pixels = 2**24 + 2**16
    np.testing.assert_array_equal(state.counts.true_positive, [[0, pixels - 1]])
    np.testing.assert_array_equal(state.counts.predicted, [[1, pixels - 1]])
    np.testing.assert_array_equal(state.counts.true, [[0, pixels]])


def test_the_ratio_of_the_largest_counts_does_not_overflow(name):
    """A case of 2^31 - 1 voxels, of which a third was missed."""
    true, found = 2**31 - 1, 2 * (2**31 - 1) // 3
    state = metrics.STATES[name].empty(cases=1, num_classes=2)
    row = lambda n: jnp.array([[0, n]], jnp.int32)  # noqa: E731
    state = dataclasses.replace(
        state, counts=Counts(row(found), row(found), row(true)), seen=jnp.array([True])
    )
    scores = compute(state)
    value = FORMULAS[name](found, 0, true - found)
    np.testing.assert_allclose(scores.per_case[0, 1], value, rtol=1e-6)
    np.testing.assert_allclose(scores.pooled[1], value, rtol=1e-6)


@pytest.mark.parametrize("case", [-1, 1])
def test_a_case_outside_the_table_reaches_no_row(name, case):
    empty = metrics.STATES[name].empty(cases=1, num_classes=2)
    labels = jnp.array([[0, 1]])
    state = update(empty, labels, labels, case=jnp.array([case]))
    np.testing.assert_array_equal(state.counts.true, [[0, 0]])
    np.testing.assert_array_equal(state.seen, [False])
    with debug_checks(), pytest.raises(Exception, match=r"case: a case is outside 0..0"):
        empty.update(labels, labels, case=jnp.array([case]))
    with debug_checks():  # padding may name any case
        empty.update(labels, labels, case=jnp.array([case]), weights=jnp.zeros(1))
