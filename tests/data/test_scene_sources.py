import numpy as np
import pytest

from lossbench.data.dataset import RandomSource, Source
from lossbench.data.loader import evaluation_batches, training_batches
from lossbench.data.patches import Volume
from lossbench.data.scene_sources import (
    PixelSource,
    WindowSource,
    draws_of,
    grid,
    inside,
    normal_only,
)


def volume(shape, start=0, where=None):
    """A scene whose pixels are numbered; every third one is anomalous."""
    numbers = start + np.arange(np.prod(shape)).reshape(shape)
    image = np.stack([numbers, -numbers], -1).astype(np.float32)
    return Volume(image, (numbers % 3 == 0).astype(np.uint8), where)


@pytest.mark.parametrize("shape", [(10, 10), (7, 23), (1, 5), (100, 80)])
@pytest.mark.parametrize("tile", [1, 3, 10, 200])
def test_a_grid_covers_each_pixel_once(shape, tile):
    windows = grid(shape, tile)
    count = np.zeros(shape, int)
    for window in windows:
        count[window] += 1
        assert max(count[window].shape) <= tile
    assert (count == 1).all()
    assert len(windows) == np.prod([-(-n // tile) for n in shape])
    sides = np.array([count[w].shape for w in windows])
    assert (np.ptp(sides, axis=0) <= 1).all()
    half = inside(shape, windows[: len(windows) // 2])
    assert half.sum() == sum(count[w].size for w in windows[: len(windows) // 2])


def test_windows_are_padded_to_one_shape():
    where = np.ones((5, 4), bool)
    where[0, 0] = False
    volumes = [volume((3, 6)), volume((5, 4), 100, where)]
    windows = [(0, (slice(0, 3), slice(2, 6))), (1, (slice(0, 5), slice(0, 2)))]
    source = WindowSource(("a", "b"), volumes.__getitem__, windows, (5, 4))
    assert isinstance(source, Source)
    assert not isinstance(source, RandomSource)
    assert len(source) == 2
    first, second = source[0], source[-1]
    np.testing.assert_array_equal(first["image"][:3, :4], volumes[0].image[:, 2:])
    assert not first["image"][3:].any()
    np.testing.assert_array_equal(first["where"], np.indices((5, 4))[0] < 3)
    np.testing.assert_array_equal(second["where"][:, :2], where[:, :2])
    assert not second["where"][:, 2:].any()
    np.testing.assert_array_equal(second["labels"][:, :2], volumes[1].labels[:, :2])
    assert (int(first["case"]), int(second["case"])) == (0, 1)
    for example in (first, second):
        assert example["image"].dtype == np.float32
        assert example["labels"].dtype == example["case"].dtype == np.int32
        assert example["where"].dtype == bool
    with pytest.raises(IndexError):
        source[2]
    (batch,) = evaluation_batches(source, 2)
    assert batch["image"].shape == (2, 5, 4, 2)


def test_normal_pixels_only():
    assert (normal_only(volume((3, 3))).where == (volume((3, 3)).labels == 0)).all()
    where = np.eye(3, dtype=bool)
    np.testing.assert_array_equal(
        normal_only(volume((3, 3), 0, where)).where, where & (volume((3, 3)).labels == 0)
    )


def pixels(where=None, count=8, draws=(5, 2)):
    volumes = [volume((6, 7), 0, where), volume((4, 5), 100)]
    return PixelSource(("a", "b"), volumes.__getitem__, count, draws)


def test_pixels_belong_together():
    source = pixels()
    assert isinstance(source, RandomSource)
    assert len(source) == 7
    assert [source.case(i) for i in range(7)] == [0] * 5 + [1] * 2
    for i in range(7):
        example = source[i]
        numbers = example["image"][:, 0]
        assert example["image"].shape == (8, 2)
        np.testing.assert_array_equal(example["image"][:, 1], -numbers)
        np.testing.assert_array_equal(example["labels"], numbers % 3 == 0)
        assert len(set(numbers)) == 8
        assert (numbers >= 100).all() == bool(example["case"]) == (i >= 5)
        assert example["where"].all()
        np.testing.assert_array_equal(source[i]["image"], example["image"])
    assert not np.array_equal(source[0]["image"], source[1]["image"])
    whole = source.whole(6)
    np.testing.assert_array_equal(whole["image"], volume((4, 5), 100).image)
    assert "where" not in whole
    with pytest.raises(IndexError):
        source[7]


def test_only_counted_pixels_are_drawn():
    where = np.zeros((6, 7), bool)
    where[2:4, 1:6] = True
    source = pixels(where)
    np.testing.assert_array_equal(source.whole(0)["where"], where)
    seen = np.concatenate(
        [source.sample(0, np.random.default_rng(i))["image"][:, 0] for i in range(40)]
    )
    assert set(seen) == set(np.flatnonzero(where))
    # More than there are: some come twice.
    example = pixels(where, count=25)[0]
    assert set(example["image"][:, 0]) <= set(np.flatnonzero(where))
    assert example["image"].shape == (25, 2)


def test_every_pixel_is_as_likely():
    source = pixels(count=10, draws=(1, 1))
    drawn = [source.sample(0, np.random.default_rng(i))["image"][:, 0] for i in range(400)]
    counts = np.bincount(np.concatenate(drawn).astype(int), minlength=42)
    # Each is drawn with chance 10/42, of 400: mean 95, standard deviation 8.5.
    assert abs(counts - 400 * 10 / 42).max() < 4.5 * 8.5


def test_batches_of_pixels_can_be_resumed():
    first = training_batches(pixels(), batch_size=3, seed=1)
    next(first)
    state = first.get_state()
    batch = next(first)
    assert batch["image"].shape == (3, 8, 2)
    again = training_batches(pixels(), batch_size=3, seed=1)
    again.set_state(state)
    np.testing.assert_array_equal(next(again)["image"], batch["image"])


def test_draws_in_an_epoch():
    assert draws_of([100, 9, 5], 10) == (10, 1, 1)
    with pytest.raises(ValueError, match="pixels must be at least 1, got 0"):
        draws_of([3], 0)
