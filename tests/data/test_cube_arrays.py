from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lossbench.data.array_files import Contents
from lossbench.data.cube_arrays import (
    bands_last,
    find_cube,
    find_mask,
    find_wavelengths,
    read_mask_file,
)

HERE = Path("scene.mat")
CUBE = np.zeros((4, 5, 6), np.int16)
MASK = np.eye(4, 5, dtype=np.uint8)


@pytest.mark.parametrize(
    "arrays",
    [
        {"data": CUBE},
        {"anything": CUBE, "map": MASK, "n": np.zeros((1, 1))},
        {"cube": CUBE, "map": MASK[..., None]},  # the mask has a third axis
        {"cube": CUBE[None], "text": np.array("x"), "wave": CUBE * 1j, "list": np.empty(0, object)},
        {"cube": CUBE, "empty": np.zeros((0, 4, 5))},
    ],
)
def test_the_only_three_axes(arrays):
    name, found = find_cube(HERE, arrays, None)
    assert name == next(iter(arrays))
    assert found.shape == CUBE.shape


def test_the_key_decides():
    arrays = {"a": CUBE, "b": CUBE + 1}
    assert find_cube(HERE, arrays, "b")[1].min() == 1
    for key, message in [
        (None, r"which array is the cube\? Say it with key; there are: a \(4x5x6 int16\), b"),
        ("c", r"scene\.mat: there is no array 'c'; there are: a \(4x5x6 int16\), b"),
    ]:
        with pytest.raises(ValueError, match=message):
            find_cube(HERE, arrays, key)


@pytest.mark.parametrize(
    ("arrays", "key", "message"),
    [
        ({"map": MASK}, None, r"no array of real numbers with three axes; there are: map \(4x5 u"),
        ({"map": MASK}, "map", r"a cube has three axes, map \(4x5 uint8\) has two"),
        ({"a": CUBE * 1j}, None, "a cube holds real numbers, not complex ones; there are: a"),
        ({"a": CUBE.astype(str)}, "a", "no array of real numbers"),
        ({"a": np.zeros((2, 3, 4, 5))}, None, "no array of real numbers with three axes"),
        ({}, None, "there are: no arrays"),
    ],
)
def test_no_cube(arrays, key, message):
    with pytest.raises(ValueError, match=message):
        find_cube(HERE, arrays, key)


@pytest.mark.parametrize(
    "name",
    [
        *("map", "mask", "gt", "labels", "GT", "abu_map", "pavia_gt", "groundTruth"),
        *("ground_truth", "S.mask", "anomaly_map", "scene-label", "groundtruth", "whatever"),
    ],
)
def test_masks_by_name_or_by_their_values(name):
    arrays = {"n": np.zeros((1, 1)), "depth": np.arange(20.0).reshape(4, 5), name: MASK}
    np.testing.assert_array_equal(find_mask(HERE, arrays, None, CUBE.shape), MASK)


def test_no_mask():
    assert find_mask(HERE, {}, None, CUBE.shape) is None
    other = {"depth": np.arange(20.0).reshape(4, 5), "roadmap": np.arange(20).reshape(4, 5)}
    assert find_mask(HERE, other, None, CUBE.shape) is None


def test_masks_that_are_not_clear():
    arrays = {"map": MASK, "gt": MASK, "wide": np.zeros((4, 5, 3))}
    with pytest.raises(ValueError, match=r"the mask\? Say it with mask_key; there are: map .*, gt"):
        find_mask(HERE, arrays, None, CUBE.shape)
    np.testing.assert_array_equal(find_mask(HERE, arrays, "gt", CUBE.shape), MASK)
    with pytest.raises(ValueError, match=r"there is no mask 'label'; there are: map \(4x5 uint8\)"):
        find_mask(HERE, arrays, "label", CUBE.shape)
    with pytest.raises(ValueError, match=r"a mask has two axes, found wide \(4x5x3 float64\)"):
        find_mask(HERE, arrays, "wide", CUBE.shape)
    # Of two that are called so, the one that fits.
    arrays = {"map": MASK, "label": np.zeros((9, 9))}
    np.testing.assert_array_equal(find_mask(HERE, arrays, None, CUBE.shape), MASK)


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("wavelengths", np.linspace(0.4, 0.9, 6)[:, None], (400, 500, 600, 700, 800, 900)),
        ("Wavelength", np.arange(400, 1000, 100)[None], (400, 500, 600, 700, 800, 900)),
        ("info.wavelength_nm", np.arange(6) + 1, (1, 2, 3, 4, 5, 6)),
        ("wavelength", np.arange(7) + 400, None),  # there are six bands
        ("other", np.arange(6) + 400, None),
    ],
)
def test_wavelengths(name, values, expected):
    assert find_wavelengths({"map": MASK, name: values}, CUBE.shape) == expected


def marked(order):
    """A cube of height 4, width 5 and 6 bands whose values say where they belong."""
    return np.arange(120).reshape(4, 5, 6).transpose(order)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (0, 2, 1)])
def test_the_mask_or_the_wavelengths_say_where_the_bands_are(order):
    for mask, numbers in ((MASK, None), (None, range(6))):
        found = bands_last(HERE, marked(order), Contents({}), mask, numbers)
        np.testing.assert_array_equal(found, marked((0, 1, 2)))


def test_without_either_bands_are_last():
    stored = marked((2, 0, 1))
    np.testing.assert_array_equal(bands_last(HERE, stored, Contents({}), None, None), stored)
    # In a cube of the same length each way, too.
    stored = np.arange(64).reshape(4, 4, 4)
    found = bands_last(HERE, stored, Contents({}), np.eye(4), range(4))
    np.testing.assert_array_equal(found, stored)
    message = r"scene\.mat: the mask has 5x4 pixels, which does not fit the cube of 4x5x6"
    with pytest.raises(ValueError, match=message):
        bands_last(HERE, marked((0, 1, 2)), Contents({}), MASK.T, None)


def test_masks_in_files_of_their_own(tmp_path):
    Image.fromarray(MASK * 255).save(tmp_path / "a.png")
    Image.fromarray(MASK * 3).save(tmp_path / "b.bmp")
    Image.fromarray(np.stack([MASK * 255] * 3, -1)).save(tmp_path / "c.png")
    np.save(tmp_path / "d.npy", MASK)
    np.savez(tmp_path / "e.npz", gt=MASK, cube=CUBE, note=np.zeros((3, 3)))
    for name in ("a.png", "b.bmp", "c.png", "d.npy", "e.npz"):
        np.testing.assert_array_equal(read_mask_file(tmp_path / name) != 0, MASK != 0)
    assert read_mask_file(tmp_path / "b.bmp").max() == 3
    with pytest.raises(ValueError, match=r"c\.png: a mask of several values must have one band"):
        read_mask_file(tmp_path / "c.png", colored=False)
    np.savez(tmp_path / "f.npz", a=MASK, b=MASK)
    with pytest.raises(
        ValueError, match=r"f\.npz: expected one array that is a mask; there are: a"
    ):
        read_mask_file(tmp_path / "f.npz")
    with pytest.raises(FileNotFoundError, match=r"none\.png: no such file"):
        read_mask_file(tmp_path / "none.png")
