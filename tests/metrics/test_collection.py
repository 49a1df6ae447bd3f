"""Several metrics at once: what each is by itself, counted once."""

import functools
import inspect
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import checkify
from jax.sharding import AxisType

import lossbench
from lossbench import metrics

CASES, CLASSES = 6, 3
RNG = np.random.default_rng(0)
BATCH = {
    "predictions": jnp.asarray(RNG.integers(0, CLASSES, (CASES, 5, 6))),
    "labels": jnp.asarray(RNG.integers(0, CLASSES, (CASES, 5, 6))),
    "case": jnp.arange(CASES),
    "where": jnp.asarray(RNG.random((CASES, 5, 6)) < 0.8),
}
OPTIONS = {"nsd": {"tolerance": 1}}
OF_IDS = {name: state for name, state in metrics.STATES.items() if not state.ranks_scores}
COUNTED = [name for name, state in OF_IDS.items() if not state.whole_cases]


def empty_of(name):
    options = {"cases": CASES, "num_classes": CLASSES} | OPTIONS.get(name, {})
    return metrics.STATES[name].empty(**options)


def collection_of(names):
    return metrics.Collection.of(**{name: empty_of(name) for name in names})


@functools.cache
def alone(name):
    return empty_of(name).update(**BATCH)


def part(rows):
    return {name: x[rows] for name, x in BATCH.items()}


def test_every_metric_is_what_it_is_alone():
    found = collection_of(OF_IDS).update(**BATCH).compute()
    assert list(found) == list(OF_IDS)
    for name in OF_IDS:
        chex.assert_trees_all_close(found[name], alone(name).compute(), rtol=1e-6)


def test_metrics_of_the_same_counts_share_them():
    collection = collection_of(COUNTED)
    counts = {metrics.STATES[name].count for name in COUNTED}
    assert len(collection.sums) == len(counts) == 3
    # Other room is another table.
    other = metrics.Dice.empty(cases=1, num_classes=CLASSES)
    assert len(metrics.Collection.of(dice=empty_of("dice"), few=other).sums) == 2
    # A metric that cannot be added up from pieces has its values for itself.
    assert len(collection_of(["hd95", "assd"]).sums) == 2


def test_one_confusion_matrix_serves_all():
    """All metrics of counts cost little more arithmetic than one, which is nearly all counting."""
    space = jnp.zeros((CASES, 32, 32), jnp.int32)

    def operations(names):
        update = lambda c, x, case: c.update(predictions=x, labels=x, case=case)  # noqa: E731
        program = jax.jit(update).lower(collection_of(names), space, jnp.arange(CASES)).compile()
        return program.cost_analysis()["flops"]

    assert operations(COUNTED) < 1.2 * operations(["dice"])


def test_batches_padding_and_merging_change_no_bit():
    names = [*COUNTED, "hd95"]
    whole = collection_of(names).update(**BATCH)
    pieces = [collection_of(names).update(**part(slice(i, i + 2))) for i in (4, 0, 2)]
    left = pieces[0].merge(pieces[1]).merge(pieces[2])
    right = pieces[0].merge(pieces[1].merge(pieces[2]))
    chex.assert_trees_all_equal(left, right, whole)
    padded = {name: jnp.concatenate([x, x[:2]]) for name, x in BATCH.items()}
    weights = jnp.asarray([1.0] * CASES + [0.0] * 2)
    chex.assert_trees_all_equal(collection_of(names).update(**padded, weights=weights), whole)


def test_scan_and_four_devices():
    names = ["dice", "mcc", "hd95"]
    whole = collection_of(names).update(**BATCH)
    stacked = jax.tree.map(lambda x: x.reshape(3, 2, *x.shape[1:]), BATCH)
    step = lambda c, batch: (c.update(**batch), None)  # noqa: E731
    scanned, _ = jax.jit(lambda c: jax.lax.scan(step, c, stacked))(collection_of(names))
    chex.assert_trees_all_equal(scanned, whole)
    mesh = jax.make_mesh(
        (4,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices("cpu")[:4]
    )
    rows = jnp.asarray([0, 1, 2, 3, 4, 5, 0, 0])
    batch = part(rows) | {"weights": jnp.asarray([1.0] * 6 + [0.0] * 2)}
    spread = jax.device_put(batch, jax.NamedSharding(mesh, jax.P("data")))
    start = jax.device_put(collection_of(names), jax.NamedSharding(mesh, jax.P()))
    found = start.update(**spread)
    chex.assert_trees_all_equal(jax.device_get(found), jax.device_get(whole))


def test_states_that_have_seen_the_same_may_start_it():
    whole = collection_of(["dice", "iou"]).update(**BATCH)
    late = metrics.Collection.of(dice=alone("dice"), iou=alone("iou"))
    chex.assert_trees_all_equal(late.sums, whole.sums)
    with pytest.raises(ValueError, match="states: expected 'dice' and 'iou' to have seen the same"):
        metrics.Collection.of(dice=alone("dice"), iou=empty_of("iou"))


def test_an_array_that_is_none_is_not_there():
    given = {name: x for name, x in BATCH.items() if name != "where"}
    collection = collection_of(["dice"])
    chex.assert_trees_all_equal(
        collection.update(**given, where=None, weights=None), collection.update(**given)
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda c: metrics.Collection.of(), "states: expected at least one"),
        (
            lambda c: c.update(**{k: x for k, x in BATCH.items() if k != "case"}),
            "case: expected by the metric 'dice', got labels, predictions, where",
        ),
        (
            lambda c: c.update(**BATCH, logits=BATCH["where"]),
            "logits: no metric takes it; they take case, labels, predictions, weights, where",
        ),
        (lambda c: c.update(), "predictions: expected by the metric 'dice', got nothing"),
        (
            # The method as users have it, without the annotations' own check.
            lambda c: inspect.unwrap(type(c).merge)(c, empty_of("dice")),
            "other: expected Collection, got Dice",
        ),
        (
            lambda c: c.merge(collection_of(["dice", "iou"])),
            re.escape("other: expected the metrics ['dice', 'nsd'], got ['dice', 'iou']"),
        ),
        (
            lambda c: c.merge(
                metrics.Collection.of(
                    dice=empty_of("dice"),
                    nsd=metrics.Nsd.empty(cases=CASES, num_classes=CLASSES, tolerance=2),
                )
            ),
            "other: expected tolerance 1.0, got 2.0",
        ),
        (
            lambda c: c.merge(
                metrics.Collection.of(
                    dice=metrics.Dice.empty(cases=1, num_classes=CLASSES), nsd=empty_of("nsd")
                )
            ),
            "other: expected shape",
        ),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(collection_of(["dice", "nsd"]))


def test_values_are_checked_in_debug_mode():
    wrong = BATCH | {"case": jnp.full((CASES,), CASES)}
    with lossbench.debug_checks():
        error, _ = checkify.checkify(lambda c: c.update(**wrong))(collection_of(["dice"]))
    assert "case: a case is outside 0..5" in error.get()
