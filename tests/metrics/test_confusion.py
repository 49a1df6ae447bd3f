"""The confusion matrix against loops over pixels and scikit-learn."""

import inspect
import json
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType

from lossbench.metrics._counts import count_pixels
from lossbench.metrics.confusion import ConfusionMatrix, confusion_matrix

RNG = np.random.default_rng(0)
CLASSES = 3
PREDICTIONS = RNG.integers(0, CLASSES, (4, 6, 5))
LABELS = RNG.integers(0, CLASSES, (4, 6, 5))
LABELS[1] = 1
WHERE = RNG.random(LABELS.shape) < 0.7
STORED = json.loads((Path(__file__).parent / "data" / "sklearn_values.json").read_text())


def expected(predictions, labels, where):
    tables = np.zeros((len(labels), CLASSES, CLASSES), int)
    for example, pixel in np.ndindex(len(labels), labels[0].size):
        p, t, counted = (x[example].flat[pixel] for x in (predictions, labels, where))
        tables[example, t, p] += int(counted)
    return tables


@pytest.mark.parametrize("masked", [False, True], ids=["all", "masked"])
def test_rows_are_the_truth_and_columns_the_prediction(masked):
    where = WHERE if masked else np.ones_like(WHERE)
    ids = jnp.asarray(PREDICTIONS), jnp.asarray(LABELS)
    mask = jnp.asarray(WHERE) if masked else None
    value = confusion_matrix(*ids, num_classes=CLASSES, where=mask)
    np.testing.assert_array_equal(value, expected(PREDICTIONS, LABELS, where))
    assert value.dtype == jnp.int32
    jitted = jax.jit(lambda p, t, w: confusion_matrix(p, t, num_classes=CLASSES, where=w))
    np.testing.assert_array_equal(jitted(*ids, mask), value)
    counts = count_pixels(*ids, num_classes=CLASSES, where=mask)
    np.testing.assert_array_equal(jnp.sum(value, axis=2), counts.true)
    np.testing.assert_array_equal(jnp.sum(value, axis=1), counts.predicted)


def test_what_scikit_learn_gives():
    predictions, labels = (jnp.asarray(STORED[k]) for k in ("predictions", "labels"))
    value = confusion_matrix(predictions, labels, num_classes=3)
    np.testing.assert_array_equal(value, STORED["values"]["confusion_matrix"])


def test_masks_and_every_integer_dtype():
    masks = jnp.asarray(PREDICTIONS == 1), jnp.asarray(LABELS == 1)
    value = confusion_matrix(*masks, num_classes=2)
    for dtype in (jnp.uint8, jnp.int8, jnp.uint32):
        cast = (mask.astype(dtype) for mask in masks)
        np.testing.assert_array_equal(confusion_matrix(*cast, num_classes=2), value)


def test_an_id_that_is_no_class_is_in_no_cell():
    """Also one below 0, which would be an index from the end, and those next to the classes."""
    predictions, labels = jnp.array([[0, 1, 2, 3, -1, -4]]), jnp.array([[0, 9, 2, 1, 1, 2]])
    value = confusion_matrix(predictions, labels, num_classes=3)
    np.testing.assert_array_equal(value, np.diag([1, 0, 1])[None])


def test_many_classes():
    labels = RNG.integers(0, 200, (2, 500))
    value = confusion_matrix(jnp.asarray(labels), jnp.asarray(labels), num_classes=200)
    each = [np.diag(np.bincount(row, minlength=200)) for row in labels]
    np.testing.assert_array_equal(value, each)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"predictions": jnp.zeros((4, 6, 5))}, "predictions: .* take the argmax of logits"),
        ({"labels": jnp.zeros((4, 6, 5))}, "labels: expected class ids"),
        ({"predictions": jnp.zeros((4, 6), int)}, "predictions: expected shape"),
        ({"where": jnp.ones((4, 5), bool)}, "where: expected shape"),
        ({"where": jnp.ones((4, 6, 5))}, "where: expected bool"),
    ],
)
def test_logits_and_wrong_shapes_are_refused_by_name(change, message):
    arrays = {"predictions": jnp.asarray(PREDICTIONS), "labels": jnp.asarray(LABELS), **change}
    # The public function as users have it, without the annotations' own check.
    bare = inspect.unwrap(confusion_matrix)
    with pytest.raises(ValueError, match=message):
        bare(**arrays, num_classes=CLASSES)


# --- state --------------------------------------------------------------------------------------


@jax.jit
def update(state, batch):
    return state.update(**batch)


def batch_of(examples, rows, size):
    """Rows of examples as one batch, padded to `size` with rubbish of weight 0."""
    some = list(examples) + [0] * (size - len(examples))
    take = lambda x: jnp.asarray(x[some][:, rows])  # noqa: E731
    return {
        "predictions": take(PREDICTIONS),
        "labels": take(LABELS),
        "where": take(WHERE),
        "case": jnp.asarray(some),
        "weights": jnp.asarray(np.arange(size) < len(examples), jnp.float32),
    }


def empty(cases=5, num_classes=CLASSES):
    return ConfusionMatrix.empty(cases=cases, num_classes=num_classes)


def test_pieces_batches_padding_merging_and_devices_change_nothing():
    whole = update(empty(), batch_of(range(4), slice(0, 6), 4))
    first = update(empty(), batch_of([0, 1, 2], slice(0, 4), 4))
    second = update(update(empty(), batch_of([3], slice(0, 4), 4)), batch_of([2], slice(4, 6), 4))
    third = update(empty(), batch_of([3, 0, 1], slice(4, 6), 4))
    chex.assert_trees_all_equal(first.merge(second).merge(third), whole)
    chex.assert_trees_all_equal(third.merge(first.merge(second)), whole)
    padded = update(empty(), batch_of(range(4), slice(0, 6), 8))
    chex.assert_trees_all_equal(padded, whole)
    mesh = jax.make_mesh(
        (4,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices("cpu")[:4]
    )
    batch = batch_of(range(4), slice(0, 6), 8)
    batch = jax.device_put(batch, jax.NamedSharding(mesh, jax.P("data")))
    spread = update(jax.device_put(empty(), jax.NamedSharding(mesh, jax.P())), batch)
    chex.assert_trees_all_equal(jax.device_get(spread), jax.device_get(whole))
    found = jax.jit(lambda state: state.compute())(whole)
    truth = expected(PREDICTIONS, LABELS, WHERE)
    np.testing.assert_array_equal(found.per_case, [*truth, np.zeros((CLASSES, CLASSES))])
    np.testing.assert_array_equal(found.pooled, truth.sum(axis=0))
    np.testing.assert_array_equal(found.seen, [True] * 4 + [False])


def test_scan_carries_it_and_vmap_makes_many():
    batches = [batch_of([i, i + 1], slice(0, 6), 2) for i in (0, 2)]
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *batches)
    scan = jax.jit(lambda s, b: jax.lax.scan(lambda s, b: (s.update(**b), None), s, b)[0])
    whole = update(empty(), batch_of(range(4), slice(0, 6), 4))
    chex.assert_trees_all_equal(scan(empty(), stacked), whole)
    many = jax.vmap(lambda batch: empty().update(**batch))(stacked)
    for i, batch in enumerate(batches):
        alone = jax.tree.map(lambda x, i=i: x[i], many)
        chex.assert_trees_all_equal(alone, update(empty(), batch))


def test_counts_stay_exact_beyond_the_integers_of_float32():
    """One case in 257 pieces of 2^16 pixels: 2^24 + 2^16 in all, and one of them is wrong."""
    labels, case = jnp.ones((1, 2**16), jnp.int32), jnp.zeros(1, jnp.int32)
    state = empty(1, 2).update(labels.at[0, 0].set(0), labels, case=case)
    add = lambda _, s: s.update(labels, labels, case=case)  # noqa: E731
    state = jax.jit(lambda s: jax.lax.fori_loop(0, 256, add, s))(state)
    np.testing.assert_array_equal(state.counts, [[[0, 0], [1, 2**24 + 2**16 - 1]]])


def test_the_sum_over_cases_is_exact_or_says_that_it_is_too_large():
    most = 2**31 - 1
    table = jnp.array([[[2**30, 2**24], [most, most]], [[2**30 - 1, 1], [0, 1]]], jnp.int32)
    state = empty(2, 2)
    pooled = type(state)(table, jnp.array([True, True])).compute().pooled
    np.testing.assert_array_equal(pooled, [[most, 2**24 + 1], [most, most]])


def test_merge_refuses_another_size():
    with pytest.raises(ValueError, match=r"other: expected shape \(5, 3, 3\) \(cases, classes, "):
        empty().merge(empty(num_classes=2))


def test_a_bool_of_any_byte_is_true_in_a_program_too():
    """Pillow's bitmaps come as bools of 0 and 255."""
    mask = np.array([[0, 255, 255]], np.uint8).view(bool)
    matrix = jax.jit(lambda x: confusion_matrix(x, x, num_classes=2))(mask)
    np.testing.assert_array_equal(matrix, [[[1, 0], [0, 2]]])


def test_a_batch_without_examples_and_weights_of_pixels():
    none = jnp.zeros((0, 4), jnp.int32)
    assert confusion_matrix(none, none, num_classes=2).shape == (0, 2, 2)
    state, ids = ConfusionMatrix.empty(cases=1, num_classes=2), jnp.zeros((1, 4), jnp.int32)
    update = inspect.unwrap(type(state).update)
    with pytest.raises(ValueError, match=r"weights: expected shape \(1,\) \(batch\), got"):
        update(state, ids, ids, case=jnp.array([0]), weights=jnp.ones((1, 4)))
