import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import AxisType

from lossbench.metrics.panel import anomaly_detection
from lossbench.metrics.panel_stream import AnomalyDetection
from tests.metrics import detections

NAMES = ("decisions", "targets", "scores", "where")
ARRAYS = dict(zip(NAMES, map(jnp.asarray, detections.examples()), strict=True))
IMAGES = len(ARRAYS["targets"])
EMPTY = AnomalyDetection.empty(bins=2**12)
update = jax.jit(lambda state, batch: state.update(**batch))
merge = jax.jit(lambda a, b: a.merge(b))
compute = jax.jit(lambda state: state.compute())


def batch_of(images, size=IMAGES):
    """Some images, padded to `size` with rubbish of weight 0."""
    picked = jnp.asarray([*images, *[0] * (size - len(images))], jnp.int32)
    real = jnp.arange(size) < len(images)
    batch = {name: x[picked] for name, x in ARRAYS.items()}
    return {**batch, "weights": real.astype(jnp.float32)}


@functools.cache
def whole():
    """All images in one batch."""
    return update(EMPTY, batch_of(range(IMAGES)))


def assert_same(found, wanted):
    """To the last bit but for the sums over images, which are of floats."""
    chex.assert_trees_all_close(found.totals, wanted.totals, rtol=1e-6, atol=1e-6)
    totals = {"totals": wanted.totals}
    chex.assert_trees_all_equal(dataclasses.replace(found, **totals), wanted)
    chex.assert_trees_all_close(compute(found), compute(wanted), rtol=1e-6)


def test_comes_to_what_the_function_does():
    """Integers are in bins of their own here, so that nothing is rounded."""
    found, wanted = compute(whole()), anomaly_detection(**ARRAYS)
    for level in ("pixel", "image"):
        mine, its = getattr(found, level), getattr(wanted, level)
        chex.assert_trees_all_equal(mine[:4], its[:4])
        np.testing.assert_allclose(mine.average_precision.value, its[4], rtol=1e-6)
        assert mine.average_precision.lower <= its[4] * (1 + 1e-6)
        assert mine.average_precision.upper >= its[4] * (1 - 1e-6)
    for mean, undefined, its in zip(found.mean, found.undefined, wanted.per_image, strict=True):
        np.testing.assert_allclose(mean, its.mean, rtol=1e-6)
        assert undefined == its.undefined


@settings(max_examples=20, deadline=None)
@given(
    order=st.permutations(range(IMAGES)),
    cuts=st.lists(st.integers(0, IMAGES), min_size=2, max_size=2),
    merged=st.permutations(range(3)),
)
def test_order_batches_padding_and_merging_change_nothing(order, cuts, merged):
    first, second = sorted(cuts)
    parts = [order[:first], order[first:second], order[second:]]
    states = [update(EMPTY, batch_of(part)) for part in parts]
    a, b, c = (states[i] for i in merged)
    assert_same(merge(merge(a, b), c), whole())
    assert_same(merge(a, merge(c, b)), whole())
    state = EMPTY
    for part in parts:
        state = update(state, batch_of(part))
    assert_same(state, whole())


def test_an_empty_state_is_undefined_and_neutral():
    found = compute(EMPTY)
    assert np.isnan(jax.tree.leaves((found.pixel[:4], found.mean, found.image[:4]))).all()
    assert np.isnan(found.pixel.average_precision.value)
    assert found.pixel.average_precision.undefined == 1
    assert not np.any(found.undefined)
    chex.assert_trees_all_equal(merge(whole(), EMPTY), whole())
    chex.assert_trees_all_equal(update(EMPTY, batch_of([])), EMPTY)


def test_scores_come_for_all_images_or_there_is_no_average_precision():
    masks = {name: ARRAYS[name] for name in ("decisions", "targets", "where")}
    without = compute(update(EMPTY, masks))
    mixed = compute(update(whole(), masks))
    for found in (without, mixed):
        for level in (found.pixel, found.image):
            assert np.isnan(level.average_precision.value)
            assert level.average_precision.undefined == 1
            chex.assert_trees_all_equal(
                level[:4], compute(whole())[0 if level is found.pixel else 3][:4]
            )
    assert without.undefined.average_precision == IMAGES
    np.testing.assert_allclose(mixed.mean[:4], compute(whole()).mean[:4], rtol=1e-6)


@pytest.mark.long
def test_scan_vmap_and_devices():
    batches = [batch_of(part, 4) for part in ([0, 1, 2], [3, 4, 5, 6], [7])]
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *batches)
    scan = jax.jit(lambda s, b: jax.lax.scan(lambda s, b: (s.update(**b), None), s, b)[0])
    assert_same(scan(EMPTY, stacked), whole())
    many = jax.jit(jax.vmap(lambda batch: EMPTY.update(**batch)))(stacked)
    first, second, third = (jax.tree.map(lambda x, i=i: x[i], many) for i in range(3))
    assert_same(merge(merge(first, second), third), whole())
    mesh = jax.make_mesh(
        (4,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices("cpu")[:4]
    )
    batch = jax.device_put(batch_of(range(IMAGES)), jax.NamedSharding(mesh, jax.P("data")))
    spread = update(jax.device_put(EMPTY, jax.NamedSharding(mesh, jax.P())), batch)
    assert_same(jax.device_get(spread), jax.device_get(whole()))


def test_its_buffers_may_be_donated():
    taking = jax.jit(lambda state, batch: state.update(**batch), donate_argnums=0)
    found = taking(AnomalyDetection.empty(bins=2**12), batch_of(range(IMAGES)))
    chex.assert_trees_all_equal(found, whole())


def test_a_state_is_a_pytree_whose_size_stays():
    leaves, structure = jax.tree.flatten(whole())
    assert all(isinstance(leaf, jax.Array) for leaf in leaves)
    assert isinstance(jax.tree.unflatten(structure, leaves), AnomalyDetection)
    chex.assert_trees_all_equal_shapes_and_dtypes(EMPTY, whole(), update(whole(), batch_of([1])))
    chex.assert_trees_all_equal(compute(whole()), compute(whole()))


def test_counts_past_what_float32_counts():
    """Doubled thirty times: 2^30 times the pixels of a batch, and one more image at the end."""
    state = whole()
    for _ in range(30):
        state = merge(state, state)
    more = update(state, batch_of([0]))
    moved = [np.float64(more.pixels.high) - np.float64(state.pixels.high)]
    moved += [np.float64(more.pixels.low) - np.float64(state.pixels.low)]
    one = update(EMPTY, batch_of([0])).pixels.high
    np.testing.assert_array_equal(np.sum(moved, axis=0), one)
    chex.assert_trees_all_close(compute(state).pixel, compute(whole()).pixel, rtol=1e-6)


def test_what_does_not_fit_is_refused_by_name():
    with pytest.raises(ValueError, match="other: expected shape"):
        whole().merge(AnomalyDetection.empty(bins=128))
    with pytest.raises(ValueError, match="other: expected AnomalyDetection, got AveragePrecision"):
        # The method as users have it, without the annotations' own check.
        getattr(AnomalyDetection.merge, "__wrapped__", AnomalyDetection.merge)(
            whole(), whole().ranked_pixels
        )
    with pytest.raises(ValueError, match="bins: expected a power of two"):
        AnomalyDetection.empty(bins=100)
