import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench.metrics.regions import per_region_overlap, region_weights
from tests.metrics import instances

STATIC = ("connectivity", "empty")
overlap = jax.jit(per_region_overlap, static_argnames=STATIC)
weights_of = jax.jit(region_weights, static_argnames="connectivity")


@pytest.mark.parametrize("connectivity", [None, 1])
@pytest.mark.parametrize("space", [(30,), (13, 12), (7, 8, 6)], ids=str)
def test_the_mean_over_regions(space, connectivity):
    predictions, labels = instances.masks(space, 6)
    found = overlap(jnp.asarray(predictions), jnp.asarray(labels), connectivity=connectivity)
    shares = [
        [(p & region).sum() / region.sum() for region in instances.components(t, connectivity)]
        for p, t in zip(predictions, labels, strict=True)
    ]
    wanted = [np.mean(each) if each else np.nan for each in shares]
    np.testing.assert_allclose(found.values, wanted, rtol=1e-6)
    np.testing.assert_array_equal(found.regions, [len(each) for each in shares])
    np.testing.assert_allclose(found.pooled, np.mean(np.concatenate(shares)), rtol=1e-6)
    assert found.undefined == np.isnan(wanted).sum() == 2


def test_the_weights_give_the_same_overlap():
    """At every threshold of a score; this is what an exact AUPRO sums."""
    _, labels = instances.masks((13, 12), 6)
    scores = np.random.default_rng(0).normal(size=labels.shape) + labels
    weights, number = weights_of(jnp.asarray(labels))
    np.testing.assert_allclose(np.sum(weights, (1, 2)), number, rtol=1e-6)
    np.testing.assert_array_equal(np.asarray(weights) > 0, labels)
    some = number > 0
    for threshold in (-1.0, 0.0, 0.7, 2.0):
        predictions = jnp.asarray(scores > threshold)
        found = overlap(predictions, jnp.asarray(labels))
        values = jnp.sum(weights * predictions, axis=(1, 2))[some] / number[some]
        np.testing.assert_allclose(values, found.values[some], rtol=1e-5)
        pooled = jnp.sum(weights * predictions) / number.sum()
        np.testing.assert_allclose(pooled, found.pooled, rtol=1e-5)


def test_a_region_that_is_found_whole_counts_one():
    _, labels = instances.masks((40, 40), 3)
    found = overlap(jnp.asarray(labels[:3]), jnp.asarray(labels[:3]))
    np.testing.assert_array_equal(found.values, 1)
    assert found.mean == found.pooled == 1


def test_examples_without_a_region():
    labels = jnp.zeros((3, 4, 4), bool).at[2, 0].set(True)
    predictions = labels.at[1, 1].set(True).at[2, 0, 0].set(False)
    for empty, both, one, mean in (
        ("nan", np.nan, np.nan, np.nan),
        ("skip", np.nan, np.nan, 0.75),
        ("worst", 1, 0, 1.75 / 3),
        ("zero", 0, 0, 0.25),
    ):
        found = overlap(predictions, labels, empty=empty)
        np.testing.assert_array_equal(found.values, [both, one, 0.75])
        np.testing.assert_allclose(found.mean, mean, rtol=1e-6)
        assert (found.undefined, found.pooled) == (2, 0.75)
    assert np.isnan(overlap(predictions, jnp.zeros_like(labels)).pooled)


def test_inside_of_jax():
    masks = instances.masks((9, 8), 3)
    predictions, labels = (jnp.asarray(m).reshape(2, 4, 9, 8) for m in masks)
    mapped = jax.jit(jax.vmap(per_region_overlap))(predictions, labels)
    alone = overlap(predictions[1], labels[1])
    np.testing.assert_array_equal(mapped.values[1], alone.values)
    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    there = jax.device_put((predictions[0], labels[0]), jax.NamedSharding(mesh, jax.P("data")))
    np.testing.assert_allclose(overlap(*there).values, mapped.values[0], rtol=1e-6)
    with jax.numpy_dtype_promotion("strict"):
        program = str(jax.make_jaxpr(per_region_overlap)(predictions[0], labels[0]))
    assert "callback" not in program


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"predictions": jnp.zeros((1, 3, 4))}, r"predictions: expected a mask \(bool\)"),
        ({"labels": jnp.zeros((1, 4, 3), bool)}, "predictions: expected shape"),
        ({"connectivity": 0}, "connectivity: expected 1 to 2 or None, got 0"),
        ({"empty": "best"}, "empty: expected one of"),
    ],
)
def test_wrong_arguments_are_named(change, message):
    masks = {"predictions": jnp.zeros((1, 3, 4), bool), "labels": jnp.zeros((1, 3, 4), bool)}
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(per_region_overlap)(**{**masks, **change})
    with pytest.raises(ValueError, match="labels: expected a mask"):
        inspect.unwrap(region_weights)(jnp.zeros((1, 3, 4)))
