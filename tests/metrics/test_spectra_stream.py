"""Means over a stream of spectra: in any batches, orders and trees of merging they are the same."""

import dataclasses
import inspect
import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import AxisType

from lossbench import debug_checks
from lossbench.metrics import _sums, spectra, spectra_stream
from tests.metrics import spectra_reference

NAMES, PREDICTED, OBSERVED, WHERE = spectra_reference.examples()
COUNT = len(NAMES)
# In steps of 1/4, so that their sums are exact.
WEIGHTS = np.random.default_rng(0).integers(1, 5, COUNT).astype(np.float32) / 4
STATES = {
    "spectral_cosine": (spectra_stream.SpectralCosine, {}),
    "spectral_angle": (spectra_stream.SpectralAngle, {}),
    "normalized_spectral_angle": (spectra_stream.NormalizedSpectralAngle, {}),
    "spectral_entropy_similarity": (spectra_stream.SpectralEntropySimilarity, {}),
    "pearson": (spectra_stream.Pearson, {}),
    "matched_peak_share": (spectra_stream.MatchedPeakShare, {"threshold": 0.1}),
}
OPTIONS = {"matched_peak_share": {"threshold": 0.1}}


@pytest.fixture(params=STATES)
def name(request):
    return request.param


def empty_of(name):
    state, options = STATES[name]
    return state.empty(**options)


@jax.jit
def update(state, batch):
    return state.update(**batch)


merge = jax.jit(lambda a, b: a.merge(b))
compute = jax.jit(lambda state: state.compute())


def batch_of(rows, size):
    """These examples, padded to `size` with rubbish of weight 0."""
    rows = np.array(rows, int)
    padding = size - len(rows)

    def fill(x, value):
        return np.concatenate([x[rows], np.full((padding, *x.shape[1:]), value, x.dtype)])

    return {
        "predicted": jnp.asarray(fill(PREDICTED, 1.0)),
        "observed": jnp.asarray(fill(OBSERVED, np.nan)),
        "where": jnp.asarray(fill(WHERE, True)),
        "weights": jnp.asarray(fill(WEIGHTS, 0)),
    }


def whole_of(name):
    return update(empty_of(name), batch_of(range(COUNT), COUNT))


def test_the_mean_is_that_of_the_function(name):
    found = compute(whole_of(name))
    given = (jnp.asarray(x) for x in (PREDICTED, OBSERVED))
    options = OPTIONS.get(name, {})
    each = getattr(spectra, name)(*given, where=jnp.asarray(WHERE), **options)
    values = np.float64(each.values)
    defined = ~np.isnan(values)
    mean = np.average(values[defined], weights=WEIGHTS[defined])
    np.testing.assert_allclose(found.mean, mean, rtol=1e-6)
    assert found.counted == defined.sum()
    assert found.undefined == each.undefined > 0
    assert found.counted.dtype == found.undefined.dtype == jnp.int32


@settings(max_examples=15, deadline=None)
@given(
    order=st.permutations(range(COUNT)),
    streams=st.lists(st.integers(0, 2), min_size=COUNT, max_size=COUNT),
    merged=st.permutations(range(3)),
)
@pytest.mark.parametrize("name", ["spectral_angle", "pearson"])
def test_order_batches_padding_and_merging_change_nothing(name, order, streams, merged):
    """Neighbors of one stream are a batch; three streams are merged in some order."""
    states = [empty_of(name) for _ in range(3)]
    stream_of = dict(zip(order, streams, strict=True))
    for stream, rows in itertools.groupby(order, stream_of.get):
        states[stream] = update(states[stream], batch_of(list(rows), COUNT))
    first, second, third = (states[i] for i in merged)
    whole = compute(whole_of(name))
    for tree in (merge(merge(first, second), third), merge(first, merge(third, second))):
        found = compute(tree)
        np.testing.assert_allclose(found.mean, whole.mean, rtol=1e-6)
        assert found.counted == whole.counted
        assert found.undefined == whole.undefined


def test_an_empty_state_is_undefined_and_neutral(name):
    found = compute(empty_of(name))
    assert np.isnan(found.mean)
    assert found.counted == found.undefined == 0
    whole = whole_of(name)
    chex.assert_trees_all_equal(merge(whole, empty_of(name)), whole)
    padding = batch_of([], COUNT)
    chex.assert_trees_all_equal(update(empty_of(name), padding), empty_of(name))


def test_without_weights_every_example_counts_one(name):
    given = jnp.asarray(PREDICTED), jnp.asarray(OBSERVED)
    plain = compute(empty_of(name).update(*given))
    ones = compute(empty_of(name).update(*given, weights=jnp.ones(COUNT)))
    assert plain.counted + plain.undefined == COUNT
    chex.assert_trees_all_close(plain, ones, rtol=1e-6)


@pytest.mark.parametrize("name", ["spectral_entropy_similarity", "matched_peak_share"])
def test_scan_vmap_and_four_devices(name):
    batches = [batch_of(range(i, i + 4), 4) for i in range(0, COUNT, 4)]
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *batches)
    scan = jax.jit(lambda s, b: jax.lax.scan(lambda s, b: (s.update(**b), None), s, b)[0])
    whole = compute(whole_of(name))
    chex.assert_trees_all_close(compute(scan(empty_of(name), stacked)), whole, rtol=1e-6)
    # Many models at once: one state each.
    many = jax.jit(jax.vmap(lambda batch: empty_of(name).update(**batch)))(stacked)
    alone = [jax.tree.map(lambda x, i=i: x[i], many) for i in range(len(batches))]
    merged = alone[0]
    for other in alone[1:]:
        merged = merge(merged, other)
    chex.assert_trees_all_close(compute(merged), whole, rtol=1e-6)
    mesh = jax.make_mesh(
        (4,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices("cpu")[:4]
    )
    spread = jax.device_put(batch_of(range(COUNT), COUNT), jax.NamedSharding(mesh, jax.P("data")))
    assert len(spread["observed"].sharding.device_set) == 4
    start = jax.device_put(empty_of(name), jax.NamedSharding(mesh, jax.P()))
    found = jax.device_get(compute(update(start, spread)))
    chex.assert_trees_all_close(found, jax.device_get(whole), rtol=1e-6)


def test_the_count_of_a_long_stream_does_not_stand_still():
    """One float32 would stay at 2^24."""
    long = _sums.RunningSum(jnp.float32(2**24), jnp.float32(0))
    state = dataclasses.replace(
        spectra_stream.SpectralCosine.empty(),
        **dict.fromkeys(("total", "weight", "counted", "undefined"), long),
    )
    one = jnp.ones((1, 3))
    for _ in range(4):
        state = state.update(one, one).update(one, 0 * one)
    found = state.compute()
    assert found.counted == found.undefined == 2**24 + 4
    np.testing.assert_allclose(found.mean, 1, rtol=1e-7)


def test_a_state_is_a_pytree_that_jit_can_tell_from_every_other():
    structures = [jax.tree.structure(empty_of(name)) for name in STATES]
    structures.append(jax.tree.structure(spectra_stream.MatchedPeakShare.empty()))
    weighted = spectra_stream.SpectralEntropySimilarity.empty(weighted=False)
    structures.append(jax.tree.structure(weighted))
    for first, second in itertools.combinations(structures, 2):
        assert first != second
    leaves, structure = jax.tree.flatten(empty_of("pearson"))
    assert all(isinstance(leaf, jax.Array) for leaf in leaves)
    assert isinstance(jax.tree.unflatten(structure, leaves), spectra_stream.Pearson)


def test_options_are_those_of_the_function():
    pair = jnp.array([[1.0, 0.05, 0.2]]), jnp.array([[3.0, 2.0, 0.0]])
    state = spectra_stream.SpectralEntropySimilarity.empty(weighted=False).update(*pair)
    found = spectra.spectral_entropy_similarity(*pair, weighted=False)
    np.testing.assert_allclose(state.compute().mean, found.mean, rtol=1e-7)
    state = spectra_stream.MatchedPeakShare.empty(threshold=0).update(*pair)
    assert state.compute().mean == 1
    with pytest.raises(ValueError, match=r"threshold: expected from 0 to below 1, got 1"):
        spectra_stream.MatchedPeakShare.empty(threshold=1)
    shares = spectra_stream.MatchedPeakShare
    with pytest.raises(ValueError, match=r"threshold: expected from 0 to below 1, got 2"):
        # As users have it, without the annotations' own check.
        inspect.unwrap(shares.empty.__func__)(shares, threshold=np.float32(2))


def test_merge_refuses_another_metric_and_other_options():
    cosine, shares = spectra_stream.SpectralCosine.empty(), spectra_stream.MatchedPeakShare.empty()
    with pytest.raises(ValueError, match="other: expected SpectralCosine, got MatchedPeakShare"):
        cosine.merge(shares)
    with pytest.raises(ValueError, match=r"other: expected threshold 0.01, got 0.1"):
        shares.merge(spectra_stream.MatchedPeakShare.empty(threshold=0.1))


def test_weights_that_do_not_fit_are_refused_by_name():
    state, one = spectra_stream.SpectralCosine.empty(), jnp.ones((2, 3))
    with pytest.raises(ValueError, match=r"weights: expected shape \(2,\) \(batch\)"):
        inspect.unwrap(type(state).update)(state, one, one, weights=jnp.ones((3,)))
    with debug_checks(), pytest.raises(Exception, match="weights: a weight is negative"):
        state.update(one, one, weights=-jnp.ones((2,)))
