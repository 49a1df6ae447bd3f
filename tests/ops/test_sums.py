"""Sums over pixels against float64 NumPy, on both sides of every boundary of their layout."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from lossbench.ops import sums

BLOCK = sums.CHUNKS * sums.LANES
PIXELS = [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK - 1, 2 * BLOCK, 2 * BLOCK + 1, 100_003]
FIELDS = ("intersection", "predicted", "true")


def close_to_the_sum(value, x):
    """Float32 within two digits' rounding of the sum of magnitudes."""
    x = np.asarray(x, np.float64)
    np.testing.assert_array_less(np.abs(value - x.sum(-1)), 2e-7 * np.abs(x).sum(-1) + 1e-30)


@pytest.mark.parametrize("pixels", PIXELS)
def test_every_pixel_is_summed_once(pixels):
    rng = np.random.default_rng(pixels)
    x = rng.normal(size=(2, 3, pixels)).astype(np.float32)
    value, gradient = jax.jit(lambda x: (sums.sum_pixels(x), jax.grad(total)(x)))(x)
    assert value.dtype == jnp.float32
    close_to_the_sum(value, x)
    np.testing.assert_array_equal(gradient, np.broadcast_to(WEIGHTS[..., None], x.shape))


WEIGHTS = np.arange(6, dtype=np.float32).reshape(2, 3)


def total(x):
    return jnp.sum(WEIGHTS * sums.sum_pixels(x))


@pytest.mark.parametrize("pixels", [0, 1, BLOCK + 1, 100_003])
def test_a_mask_is_counted_exactly(pixels):
    mask = np.random.default_rng(pixels).random((2, pixels)) < 0.3
    count = sums.sum_pixels(jnp.asarray(mask))
    assert count.dtype == jnp.float32
    np.testing.assert_array_equal(count, mask.sum(-1))


def test_float64_is_summed_in_float64():
    with jax.enable_x64(True):
        x = np.full(3 * BLOCK + 5, 0.1)
        value = sums.sum_pixels(jnp.asarray(x))
        assert value.dtype == jnp.float64
        np.testing.assert_allclose(value, 0.1 * len(x), rtol=1e-14)


@pytest.mark.long
def test_sums_hold_their_digits_at_256_cubed():
    """A running float32 sum of 0.1 is 15 % off here; a count of ones stops at 2^24."""
    pixels = 256**3 + 3
    value = jax.jit(sums.sum_pixels)(jnp.full(pixels, 0.1, jnp.float32))
    np.testing.assert_allclose(value, np.float64(np.float32(0.1)) * pixels, rtol=1e-5)
    ones = jnp.ones(pixels, jnp.float32)
    np.testing.assert_allclose(sums.sum_pixels(ones), pixels, rtol=1e-7)
    mask = jnp.zeros(2**25, bool).at[1::2].set(True)
    np.testing.assert_array_equal(sums.sum_pixels(mask), 2**24)


def reference(p, ids, where):
    """One pixel after the other, in float64."""
    p = p.astype(np.float64)
    result = {field: np.zeros(p.shape[:2]) for field in FIELDS}
    for b, i in np.ndindex(ids.shape):
        if where is None or where[b, i]:
            result["predicted"][b] += p[b, :, i]
            if 0 <= ids[b, i] < p.shape[1]:
                result["intersection"][b, ids[b, i]] += p[b, ids[b, i], i]
                result["true"][b, ids[b, i]] += 1
    return result


def inputs(classes, pixels, masked):
    rng = np.random.default_rng(classes + pixels)
    p = rng.random((2, classes, pixels)).astype(np.float32)
    ids = rng.integers(-1, classes + 1, (2, pixels)).astype(np.int32)
    where = rng.random((2, pixels)) < 0.6 if masked else None
    return p, ids, where


def by_members(p, ids, where):
    return sums.class_sums(p, sums.members_of_ids(ids, where, p.shape[1]), where)


@pytest.mark.parametrize("masked", [False, True], ids=["all", "masked"])
@pytest.mark.parametrize(
    ("classes", "pixels"), [(3, 1), (3, BLOCK - 1), (3, BLOCK), (3, 2 * BLOCK + 1), (1, 7), (17, 9)]
)
def test_class_sums_are_the_loop(classes, pixels, masked):
    """Both forms; an id outside the classes belongs to none of them."""
    p, ids, where = inputs(classes, pixels, masked)
    expected = reference(p, ids, where)
    both = jax.jit(lambda *arrays: (by_members(*arrays), sums.class_sums_of_ids(*arrays)))
    for result in both(p, ids, where):
        for field in FIELDS:
            value = getattr(result, field)
            assert value.dtype == jnp.float32
            np.testing.assert_allclose(value, expected[field], rtol=1e-6, err_msg=field)
        np.testing.assert_array_equal(result.true, expected["true"])


@pytest.mark.parametrize("masked", [False, True], ids=["all", "masked"])
def test_soft_members_are_multiplied(masked):
    p, _, where = inputs(3, 50, masked)
    soft = np.random.default_rng(0).dirichlet(np.ones(3), (2, 50)).astype(np.float32)
    soft = np.moveaxis(soft, -1, 1) if where is None else np.moveaxis(soft, -1, 1) * where[:, None]
    mask = None if where is None else jnp.asarray(where)
    result = sums.class_sums(jnp.asarray(p), jnp.asarray(soft), mask)
    counted = 1.0 if where is None else where[:, None]
    np.testing.assert_allclose(result.intersection, (p * np.float64(1) * soft).sum(-1), rtol=1e-6)
    np.testing.assert_allclose(result.predicted, (p * np.float64(1) * counted).sum(-1), rtol=1e-6)
    np.testing.assert_allclose(result.true, soft.astype(np.float64).sum(-1), rtol=1e-6)


def weighted(function, weights, ids, where):
    """A scalar that reads all three sums, each class with its own weight."""
    return lambda p: sum(
        jnp.sum(w * getattr(function(p, ids, where), field))
        for w, field in zip(weights, FIELDS, strict=True)
    )


@pytest.mark.parametrize("masked", [False, True], ids=["all", "masked"])
def test_the_gradient_is_the_weight_of_each_sum_at_its_pixels(masked):
    p, ids, where = inputs(3, BLOCK + 9, masked)
    ids, weights = jnp.asarray(ids), np.random.default_rng(1).normal(size=(3, 2, 3))
    counted = np.ones(ids.shape) if where is None else where
    member = (np.asarray(ids)[:, None] == np.arange(3)[:, None]) * counted[:, None]
    expected = weights[0][..., None] * member + weights[1][..., None] * counted[:, None]
    mask = None if where is None else jnp.asarray(where)
    for function in (by_members, sums.class_sums_of_ids):
        gradient = jax.jit(jax.grad(weighted(function, weights.astype(np.float32), ids, mask)))(p)
        np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-6)
    tangent = np.random.default_rng(2).normal(size=p.shape).astype(np.float32)
    change = jax.jit(
        lambda p, t: jax.jvp(lambda p: sums.class_sums_of_ids(p, ids, mask), (p,), (t,))[1]
    )(p, tangent)
    np.testing.assert_allclose(change.intersection, (member * tangent).sum(-1), atol=1e-4)
    np.testing.assert_allclose(change.predicted, (counted[:, None] * tangent).sum(-1), atol=1e-4)
    np.testing.assert_array_equal(change.true, 0)


def test_derivatives_of_two_orders_in_both_modes():
    """Squared, so that a second derivative is there to be checked."""
    with jax.enable_x64(True):
        p, ids, where = (jnp.asarray(x) for x in inputs(3, 4, True))
        weights = np.random.default_rng(3).normal(size=(3, 2, 3))
        linear = weighted(sums.class_sums_of_ids, weights, ids, where)
        function = jax.jit(lambda p: linear(p) ** 2)
        check_grads(function, (p.astype(jnp.float64),), order=2, modes=("fwd", "rev"), rtol=1e-6)


def test_the_mask_takes_members_away():
    ids, where = jnp.array([[0, 1, 1]]), jnp.array([[True, True, False]])
    everywhere = [[[True, False, False], [False, True, True]]]
    np.testing.assert_array_equal(sums.members_of_ids(ids, None, 2), everywhere)
    counted = [[[True, False, False], [False, True, False]]]
    np.testing.assert_array_equal(sums.members_of_ids(ids, where, 2), counted)
