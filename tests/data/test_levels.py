import numpy as np
import pytest
from scipy import ndimage

from lossbench.data.levels import curve, disc, lesion, ring, smooth_path, spread_center


def grid(size):
    return np.stack(np.meshgrid(*map(np.arange, size), indexing="ij"), -1).astype(np.float32)


def shape_of(kind, size, count, seed):
    level = kind(grid(size), np.asarray(size, np.float32) / 2, count, np.random.default_rng(seed))
    assert level.shape == size
    assert level.dtype == np.float32
    mask = np.zeros(size, bool)
    mask.flat[np.argsort(level, axis=None)[:count]] = True
    return mask


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("size", "count"), [((48, 48), 250), ((32, 32, 32), 900)])
def test_disc_is_one_full_piece(size, count, seed):
    mask = shape_of(disc, size, count, seed)
    assert ndimage.label(mask)[1] == 1
    assert ndimage.binary_fill_holes(mask).sum() == count


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("count", [30, 120, 300])
def test_ring_has_one_hole(count, seed):
    mask = shape_of(ring, (64, 64), count, seed)
    assert ndimage.label(mask, np.ones((3, 3)))[1] == 1
    hole = ndimage.binary_fill_holes(mask) & ~mask
    assert ndimage.label(hole)[1] == 1


@pytest.mark.parametrize("seed", range(5))
def test_ring_in_3d_is_hollow(seed):
    mask = shape_of(ring, (32, 32, 32), 700, seed)
    assert not mask[16, 16, 16]
    assert ndimage.label(mask, np.ones((3, 3, 3)))[1] == 1


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("size", "count"), [((64, 64), 90), ((32, 32, 32), 150)])
def test_curve_is_thin(size, count, seed):
    mask = shape_of(curve, size, count, seed)
    assert ndimage.distance_transform_edt(mask).max() <= 2  # four voxels thick at most


@pytest.mark.parametrize("seed", range(5))
def test_lesions_are_small_pieces(seed):
    mask = shape_of(lesion, (64, 64), 40, seed)
    pieces, number = ndimage.label(mask)
    assert 3 <= number <= 5
    assert np.bincount(pieces.ravel())[1:].max() <= 25


@pytest.mark.parametrize("dims", [2, 3])
def test_paths_stay_inside_at_the_stated_length(dims):
    size = np.full(dims, 40)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        path = smooth_path(rng.uniform(0, 40, dims), 32.0, size, rng)
        assert path.min() >= 1 - 1e-4
        assert path.max() <= 38 + 1e-4
        length = np.linalg.norm(np.diff(path, axis=0), axis=-1).sum()
        assert length == pytest.approx(32, rel=0.05)


def test_centers_keep_apart():
    rng = np.random.default_rng(0)
    other = np.array([10.0, 10.0], np.float32)
    spread = [np.linalg.norm(spread_center((40, 40), [other], rng) - other) for _ in range(50)]
    even = [np.linalg.norm(spread_center((40, 40), [], rng) - other) for _ in range(50)]
    assert np.mean(spread) > 1.3 * np.mean(even)
