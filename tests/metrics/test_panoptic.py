import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench.metrics.panoptic import panoptic_quality
from tests.metrics import instances

quick = jax.jit(panoptic_quality, static_argnames=("connectivity", "empty"))
COUNTS = ("true_positives", "false_positives", "false_negatives")


def by_loops(predicted, true, void):
    """PQ, SQ, RQ, the sum of IoU and the counts of one example; NaN where undefined."""
    true = [t & ~void for t in true if (t & ~void).any()]
    ious, matched = [], set()
    for t in true:
        for k, p in enumerate(predicted):
            if (overlap := instances.iou(p & ~void, t)) > 0.5:
                ious.append(overlap)
                matched.add(k)
    tp, fn = len(ious), len(true) - len(ious)
    rest = [p for k, p in enumerate(predicted) if k not in matched]
    fp = sum((p & void).sum() / p.sum() <= 0.5 for p in rest)
    below = tp + fp / 2 + fn / 2
    ratio = lambda a, b: a / b if b else np.nan  # noqa: E731
    qualities = ratio(sum(ious), below), ratio(sum(ious), tp), ratio(tp, below)
    return (*qualities, sum(ious), tp, fp, fn)


def check(found, wanted):
    *scores, total, tp, fp, fn = np.array(wanted).T
    for name, values in zip(("pq", "sq", "rq"), scores, strict=True):
        score = getattr(found, name)
        np.testing.assert_allclose(score.values, values, rtol=1e-6, err_msg=name)
        assert score.undefined == np.isnan(values).sum()
    np.testing.assert_allclose(found.iou_sum, total, rtol=1e-6)
    for name, values in zip(COUNTS, (tp, fp, fn), strict=True):
        np.testing.assert_array_equal(getattr(found, name), values)
    return tp


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("space", [(40,), (13, 12), (7, 8, 6)], ids=str)
def test_instances_by_loops(space, masked):
    predictions, labels = instances.id_maps(space, 8)
    labels[2], predictions[3] = 0, 0
    labels[4] = predictions[4] = 0
    where = np.random.default_rng(1).random(labels.shape) < 0.6
    where[5] = False
    if masked:  # an instance that is void in part may be one too many
        predictions = np.where(where, predictions, np.roll(predictions, 1, 1))
    given = {"where": jnp.asarray(where)} if masked else {}
    found = quick(jnp.asarray(predictions), jnp.asarray(labels), **given)
    void = ~where if masked else np.zeros_like(where)
    wanted = [
        by_loops(instances.segments(p), instances.segments(t), v)
        for p, t, v in zip(predictions, labels, void, strict=True)
    ]
    tp = check(found, wanted)
    assert 2 < tp.sum() < np.sum(found.false_positives + tp)


@pytest.mark.parametrize("connectivity", [None, 1])
def test_masks_by_loops(connectivity):
    predictions, labels = instances.masks((13, 12), 6)
    where = np.random.default_rng(2).random(labels.shape) < 0.9
    found = quick(
        jnp.asarray(predictions),
        jnp.asarray(labels),
        where=jnp.asarray(where),
        connectivity=connectivity,
    )
    wanted = []
    for p, t, w in zip(predictions, labels, where, strict=True):
        parts = (instances.components(m, connectivity) for m in (p, t & w))
        wanted.append(by_loops(*parts, ~w))
    assert check(found, wanted).sum() > 2


def test_exactly_one_half_does_not_match():
    labels = jnp.array([[1, 1, 1, 0]])
    found = quick(jnp.array([[0, 4, 4, 4]]), labels)  # 2 of 4
    assert found.true_positives == 0
    assert quick(jnp.array([[0, 4, 4, 0]]), labels).true_positives == 1


def test_void_as_by_the_authors():
    """No void pixel counts in a union; an instance that is mostly void is no false positive."""
    labels = jnp.array([[5, 5, 5, 5, 0, 0, 0, 0, 0, 0]])
    where = jnp.array([[True, True, True, False, True, True, True, False, False, False]])
    predictions = jnp.array([[1, 1, 1, 1, 0, 2, 3, 3, 3, 0]])
    found = quick(predictions, labels, where=where)
    assert found.iou_sum == 1
    assert found.false_positives == 1  # 2, and not 3
    assert quick(predictions, labels).false_positives == 2
    rest = quick(predictions[:, 6:], labels[:, 6:], where=where[:, 6:], empty="worst")
    assert rest.pq.values == 1  # nothing that counts in both
    assert rest.pq.undefined == 1


def test_numbers_and_dtypes_of_ids_do_not_matter():
    predictions, labels = instances.id_maps((13, 12), 4)
    wanted = quick(jnp.asarray(predictions), jnp.asarray(labels))
    small = [np.unique(x, return_inverse=True)[1].reshape(x.shape) for x in (predictions, labels)]
    zero = [np.searchsorted(np.unique(x), 0) for x in (predictions, labels)]
    small = [np.where(x == z, 0, np.where(x == 0, 99, x)) for x, z in zip(small, zero, strict=True)]
    for dtypes in ((np.uint8, np.uint8), (np.int16, np.uint32)):
        found = quick(*(jnp.asarray(x.astype(d)) for x, d in zip(small, dtypes, strict=True)))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), found, wanted)
    perfect = quick(jnp.asarray(labels), jnp.asarray(labels))
    np.testing.assert_array_equal(perfect.pq.values, 1)


def test_empty_examples():
    labels = jnp.array([[0, 0, 0], [0, 0, 0], [3, 3, 0], [3, 3, 0]])
    predictions = jnp.array([[0, 0, 0], [1, 1, 0], [0, 0, 0], [9, 9, 0]])
    for empty, nothing, missed in (
        ("nan", np.nan, np.nan),
        ("skip", np.nan, np.nan),
        ("worst", 1, 0),
        ("zero", 0, 0),
    ):
        found = quick(predictions, labels, empty=empty)
        np.testing.assert_array_equal(found.pq.values, [nothing, 0, 0, 1])
        np.testing.assert_array_equal(found.rq.values, [nothing, 0, 0, 1])
        np.testing.assert_array_equal(found.sq.values, [nothing, missed, missed, 1])
    assert (found.pq.undefined, found.sq.undefined, found.rq.undefined) == (1, 3, 1)


def test_inside_of_jax():
    predictions, labels = (jnp.asarray(x).reshape(2, 4, 9, 8) for x in instances.id_maps((9, 8), 8))
    mapped = jax.jit(jax.vmap(panoptic_quality))(predictions, labels)
    alone = quick(predictions[1], labels[1])
    np.testing.assert_array_equal(mapped.pq.values[1], alone.pq.values)
    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    there = jax.device_put((predictions[1], labels[1]), jax.NamedSharding(mesh, jax.P("data")))
    np.testing.assert_allclose(quick(*there).pq.values, alone.pq.values, rtol=1e-6)
    with jax.numpy_dtype_promotion("strict"):
        program = str(jax.make_jaxpr(panoptic_quality)(predictions[0], labels[0]))
    assert "callback" not in program


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": jnp.zeros((1, 3, 4))}, r"labels: expected instances \(integer ids\)"),
        ({"labels": jnp.zeros((1, 3, 4), bool)}, "labels: expected instances"),
        ({"labels": jnp.zeros((1, 4, 3), int)}, "predictions: expected shape"),
        ({"where": jnp.ones((1, 3), bool)}, "where: expected shape"),
        ({"where": jnp.ones((1, 3, 4))}, "where: expected bool"),
        ({"empty": "best"}, "empty: expected one of"),
    ],
)
def test_wrong_arguments_are_named(change, message):
    ids = {"predictions": jnp.zeros((1, 3, 4), int), "labels": jnp.zeros((1, 3, 4), int)}
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(panoptic_quality)(**{**ids, **change})
