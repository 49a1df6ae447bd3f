"""Connected components against SciPy's, on random masks and on those that are hard to label."""

import inspect

import hypothesis.extra.numpy as arrays
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given, settings
from hypothesis import strategies as st

from lossbench import ops
from lossbench.ops.components import connected_components

label = jax.jit(connected_components, static_argnames="connectivity")


def scipy_components(mask, connectivity):
    """Labels and number of each example."""
    structure = scipy.ndimage.generate_binary_structure(mask.ndim - 1, connectivity)
    both = [scipy.ndimage.label(one, structure) for one in mask]
    return np.stack([labels for labels, _ in both]), np.array([count for _, count in both])


def check(mask, connectivities=None):
    mask = np.asarray(mask)
    for connectivity in connectivities or range(1, mask.ndim):
        labels, count = label(jnp.asarray(mask), connectivity=connectivity)
        expected_labels, expected_count = scipy_components(mask, connectivity)
        assert labels.dtype == count.dtype == jnp.int32
        np.testing.assert_array_equal(count, expected_count)
        np.testing.assert_array_equal(labels, expected_labels)


def spiral(n):
    """One path of width 1 from the corner to the middle, its turns one pixel apart."""
    mask, step = np.zeros((n + 2, n + 2), bool), np.array([0, 1])
    at = np.array([1, 1])
    mask[1, 1] = True
    inside = lambda p: np.all((p >= 1) & (p <= n))  # noqa: E731
    for _ in range(2 * n):
        moved = False
        while inside(at + step) and not (inside(at + 2 * step) and mask[tuple(at + 2 * step)]):
            at = at + step
            mask[tuple(at)] = moved = True
        if not moved:
            break
        step = np.array([step[1], -step[0]])
    return mask[1:-1, 1:-1]


def snake(shape):
    """One path through every second row, or every second plane of such, up and down in turn."""
    mask = np.zeros(shape, bool)
    if len(shape) == 1:
        mask[:] = True
        return mask
    mask[::2] = snake(shape[1:])
    ends = [np.argwhere(mask[0])[i] for i in (-1, 0)]
    for row in range(1, shape[0] - 1, 2):
        mask[(row, *ends[row // 2 % 2])] = True
    return mask


def comb(n):
    """Teeth that only their last row joins."""
    mask = np.zeros((n, n), bool)
    mask[:, ::2] = True
    mask[-1] = True
    return mask


def hilbert(order):
    """The Hilbert curve, drawn with room between its lines: turns at every scale."""
    points = np.array([[0, 0]])
    for level in range(order):
        n = 2**level
        swapped, turned = points[:, ::-1], n - 1 - points[:, ::-1]
        quarters = [swapped, points + np.array([0, n]), points + n, turned + np.array([n, 0])]
        points = np.concatenate(quarters)
    size = 2 * 2**order - 1
    mask = np.zeros((size, size), bool)
    mask[tuple(2 * points.T)] = True
    mask[tuple((points[1:] + points[:-1]).T)] = True
    return mask


def checkerboard(shape):
    return np.indices(shape).sum(0) % 2 == 0


def turns(mask):
    """A mask as it is, reflected and turned: scan orders differ."""
    shape = mask.shape
    views = [mask, mask[::-1], mask[:, ::-1], mask[::-1, ::-1]]
    return np.stack(views + [v.swapaxes(0, 1) for v in views if shape[0] == shape[1]])


HARD = {
    "spiral": spiral(41),
    "snake": snake((33, 33)),
    "deep snake": snake((9, 9, 9)),
    "comb": comb(33),
    "hilbert": hilbert(5),
    "checkerboard": checkerboard((12, 13)),
    "deep checkerboard": checkerboard((5, 6, 7)),
}


@pytest.mark.parametrize("name", ["spiral", "snake", "deep snake", "comb", "hilbert"])
def test_the_hard_masks_are_one_path(name):
    """Else the tests below would test less than they say."""
    assert scipy_components(HARD[name][None], 1)[1] == 1
    assert 0.3 < HARD[name].mean() < 0.8


@pytest.mark.parametrize("name", HARD)
def test_hard_masks_are_labeled_as_by_scipy(name):
    check(turns(HARD[name]))


@pytest.mark.parametrize("name", HARD)
def test_hard_masks_in_pieces_are_labeled_as_by_scipy(name):
    """A few pixels taken away or added."""
    mask = turns(HARD[name])
    check(mask ^ (np.random.default_rng(0).random(mask.shape) < 0.02))


# Around the densities at which clusters span the image: 0.593 and 0.407 in 2D; 0.312, 0.137 and
# 0.098 in 3D.
@pytest.mark.parametrize(
    ("shape", "densities"),
    [
        ((300,), (0.5, 0.9)),
        ((1,), (0.5,)),
        ((1, 40), (0.5, 0.9)),
        ((40, 1), (0.9,)),
        ((63, 50), (0.1, 0.407, 0.593, 0.9)),
        ((17, 15, 20), (0.05, 0.098, 0.137, 0.312, 0.6)),
        ((5, 4, 3, 6), (0.1, 0.3)),
    ],
    ids=str,
)
def test_random_masks_are_labeled_as_by_scipy(shape, densities):
    rng = np.random.default_rng(0)
    check(np.stack([rng.random(shape) < density for density in densities]))


@pytest.mark.long
def test_large_masks_are_labeled_as_by_scipy():
    rng = np.random.default_rng(0)
    check(spiral(255)[None])
    check(np.stack([rng.random((256, 256)) < d for d in (0.4, 0.593)]))
    check(rng.random((1, 48, 48, 48)) < 0.31, [1])


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([(2, 9), (2, 5, 4), (1, 3, 4, 3)]).flatmap(
        lambda shape: arrays.arrays(np.bool_, shape)
    )
)
def test_any_mask_is_labeled_as_by_scipy(mask):
    check(mask)


@pytest.mark.parametrize("shape", [(6,), (4, 5), (3, 4, 2)], ids=str)
def test_empty_full_and_one_pixel_masks(shape):
    one = np.zeros(shape, bool)
    one[tuple(n // 2 for n in shape)] = True
    masks = np.stack([np.zeros(shape, bool), np.ones(shape, bool), one])
    labels, count = label(jnp.asarray(masks))
    np.testing.assert_array_equal(count, [0, 1, 1])
    np.testing.assert_array_equal(labels, masks.astype(int))


def test_no_example_and_no_pixel():
    for shape in ((0, 3, 4), (2, 0, 4)):
        labels, count = label(jnp.zeros(shape, bool))
        assert labels.shape == shape
        np.testing.assert_array_equal(count, np.zeros(shape[0]))


def test_the_last_pixel_of_an_example_and_the_first_of_the_next_are_apart():
    mask = np.ones((3, 2, 2), bool)
    mask[1] = [[True, False], [False, True]]
    labels, count = label(jnp.asarray(mask))
    np.testing.assert_array_equal(count, [1, 2, 1])
    np.testing.assert_array_equal(labels[1], [[1, 0], [0, 2]])


def test_the_default_is_scipy_s():
    mask = np.eye(4, dtype=bool)[None]
    np.testing.assert_array_equal(label(jnp.asarray(mask))[0][0], scipy.ndimage.label(mask[0])[0])


def test_values_under_vmap_and_sharded_are_the_same():
    rng = np.random.default_rng(0)
    mask = jnp.asarray(rng.random((8, 20, 16)) < 0.58)
    expected = scipy_components(np.asarray(mask), 1)
    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    for spec in (("data",), (None, "data")):
        spread = jax.device_put(mask, jax.NamedSharding(mesh, jax.P(*spec)))
        jax.tree.map(np.testing.assert_array_equal, tuple(label(spread)), expected)
    labels, count = jax.vmap(label)(mask.reshape(2, 4, 20, 16))
    np.testing.assert_array_equal(labels.reshape(8, 20, 16), expected[0])
    np.testing.assert_array_equal(count.ravel(), expected[1])


def test_it_runs_inside_a_scan_and_beside_a_gradient():
    """The mask may come of what is differentiated; labels are constants."""
    x = np.random.default_rng(0).random((3, 1, 6, 5)).astype(np.float32)

    def total(x):
        def step(carry, one):
            labels, _ = connected_components(one > 0.5)
            return carry + jnp.sum(jnp.where(labels == 1, one, 0)), None

        return jax.lax.scan(step, 0.0, x)[0]

    expected = [scipy_components(one > 0.5, 1)[0] == 1 for one in x]
    np.testing.assert_array_equal(jax.jit(jax.grad(total))(jnp.asarray(x)), expected)


def test_nothing_leaves_the_device():
    program = str(jax.make_jaxpr(connected_components)(jnp.zeros((1, 4, 4), bool)))
    assert "while" in program
    assert "callback" not in program


@pytest.mark.parametrize("connectivity", [0, 3])
def test_a_wrong_connectivity_is_named(connectivity):
    with pytest.raises(ValueError, match=f"connectivity: expected 1 to 2, got {connectivity}"):
        connected_components(jnp.zeros((1, 4, 4), bool), connectivity=connectivity)


def test_a_mask_without_space_is_an_error():
    with pytest.raises(ValueError, match="spatial axis"):
        connected_components(jnp.zeros(4, bool))


@pytest.mark.parametrize("numbers", [jnp.array([[0, 2, 2, 0, 2]]), jnp.full((1, 5), 0.5)])
def test_what_is_no_mask_is_refused(numbers):
    """Whole numbers would be taken apart into their bits."""
    for kernel in (ops.connected_components, ops.skeleton, ops.surface):
        with pytest.raises(ValueError, match="mask: expected a boolean array"):
            inspect.unwrap(kernel)(numbers)
