import io

import matplotlib.image
import numpy as np
import pytest

from lossbench.bench import rasters


def pixels(png):
    return np.round(matplotlib.image.imread(io.BytesIO(png)) * 255).astype(int)


def test_pixels_come_back():
    given = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    np.testing.assert_array_equal(pixels(rasters.png(given))[..., :3], given)


def test_indices_come_back_as_their_colors():
    rng = np.random.default_rng(0)
    palette, indices = rng.integers(0, 256, (256, 3)), rng.integers(0, 256, (7, 11))
    np.testing.assert_array_equal(
        pixels(rasters.indexed_png(indices, palette))[..., :3], palette[indices]
    )
    few = rasters.indexed_png(np.zeros((1, 1), int), np.array([[1, 2, 3]]))
    assert pixels(few)[0, 0, :3].tolist() == [1, 2, 3]


def test_masks_are_painted_in_turn_on_a_clear_ground():
    first, second = np.eye(3, dtype=bool), np.zeros((3, 3), bool)
    second[0] = True
    got = pixels(rasters.paint((3, 3), [(first, "#ff0000", 1.0), (second, "#0000ff", 0.5)]))
    assert got[0, 0].tolist() == [0, 0, 255, 128]
    assert got[1, 1].tolist() == [255, 0, 0, 255]
    assert got[2, 0, 3] == 0


def test_large_pictures_are_thinned_by_their_sides_alone():
    assert rasters.shown_every((256, 9)) == 1
    assert rasters.fit(np.zeros((600, 300, 3))).shape == (200, 100, 3)
    assert rasters.fit(np.zeros((2, 2, 500))).shape == (2, 2, 500)


@pytest.mark.parametrize("dtype", [np.float64, np.int8])
def test_the_highest_of_a_block_is_not_lost(dtype):
    values = np.zeros((601, 307), dtype)
    values[600, 306], values[17, 44] = 9, 5
    got = rasters.highest(values)
    assert got.shape == (201, 103)
    assert (got[200, 102], got[5, 14]) == (9, 5)
    assert (got > 0).sum() == 2
    assert rasters.highest(values[:10, :10]) is not None
    np.testing.assert_array_equal(rasters.highest(values[:10, :10]), values[:10, :10])


def test_below_nothing_counts_only_alone():
    codes = np.full((4, 4), -1, np.int8)
    codes[0, 0] = 0
    assert rasters.highest(codes, most=2).tolist() == [[0, -1], [-1, -1]]
    scores = np.full((4, 4), np.nan)
    scores[0, 0], scores[3, 3] = -5, -np.inf
    got = rasters.highest(scores, most=2)
    assert (got[0, 0], got[1, 1]) == (-5, -np.inf)
    assert np.isnan(got[0, 1])


def test_what_is_no_map_is_named():
    with pytest.raises(ValueError, match=r"scores: expected height width, got shape \(3,\)"):
        rasters.check_map("scores", np.zeros(3))
