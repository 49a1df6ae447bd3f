import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench import debug_checks
from lossbench.metrics.pimo import aupimo
from lossbench.metrics.pimo_stream import Aupimo
from tests.metrics import anomalies

LOWER, UPPER = 0.02, 0.3
SCORES, LABELS = anomalies.maps()
SCORES = SCORES.astype(np.float32)
CASES = len(SCORES)
MAPS = {
    "random": SCORES,
    "tied": np.round(2 * SCORES),
    "constant": np.zeros_like(SCORES),
    "perfect": LABELS.astype(np.float32),
    "infinite": np.where(SCORES - LABELS > 1.2, np.inf, SCORES),
    "far": SCORES * np.float32(10) ** (9 * (SCORES > 1)),
}
FEW = {"quantiles": 4}
SMALL = {"bins": 2**5, "quantiles": 2}


def empty(cases=CASES, **options):
    return Aupimo.empty(cases=cases, lower=LOWER, upper=UPPER, **{"bins": 2**10, **options})


@jax.jit
def update(state, scores, labels, case, where, weights):
    return state.update(scores, labels, case=case, where=where, weights=weights)


merge = jax.jit(lambda a, b: a.merge(b))
compute = jax.jit(lambda state: state.compute())


def seen(state, images, scores=SCORES, labels=LABELS, where=None, batch=4):
    """In batches of one size, of which the last is padded."""
    where = np.ones(LABELS.shape, bool) if where is None else where
    for begin in range(0, len(images), batch):
        here = np.array(images[begin : begin + batch])
        padded = np.resize(here, batch)
        given = (scores[padded], labels[padded], padded, where[padded])
        real = np.arange(batch) < len(here)
        state = update(state, *map(jnp.asarray, given), jnp.asarray(real, jnp.float32))
    return state


def exact(scores, where=None, labels=LABELS):
    return anomalies.image_areas(scores, labels, LOWER, UPPER, where)[0]


@pytest.mark.parametrize("name", MAPS)
def test_lies_within_its_bounds_as_the_exact_value_does(name):
    for options in ({}, FEW, SMALL):
        found = compute(seen(empty(**options), range(CASES), MAPS[name]))
        wanted = exact(MAPS[name])
        for value in (wanted, found.values):
            kept = ~np.isnan(value)
            np.testing.assert_array_equal(kept, LABELS.any((1, 2)))
            assert (found.lower[kept] <= value[kept] + 1e-6).all()
            assert (found.upper[kept] >= value[kept] - 1e-6).all()
        assert ((found.lower[kept] >= 0) & (found.upper[kept] <= 1)).all()
        np.testing.assert_allclose(found.mean, np.nanmean(found.values), rtol=1e-6)
        assert (found.undefined, found.anomalous) == (0, CASES // 2)


@pytest.mark.parametrize("name", ["tied", "constant", "perfect"])
def test_value_is_exact_where_every_bin_holds_one_score(name):
    found = compute(seen(empty(), range(CASES), MAPS[name]))
    np.testing.assert_allclose(found.values, exact(MAPS[name]), rtol=3e-6, atol=1e-7)
    given = jnp.asarray(MAPS[name]), jnp.asarray(LABELS)
    assert found.levels == aupimo(*given, lower=LOWER, upper=UPPER).levels
    if name == "constant":  # a bin that ends where it begins is known to
        np.testing.assert_allclose(found.lower, found.upper, rtol=1e-6)


def test_quantiles_leave_at_most_one_over_their_number():
    """Beside what bins leave, which is all there is where every labeled score is kept."""
    few, every = (compute(seen(empty(**more), range(CASES))) for more in (FEW, {}))
    assert FEW["quantiles"] < LABELS.sum((1, 2)).max() < 1024
    wider = (few.upper - few.lower) - (every.upper - every.lower)
    assert np.nanmax(wider) <= 1 / FEW["quantiles"] + 1e-6


def test_usual_numbers_of_bins_and_quantiles_are_nearly_exact():
    found = compute(seen(Aupimo.empty(cases=CASES, lower=LOWER, upper=UPPER), range(CASES)))
    np.testing.assert_allclose(found.values, exact(SCORES), atol=2e-3)
    assert np.nanmax(found.upper - found.lower) < 5e-3


def test_masked_is_removed_and_images_weigh_the_same():
    rng = np.random.default_rng(3)
    where = rng.random(LABELS.shape) < np.linspace(0.2, 1, CASES)[:, None, None]
    where[1] = False
    scores = np.where(where, MAPS["tied"], np.nan)
    found = compute(seen(empty(), range(CASES), scores, where=where))
    np.testing.assert_allclose(found.values, exact(MAPS["tied"], where), rtol=3e-6, atol=1e-7)
    assert (found.undefined, found.anomalous) == (0, CASES // 2 - 1)


@pytest.mark.parametrize("name", ["random", "far"])
def test_order_batches_padding_and_merging_do_not_matter(name):
    whole = seen(empty(**SMALL), range(CASES), MAPS[name])
    for seed in range(3):
        rng = np.random.default_rng(seed)
        parts = np.split(rng.permutation(CASES), np.sort(rng.integers(0, CASES + 1, 3)))
        states = [seen(empty(**SMALL), part, MAPS[name]) for part in parts]
        while len(states) > 1:
            one, other = (states.pop(rng.integers(len(states))) for _ in range(2))
            states.append(merge(one, other))
            jax.tree.map(np.testing.assert_array_equal, states[-1].keys, merge(other, one).keys)
        for field in ("keys", "labeled", "unordered", "pieces", "pixels"):
            ours, theirs = (getattr(state, field) for state in (whole, states[0]))
            jax.tree.map(np.testing.assert_array_equal, ours, theirs)
        for a, b in zip(compute(whole), compute(states[0]), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6)


def test_undefined_is_nan_and_counted():
    first = int(np.argmax(LABELS.any((1, 2))))
    broken = SCORES.copy()
    broken[tuple(np.argwhere(LABELS)[0])] = np.nan
    found = compute(seen(empty(), range(CASES), broken))
    assert (found.undefined, found.anomalous) == (1, CASES // 2)
    assert all(np.isnan(x[first]) for x in (found.values, found.lower, found.upper))
    assert np.isnan(found.mean)

    broken = np.where(LABELS.any((1, 2), keepdims=True), SCORES, np.nan)
    anomalous = np.flatnonzero(LABELS.any((1, 2)))
    for state in (seen(empty(), range(CASES), broken), seen(empty(), anomalous)):
        found = compute(state)
        assert np.isnan(found.values).all()
        assert (found.undefined, found.anomalous) == (CASES // 2, CASES // 2)
    found = compute(empty())
    assert np.isnan(found.mean)
    assert (found.undefined, found.anomalous) == (0, 0)


def test_a_case_that_comes_twice_has_no_value():
    state = merge(seen(empty(), range(CASES)), seen(empty(), [1]))
    found = compute(state)
    assert np.isnan(found.values[1])
    assert found.undefined == 1
    # Of a normal image every pixel counted twice, in the rates of all.
    assert compute(merge(state, seen(empty(), [0]))).undefined == CASES // 2
    given, twice = (jnp.asarray(SCORES[:2]), jnp.asarray(LABELS[:2])), jnp.array([0, 0])
    with debug_checks(), pytest.raises(Exception, match="a case came more than once"):
        empty().update(*given, case=twice)


def test_too_few_normal_pixels_until_there_are_enough():
    """Of 20 normal pixels an image: 40 cannot tell a rate of 1 / 50, and 60 can."""
    where = LABELS.copy()
    where[:, :2, :10] = True
    state = seen(empty(), [0, 1, 2], where=where)
    assert compute(state).undefined == 1
    assert compute(seen(state, [4], where=where)).undefined == 0


@pytest.mark.long
def test_scan_vmap_sharding_and_short_floats():
    given = [jnp.asarray(x) for x in (MAPS["tied"], LABELS, np.arange(CASES))]

    def one(state, batch):
        scores, labels, case = batch
        return state.update(scores, labels, case=case), None

    wanted = seen(empty(), range(CASES), MAPS["tied"])
    parts = [x.reshape(4, 2, *x.shape[1:]) for x in given]
    scanned, _ = jax.lax.scan(one, empty(), parts)
    many, _ = jax.vmap(functools.partial(one, empty()))(parts)
    merged = functools.reduce(merge, [jax.tree.map(lambda x, i=i: x[i], many) for i in range(4)])
    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    apart = [jax.device_put(x, jax.NamedSharding(mesh, jax.P("data"))) for x in given]
    sharded, _ = jax.jit(one)(empty(), apart)
    short, _ = one(empty(), (given[0].astype(jnp.bfloat16), *given[1:]))
    for state in (scanned, merged, sharded, short):
        for a, b in zip(compute(wanted), compute(state), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6)
    with jax.numpy_dtype_promotion("strict"):
        assert "callback" not in str(jax.make_jaxpr(one)(empty(), given))
        jax.make_jaxpr(lambda state: state.compute())(empty())


def test_what_does_not_fit_is_refused_by_name():
    for options, message in (
        ({"lower": 0.5, "upper": 0.1}, "lower: expected below upper"),
        ({"upper": 2.0}, "upper: expected above 0 to 1, got 2.0"),
        ({"quantiles": 0}, "quantiles: expected 1 to 32768, got 0"),
        ({"quantiles": 2**15 + 1}, "quantiles: expected 1 to 32768, got 32769"),
        ({"bins": 100}, "bins: expected a power of two"),
    ):
        with pytest.raises(ValueError, match=message):
            Aupimo.empty(cases=2, **options)
    for other, message in (
        (Aupimo.empty(cases=CASES, bins=2**10), "other: expected lower 0.02, got 1e-05"),
        (empty(cases=3), "other: expected shape"),
        (empty(quantiles=8), "other: expected shape"),
        (empty(bins=8), "other: expected shape"),
    ):
        with pytest.raises(ValueError, match=message):
            empty().merge(other)
