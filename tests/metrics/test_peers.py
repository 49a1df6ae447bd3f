"""Beside torchmetrics and MONAI: equal where they are right, and by name where they are not."""

import functools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench import metrics
from tests.metrics import rankings
from tests.metrics.peer_inputs import (
    CLASSES,
    class_ids,
    ranked,
    small_scores,
    squared_distances,
)

STORED = json.loads((Path(__file__).parent / "data" / "peer_values.json").read_text())
TORCHMETRICS, MONAI = STORED["torchmetrics"], STORED["monai"]
PREDICTIONS, LABELS = (jnp.asarray(x, jnp.int32) for x in class_ids())
CLOSE = {"rtol": 1e-6, "atol": 4e-7}
ROWS = {name: row for name, *row in ranked() if len(row[0])}
OPTIONS = {"partial_auc": {"max_fpr": 0.4}}
ONE_CLASS = ("no positive", "no negative", "one score counts")


@functools.cache
def ours(name, **options):
    function = getattr(metrics, name)
    return np.array(function(PREDICTIONS, LABELS, num_classes=CLASSES, **options))


@functools.cache
def by_row(name):
    """The values of a ranking metric, by row: of all rows in one call."""
    names, *given, where, _ = rankings.examples()
    scores, labels = (jnp.asarray(x) for x in given)
    found = getattr(metrics, name)(
        scores, labels, where=jnp.asarray(where), **OPTIONS.get(name, {})
    )
    values = getattr(found, "standardized", found).values
    return dict(zip(names, np.array(values), strict=True))


def value_of(name, scores, labels):
    return getattr(metrics, name)(jnp.asarray(scores)[None], jnp.asarray(labels)[None]).values[0]


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("dice", TORCHMETRICS["dice"]),
        ("accuracy", TORCHMETRICS["accuracy"]),
        ("confusion_matrix", TORCHMETRICS["confusion_matrix"]),
        ("cohen_kappa", TORCHMETRICS["cohen_kappa"]),
        ("generalized_dice", TORCHMETRICS["generalized_dice, one at a time"]),
        *((name, MONAI[name]) for name in ("precision", "recall", "specificity", "f_beta", "mcc")),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_equal_also_in_what_is_undefined(name, theirs):
    np.testing.assert_allclose(ours(name), theirs, **CLOSE)


@pytest.mark.parametrize(
    ("name", "theirs", "options", "instead"),
    [
        ("iou", "iou", {}, -1),
        ("iou", "jaccard", {}, 0),
        ("precision", "precision", {}, 0),
        ("recall", "recall", {}, 0),
        ("specificity", "specificity", {}, 0),
        ("f_beta", "f_beta", {}, 0),
        ("f_beta", "f_beta 2", {"beta": 2}, 0),
    ],
)
def test_torchmetrics_has_a_number_where_there_is_no_value(name, theirs, options, instead):
    """Such as 0 for a class that nobody has: as bad as one that was missed."""
    found, stored = ours(name, **options), np.array(TORCHMETRICS[theirs])
    undefined = np.isnan(found)
    assert undefined.any()
    np.testing.assert_allclose(found[~undefined], stored[~undefined], **CLOSE)
    np.testing.assert_array_equal(stored[undefined], instead)


@pytest.mark.parametrize("name", ["dice", "iou"])
def test_monai_forgives_what_is_predicted_of_a_class_that_is_not_there(name):
    found, stored = ours(name), np.array(MONAI[name])
    labels, predictions = np.array(LABELS), np.array(PREDICTIONS)
    classes = range(CLASSES)
    there, predicted = (
        np.array([[(case == c).any() for c in classes] for case in ids])
        for ids in (labels, predictions)
    )
    np.testing.assert_allclose(found[there], stored[there], **CLOSE)
    assert np.isnan(stored[~there]).all()
    only_predicted = predicted & ~there
    assert only_predicted.any()
    np.testing.assert_array_equal(found[only_predicted], 0)
    assert np.isnan(found[~there & ~predicted]).all()


def test_monai_calls_a_class_that_nobody_has_perfect_if_empty_ones_count():
    found, stored = ours("dice"), np.array(MONAI["dice, ignore_empty=False"])
    undefined = np.isnan(found)
    np.testing.assert_allclose(found[~undefined], stored[~undefined], **CLOSE)
    np.testing.assert_array_equal(stored[undefined], 1)


@jax.jit
def update(stream, *ids, **options):
    return stream.update(*ids, **options)


compute = jax.jit(lambda stream: stream.compute())


@functools.cache
def scores_of(state):
    """Of the five cases, in batches of 4 and 1 that are padded to 4."""
    stream = state.empty(cases=5, num_classes=CLASSES)
    rows = jnp.array([[0, 1, 2, 3], [4, 4, 4, 4]])
    weights = jnp.array([[1.0, 1, 1, 1], [1, 0, 0, 0]])
    for row, weight in zip(rows, weights, strict=True):
        stream = update(stream, PREDICTIONS[row], LABELS[row], case=row, weights=weight)
    return compute(stream)


def test_the_mean_of_monai_leaves_out_false_positives_and_is_0_where_nothing_is_defined():
    table = np.array(scores_of(metrics.Dice).per_case)[:, 1:]
    labels = np.array(LABELS)
    there = np.array([[(case == c).any() for c in range(1, CLASSES)] for case in labels])
    seen = np.where(there, table, np.nan)
    np.testing.assert_allclose(np.nanmean(np.nanmean(seen, 1)), MONAI["dice, mean"][0], **CLOSE)
    np.testing.assert_allclose(np.nanmean(seen, 0), MONAI["dice, mean_batch"], **CLOSE)
    mean = scores_of(metrics.Dice).mean
    np.testing.assert_allclose(mean, np.nanmean(np.nanmean(table, 1)), **CLOSE)
    assert mean < MONAI["dice, mean"][0] - 0.04
    assert MONAI["dice, nothing defined"] == [0]
    nothing = metrics.Dice.empty(cases=1, num_classes=2)
    background = jnp.zeros((1, 6), jnp.int32)
    scores = compute(update(nothing, background, background, case=jnp.array([0])))
    assert np.isnan(scores.mean)
    assert scores.undefined == 1


def test_padding_counts_in_torchmetrics():
    """It has no weights of examples: who fills the last batch by repeating reports another mean."""
    stored = STORED["streams"]
    dice, iou = (np.array(scores_of(state).per_case) for state in (metrics.Dice, metrics.Iou))
    # Over the defined classes of each case, then cases; and over all that is defined at once.
    for name, mean in (("dice", np.nanmean(np.nanmean(dice, 1))), ("iou", np.nanmean(iou))):
        np.testing.assert_allclose(mean, stored[f"{name}, 4 and 1"], **CLOSE)
        np.testing.assert_allclose(mean, stored[f"{name}, one by one"], **CLOSE)
        assert stored[f"{name}, padded"] < mean - 0.05


def test_generalized_dice_of_torchmetrics_depends_on_the_batch():
    """A class that is absent from one example gets its weight from the others."""
    alone, together = (
        np.array(TORCHMETRICS[name])
        for name in ("generalized_dice, one at a time", "generalized_dice")
    )
    assert np.flatnonzero(np.abs(alone - together) > 1e-6).tolist() == [3]
    assert together[3] < 0.01 < 0.5 < alone[3]
    mean = metrics.GeneralizedDice
    np.testing.assert_allclose(scores_of(mean).mean, alone.mean(), **CLOSE)
    assert STORED["streams"]["generalized_dice, 4 and 1"] < alone.mean() - 0.05


def test_micro_dice_of_torchmetrics_is_the_accuracy():
    """Over all classes, wrong pixels are false positives once and false negatives once."""
    np.testing.assert_allclose(ours("accuracy"), TORCHMETRICS["dice, micro"], **CLOSE)


def test_mcc_of_torchmetrics_is_one_number_and_0_where_there_is_none():
    """Of two classes it is that of both; of three none of ours, and no mean of them."""
    found, stored = ours("mcc"), np.array(TORCHMETRICS["mcc"])
    np.testing.assert_allclose(found[2, [0, 2]], stored[2], **CLOSE)
    assert abs(np.mean(found[0]) - stored[0]) > 1e-3
    assert np.isnan(found[[3, 4]]).all()
    np.testing.assert_array_equal(stored[[3, 4]], 0)


@pytest.mark.parametrize(
    ("library", "name"), [(library, x) for library, v in STORED["rankings"].items() for x in v]
)
def test_rankings_of_raw_scores_are_theirs_of_ranks(library, name):
    """Both of what they take to be probabilities: every score as its rank / 64."""
    stored = STORED["rankings"][library][name]
    two_classes = [row for row in ROWS if row not in ONE_CLASS]
    assert len(two_classes) == 15
    for row in two_classes:
        found = by_row(name)[row]
        np.testing.assert_allclose(found, stored[row]["ranks"], **CLOSE, err_msg=row)


def test_what_they_give_where_there_is_one_class():
    stored = STORED["rankings"]
    for row in ONE_CLASS:
        for name in ("roc_auc", "partial_auc"):
            assert np.isnan(by_row(name)[row])
            assert stored["torchmetrics"][name][row]["ranks"] == 0
        # With positives alone there is a precision, and it is 1.
        some = row == "no negative"
        np.testing.assert_array_equal(by_row("average_precision")[row], 1 if some else np.nan)
        assert stored["torchmetrics"]["average_precision"][row]["ranks"] == some
        for name in ("roc_auc", "average_precision"):
            assert np.isnan(stored["monai"][name][row]["ranks"])


@pytest.mark.parametrize("name", ["roc_auc", "average_precision", "partial_auc"])
def test_torchmetrics_squashes_scores_that_are_not_from_0_to_1(name):
    """Its sigmoid gives large scores, close ones and tiny ones the same number; MONAI has none."""
    stored = STORED["rankings"]["torchmetrics"][name]
    finite = [row for row in ROWS if "scores" in stored[row] and row not in ONE_CLASS]
    off = [row for row in finite if abs(by_row(name)[row] - stored[row]["scores"]) > 1e-3]
    assert off == ["wide", "neighbors", "far apart", "far apart, tied", "tiny"]
    for row in off:
        scores, _, _ = ROWS[row]
        squashed = np.array(jax.nn.sigmoid(jnp.asarray(scores)))
        assert len(set(squashed.tolist())) < len(set(scores.tolist())), row
    for row in finite if name in STORED["rankings"]["monai"] else ():
        theirs = STORED["rankings"]["monai"][name][row]["scores"]
        np.testing.assert_allclose(by_row(name)[row], theirs, **CLOSE, err_msg=row)


def test_average_precision_of_squared_distances():
    """As of Deep SVDD: all above 17 are 1 to a sigmoid in float32, so nothing is ranked."""
    scores, labels = squared_distances()
    stored = STORED["squashed"]["squared distances"]
    found = value_of("average_precision", scores, labels)
    assert 0.8 < found < 0.9
    np.testing.assert_allclose(found, stored["monai"], **CLOSE)
    np.testing.assert_allclose(stored["torchmetrics"], labels.mean(), **CLOSE)
    assert labels.mean() == 0.05


def test_torchmetrics_decides_anew_for_every_batch_whether_to_squash():
    """One score at a time, positives of .4 and .3 stay and negatives of -.1 and -.2 become .48."""
    scores, labels = small_scores()
    assert value_of("roc_auc", scores, labels) == STORED["squashed"]["together"] == 1
    assert STORED["squashed"]["one by one"] == 0


@pytest.mark.parametrize("row", STORED["curves"])
def test_curves(row):
    names, scores, labels, where, _ = rankings.examples()
    scores, labels, where = (
        jnp.asarray(x[names.index(row)])[None] for x in (scores, labels, where)
    )
    roc = metrics.roc_curve(scores, labels, where=where)
    pr = metrics.pr_curve(scores, labels, where=where)
    stored = STORED["curves"][row]
    for curve, names, theirs in (
        (roc, ("fpr", "tpr"), stored["roc"]),
        (pr, ("precision", "recall"), stored["pr"]),
    ):
        for name, values in zip(names, theirs, strict=True):
            found = np.array(getattr(curve, name)[0][curve.points[0]])
            np.testing.assert_allclose(found, values, **CLOSE, err_msg=name)
