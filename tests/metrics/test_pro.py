import functools
import inspect
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench.metrics.pro import Aupro, aupro
from lossbench.metrics.ranking import partial_auc
from tests.metrics import anomalies, instances, rankings

PEER = json.loads((Path(__file__).parent / "data" / "anomaly_values.json").read_text())
compiled = jax.jit(aupro, static_argnames="connectivity")
_, LABELS = instances.masks((9, 11), 3)
NOISE = np.random.default_rng(0).normal(size=LABELS.shape)
MAPS = {
    "random": NOISE + LABELS,
    "tied": np.round(2 * (NOISE + LABELS)),
    "constant": np.zeros(LABELS.shape),
    "perfect": LABELS + 0.0,
    "wrong": 1.0 - LABELS,
    "infinite": np.where(NOISE > 0.5, np.inf, NOISE + LABELS),
    "two values": (NOISE + LABELS > 1) * 3.0,
}

BINS = 2**10


@jax.jit
def update(state, scores, labels, where, weights):
    return state.update(scores, labels, where=where, weights=weights)


merge = jax.jit(lambda a, b: a.merge(b))
compute = jax.jit(lambda state: state.compute())


def seen(state, scores, images=None, where=None, batch=3):
    """In batches of one size, of which the last is padded."""
    images = range(len(LABELS)) if images is None else images
    where = np.ones(LABELS.shape, bool) if where is None else where
    for begin in range(0, len(images), batch):
        here = np.array(images[begin : begin + batch], int)
        padded = np.resize(here, batch)
        given = (jnp.asarray(x) for x in (scores[padded], LABELS[padded], where[padded]))
        real = jnp.asarray(np.arange(batch) < len(here), jnp.float32)
        state = update(state, *given, real)
    return state


def reference(scores, labels, limit, connectivity=None, where=None):
    """By MVTec's definition, threshold by threshold and region by region."""
    where = np.ones(labels.shape, bool) if where is None else where
    labels = labels & where
    regions = []
    for i, image in enumerate(labels):
        for region in instances.components(image, connectivity):
            regions.append(np.zeros(labels.shape, bool))
            regions[-1][i] = region
    outside = where & ~labels
    points = [(0.0, 0.0)]
    for threshold in sorted(set(scores[where].tolist()), reverse=True):
        found = scores >= threshold
        pro = np.mean([found[region].mean() for region in regions])
        points.append((found[outside].mean(), pro))
    x, y = np.array(points).T
    return rankings.area(x, y, limit) / limit


@pytest.mark.parametrize("name", MAPS)
def test_equals_the_definition(name):
    scores = MAPS[name].astype(np.float32)
    for limit in (0.05, 0.3, 1.0):
        found = compiled(jnp.asarray(scores), jnp.asarray(LABELS), limit=jnp.float32(limit))
        wanted = reference(scores, LABELS, limit)
        np.testing.assert_allclose(found.value, wanted, rtol=2e-6, err_msg=f"{limit}")
        assert found.undefined == 0
        assert found.regions == sum(len(instances.components(each)) for each in LABELS)


def test_masks_connectivity_and_three_dimensions():
    _, labels = instances.masks((4, 5, 6), 2)
    rng = np.random.default_rng(1)
    scores = np.round(3 * (rng.normal(size=labels.shape) + labels)).astype(np.float32)
    where = rng.random(labels.shape) < 0.7
    for connectivity in (None, 1):
        given = jnp.asarray(scores), jnp.asarray(labels)
        found = compiled(*given, where=jnp.asarray(where), connectivity=connectivity)
        wanted = reference(scores, labels, 0.3, connectivity, where)
        np.testing.assert_allclose(found.value, wanted, rtol=2e-6)


def test_regions_of_one_pixel_make_it_a_partial_auc():
    labels = np.zeros(LABELS.shape, bool)
    labels[:, ::2, ::2] = True
    given = jnp.asarray(MAPS["tied"], jnp.float32), jnp.asarray(labels)
    pooled = (x.reshape(1, -1) for x in given)
    area = partial_auc(*pooled, max_fpr=0.3).raw.values[0]
    found = compiled(*given, limit=jnp.float32(0.3)).value
    np.testing.assert_allclose(found, area / 0.3, rtol=1e-6)


def test_one_threshold_for_all_images_and_not_a_mean():
    """Images with higher scores and without a region cost nothing but false positives."""
    scores, labels = MAPS["random"].astype(np.float32), LABELS.copy()
    scores[2:] += 10
    labels[2:] = False
    found = compiled(jnp.asarray(scores), jnp.asarray(labels), limit=jnp.float32(0.9))
    np.testing.assert_allclose(found.value, reference(scores, labels, 0.9), rtol=2e-6)
    assert found.value < reference(scores[:2], labels[:2], 0.9) - 0.2


def test_undefined_is_nan_and_counted():
    scores = jnp.asarray(MAPS["random"], jnp.float32)
    labels = jnp.asarray(LABELS)
    for s, t, where in (
        (scores, jnp.zeros_like(labels), None),
        (scores, jnp.ones_like(labels), None),
        (scores.at[0, 0, 0].set(jnp.nan), labels, None),
        (scores, labels, jnp.zeros_like(labels)),
    ):
        found = aupro(s, t, where=where)
        assert np.isnan(found.value)
        assert found.undefined == 1
    broken = scores.at[0, 0, 0].set(jnp.nan)
    where = jnp.ones_like(labels).at[0, 0, 0].set(False)
    assert aupro(broken, labels, where=where).value == aupro(scores, labels, where=where).value


@pytest.mark.parametrize("name", ["random", "tied"])
def test_equals_anomalib(name):
    scores, labels = anomalies.maps()
    scores = np.round(2 * scores) if name == "tied" else scores
    given = jnp.asarray(scores, jnp.float32), jnp.asarray(labels)
    found = [compiled(*given, limit=jnp.float32(limit)).value for limit in PEER["limits"]]
    np.testing.assert_allclose(found, PEER["aupro"][name], rtol=2e-6)


def test_anomalib_gives_0_where_there_is_no_value():
    """It cannot be told from a model that finds nothing; here it is NaN, and counted."""
    assert PEER["aupro, no region"] == PEER["aupro, all anomalous"] == 0
    scores = jnp.asarray(anomalies.maps()[0], jnp.float32)
    for labels in (jnp.zeros(scores.shape, bool), jnp.ones(scores.shape, bool)):
        found = aupro(scores, labels)
        assert np.isnan(found.value)
        assert found.undefined == 1


def test_vmap_and_no_callback():
    given = jnp.asarray(MAPS["random"], jnp.float32), jnp.asarray(LABELS)
    many = jax.vmap(compiled)(*(jnp.stack([x, x[::-1]]) for x in given))
    np.testing.assert_allclose(many.value, [compiled(*given).value] * 2, rtol=1e-6)
    with jax.numpy_dtype_promotion("strict"):
        assert "callback" not in str(jax.make_jaxpr(aupro)(*given))


@pytest.mark.parametrize("name", MAPS)
def test_stream_lies_within_its_bounds_as_the_exact_value_does(name):
    scores = MAPS[name].astype(np.float32)
    wanted = reference(scores, LABELS, 0.3)
    for bins in (BINS, 8):
        found = compute(seen(Aupro.empty(bins=bins), scores))
        for value in (wanted, found.value):
            assert found.lower - 1e-6 <= value <= found.upper + 1e-6
        assert 0 <= found.lower <= found.upper <= 1 + 1e-6
        assert found.undefined == 0
        assert found.regions == sum(len(instances.components(each)) for each in LABELS)
        if bins == BINS:
            np.testing.assert_allclose(found.value, wanted, atol=3e-3)
            if name in ("tied", "constant", "perfect", "wrong", "two values"):
                np.testing.assert_allclose(found.value, wanted, rtol=2e-6)


def test_stream_masks_and_connectivity():
    rng = np.random.default_rng(1)
    where = rng.random(LABELS.shape) < 0.7
    scores = MAPS["tied"].astype(np.float32)
    state = Aupro.empty(limit=0.1, connectivity=1, bins=BINS)
    found = compute(seen(state, np.where(where, scores, np.nan), where=where))
    wanted = reference(scores, LABELS, 0.1, 1, where)
    np.testing.assert_allclose(found.value, wanted, rtol=2e-6)


def test_stream_order_batches_padding_and_merging_do_not_matter():
    scores = MAPS["random"].astype(np.float32) * np.float32(10) ** (9 * (NOISE > 1))
    whole = compute(seen(Aupro.empty(bins=BINS), scores))
    for seed in range(3):
        rng = np.random.default_rng(seed)
        parts = np.split(rng.permutation(len(LABELS)), np.sort(rng.integers(0, len(LABELS), 2)))
        states = [seen(Aupro.empty(bins=BINS), scores, part) for part in parts]
        while len(states) > 1:
            one, other = (states.pop(rng.integers(len(states))) for _ in range(2))
            states.append(merge(one, other))
        for a, b in zip(whole, compute(states[0]), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6)


def test_stream_undefined_is_nan_and_counted():
    scores = MAPS["random"].astype(np.float32)
    broken = scores.copy()
    broken[0, 0, 0] = np.nan
    nowhere = np.zeros(LABELS.shape, bool)
    for state in (
        Aupro.empty(bins=BINS),
        seen(Aupro.empty(bins=BINS), broken),
        seen(Aupro.empty(bins=BINS), scores, where=nowhere),
        seen(Aupro.empty(bins=BINS), scores, where=LABELS),
        seen(Aupro.empty(bins=BINS), scores, where=~LABELS),
    ):
        found = compute(state)
        assert all(np.isnan(x) for x in (found.value, found.lower, found.upper))
        assert found.undefined == 1


@pytest.mark.long
def test_stream_in_scan_vmap_and_sharded():
    given = jnp.asarray(MAPS["tied"][:8], jnp.float32), jnp.asarray(LABELS[:8])
    empty = Aupro.empty(bins=BINS)

    def one(state, batch):
        return state.update(*batch), None

    wanted = compute(one(empty, given)[0])
    parts = [x.reshape(4, 2, *x.shape[1:]) for x in given]
    scanned, _ = jax.lax.scan(one, empty, parts)
    many, _ = jax.vmap(functools.partial(one, empty))(parts)
    merged = functools.reduce(merge, [jax.tree.map(lambda x, i=i: x[i], many) for i in range(4)])
    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    apart = [jax.device_put(x, jax.NamedSharding(mesh, jax.P("data"))) for x in given]
    sharded, _ = jax.jit(one)(empty, apart)
    for state in (scanned, merged, sharded):
        for a, b in zip(wanted, compute(state), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6)
    with jax.numpy_dtype_promotion("strict"):
        assert "callback" not in str(jax.make_jaxpr(one)(empty, given))


def test_stream_refuses_other_options():
    with pytest.raises(ValueError, match="limit: expected above 0 to 1, got 0"):
        Aupro.empty(limit=0)
    with pytest.raises(ValueError, match=r"other: expected limit 0.3, got 0.1"):
        Aupro.empty().merge(Aupro.empty(limit=0.1))
    # As users have it, without the annotations' own check.
    bare = functools.partial(inspect.unwrap(Aupro.update), Aupro.empty(connectivity=3))
    given = jnp.ones((1, 2, 3)), jnp.ones((1, 2, 3), bool)
    with pytest.raises(ValueError, match="weights: expected shape"):
        bare(*given, weights=jnp.ones((2,)))
    with pytest.raises(ValueError, match="connectivity: expected 1 to 2 or None, got 3"):
        bare(*given)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"limit": 0.0}, "limit: expected above 0 to 1, got 0.0"),
        ({"limit": 30}, "limit: expected above 0 to 1, got 30"),
        ({"connectivity": 3}, "connectivity: expected 1 to 2 or None, got 3"),
        ({"labels": jnp.ones(LABELS.shape)}, "labels: expected a mask"),
        ({"labels": jnp.ones((3, 4), bool)}, "labels: expected shape"),
        ({"scores": jnp.ones(LABELS.shape, jnp.int32)}, "scores: expected a floating dtype"),
        ({"where": jnp.ones(LABELS.shape)}, "where: expected bool"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(change, message):
    given = {"scores": jnp.asarray(NOISE, jnp.float32), "labels": jnp.asarray(LABELS)}
    # The public function as users have it, without the annotations' own check.
    bare = functools.partial(inspect.unwrap(aupro), **{**given, **change})
    with pytest.raises(ValueError, match=message):
        bare()
