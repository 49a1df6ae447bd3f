"""Streams of forecasts: what they come to, however they are cut, padded, spread and merged."""

import functools
import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import AxisType

from lossbench.metrics import _confidence, _reliability, calibration, calibration_stream
from lossbench.metrics.collection import Collection

CLASSES, EXAMPLES, PIXELS = 3, 12, 10
RNG = np.random.default_rng(0)
LOGITS = 2 * RNG.standard_normal((EXAMPLES, PIXELS, CLASSES))
PROBABILITIES = (np.exp(LOGITS) / np.exp(LOGITS).sum(-1, keepdims=True)).astype(np.float32)
PROBABILITIES[3] = np.eye(CLASSES)[RNG.integers(0, CLASSES, PIXELS)]  # certain
LABELS = RNG.integers(0, CLASSES, (EXAMPLES, PIXELS))
LABELS[4] = 255  # no class
WHERE = RNG.random((EXAMPLES, PIXELS)) < 0.8
STATES = {
    "ReliabilityDiagram": {},
    "ExpectedCalibrationError": {"norm": "l2"},
    "AdaptiveCalibrationError": {"bins": 5},
    "ClasswiseCalibrationError": {"num_classes": CLASSES, "norm": "mean"},
}
FUNCTIONS = {
    "ReliabilityDiagram": "reliability_diagram",
    "ExpectedCalibrationError": "expected_calibration_error",
    "ClasswiseCalibrationError": "classwise_calibration_error",
}
SIZE = 6

update = jax.jit(lambda state, batch: state.update(**batch))
merge = jax.jit(lambda a, b: a.merge(b))
compute = jax.jit(lambda state: state.compute())


def empty_of(name):
    return getattr(calibration_stream, name).empty(**STATES[name])


def batch_of(examples, size=SIZE):
    """These examples, padded with rubbish of weight 0."""
    examples = np.array(examples, int)

    def fill(x, value):
        rest = np.full((size - len(examples), *x.shape[1:]), value, x.dtype)
        return jnp.asarray(np.concatenate([x[examples], rest]))

    return {
        "probabilities": fill(PROBABILITIES, np.nan),
        "labels": fill(LABELS, 0),
        "where": fill(WHERE, True),
        "weights": fill(np.ones(EXAMPLES, np.float32), 0),
    }


@functools.cache
def whole_of(name):
    """All examples, in two batches."""
    first = update(empty_of(name), batch_of(range(SIZE)))
    return update(first, batch_of(range(SIZE, EXAMPLES)))


@pytest.fixture(params=STATES)
def name(request):
    return request.param


@pytest.fixture
def whole(name):
    return whole_of(name)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_stream_comes_to_what_one_example_of_all_pixels_does(name):
    whole = whole_of(name)
    options = {k: v for k, v in STATES[name].items() if k != "num_classes"}
    found = getattr(calibration, FUNCTIONS[name])(
        jnp.asarray(PROBABILITIES.reshape(1, -1, CLASSES)),
        jnp.asarray(LABELS.reshape(1, -1)),
        where=jnp.asarray(WHERE.reshape(1, -1)),
        **options,
    )
    pairs = zip(compute(whole), found, strict=True)
    if name == "ExpectedCalibrationError":
        pairs = [(compute(whole).value, found.values)]
    for of_stream, of_example in pairs:
        of_example = np.reshape(of_example, np.shape(of_stream))
        np.testing.assert_allclose(of_stream, of_example, rtol=1e-6)
    assert compute(whole).undefined == 0


@settings(max_examples=10, deadline=None)
@given(
    order=st.permutations(range(EXAMPLES)),
    streams=st.lists(st.integers(0, 2), min_size=EXAMPLES, max_size=EXAMPLES),
    merged=st.permutations(range(3)),
)
@pytest.mark.parametrize("name", STATES)
def test_order_batches_padding_and_merging_change_no_bit(name, order, streams, merged):
    """Neighbors of one stream are a batch; three streams are merged in some order."""
    states = [empty_of(name) for _ in range(3)]
    stream_of = dict(zip(order, streams, strict=True))
    for stream, group in itertools.groupby(order, stream_of.get):
        group = list(group)
        for start in range(0, len(group), SIZE):
            batch = batch_of(group[start : start + SIZE])
            states[stream] = update(states[stream], batch)
    first, second, third = (states[i] for i in merged)
    left, right = merge(merge(first, second), third), merge(first, merge(second, third))
    chex.assert_trees_all_equal(left, right, whole_of(name))
    chex.assert_trees_all_equal(compute(left), compute(whole_of(name)))


def test_a_state_is_a_pytree_of_fixed_size_that_nothing_changes(name, whole):
    leaves, structure = jax.tree.flatten(whole)
    assert all(isinstance(leaf, jax.Array) for leaf in leaves)
    shapes = [leaf.shape for leaf in jax.tree.leaves(empty_of(name))]
    assert [leaf.shape for leaf in leaves] == shapes
    kept = [np.array(leaf) for leaf in leaves]
    chex.assert_trees_all_equal(compute(whole), compute(whole))
    merge(whole, whole)
    for leaf, copy in zip(jax.tree.leaves(whole), kept, strict=True):
        np.testing.assert_array_equal(leaf, copy)
    assert isinstance(jax.tree.unflatten(structure, leaves), getattr(calibration_stream, name))


def test_jit_can_tell_every_state_from_every_other():
    """JAX compares dataclasses by their static fields alone: two that agree share a program."""
    structures = [jax.tree.structure(empty_of(name)) for name in STATES]
    for first, second in itertools.combinations(structures, 2):
        assert first != second


def test_a_collection_counts_once_what_several_need():
    """A diagram and the error of the same bins, and not that of others."""
    states = {name: empty_of(name) for name in ("ReliabilityDiagram", "ExpectedCalibrationError")}
    others = calibration_stream.ExpectedCalibrationError.empty(bins=10)
    assert len(Collection.of(**states, others=others).sums) == 2
    found = Collection.of(**states).update(**batch_of(range(SIZE))).compute()
    for name, state in states.items():
        alone = compute(update(state, batch_of(range(SIZE))))
        chex.assert_trees_all_equal(found[name], alone)


def test_an_empty_state_is_undefined_and_neutral(name, whole):
    found = compute(empty_of(name))
    assert found.undefined == 1
    assert np.isnan(np.asarray(found[0])).all()
    chex.assert_trees_all_equal(merge(whole, empty_of(name)), whole)
    chex.assert_trees_all_equal(update(empty_of(name), batch_of([])), empty_of(name))


def test_what_is_no_probability_is_never_forgotten(name, whole):
    batch = batch_of(range(SIZE))
    where = jnp.ones(batch["where"].shape, bool)
    p = batch["probabilities"].at[2, 3, 1].set(jnp.nan)
    broken = update(empty_of(name), {**batch, "probabilities": p, "where": where})
    for state in (broken, merge(whole, broken), merge(broken, whole)):
        found = compute(state)
        assert found.undefined == 1
        assert np.isnan(np.asarray(found[0])).all()
    hidden = {**batch, "probabilities": p, "where": where.at[2, 3].set(False)}
    assert compute(update(empty_of(name), hidden)).undefined == 0


def test_scan_and_vmap_carry_it(name, whole):
    batches = [batch_of(range(i, i + SIZE)) for i in (0, SIZE)]
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *batches)
    scan = jax.jit(lambda s, b: jax.lax.scan(lambda s, b: (s.update(**b), None), s, b)[0])
    chex.assert_trees_all_equal(scan(empty_of(name), stacked), whole)
    many = jax.jit(jax.vmap(lambda batch: empty_of(name).update(**batch)))(stacked)
    for i, batch in enumerate(batches):
        alone = jax.tree.map(lambda x, i=i: x[i], many)
        chex.assert_trees_all_equal(alone, update(empty_of(name), batch))


def test_four_devices_count_what_one_does(name, whole):
    mesh = jax.make_mesh(
        (4,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices("cpu")[:4]
    )
    batch = batch_of(range(EXAMPLES), EXAMPLES)
    batch = jax.device_put(batch, jax.NamedSharding(mesh, jax.P("data")))
    start = jax.device_put(empty_of(name), jax.NamedSharding(mesh, jax.P()))
    chex.assert_trees_all_equal(jax.device_get(update(start, batch)), jax.device_get(whole))


def test_merge_refuses_other_metrics_options_and_classes():
    expected = calibration_stream.ExpectedCalibrationError
    classwise = calibration_stream.ClasswiseCalibrationError
    with pytest.raises(ValueError, match="other: expected ExpectedCalibrationError, got Reliab"):
        expected.empty().merge(calibration_stream.ReliabilityDiagram.empty())
    with pytest.raises(ValueError, match="other: expected bins 15, got 10"):
        expected.empty().merge(expected.empty(bins=10))
    with pytest.raises(ValueError, match="other: expected norm 'l1', got 'max'"):
        expected.empty().merge(expected.empty(norm="max"))
    with pytest.raises(ValueError, match=r"other: expected shape \(3,\) \(classes\), got \(2,\)"):
        classwise.empty(num_classes=3).merge(classwise.empty(num_classes=2))
    with pytest.raises(ValueError, match="probabilities: expected 2 classes on the last axis"):
        classwise.empty(num_classes=2).update(jnp.asarray(PROBABILITIES), jnp.asarray(LABELS))
    for name in STATES:
        options = {**STATES[name], "bins": 0}
        with pytest.raises(ValueError, match="bins: expected an integer of at least 1, got 0"):
            getattr(calibration_stream, name).empty(**options)


def test_counts_of_a_long_stream_are_exact():
    """2^40 times one pixel, by merging a state with itself; the rest is one pixel more."""
    state = calibration_stream.ReliabilityDiagram.empty(bins=2)
    one = state.update(jnp.array([[0.75]]), jnp.array([True]))
    state = one
    for _ in range(40):
        state = merge(state, state)
    state = merge(state, one)
    number = state.counted.right
    assert int(number.high[0, 1]) + int(number.low[0, 1]) == 2**40 + 1
    found = compute(state)
    np.testing.assert_array_equal(found.number, [0, 2**31 - 1])  # as much as it can say
    np.testing.assert_array_equal(found.confidence, [np.nan, 0.75])


def judged(p, right):
    p = jnp.asarray(p, jnp.float32)[None]
    counted = jnp.ones(p.shape, bool)
    return _confidence.Judged(p, jnp.asarray(right)[None], counted, jnp.zeros((1,), bool))


def test_fine_bins_are_narrow_and_in_order():
    near = 10.0 ** -np.linspace(0.31, 7, 200)
    p = np.sort(np.concatenate([[0, 0.5, 1], near, 1 - near])).astype(np.float32)
    one_each = jax.vmap(lambda x: _reliability.fine(judged(x[None], [True])).right.high[0])(p)
    place = np.asarray(jnp.argmax(one_each, axis=1))
    assert (np.diff(place) >= 0).all()
    assert place[0] == 0
    assert place[-1] == _reliability.FINE - 1
    # Two that share a bin are nearer to each other than 1/128 of their distance from the end.
    units = np.round(p.astype(np.float64) * 2**24)
    end = np.minimum(units, 2**24 - units)
    shared = place[1:] == place[:-1]
    assert (np.diff(units)[shared] <= np.minimum(end[1:], end[:-1])[shared] / 128).all()
    np.testing.assert_array_equal(np.asarray(one_each).sum(axis=1), 1)


@pytest.mark.parametrize("bins", [1, 15])
def test_joined_fine_bins_are_the_adaptive_ones(bins):
    """Where every confidence has a fine bin of its own, to the last digits; else nearly."""
    rng = np.random.default_rng(1)
    own = 1 - rng.choice(np.arange(1, 120), 90, replace=True) * 2.0**-24  # with ties
    right = rng.random(90) < 0.5
    exact = jax.jit(_reliability.equal_mass, static_argnums=1)
    fine = jax.jit(
        lambda x, bins: _reliability.joined(_reliability.fine(x), bins), static_argnums=1
    )
    x = judged(own, right)
    chex.assert_trees_all_equal(fine(x, bins), exact(x, bins))
    close = judged(1 - rng.random(90) ** 3, right)
    for norm in ("l1", "l2"):
        errors = [_reliability.error_of(f(close, bins), norm)[0] for f in (fine, exact)]
        assert abs(errors[0] - errors[1]) < 0.05
