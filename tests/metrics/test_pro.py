import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench.metrics.pro import aupro
from lossbench.metrics.ranking import partial_auc
from tests.metrics import instances, rankings

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


def test_vmap_and_no_callback():
    given = jnp.asarray(MAPS["random"], jnp.float32), jnp.asarray(LABELS)
    many = jax.vmap(compiled)(*(jnp.stack([x, x[::-1]]) for x in given))
    np.testing.assert_allclose(many.value, [compiled(*given).value] * 2, rtol=1e-6)
    with jax.numpy_dtype_promotion("strict"):
        assert "callback" not in str(jax.make_jaxpr(aupro)(*given))


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
