import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossbench.data.dataset import RandomSource
from lossbench.data.patches import (
    CropSource,
    TileSource,
    Volume,
    check_foreground,
    cut,
    random_start,
    tiles,
)

SIZES = st.integers(1, 3).flatmap(
    lambda d: st.tuples(*[st.lists(st.integers(1, 20), min_size=d, max_size=d)] * 2)
)


@given(SIZES)
def test_tiles_count_each_voxel_once(sizes):
    shape, patch = sizes
    counts = np.zeros(shape, int)
    restored = np.zeros(shape)
    image = np.random.default_rng(0).random(shape)
    for tile in tiles(shape, patch):
        assert all(0 <= c.start < c.stop <= p for c, p in zip(tile.counted, patch, strict=True))
        place = tuple(
            slice(s + c.start, s + c.stop) for s, c in zip(tile.start, tile.counted, strict=True)
        )
        counts[place] += 1
        restored[place] = cut(image, tile.start, patch)[tile.counted]
    np.testing.assert_array_equal(counts, 1)
    np.testing.assert_array_equal(restored, image)
    assert len(tiles(shape, patch)) == np.prod([-(-n // p) for n, p in zip(*sizes, strict=True)])


@given(SIZES)
def test_tiles_reach_over_the_border_only_where_the_case_is_shorter(sizes):
    for tile in tiles(*sizes):
        for start, n, p in zip(tile.start, *sizes, strict=True):
            if n >= p:
                assert 0 <= start <= n - p
            else:
                before, after = -start, p - n + start
                assert 0 <= before - (p - n) // 2 <= 1
                assert 0 <= after - (p - n) // 2 <= 1


@given(SIZES, st.integers(-25, 25))
def test_cut_is_a_window_of_the_zero_padded_array(sizes, shift):
    shape, patch = sizes
    array = 1 + np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    start = [shift] * len(shape)
    padded = np.pad(array, 60)
    window = tuple(slice(60 + shift, 60 + shift + p) for p in patch)
    got = cut(array[..., None], start, patch)
    np.testing.assert_array_equal(got[..., 0], padded[window])


@given(SIZES, st.integers(0, 1000))
def test_random_patches_lie_in_the_case_and_hold_the_voxel(sizes, seed):
    shape, patch = sizes
    rng = np.random.default_rng(seed)
    voxel = [int(rng.integers(n)) for n in shape]
    for holding in (None, voxel):
        start = random_start(shape, patch, rng, holding)
        for s, n, p, v in zip(start, *sizes, voxel, strict=True):
            if n >= p:
                assert 0 <= s <= n - p
            else:
                assert s <= 0
                assert s + p >= n
            if holding is not None:
                assert s <= v < s + p


def volume(shape, channels=2):
    rng = np.random.default_rng(sum(shape))
    return Volume(
        rng.normal(size=(*shape, channels)).astype(np.float32),
        rng.integers(0, 3, shape).astype(np.uint8),
    )


def test_a_small_case_is_padded_and_comes_back():
    case = volume((5, 8, 3))
    for source in (
        CropSource(("a",), lambda i: case, (8, 8, 8)),
        TileSource(("a",), lambda i: case, [(5, 8, 3)], (8, 8, 8)),
    ):
        example = source[0]
        assert example["image"].shape == (8, 8, 8, 2)
        assert example["labels"].dtype == np.int32
        where = example["where"]
        assert where.sum() == 5 * 8 * 3
        assert not example["image"][~where].any()
        assert not example["labels"][~where].any()
        np.testing.assert_array_equal(example["image"][where].reshape(5, 8, 3, 2), case.image)
        np.testing.assert_array_equal(example["labels"][where].reshape(5, 8, 3), case.labels)


def test_what_a_case_does_not_count_no_patch_counts():
    case = volume((7, 20))
    case = case._replace(where=np.random.default_rng(0).random((7, 20)) < 0.6)
    tiled = TileSource(("a",), lambda i: case, [(7, 20)], (8, 8))
    assert sum(example["where"].sum() for example in tiled) == case.where.sum()
    crops = CropSource(("a",), lambda i: case, (8, 8))
    np.testing.assert_array_equal(crops.whole(0)["where"], case.where)
    for seed in range(5):
        example = crops.sample(0, np.random.default_rng(seed))
        inside = np.zeros((8, 8), bool)
        inside[:7] = True
        assert not example["where"][~inside].any()
        assert 0 < example["where"].sum() < 7 * 8


def test_tiles_of_several_cases_come_in_order():
    cases = [volume((4, 9, 4)), volume((4, 4, 4)), volume((13, 5, 2))]
    shapes = [c.labels.shape for c in cases]
    source = TileSource(("a", "b", "c"), lambda i: cases[i], shapes, (4, 4, 4))
    assert not isinstance(source, RandomSource)
    owners = [int(source[i]["case"]) for i in range(len(source))]
    assert owners == [0] * 3 + [1] + [2] * 8
    counted = np.bincount(owners, [source[i]["where"].sum() for i in range(len(source))])
    np.testing.assert_array_equal(counted, [np.prod(s) for s in shapes])
    with pytest.raises(IndexError):
        source[12]


def test_crops_vary_with_the_generator_and_not_by_index():
    case = volume((20, 20, 20))
    source = CropSource(("a",), lambda i: case, (8, 8, 8))
    assert isinstance(source, RandomSource)
    np.testing.assert_array_equal(source[0]["image"], source[0]["image"])
    drawn = [source.sample(0, np.random.default_rng(i))["image"].tobytes() for i in range(10)]
    assert len(set(drawn)) > 5
    again = source.sample(0, np.random.default_rng(3))["image"].tobytes()
    assert again == drawn[3]


def test_foreground_crops_hold_foreground():
    labels = np.zeros((40, 40, 40), np.uint8)
    labels[37, 2, 20] = 1
    case = Volume(labels[..., None].astype(np.float32), labels)
    empty = Volume(case.image, np.zeros_like(labels))
    rng = np.random.default_rng(0)

    def share(source):
        return np.mean([source.sample(0, rng)["labels"].any() for _ in range(60)])

    assert share(CropSource(("a",), lambda i: case, (8, 8, 8), foreground=1.0)) == 1
    assert share(CropSource(("a",), lambda i: case, (8, 8, 8))) < 0.2
    assert share(CropSource(("a",), lambda i: empty, (8, 8, 8), foreground=1.0)) == 0


def test_a_share_of_foreground_crops_must_have_an_effect():
    check_foreground(0.0, [(4, 4)], (8, 8))
    check_foreground(0.5, [(4, 4), (4, 9)], (8, 8))
    with pytest.raises(ValueError, match=r"foreground must be from 0 to 1, got 1\.5"):
        check_foreground(1.5, [(9, 9)], (8, 8))
    with pytest.raises(ValueError, match=r"foreground=0\.5 has no effect: .* the patch \(8, 8\)"):
        check_foreground(0.5, [(8, 4)], [8, 8])
