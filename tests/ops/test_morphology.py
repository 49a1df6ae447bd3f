"""Dilation, erosion and surface against SciPy; the soft skeleton against MONAI."""

import inspect
import itertools
import json
from pathlib import Path

import hypothesis.extra.numpy as arrays
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given, settings
from hypothesis import strategies as st

from lossbench.ops import morphology

STATIC = ("connectivity", "iterations", "border")
dilate, erode, surface, soft_skeleton = (
    jax.jit(f, static_argnames=[name for name in STATIC if name in inspect.signature(f).parameters])
    for f in (morphology.dilate, morphology.erode, morphology.surface, morphology.soft_skeleton)
)

SHAPES = [(7,), (1, 5), (6, 5), (5, 4, 6)]
EVERY = [(shape, c + 1) for shape in SHAPES for c in range(len(shape))]
MONAI = json.loads((Path(__file__).parent / "data" / "soft_skeleton.json").read_text())


def random_masks(shape, share=0.6, batch=3):
    return np.random.default_rng(len(shape)).random((batch, *shape)) < share


def random_values(shape, batch=3):
    return np.random.default_rng(len(shape)).normal(size=(batch, *shape)).astype(np.float32)


def one_by_one(function, x, *args, **options):
    return np.stack([function(one, *args, **options) for one in x])


def structure(shape, connectivity):
    return scipy.ndimage.generate_binary_structure(len(shape), connectivity)


@pytest.mark.parametrize("iterations", [3])
@pytest.mark.parametrize(("shape", "connectivity"), EVERY)
def test_masks_are_dilated_and_eroded_as_by_scipy(shape, connectivity, iterations):
    mask = random_masks(shape, 0.97)
    options = {"connectivity": connectivity, "iterations": iterations}
    s = {"structure": structure(shape, connectivity), "iterations": iterations}
    value = erode(jnp.asarray(mask), **options)
    assert value.dtype == jnp.bool_
    np.testing.assert_array_equal(value, one_by_one(scipy.ndimage.binary_erosion, mask, **s))
    value = erode(jnp.asarray(mask), border="neutral", **options)
    expected = one_by_one(scipy.ndimage.binary_erosion, mask, border_value=1, **s)
    np.testing.assert_array_equal(value, expected)
    value = dilate(jnp.asarray(~mask), **options)
    np.testing.assert_array_equal(value, one_by_one(scipy.ndimage.binary_dilation, ~mask, **s))


@pytest.mark.parametrize("iterations", [1])
@pytest.mark.parametrize(("shape", "connectivity"), EVERY)
def test_soft_values_are_dilated_and_eroded_as_by_scipy(shape, connectivity, iterations):
    """Also negative ones; SciPy's own border repeats pixels, so that it takes no part either."""
    x = random_values(shape)
    options = {"connectivity": connectivity, "iterations": iterations}
    s = {"footprint": structure(shape, connectivity)}
    eroded, dilated, background = x, x, x
    for _ in range(iterations):
        eroded = one_by_one(scipy.ndimage.grey_erosion, eroded, **s)
        dilated = one_by_one(scipy.ndimage.grey_dilation, dilated, **s)
        background = one_by_one(scipy.ndimage.grey_erosion, background, mode="constant", **s)
    np.testing.assert_array_equal(erode(jnp.asarray(x), **options), eroded)
    np.testing.assert_array_equal(dilate(jnp.asarray(x), **options), dilated)
    value = erode(jnp.asarray(x), border="background", **options)
    np.testing.assert_array_equal(value, background)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32, jnp.bool_])
def test_the_dtype_stays(dtype):
    x = jnp.asarray(random_values((4, 5)), dtype)
    assert {f(x).dtype for f in (dilate, erode)} == {jnp.dtype(dtype)}
    if dtype != jnp.bool_:
        assert soft_skeleton(x, iterations=2).dtype == dtype


def test_no_iteration_changes_nothing():
    x = random_values((4, 5))
    np.testing.assert_array_equal(erode(jnp.asarray(x), iterations=0), x)
    np.testing.assert_array_equal(dilate(jnp.asarray(x), iterations=0), x)


@pytest.mark.parametrize(("shape", "connectivity"), EVERY)
def test_a_surface_touches_background(shape, connectivity):
    """Some neighbor of each of its pixels is false or beyond the border; of no other pixel."""
    mask = random_masks(shape, 0.9)
    padded = np.pad(mask, [(0, 0)] + [(1, 1)] * len(shape))
    touches = np.zeros_like(mask)
    for step in itertools.product((-1, 0, 1), repeat=len(shape)):
        if 0 < np.abs(step).sum() <= connectivity:
            window = [slice(1 + s, 1 + s + n) for s, n in zip(step, shape, strict=True)]
            touches |= ~padded[(slice(None), *window)]
    value = surface(jnp.asarray(mask), connectivity=connectivity)
    np.testing.assert_array_equal(value, mask & touches)


@pytest.mark.parametrize("space", [1, 2, 3])
def test_empty_full_and_one_pixel_masks(space):
    shape = (2, *[5] * space)
    empty, full = jnp.zeros(shape, bool), jnp.ones(shape, bool)
    one = empty.at[(0, *[2] * space)].set(True)
    cross = structure(shape[1:], 1).sum()
    inner = 3**space
    for mask, counts in ((empty, [0, 0]), (full, [5**space] * 2), (one, [1, 0])):
        assert np.sum(mask, axis=tuple(range(1, space + 1))).tolist() == counts
    assert not any(np.any(f(empty)) for f in (dilate, erode, surface))
    assert np.all(dilate(full))
    assert np.all(erode(full, border="neutral"))
    assert np.sum(erode(full)) == 2 * inner
    assert np.sum(surface(full)) == 2 * (5**space - inner)
    assert np.sum(dilate(one)) == cross
    assert not np.any(erode(one))
    np.testing.assert_array_equal(surface(one), one)


MASKS = st.sampled_from([(1, 6), (1, 4, 5), (1, 3, 2, 4)]).flatmap(
    lambda shape: arrays.arrays(np.bool_, shape)
)
# XLA on the CPU takes subnormal numbers for 0, NumPy does not.
LEVELS = st.floats(0, 1, width=32, allow_subnormal=False)
IMAGES = st.sampled_from([(1, 6), (1, 4, 5), (1, 3, 3, 4)]).flatmap(
    lambda shape: arrays.arrays(np.float32, shape, elements=LEVELS)
)


@settings(max_examples=40, deadline=None)
@given(MASKS, st.sampled_from([1, 3]), st.sampled_from([0, 2]))
def test_dilation_is_the_complement_of_the_erosion_of_the_complement(mask, connectivity, times):
    options = {"connectivity": min(connectivity, mask.ndim - 1), "iterations": times}
    mask = jnp.asarray(mask)
    eroded, dilated = erode(mask, border="neutral", **options), dilate(mask, **options)
    np.testing.assert_array_equal(~dilate(~mask, **options), eroded)
    assert not np.any(eroded & ~mask)
    assert not np.any(mask & ~dilated)
    assert not np.any(erode(mask, **options) & ~eroded)


@settings(max_examples=40, deadline=None)
@given(IMAGES, st.sampled_from([0, 1, 4]))
def test_soft_values_keep_their_order_and_their_levels(x, iterations):
    """Erosion <= x <= dilation; each level set is that of the mask; the skeleton is within x."""
    eroded, dilated = (f(jnp.asarray(x), iterations=iterations) for f in (erode, dilate))
    assert np.all(eroded <= x)
    assert np.all(x <= dilated)
    np.testing.assert_array_equal(eroded, -dilate(-jnp.asarray(x), iterations=iterations))
    level = float(np.sort(x, axis=None)[x.size // 2])  # a value that occurs
    mask = erode(jnp.asarray(x >= level), iterations=iterations, border="neutral")
    np.testing.assert_array_equal(eroded >= level, mask)
    skeleton = soft_skeleton(jnp.asarray(x), iterations=iterations)
    assert np.all(skeleton >= 0)
    assert np.all(skeleton <= x + 1e-6)


def value_and_gradient(image, weights, iterations):
    total = lambda x: jnp.sum(soft_skeleton(x, iterations=iterations) * weights)  # noqa: E731
    return soft_skeleton(image, iterations=iterations), jax.grad(total)(image)


@pytest.mark.parametrize("case", MONAI, ids=lambda case: str(np.shape(case["image"])))
def test_the_soft_skeleton_is_monai_s(case):
    image, weights = (jnp.asarray(case[name], jnp.float32) for name in ("image", "weights"))
    run = jax.jit(value_and_gradient, static_argnums=2)
    skeleton, gradient = run(image, weights, case["iterations"])
    np.testing.assert_allclose(skeleton, case["skeleton"], atol=1e-6)
    np.testing.assert_allclose(gradient, case["gradient"], atol=2e-6)


def soft_skeleton_64(x, iterations):
    """The paper's algorithm with SciPy's filters, of one image in float64."""
    cross, cube = structure(x.shape, 1), structure(x.shape, x.ndim)
    opened = lambda y: scipy.ndimage.grey_dilation(  # noqa: E731
        scipy.ndimage.grey_erosion(y, footprint=cross), footprint=cube
    )
    skeleton = np.maximum(x - opened(x), 0)
    for _ in range(iterations):
        x = scipy.ndimage.grey_erosion(x, footprint=cross)
        lost = np.maximum(x - opened(x), 0)
        skeleton = skeleton + np.maximum(lost - skeleton * lost, 0)
    return skeleton


@pytest.mark.parametrize("iterations", [1, 10])
@pytest.mark.parametrize("shape", [(20,), (13, 12), (9, 8, 7)], ids=str)
def test_the_soft_skeleton_is_the_paper_s(shape, iterations):
    """Of smooth images, of which something is left after each erosion; and of hard ones."""
    noise = np.random.default_rng(0).normal(size=(2, *shape))
    soft = 1 / (1 + np.exp(-4 * scipy.ndimage.gaussian_filter(noise, (0, *[2] * len(shape)))))
    for x in (soft.astype(np.float32), (soft > 0.5).astype(np.float32)):
        expected = one_by_one(soft_skeleton_64, x.astype(np.float64), iterations)
        value = soft_skeleton(jnp.asarray(x), iterations=iterations)
        np.testing.assert_allclose(value, expected, atol=1e-6)


def test_the_skeleton_of_a_bar_is_its_middle_line():
    bar = np.zeros((1, 9, 21), np.float32)
    bar[0, 2:7, 2:19] = 1
    skeleton = np.asarray(soft_skeleton(jnp.asarray(bar), iterations=4))[0]
    assert set(np.unique(skeleton)) == {0, 1}
    np.testing.assert_array_equal(np.flatnonzero(skeleton[:, 10]), [4])


@pytest.mark.parametrize("iterations", [0, 7])
def test_the_gradient_is_that_of_differences(iterations):
    """Away from ties, in float64, along a random direction; in both modes."""
    rng = np.random.default_rng(1)
    x, weights, move = rng.random((1, 7, 6)), rng.normal(size=(1, 7, 6)), rng.normal(size=(1, 7, 6))
    with jax.enable_x64(True):
        total = jax.jit(lambda x: jnp.sum(soft_skeleton(x, iterations=iterations) * weights))
        step = 1e-6 * move
        expected = (float(total(x + step)) - float(total(x - step))) / 2e-6
        np.testing.assert_allclose(np.sum(jax.grad(total)(x) * move), expected, rtol=1e-6)
        np.testing.assert_allclose(jax.jvp(total, (x,), (move,))[1], expected, rtol=1e-6)


def test_the_skeleton_has_every_order_of_derivatives():
    """Here of second order, in reverse over reverse, through the loop."""
    rng = np.random.default_rng(2)
    x, weights = rng.random((1, 6, 7)), rng.normal(size=(1, 6, 7))
    with jax.enable_x64(True):
        slope = jax.grad(lambda x: jnp.sum(soft_skeleton(x, iterations=7) * weights))
        along = lambda x: jnp.sum(slope(x) * weights)  # noqa: E731
        of_slope, forward = jax.jit(
            lambda x: (jax.grad(along)(x), jax.jvp(slope, (x,), (weights,))[1])
        )(x)
        np.testing.assert_allclose(of_slope, forward, atol=1e-9)


def test_what_is_not_there_is_as_the_border_to_a_skeleton():
    rng = np.random.default_rng(3)
    x = jnp.asarray(rng.random((1, 7, 9)), jnp.float32)
    where = jnp.zeros(x.shape, bool).at[:, 1:6, 2:8].set(True)
    found = soft_skeleton(x, iterations=3, where=where)
    np.testing.assert_array_equal(found[:, 1:6, 2:8], soft_skeleton(x[:, 1:6, 2:8], iterations=3))
    np.testing.assert_array_equal(jnp.where(where, 0, found), 0)


@pytest.mark.parametrize("border", ["background", "neutral"])
def test_the_gradient_of_an_erosion_goes_to_where_the_value_came_from(border):
    x = jnp.asarray(np.random.default_rng(0).permutation(30).reshape(1, 5, 6) + 1.0, jnp.float32)
    weights = jnp.asarray(random_values((5, 6), batch=1))
    eroded, pull = jax.vjp(lambda x: erode(x, connectivity=2, iterations=2, border=border), x)
    expected = np.zeros((1, 5, 6))
    for i in np.ndindex(1, 5, 6):
        expected[np.asarray(x) == eroded[i]] += weights[i]
    np.testing.assert_allclose(pull(weights)[0], expected, atol=1e-5)


def test_equal_values_share_the_gradient():
    """Of 0.5 beside 0.5 each has half; all that a constant image gets is handed on."""
    lowest = jax.grad(lambda x: erode(x)[0, 0])(jnp.array([[0.5, 0.5, 0.9]]))
    np.testing.assert_allclose(np.sum(lowest), 1)
    middle = jax.grad(lambda x: erode(x)[0, 1])(jnp.array([[0.9, 0.5, 0.5]]))
    np.testing.assert_allclose(middle, [[0, 0.5, 0.5]])
    for f in (erode, dilate):
        gradient = jax.grad(lambda x, f=f: jnp.sum(f(x, connectivity=2)))(jnp.ones((1, 4, 5)))
        np.testing.assert_allclose(np.sum(gradient), 20, rtol=1e-6)


def test_a_mask_of_what_is_differentiated_is_a_constant():
    x = jnp.asarray(random_values((5, 4)))

    def total(x):
        masks = surface(x > 0), dilate(x > 1), erode(x > -1, iterations=2)
        return sum(jnp.sum(jnp.where(mask, x, 0)) for mask in masks)

    constants = [f(x).astype(int) for f in (lambda x: surface(x > 0), lambda x: dilate(x > 1))]
    expected = sum(constants) + erode(x > -1, iterations=2)
    np.testing.assert_array_equal(jax.grad(total)(x), expected)


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_a_constant_image_has_no_skeleton_and_a_finite_gradient(level):
    image = jnp.full((1, 4, 5), level)
    skeleton, gradient = value_and_gradient(image, jnp.ones_like(image), 3)
    np.testing.assert_array_equal(skeleton, 0)
    np.testing.assert_array_equal(gradient, 0)


def everything(mask, x):
    return dilate(mask), erode(mask), surface(mask), dilate(x), soft_skeleton(x, iterations=4)


def test_examples_do_not_mix_under_vmap_and_sharded():
    mask, x = jnp.asarray(random_masks((6, 5), batch=8)), jnp.asarray(random_values((6, 5), 8))
    plain = everything(mask, x)
    for i in range(8):
        for value, all_values in zip(everything(mask[i : i + 1], x[i : i + 1]), plain, strict=True):
            np.testing.assert_array_equal(value[0], all_values[i])
    pairs = [a.reshape(2, 4, 6, 5) for a in (mask, x)]
    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    by_example, by_row = (jax.NamedSharding(mesh, jax.P(*p)) for p in [("data",), (None, "data")])
    wide = jnp.concatenate([mask, mask[:, :2]], 1), jnp.concatenate([x, x[:, :2]], 1)
    for values, expected in (
        (jax.vmap(everything)(*pairs), [a.reshape(2, 4, 6, 5) for a in plain]),
        (jax.jit(everything)(*jax.device_put((mask, x), by_example)), plain),
        (jax.jit(everything)(*jax.device_put(wide, by_row)), everything(*wide)),
    ):
        jax.tree.map(np.testing.assert_array_equal, list(values), list(expected))


def test_many_iterations_keep_few_arrays_for_the_gradient():
    x = jnp.zeros((1, 64, 64))

    def kept(iterations):
        total = lambda x: jnp.sum(soft_skeleton(x, iterations=iterations))  # noqa: E731
        program = jax.jit(jax.grad(total)).lower(x).compile()
        return program.memory_analysis().temp_size_in_bytes / x.nbytes

    assert kept(63) - kept(15) < 48


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: dilate(jnp.zeros((1, 3), int)), "x: expected a bool or floating dtype, got int32"),
        (lambda: dilate(jnp.zeros((1, 3)), connectivity=2), "connectivity: expected 1 to 1, got 2"),
        (lambda: erode(jnp.zeros((1, 3, 3)), connectivity=0), "connectivity: expected 1 to 2"),
        (lambda: erode(jnp.zeros((1, 3)), iterations=-1), "iterations: expected at least 0"),
        (lambda: erode(jnp.zeros((1, 3)), border="zero"), "border: expected one of 'background'"),
        (lambda: surface(jnp.zeros(3, bool)), "expected shape .* with a spatial axis"),
        (lambda: soft_skeleton(jnp.zeros((1, 3)), iterations=-1), "iterations: expected at least"),
    ],
)
def test_wrong_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
