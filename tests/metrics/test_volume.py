"""Volume differences by counting."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench.metrics.volume import relative_volume_difference, volume_difference
from tests.metrics.surface_reference import blobs


@pytest.mark.parametrize(
    ("space", "spacing"), [((10, 11), (0.5, 3.0)), ((7, 8, 9), (1.0, 0.7, 7.5)), ((9,), (2.0,))]
)
def test_the_values_are_the_formulas(space, spacing):
    predictions, labels = blobs(space, 3), blobs(space, 3, share=0.7)
    volumes = [
        np.array([m.sum() * np.prod(spacing) for m in masks]) for masks in (predictions, labels)
    ]
    found = jax.jit(lambda p, t: volume_difference(p, t, spacing=spacing))(predictions, labels)
    np.testing.assert_allclose(found.values, abs(volumes[0] - volumes[1]), rtol=1e-6)
    np.testing.assert_allclose(found.mean, abs(volumes[0] - volumes[1]).mean(), rtol=1e-6)
    assert found.undefined == 0
    found = relative_volume_difference(
        jnp.asarray(predictions), jnp.asarray(labels), spacing=spacing
    )
    np.testing.assert_allclose(found.values, (volumes[0] - volumes[1]) / volumes[1], rtol=1e-6)
    assert np.all(found.values < 0)
    assert found.undefined == 0


def test_one_voxel_of_many_is_seen():
    """2^24 and one more: float32 counts would be equal."""
    labels = jnp.ones((1, 2**24 + 1), bool)
    found = volume_difference(labels.at[0, 0].set(False), labels, spacing=(1,))
    np.testing.assert_array_equal(found.values, [1])


def test_empty_masks():
    labels = jnp.zeros((3, 4, 4), bool).at[2, 0].set(True)
    predictions = labels.at[1, 0].set(True)
    found = volume_difference(predictions, labels, spacing=(1, 2))
    np.testing.assert_array_equal(found.values, [0, 8, 0])
    assert found.undefined == 0
    for empty, wanted, mean in (
        ("nan", [np.nan, np.nan, 0], np.nan),
        ("skip", [np.nan, np.nan, 0], 0),
        ("worst", [0, np.inf, 0], np.inf),
        ("zero", [0, 0, 0], 0),
    ):
        found = relative_volume_difference(predictions, labels, spacing=(1, 2), empty=empty)
        np.testing.assert_array_equal(found.values, wanted)
        np.testing.assert_array_equal(found.mean, mean)
        assert found.undefined == 2


@pytest.mark.parametrize("metric", [volume_difference, relative_volume_difference])
def test_inside_of_jax_and_wrong_arguments(metric):
    masks = jnp.asarray(blobs((4, 5), 6).reshape(3, 2, 4, 5))
    other = masks[::-1]
    found = jax.jit(jax.vmap(lambda p, t: metric(p, t, spacing=(1, 2))))(masks, other)
    for c in range(3):
        alone = metric(masks[c], other[c], spacing=(1, 2))
        np.testing.assert_allclose(found.values[c], alone.values, rtol=1e-6)
    with jax.numpy_dtype_promotion("strict"):
        jaxpr = str(jax.make_jaxpr(lambda p, t: metric(p, t, spacing=(1, 2)))(masks[0], other[0]))
    assert "callback" not in jaxpr
    with pytest.raises(ValueError, match="spacing: expected 2 numbers above 0"):
        inspect.unwrap(metric)(masks[0], other[0], spacing=(1,))
    with pytest.raises(ValueError, match="labels: expected a mask"):
        inspect.unwrap(metric)(masks[0], other[0] * 1, spacing=(1, 2))
