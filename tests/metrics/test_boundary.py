"""Boundary IoU against SciPy."""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from lossbench.metrics.boundary import boundary_iou
from tests.metrics.surface_reference import blobs


def rim(mask, width, spacing):
    depth = ndimage.distance_transform_edt(np.pad(mask, 1), sampling=spacing)
    return mask & (depth[(slice(1, -1),) * mask.ndim] <= width + 1e-9)


def expected(predicted, true, width, spacing):
    a, b = (rim(mask, width, spacing) for mask in (predicted, true))
    return (a & b).sum() / (a | b).sum()


@pytest.mark.parametrize(
    ("space", "spacing", "width"),
    [
        ((10, 11), (1.0, 1.0), 1),
        ((11, 10), (0.5, 1.7), 1.7),
        ((1, 20), (1.0, 2.0), 4.0),
        ((20,), (2.0,), 2.0),
        ((7, 8, 9), (0.5, 0.5, 7.5), 1.0),
        ((8, 8, 8), (1.0, 1.0, 1.0), 100.0),  # the whole masks
    ],
)
def test_the_value_is_the_definition(space, spacing, width):
    masks = blobs(space, 6)
    predictions, labels = masks[:3], masks[3:]
    found = jax.jit(lambda p, t: boundary_iou(p, t, spacing=spacing, width=width))(
        predictions, labels
    )
    pairs = zip(predictions, labels, strict=True)
    wanted = [expected(p, t, width, spacing) for p, t in pairs]
    np.testing.assert_allclose(found.values, wanted, rtol=1e-6)
    np.testing.assert_allclose(found.mean, np.mean(wanted), rtol=1e-6)
    assert found.undefined == 0


@pytest.mark.parametrize(("space", "width"), [((20, 20), 1.0), ((150, 200), 5.0)])
def test_the_default_width_is_two_percent_of_the_diagonal_or_a_pixel(space, width):
    masks = jnp.asarray(blobs(space, 2, width=5))
    found = boundary_iou(masks[:1], masks[1:], spacing=(1, 1))
    wanted = boundary_iou(masks[:1], masks[1:], spacing=(1, 1), width=width)
    np.testing.assert_array_equal(found.values, wanted.values)


def test_empty_full_and_equal_masks():
    some = jnp.zeros((1, 6, 6), bool).at[0, 1:4, 1:4].set(True)
    nothing, full = jnp.zeros_like(some), jnp.ones_like(some)
    of = jax.jit(functools.partial(boundary_iou, spacing=(1, 1)), static_argnames="empty")
    for mask in (some, full):
        assert of(mask, mask).values[0] == 1
        for empty in ("nan", "skip", "worst", "zero"):  # defined
            for pair in ((mask, nothing), (nothing, mask)):
                found = of(*pair, empty=empty)
                assert (found.values[0], found.undefined) == (0, 0)
    for empty, value in {"nan": np.nan, "skip": np.nan, "worst": 1, "zero": 0}.items():
        found = of(nothing, nothing, empty=empty)
        np.testing.assert_array_equal(found.values, [value])
        assert found.undefined == 1


def test_vmap_over_classes_and_no_callback():
    ids = jnp.asarray(np.random.default_rng(0).integers(0, 3, (2, 2, 8, 9)))
    of_class = lambda c: boundary_iou(ids[0] == c, ids[1] == c, spacing=(1, 2))  # noqa: E731
    found = jax.jit(jax.vmap(of_class))(jnp.arange(3))
    for c in range(3):
        np.testing.assert_allclose(found.values[c], of_class(c).values, rtol=1e-6)
    with jax.numpy_dtype_promotion("strict"):
        assert "callback" not in str(jax.make_jaxpr(of_class)(0))


def test_wrong_arguments_are_named():
    bare = inspect.unwrap(boundary_iou)
    mask = jnp.ones((1, 4, 4), bool)
    with pytest.raises(ValueError, match=r"width: expected at least the smallest spacing 1\.0"):
        bare(mask, mask, spacing=(1, 2), width=0.5)
    with pytest.raises(ValueError, match="spacing: expected 2 numbers above 0"):
        bare(mask, mask, spacing=(1, 2, 3))
    with pytest.raises(ValueError, match="labels: expected a mask"):
        bare(mask, mask * 1.0, spacing=(1, 2))
