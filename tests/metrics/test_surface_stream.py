"""Streams of surface metrics against brute force in float64, one case and class at a time."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench import debug_checks, metrics
from lossbench.metrics import Assd, Hd95, Nsd
from tests.metrics.surface_reference import Pair, blobs

SPACE, SPACING, CASES, CLASSES = (12, 9), (0.5, 1.5), 4, 4
INSIDE = np.zeros((CASES, *SPACE), bool)
INSIDE[:, 1:-2, 1:] = True  # what a case is padded with lies around it
# Room for one case more than there are.
ROOM = {"cases": CASES + 1, "num_classes": CLASSES}
STREAMS = {
    "hd95": functools.partial(Hd95.empty, **ROOM, spacing=SPACING),
    "assd": functools.partial(Assd.empty, **ROOM, spacing=SPACING),
    "nsd": functools.partial(Nsd.empty, **ROOM, spacing=SPACING, tolerance=0.75),
}
REFERENCE = {
    "hd95": lambda pair: pair.hausdorff(95),
    "assd": lambda pair: pair.assd(),
    "nsd": lambda pair: pair.nsd(0.75),
}

update = jax.jit(lambda state, *args, **options: state.update(*args, **options))
compute = jax.jit(lambda state: state.compute())


def ids(seed):
    """Class ids of four cases; class 3 is in none."""
    first, second = (blobs(SPACE, CASES, seed=s) for s in (seed, seed + 1))
    return np.where(first, 1, np.where(second, 2, 0))


PREDICTIONS, LABELS = ids(0), ids(2)
PREDICTIONS[1][PREDICTIONS[1] == 2] = 0  # missed
LABELS[2][LABELS[2] == 1] = 0  # made up
LABELS[3][LABELS[3] == 2] = PREDICTIONS[3][PREDICTIONS[3] == 2] = 0  # in neither


@pytest.fixture(params=STREAMS)
def name(request):
    return request.param


def seen_by(state, predictions=PREDICTIONS, labels=LABELS, case=range(CASES)):
    arrays = jnp.asarray(predictions, jnp.int32), jnp.asarray(labels, jnp.int32)
    return update(state, *arrays, case=jnp.array(case), where=jnp.asarray(INSIDE))


def expected(name):
    """Brute force on each case without its padding; NaN where a mask is empty."""
    table = np.full((CASES, CLASSES), np.nan)
    for case, c in np.ndindex(CASES, CLASSES):
        box = np.s_[case, 1:-2, 1:]
        masks = PREDICTIONS[box] == c, LABELS[box] == c
        if all(mask.any() for mask in masks):
            table[case, c] = REFERENCE[name](Pair(*masks, SPACING))
        elif name == "nsd" and any(mask.any() for mask in masks):
            table[case, c] = 0
    return table


def test_each_case_has_the_value_of_brute_force_without_its_padding(name):
    scores = compute(seen_by(STREAMS[name]()))
    table = expected(name)
    np.testing.assert_allclose(scores.per_case[:CASES], table, rtol=1e-5)
    assert np.all(np.isnan(scores.per_case[CASES]))  # never came
    assert scores.undefined == np.isnan(table).sum() >= 5
    np.testing.assert_allclose(scores.per_class[:3], np.nanmean(table[:, :3], axis=0), rtol=1e-5)
    foreground = [np.nanmean(row) for row in table[:, 1:]]
    np.testing.assert_allclose(scores.mean, np.mean(foreground), rtol=1e-5)
    assert np.all(np.isnan(scores.per_class[3]))
    assert np.all(np.isnan(scores.pooled))  # nothing adds up


def test_ids_under_the_mask_may_be_anything(name):
    rubbish = np.where(INSIDE, PREDICTIONS, 77), np.where(INSIDE, LABELS, -1)
    plain, masked = (seen_by(STREAMS[name](), *x) for x in ((), rubbish))
    np.testing.assert_array_equal(plain.values, masked.values)


def test_what_an_empty_mask_gets():
    diagonal = np.hypot(*np.multiply(SPACE, SPACING))
    values = {
        empty: compute(seen_by(STREAMS["hd95"](empty=empty))).per_case
        for empty in ("nan", "worst", "zero")
    }
    for case, c, worst in ((1, 2, diagonal), (2, 1, diagonal), (3, 2, 0), (0, 3, 0)):
        assert np.isnan(values["nan"][case, c])
        assert values["worst"][case, c] == pytest.approx(worst)
        assert values["zero"][case, c] == 0


def test_options_are_those_of_the_function():
    found = compute(seen_by(STREAMS["hd95"](definition="pooled"))).per_case
    masks = (jnp.asarray((x == 1) & INSIDE) for x in (PREDICTIONS, LABELS))
    value = metrics.hd95(*masks, spacing=SPACING, definition="pooled").values
    np.testing.assert_array_equal(found[:CASES, 1], value)


def test_no_spacing_is_pixels():
    pixels, ones = Hd95.empty(**ROOM), Hd95.empty(**ROOM, spacing=(1, 1))
    np.testing.assert_array_equal(seen_by(pixels).values, seen_by(ones).values)


def test_a_case_in_two_pieces_has_no_value(name):
    once = seen_by(STREAMS[name]())
    twice = seen_by(once, case=[0, 9, 9, 9])
    merged = once.merge(seen_by(STREAMS[name](), case=[9, 0, 9, 9]))
    for state in (twice, merged):
        assert np.all(np.isnan(compute(state).per_case[0]))
        np.testing.assert_array_equal(compute(state).per_case[1:], compute(once).per_case[1:])
        assert compute(state).undefined > compute(once).undefined
    with debug_checks(), pytest.raises(Exception, match=r"case: a case came more than once"):
        once.merge(once)


def test_a_case_outside_the_table_reaches_no_row(name):
    state = seen_by(STREAMS[name](), case=[-1, CASES + 1, 99, -7])
    assert np.all(np.isnan(compute(state).per_case))
    assert compute(state).undefined == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"predictions": lambda x: x * 1.5}, "predictions: expected class ids"),
        ({"labels": lambda x: x[:, 1:]}, "predictions: expected shape"),
        ({"where": lambda x: x[:, 1:]}, "where: expected shape"),
    ],
)
def test_logits_and_wrong_shapes_are_refused_by_name(name, change, message):
    arrays = {"predictions": PREDICTIONS, "labels": LABELS, "where": INSIDE}
    arrays = {k: jnp.asarray(change.get(k, lambda x: x)(x)) for k, x in arrays.items()}
    state = STREAMS[name]()
    # Without the annotations' own check.
    with pytest.raises(ValueError, match=message):
        type(state).update.__wrapped__(state, **arrays, case=jnp.arange(CASES))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"definition": "medpy"}, "definition: expected one of 'monai'"),
        ({"empty": "best"}, "empty: expected one of 'worst'"),
        ({"tolerance": -1}, "tolerance: expected a length of at least 0, got -1"),
        ({"tolerance": True}, "tolerance: expected a length of at least 0, got True"),
        ({"tolerance": "1"}, "tolerance: expected a length of at least 0, got '1'"),
    ],
)
def test_options_that_there_are_not_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        # Without the annotations' own check.
        Nsd.empty.__func__.__wrapped__(Nsd, cases=1, num_classes=2, **{"tolerance": 1, **options})


def test_merge_refuses_other_options():
    ours = STREAMS["hd95"]()
    with pytest.raises(ValueError, match=r"other: expected when_empty 'nan', got 'worst'"):
        ours.merge(STREAMS["hd95"](empty="worst"))
    with pytest.raises(ValueError, match=r"other: expected spacing \(0.5, 1.5\), got None"):
        ours.merge(Hd95.empty(**ROOM))


def test_which_way_is_better_and_in_what_unit():
    facts = {n: (s.higher_is_better, s.is_length) for n, s in metrics.STATES.items()}
    assert facts == {
        "dice": (True, False),
        "iou": (True, False),
        "hd95": (False, True),
        "assd": (False, True),
        "nsd": (True, False),
        "cl_dice": (True, False),
        **dict.fromkeys(("precision", "recall", "specificity", "f_beta", "mcc"), (True, False)),
        **dict.fromkeys(("accuracy", "cohen_kappa", "generalized_dice"), (True, False)),
        **dict.fromkeys(("roc_auc", "average_precision", "f1_max", "partial_auc"), (True, False)),
        "fpr_at_tpr": (False, False),
    }
