"""Distance transforms against SciPy's and against all pairs of pixels in float64."""

import functools

import hypothesis.extra.numpy as arrays
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import AxisType

from lossbench.ops.distance import distance_transform, feature_transform

METRICS = ["euclidean", "taxicab", "chessboard"]
SHAPES = [(1,), (70,), (10, 11), (11, 10), (1, 13), (13, 1), (37, 41), (7, 8, 9), (13, 1, 2)]
FEW = [(10, 11), (7, 4, 5)]
SPACINGS = [1.0, 0.7, 2.5]

transform = jax.jit(
    distance_transform,
    static_argnames=("squared", "signed", "return_indices", "metric"),
)


def random_masks(shape, seed=0):
    """Of every density, from a single false pixel to a single true one."""
    rng = np.random.default_rng(seed)
    size = int(np.prod(shape))
    order = rng.permutation(size)
    counts = np.unique(np.clip([1, size // 20, size // 2, size - 1], 1, max(size - 1, 1)))
    return np.stack([(order >= count).reshape(shape) for count in counts])


def spacing_of(shape):
    return tuple(SPACINGS[-len(shape) :])


def all_pairs(mask, spacing, metric="euclidean"):
    """The distance to the nearest false pixel of one mask, in float64."""
    pixels = np.stack(np.indices(mask.shape), -1).reshape(-1, mask.ndim) * np.asarray(spacing)
    sites = pixels[~mask.ravel()]
    if not len(sites):
        return np.full(mask.shape, np.inf)
    order = {"euclidean": 2, "taxicab": 1, "chessboard": np.inf}[metric]
    distances = np.linalg.norm(pixels[:, None] - sites[None], ord=order, axis=-1)
    return distances.min(axis=1).reshape(mask.shape)


def all_pairs_signed(mask, spacing, metric="euclidean"):
    return np.where(mask, -all_pairs(mask, spacing, metric), all_pairs(~mask, spacing, metric))


def blobs(shape, seed=0, share=0.5):
    noise = scipy.ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 3)
    return noise > np.quantile(noise, 1 - share)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_unit_spacing_is_exact(shape):
    masks = random_masks(shape)
    value = transform(jnp.asarray(masks), squared=True)
    assert value.dtype == jnp.float32
    for got, mask in zip(value, masks, strict=True):
        if mask.all():
            np.testing.assert_array_equal(got, np.inf)
        else:
            expected = scipy.ndimage.distance_transform_edt(mask) ** 2
            np.testing.assert_array_equal(got, np.rint(expected))


@pytest.mark.parametrize("shape", FEW, ids=str)
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
def test_every_metric_is_that_of_all_pairs(shape, metric, signed):
    masks, spacing = random_masks(shape), spacing_of(shape)
    value = transform(jnp.asarray(masks), spacing=jnp.array(spacing), metric=metric, signed=signed)
    reference = all_pairs_signed if signed else all_pairs
    expected = [reference(mask, spacing, metric) for mask in masks]
    np.testing.assert_allclose(value, expected, rtol=1e-6)


@pytest.mark.parametrize("metric", METRICS[1:])
def test_city_blocks_are_scipy_s(metric):
    mask = blobs((40, 33))
    expected = scipy.ndimage.distance_transform_cdt(mask, metric)
    value = transform(jnp.asarray(mask[None]), metric=metric)
    np.testing.assert_array_equal(value[0], expected)
    value = transform(jnp.asarray(mask[None]), metric=metric, squared=True)
    np.testing.assert_array_equal(value[0], expected**2)


@pytest.mark.parametrize("shape", [(40, 256), (300, 5), (31, 40, 53)], ids=str)
def test_blobs_far_and_near(shape):
    """Distances over many blocks of shifts, and lines that hold no site at all."""
    mask = blobs(shape, share=0.98)
    mask[: shape[0] // 2] = True
    for spacing in ([1.0, 1.0, 1.0], [0.3, 2.0, 1.1], [10.0, 0.1, 1.0]):
        spacing = spacing[: len(shape)]
        value = transform(jnp.asarray(mask[None]), spacing=jnp.array(spacing))
        expected = scipy.ndimage.distance_transform_edt(mask, spacing)
        np.testing.assert_allclose(value[0], expected, rtol=1e-6)


@pytest.mark.parametrize("size", [7, 65, 513])
def test_one_site_is_seen_from_both_ends(size):
    """Along the last axis and along another one."""
    for site in (0, size // 2, size - 1):
        line = np.arange(size) != site
        for mask in (line[None], line[None, :, None]):
            value = transform(jnp.asarray(mask))
            expected = np.abs(np.arange(size) - site).reshape(mask.shape)
            np.testing.assert_array_equal(value, expected)


@pytest.mark.long
def test_lines_beyond_narrow_integers():
    line = np.random.default_rng(0).random(20_001) < 0.999
    line[:9_000] = True
    value = distance_transform(jnp.asarray(line[None]))
    np.testing.assert_array_equal(value[0], scipy.ndimage.distance_transform_edt(line))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("shape", [(5,), (4, 6)], ids=str)
def test_empty_and_full_masks(shape, metric):
    masks = jnp.stack([jnp.zeros(shape, bool), jnp.ones(shape, bool)])
    value = transform(masks, metric=metric)
    np.testing.assert_array_equal(value[0], 0)
    np.testing.assert_array_equal(value[1], np.inf)
    value = transform(masks, metric=metric, squared=True, signed=True)
    np.testing.assert_array_equal(value[0], np.inf)
    np.testing.assert_array_equal(value[1], -np.inf)


def test_a_checkerboard_is_one_step_everywhere():
    mask = np.indices((9, 10, 11)).sum(0) % 2 == 0
    signed = transform(jnp.asarray(mask[None]), signed=True)[0]
    np.testing.assert_array_equal(signed, np.where(mask, -1, 1))


def test_whole_planes_of_one_kind():
    """Lines infinite throughout in one pass are reached in the next one, with either sign."""
    for axis in range(3):
        mask = np.zeros((6, 6, 6), bool)
        for kept in (mask, ~mask):
            kept = kept.copy()
            plane = np.moveaxis(kept, axis, 0)[4]
            plane[:] = ~plane
            value = transform(jnp.asarray(kept[None]), signed=True)[0]
            np.testing.assert_allclose(value, all_pairs_signed(kept, (1, 1, 1)), rtol=1e-6)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("shape", [(7, 4, 5)], ids=str)
@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
def test_indices_are_of_sites_that_realize_the_distance(shape, metric, signed):
    masks, spacing = random_masks(shape), spacing_of(shape)
    value, sites = transform(
        jnp.asarray(masks), spacing=spacing, metric=metric, signed=signed, return_indices=True
    )
    plain = transform(jnp.asarray(masks), spacing=spacing, metric=metric, signed=signed)
    np.testing.assert_allclose(value, plain, rtol=1e-6)
    assert sites.dtype == jnp.int32
    order = {"euclidean": 2, "taxicab": 1, "chessboard": np.inf}[metric]
    pixels = np.stack(np.indices(shape), -1)
    for distance, site, mask in zip(np.asarray(value), np.asarray(sites), masks, strict=True):
        reached = np.linalg.norm((site - pixels) * np.asarray(spacing), ord=order, axis=-1)
        np.testing.assert_allclose(np.abs(distance), reached, rtol=1e-6)
        wanted = ~mask if signed else np.zeros_like(mask)
        np.testing.assert_array_equal(mask[tuple(np.moveaxis(site, -1, 0))], wanted)


def test_there_is_no_site_in_a_full_mask():
    masks = jnp.stack([jnp.ones((4, 5), bool), jnp.zeros((4, 5), bool)])
    sites = feature_transform(masks)
    np.testing.assert_array_equal(sites[0], -1)
    np.testing.assert_array_equal(sites[1], np.stack(np.indices((4, 5)), -1))
    signed = distance_transform(masks, signed=True, return_indices=True)[1]
    np.testing.assert_array_equal(signed, -1)


def test_the_feature_transform_carries_labels_outward():
    labels = np.zeros((20, 30), np.int32)
    labels[3:6, 4:9], labels[12:15, 20:22] = 1, 2
    sites = feature_transform(jnp.asarray(labels == 0)[None], spacing=(2, 1))[0]
    grown = labels[tuple(np.moveaxis(np.asarray(sites), -1, 0))]
    first, second = (
        scipy.ndimage.distance_transform_edt(labels != k, sampling=(2, 1)) for k in (1, 2)
    )
    np.testing.assert_array_equal(grown[first < second], 1)
    np.testing.assert_array_equal(grown[second < first], 2)


def test_examples_do_not_mix_and_vmap_is_the_batch():
    masks = np.concatenate([random_masks((9, 10)), np.ones((1, 9, 10), bool)])
    together = transform(jnp.asarray(masks), signed=True)
    for i, mask in enumerate(masks):
        np.testing.assert_array_equal(
            transform(jnp.asarray(mask[None]), signed=True)[0], together[i]
        )
    alone = jax.vmap(lambda m: distance_transform(m[None], signed=True)[0])(jnp.asarray(masks))
    np.testing.assert_array_equal(alone, together)
    spacings = jnp.linspace(0.5, 3, 2 * len(masks)).reshape(-1, 2)
    alone = jax.vmap(lambda m, s: distance_transform(m[None], spacing=s)[0])(masks, spacings)
    for mask, spacing, value in zip(masks, spacings, alone, strict=True):
        np.testing.assert_allclose(value, all_pairs(mask, spacing), rtol=1e-6)


def test_scan_and_jit_have_no_callback_and_one_trace():
    masks = jnp.asarray(random_masks((9, 10)))
    scanned = jax.lax.scan(lambda _, m: (None, distance_transform(m[None])[0]), None, masks)[1]
    np.testing.assert_array_equal(scanned, distance_transform(masks))
    program = str(jax.make_jaxpr(functools.partial(distance_transform, signed=True))(masks))
    assert "callback" not in program
    traced = []

    @jax.jit
    def counted(masks, spacing):
        traced.append(1)
        return distance_transform(masks, spacing=spacing)

    counted(masks, jnp.array([1.0, 2.0]))
    counted(~masks, jnp.array([3.0, 0.1]))
    assert len(traced) == 1


@pytest.mark.parametrize("spec", [("data",), (None, "data")], ids=["batch", "space"])
def test_sharded_masks_give_the_same(spec):
    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))
    masks = jnp.asarray(np.stack([blobs((12, 10, 9), seed) for seed in range(4)]))
    spread = jax.device_put(masks, jax.NamedSharding(mesh, jax.P(*spec)))
    value = transform(spread, signed=True)
    np.testing.assert_array_equal(value, transform(masks, signed=True))


def test_distances_are_constants_of_the_derivative():
    mask = jnp.asarray(random_masks((6, 7))[:4])

    def weighted(logits, spacing):
        distances = distance_transform(mask & (logits > -9), spacing=spacing, signed=True)
        return jnp.sum(jax.nn.sigmoid(logits) * distances)

    logits = jnp.zeros(mask.shape)
    slopes = jax.jit(jax.grad(weighted, argnums=(0, 1)))(logits, jnp.array([1.0, 2.0]))
    distances = distance_transform(mask, spacing=(1, 2), signed=True)
    np.testing.assert_allclose(slopes[0], distances / 4, rtol=1e-6)
    np.testing.assert_array_equal(slopes[1], 0)


def test_gradients_of_mapped_examples_are_those_of_the_batch():
    mask = jnp.asarray(random_masks((6, 7))[:3])

    def weighted(logits, mask):
        distances = distance_transform((mask & (logits > -9))[None], return_indices=True)[0]
        return jnp.sum(logits * distances[0])

    logits = jnp.ones(mask.shape)
    mapped = jax.jit(jax.vmap(jax.grad(weighted)))(logits, mask)
    np.testing.assert_array_equal(mapped, distance_transform(mask))
    outer = jax.grad(lambda x: jnp.sum(jax.vmap(weighted)(x, mask)))(logits)
    np.testing.assert_array_equal(outer, mapped)


@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
def test_memory_stays_within_four_volumes(signed):
    mask = jax.ShapeDtypeStruct((1, 64, 64, 64), jnp.bool_)
    used = transform.lower(mask, signed=signed).compile().memory_analysis()
    assert used.temp_size_in_bytes <= 4 * 4 * 64**3


PLANES = arrays.arrays(np.bool_, (1, 7, 9))


@settings(max_examples=40, deadline=None)
@given(PLANES, st.sampled_from(METRICS))
def test_neighbors_differ_by_one_step_at_most(mask, metric):
    spacing = np.array([1.5, 0.8])
    value = np.asarray(transform(jnp.asarray(mask), spacing=jnp.asarray(spacing), metric=metric))
    if mask.all():
        return
    for axis, step in zip((1, 2), spacing, strict=True):
        assert np.abs(np.diff(value, axis=axis)).max() <= step * (1 + 1e-5)


@settings(max_examples=40, deadline=None)
@given(PLANES, st.integers(0, 4), st.integers(0, 5))
def test_a_shifted_mask_has_shifted_distances(mask, down, right):
    """Among true pixels, which are no sites."""
    wide = np.ones((1, 11, 14), bool)
    wide[:, down : down + 7, right : right + 9] = mask
    value = transform(jnp.asarray(wide))[:, down : down + 7, right : right + 9]
    np.testing.assert_array_equal(value, transform(jnp.asarray(mask)))


@settings(max_examples=25, deadline=None)
@given(PLANES, st.permutations([0, 1]), st.sampled_from(METRICS))
def test_axes_may_be_permuted_with_their_spacing(mask, order, metric):
    spacing = np.array([1.5, 0.8])
    turned = np.transpose(mask, (0, *(1 + k for k in order)))
    value = transform(jnp.asarray(mask), spacing=jnp.asarray(spacing), metric=metric)
    other = transform(jnp.asarray(turned), spacing=jnp.asarray(spacing[order]), metric=metric)
    np.testing.assert_allclose(jnp.transpose(value, (0, *(1 + k for k in order))), other, rtol=1e-6)


@settings(max_examples=40, deadline=None)
@given(PLANES, st.floats(1e-3, 1e3), st.sampled_from(METRICS))
def test_distances_have_the_unit_of_the_spacing(mask, unit, metric):
    spacing = jnp.array([1.5, 0.8])
    value = transform(jnp.asarray(mask), spacing=spacing, metric=metric, signed=True)
    scaled = transform(jnp.asarray(mask), spacing=unit * spacing, metric=metric, signed=True)
    np.testing.assert_allclose(scaled, unit * value, rtol=1e-5)


def test_nothing_in_nothing_out():
    for shape in ((0, 4, 5), (2, 0, 5)):
        for signed in (False, True):
            value, sites = distance_transform(
                jnp.zeros(shape, bool), signed=signed, return_indices=True
            )
            assert value.shape == shape
            assert sites.shape == (*shape, 2)


def test_mistakes_are_named():
    mask = jnp.ones((2, 3, 4), bool)
    with pytest.raises(ValueError, match=r"spacing: expected 2 numbers above 0, .*got"):
        distance_transform(mask, spacing=(1, 1, 1))
    with pytest.raises(ValueError, match=r"spacing: expected 2 numbers above 0, .*got \(1, 0\)"):
        distance_transform(mask, spacing=(1, 0))
    with pytest.raises(ValueError, match=r"metric: expected one of 'euclidean'.*'manhattan'"):
        distance_transform(mask, metric="manhattan")
    with pytest.raises(ValueError, match=r"mask: expected at least one axis after the batch"):
        distance_transform(jnp.ones(3, bool))
