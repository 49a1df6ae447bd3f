"""Skeletons: their topology against SciPy, their place against scikit-image's."""

import functools
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

from lossbench.ops import thinning

skeleton = jax.jit(thinning.skeleton)
STORED = json.loads((Path(__file__).parent / "data" / "skeletons.json").read_text())["cases"]


CANVAS = (12, 20, 22, 24)


def thin(*masks):
    """Volumes side by side in one batch, with background around: one program for all of them."""
    batch = np.zeros(CANVAS, bool)
    for place, mask in zip(batch, masks, strict=False):
        place[tuple(slice(n) for n in mask.shape)] = mask
    found = np.asarray(skeleton(jnp.asarray(batch)))
    pairs = zip(found, masks, strict=False)
    return [place[tuple(slice(n) for n in mask.shape)] for place, mask in pairs]


def thin_plane(mask):
    return np.asarray(skeleton(jnp.asarray(mask)[None]))[0]


def components(masks, connectivity):
    """The labels of a batch, and how many each example has."""
    structure = np.zeros((3,) * masks.ndim, bool)
    structure[1] = scipy.ndimage.generate_binary_structure(masks.ndim - 1, connectivity)
    labels, _ = scipy.ndimage.label(masks, structure)
    return labels, np.array([np.unique(one[one > 0]).size for one in labels])


def beyond(masks):
    return np.pad(masks, [(0, 0), *[(1, 1)] * (masks.ndim - 1)])


def euler(masks):
    """Of the union of closed pixels: corners less edges plus faces less volumes."""
    space = masks.ndim - 1
    total = 0
    for flat in itertools.product((False, True), repeat=space):  # along which axes a cell is flat
        cells = beyond(masks)
        for axis in np.flatnonzero(flat) + 1:
            n = cells.shape[axis]
            cells = cells.take(range(n - 1), axis) | cells.take(range(1, n), axis)
        total = total + (-1) ** (space - sum(flat)) * cells.reshape(len(masks), -1).sum(axis=1)
    return total


def assert_same_topology(masks, skeletons):
    space = masks.ndim - 1
    assert not np.any(skeletons & ~masks)
    labels, count = components(masks, space)
    np.testing.assert_array_equal(components(skeletons, space)[1], count)
    np.testing.assert_array_equal(np.unique(labels[skeletons]), np.unique(labels[masks]))
    # Background is a component, the holes and cavities the others; each keeps its place.
    labels, count = components(~beyond(skeletons), 1)
    np.testing.assert_array_equal(components(~beyond(masks), 1)[1], count)
    np.testing.assert_array_equal(np.unique(labels[~beyond(masks)]), np.unique(labels[labels > 0]))
    np.testing.assert_array_equal(euler(skeletons), euler(masks))


def smooth_masks(shape, width, share, batch=20):
    noise = np.random.default_rng(len(shape)).normal(size=(batch, *shape))
    noise = scipy.ndimage.gaussian_filter(noise, (0, *[width] * len(shape)))
    return noise > np.quantile(noise, 1 - share)


@pytest.mark.parametrize("shape", [(17, 20), (7, 8, 9)], ids=str)
@pytest.mark.parametrize("width", [0.0, 0.6, 1.2])
def test_the_topology_stays_and_nothing_more_goes(shape, width):
    for share in (0.3, 0.5, 0.8):
        masks = smooth_masks(shape, width, share)
        found = np.asarray(skeleton(jnp.asarray(masks)))
        assert_same_topology(masks, found)
        np.testing.assert_array_equal(skeleton(jnp.asarray(found)), found)


def test_the_topology_of_every_small_plane_stays():
    bits = np.arange(2**16)[:, None] >> np.arange(16) & 1
    masks = bits.astype(bool).reshape(-1, 4, 4)
    assert_same_topology(masks, np.asarray(skeleton(jnp.asarray(masks))))


MASKS = st.sampled_from([(8, 6, 7), (8, 4, 3, 5)]).flatmap(
    lambda shape: arrays.arrays(np.bool_, shape)
)


@settings(max_examples=40, deadline=None)
@given(MASKS)
def test_the_topology_of_any_mask_stays(masks):
    assert_same_topology(masks, np.asarray(skeleton(jnp.asarray(masks))))


def is_simple(around):
    """Of 3 x 3 x 3 voxels: one object and one background touch the middle one."""
    others, background = around.copy(), ~around
    others[1, 1, 1] = False
    background[::2, ::2, ::2] = False  # corners, which no path along faces may take
    labels, _ = components(background[None], 1)
    faces = labels[0][[0, 2, 1, 1, 1, 1], [1, 1, 0, 2, 1, 1], [1, 1, 1, 1, 0, 2]]
    return components(others[None], 3)[1][0] == 1 and np.unique(faces[faces > 0]).size == 1


def test_no_voxel_of_a_skeleton_could_go_but_ends():
    masks = np.concatenate([smooth_masks((7, 8, 9), width, 0.5, batch=6) for width in (0.0, 0.8)])
    found = thin(*masks)
    for one in found:
        padded = np.pad(one, 1)
        for z, y, x in np.argwhere(one):
            around = padded[z : z + 3, y : y + 3, x : x + 3]
            assert around.sum() == 2 or not is_simple(around)


PLANES = [case for case in STORED if len(case["space"]) == 2]
VOLUMES = [case for case in STORED if len(case["space"]) == 3]


def read(case):
    return np.array(list(case["mask"])).reshape(case["space"])


@pytest.mark.parametrize("case", PLANES, ids=lambda case: str(case["space"]))
def test_the_skeleton_of_a_plane_is_scikit_image_s(case):
    letters = read(case)
    np.testing.assert_array_equal(thin_plane(letters != "."), np.isin(letters, ("g", "b")))


def test_the_skeleton_of_tubes_is_near_scikit_image_s():
    for case, found in zip(VOLUMES, thin(*(read(case) != "." for case in VOLUMES)), strict=True):
        other = read(case) == "b"
        to_other, to_found = (scipy.ndimage.distance_transform_edt(~a) for a in (other, found))
        assert max(to_other[found].mean(), to_found[other].mean()) < 0.6
        assert abs(found.sum() / other.sum() - 1) < 0.1


def test_the_skeleton_of_a_bar_is_its_middle_line():
    plane = np.zeros((11, 25), bool)
    plane[3:8, 2:23] = True
    np.testing.assert_array_equal(np.argwhere(thin_plane(plane))[:, 0], 5)
    cases = list(itertools.product(range(3), (2, 3, 4, 5)))
    bars = np.zeros((len(cases), 20, 9, 9), bool)
    for bar, (_, width) in zip(bars, cases, strict=True):
        bar[2:18, 2 : 2 + width, 3 : 3 + width] = True
    found = thin(*(np.moveaxis(bar, 0, axis) for bar, (axis, _) in zip(bars, cases, strict=True)))
    for one, (axis, width) in zip(found, cases, strict=True):
        along, *across = np.argwhere(np.moveaxis(one, axis, 0)).T
        np.testing.assert_array_equal(along, np.arange(along[0], along[-1] + 1))
        assert len(along) >= 16 - width - 3
        middle = np.array([2, 3])[:, None] + (width - 1) / 2
        assert np.all(np.ptp(across, axis=1) == 0)
        assert np.all(np.abs(np.array(across) - middle) <= (0 if width % 2 else 0.5))


def grid(shape):
    return np.indices(shape) - (np.array(shape).reshape(-1, *[1] * len(shape)) - 1) / 2


def test_the_skeleton_of_a_ball_is_its_center_and_of_a_cube():
    np.testing.assert_array_equal(
        np.argwhere(thin_plane(np.hypot(*grid((21, 21))) < 8)), [[10, 10]]
    )
    assert thin_plane(np.ones((2, 2), bool)).sum() == 1
    ball = np.sum(grid((19, 19, 19)) ** 2, axis=0) < 64
    ball, cube, block = thin(ball, np.ones((15, 15, 15), bool), np.ones((2, 2, 2), bool))
    np.testing.assert_array_equal(np.argwhere(ball), [[9, 9, 9]])
    np.testing.assert_array_equal(np.argwhere(cube), [[7, 7, 7]])
    assert 1 <= block.sum() <= 2


def test_the_skeleton_of_a_torus_is_a_ring():
    z, y, x = grid((9, 21, 21))
    ring = np.argwhere(thin((np.hypot(y, x) - 7) ** 2 + z**2 < 7)[0])
    np.testing.assert_array_equal(ring[:, 0], 4)
    assert np.all(np.abs(np.hypot(ring[:, 1] - 10, ring[:, 2] - 10) - 7) < 1)
    apart = np.abs(ring[:, None] - ring[None]).max(axis=2)
    np.testing.assert_array_equal((apart == 1).sum(axis=1), 2)


def test_the_skeleton_of_a_shell_is_a_closed_surface():
    distance = np.sqrt(np.sum(grid((17, 17, 17)) ** 2, axis=0))
    shell = np.abs(distance - 5) < 2.2
    (surface,) = thin(shell)
    assert_same_topology(shell[None], surface[None])
    assert np.all(np.abs(distance[surface] - 5) < 1.5)


@pytest.mark.parametrize("space", [(9,), (9, 8), (9, 8, 7)], ids=str)
def test_empty_full_and_one_pixel_masks(space):
    empty = np.zeros((3, *space), bool)
    one = empty.copy()
    one[(1, *[2] * len(space))] = True
    for mask in (empty, one):
        np.testing.assert_array_equal(skeleton(jnp.asarray(mask)), mask)
    full = np.asarray(skeleton(jnp.ones((3, *space), bool)))
    assert_same_topology(np.ones((3, *space), bool), full)
    if len(space) > 1:
        assert full[0].sum() <= 9
    assert skeleton(jnp.ones((0, *space), bool)).shape == (0, *space)


@pytest.mark.parametrize("space", [(1, 1), (1, 7), (2, 3, 1)], ids=str)
def test_axes_of_one_pixel(space):
    masks = np.random.default_rng(0).random((30, *space)) < 0.7
    assert_same_topology(masks, np.asarray(skeleton(jnp.asarray(masks))))


def test_a_line_stays():
    """One pixel wide in any dimension, it is its own skeleton."""
    line = np.random.default_rng(0).random((4, 12)) < 0.6
    for shape in ((4, 12), (4, 12, 1), (4, 1, 12, 1)):
        mask = line.reshape(shape)
        np.testing.assert_array_equal(skeleton(jnp.asarray(mask)), mask)


def test_a_skeleton_moves_with_its_object():
    mask = np.zeros((20, 22), bool)
    mask[3:15, 2:16] = smooth_masks((12, 14), 1.0, 0.6)[0]
    np.testing.assert_array_equal(
        thin_plane(np.roll(mask, (3, 4), (0, 1))), np.roll(thin_plane(mask), (3, 4), (0, 1))
    )
    mask = np.zeros((12, 13, 11), bool)
    mask[2:9, 1:9, 1:8] = smooth_masks((7, 8, 7), 1.0, 0.6)[0]
    move = functools.partial(np.roll, shift=(2, 4, 2), axis=(0, 1, 2))  # stays in its subfields
    found, moved = thin(mask, move(mask))
    np.testing.assert_array_equal(moved, move(found))


def test_enough_rounds_reach_all_that_is_connected_along_a_cube():
    """Of every choice of its twelve edges, from every corner."""
    lows = [(corner, axis) for axis in range(3) for corner in range(8) if not corner >> axis & 1]
    choice = np.arange(2**12)
    edges = np.zeros((3, 2**12), np.uint8)
    for k, (corner, axis) in enumerate(lows):
        edges[axis] |= ((choice >> k & 1) << corner).astype(np.uint8)
    for corner in range(8):
        reached = np.full(2**12, 1 << corner, np.uint8)
        for turn in range(2 * thinning.ROUNDS):
            if turn == thinning.ROUNDS:
                enough = reached
            for axis in range(3):
                step = 1 << axis
                back = (reached >> step) & edges[axis]
                reached = reached | (reached & edges[axis]) << step | back
        np.testing.assert_array_equal(reached, enough)


@pytest.mark.parametrize(
    "space", [(9, 10), pytest.param((7, 8, 9), marks=pytest.mark.long)], ids=str
)
def test_vmap_of_sharded_masks(space):
    masks = jnp.asarray(np.random.default_rng(0).random((20, *space)) < 0.7)
    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    pairs = masks[:8].reshape(2, 4, *space)
    pairs = jax.device_put(pairs, jax.NamedSharding(mesh, jax.P(None, "data")))
    found = jax.jit(jax.vmap(thinning.skeleton))(pairs)
    np.testing.assert_array_equal(found.reshape(8, *space), skeleton(masks)[:8])


def test_scan_alone_and_no_callback():
    masks = jnp.asarray(np.random.default_rng(0).random((2, 3, 9, 10)) < 0.7)
    _, scanned = jax.lax.scan(lambda _, one: (None, thinning.skeleton(one)), None, masks)
    for one, found in zip(masks.reshape(-1, 9, 10), scanned.reshape(-1, 9, 10), strict=True):
        np.testing.assert_array_equal(thin_plane(one), found)
    for space in ((9, 10), (3, 4, 5)):
        program = jax.make_jaxpr(thinning.skeleton)(jnp.zeros((1, *space), bool))
        assert "callback" not in str(program)


def test_a_gradient_passes_by():
    mask = jnp.asarray(smooth_masks((6, 7), 0.6, 0.5, batch=2))
    total = jax.jit(lambda x: jnp.sum(x * x * thinning.skeleton(mask)))
    gradient = jax.grad(total)(jnp.ones(mask.shape))
    np.testing.assert_array_equal(gradient, 2.0 * skeleton(mask))


@pytest.mark.parametrize("shape", [(3,), (1, 2, 2, 2, 2)])
def test_wrong_shapes_are_named(shape):
    with pytest.raises(ValueError, match="mask: expected one to three spatial axes, got shape"):
        thinning.skeleton(jnp.zeros(shape, bool))
