import os
from pathlib import Path

import numpy as np
import pytest
from scipy import io, stats

from lossbench.data import read_cube
from lossbench.data.array_files import Contents
from lossbench.data.cubes import labels_of, numbers_of

DATA = Path(os.environ.get("LOSSBENCH_DATA", Path(__file__).parents[2] / "../shared/data"))
SCENES = DATA / "hyperspectral"

RNG = np.random.default_rng(0)
VALUES = RNG.integers(-300, 9000, (6, 7, 5)).astype(np.int16)
MASK = (RNG.random((6, 7)) < 0.2).astype(np.uint8)


def test_a_matlab_file(tmp_path):
    wavelengths = np.linspace(0.5, 0.9, 5)
    io.savemat(tmp_path / "scene.mat", {"data": VALUES, "map": MASK, "wavelength": wavelengths})
    cube = read_cube(str(tmp_path / "scene.mat"))
    assert cube.name == "scene"
    assert cube.data.dtype == np.float32
    assert cube.data.flags.c_contiguous
    assert cube.labels.dtype == bool
    np.testing.assert_array_equal(cube.data, VALUES)
    np.testing.assert_array_equal(cube.labels, MASK)
    assert cube.wavelengths == (500.0, 600.0, 700.0, 800.0, 900.0)
    assert cube.where is None
    assert cube.good_bands is None


@pytest.mark.parametrize("dtype", ["<u2", ">u2", "<i2", ">i2", "u1", "i1", "<i4", "<u8", ">f8"])
def test_no_number_overflows(tmp_path, dtype):
    limits = np.iinfo(dtype) if np.dtype(dtype).kind != "f" else np.finfo(np.float32)
    values = np.array([[[limits.min, 0, 1], [limits.max, 7, 9]]], dtype)
    np.save(tmp_path / "a.npy", values)
    expected = [[[float(v) for v in pixel] for pixel in row] for row in values.tolist()]
    np.testing.assert_array_equal(read_cube(tmp_path / "a.npy").data, np.float32(expected))


def test_bands_first_by_the_mask(tmp_path):
    np.savez(tmp_path / "a.npz", cube=VALUES.transpose(2, 0, 1), gt=MASK)
    np.testing.assert_array_equal(read_cube(tmp_path / "a.npz").data, VALUES)


def test_a_tiff_file_whose_bands_were_stored_last(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    np.save(tmp_path / "mask.npy", MASK)
    tifffile.imwrite(tmp_path / "a.tif", VALUES, photometric="minisblack")
    tifffile.imwrite(tmp_path / "b.tif", VALUES.transpose(2, 0, 1), photometric="minisblack")
    for name in ("a.tif", "b.tif"):
        cube = read_cube(tmp_path / name, mask_path=tmp_path / "mask.npy")
        np.testing.assert_array_equal(cube.data, VALUES)
        np.testing.assert_array_equal(cube.labels, MASK)


def test_an_envi_file_with_all_its_fields(tmp_path):
    envi = pytest.importorskip("spectral.io.envi")
    values = VALUES.copy()
    values[0, 0] = -9999
    values[1, 1, 2] = -9999
    values[2, 2, 4] = -9999  # in a bad band
    fields = {
        "wavelength": [0.4, 0.5, 0.6, 0.7, 0.8],
        "wavelength units": "Micrometers",
        "data ignore value": -9999,
        "reflectance scale factor": 10000,
        "bbl": [1, 1, 1, 1, 0],
    }
    envi.save_image(str(tmp_path / "a.hdr"), values, metadata=fields, interleave="bil")
    envi.save_classification(str(tmp_path / "a_gt.hdr"), MASK)
    cube = read_cube(tmp_path / "a.hdr", mask_path=tmp_path / "a_gt.hdr")
    where = np.ones((6, 7), bool)
    where[0, 0] = where[1, 1] = False
    expected = np.where(values == -9999, 0, values) * where[..., None] / np.float32(10000)
    np.testing.assert_allclose(cube.data, expected, rtol=1e-6)
    np.testing.assert_array_equal(cube.where, where)
    np.testing.assert_array_equal(cube.labels, MASK)
    assert cube.good_bands == (True, True, True, True, False)
    assert cube.wavelengths == (400.0, 500.0, 600.0, 700.0, 800.0)


def test_nan_is_no_data(tmp_path):
    values = VALUES.astype(np.float64)
    values[3, 3, 1] = np.nan
    values[..., 4] = np.nan  # a band without any
    np.savez(tmp_path / "a.npz", cube=values, gt=MASK)
    cube = read_cube(tmp_path / "a.npz")
    where = np.ones((6, 7), bool)
    where[3, 3] = False
    np.testing.assert_array_equal(cube.where, where)
    assert cube.good_bands == (True, True, True, True, False)
    assert np.isfinite(cube.data).all()
    np.testing.assert_array_equal(cube.data[where][:, :4], VALUES[where][:, :4])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.full((2, 2, 3), np.nan), r"a\.npy: no pixel has data in every band"),
        (np.full((2, 2, 3), [1.0, np.inf, 1.0]), r"infinite in float32, in 1 of 3 bands .* is 1,"),
        (np.full((2, 2, 3), 1e200), r"a\.npy: values are infinite in float32, in 3 of 3 bands"),
        (np.ones((2, 2, 3), complex), "a cube holds real numbers, not complex ones"),
        (np.ones((2, 2, 3)).astype(str), "no array of real numbers"),
    ],
)
def test_values_that_cannot_be_used(tmp_path, values, message):
    np.save(tmp_path / "a.npy", values)
    with pytest.raises(ValueError, match=message):
        read_cube(tmp_path / "a.npy")


def test_zero_is_no_data_only_in_every_band():
    stored = np.array([[[0, 0], [0, 5]]], np.uint16)
    _, where, good = numbers_of(Path("a"), stored, Contents({}, no_data=0.0))
    np.testing.assert_array_equal(where, [[False, True]])
    assert good.all()


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float64])
def test_masks_of_every_type(dtype):
    for value in (1, 255):
        labels, counted = labels_of(Path("a"), (MASK * value).astype(dtype), None)
        np.testing.assert_array_equal(labels, MASK)
        assert counted.all()


def test_masks_of_several_values():
    mask = np.array([[0, 1, 2, 3]])
    message = "a: the mask has the values 0, 1, 2, 3; say with anomalous which of them mean"
    with pytest.raises(ValueError, match=message):
        labels_of(Path("a"), mask, None)
    labels, counted = labels_of(Path("a"), mask, [2, 3], [1])
    np.testing.assert_array_equal(labels, [[False, False, True, True]])
    np.testing.assert_array_equal(counted, [[True, False, True, True]])
    # What is ignored does not make a third value.
    labels, counted = labels_of(Path("a"), np.array([[0, 1, 255]]), None, [255])
    np.testing.assert_array_equal(labels, [[False, True, False]])
    np.testing.assert_array_equal(counted, [[True, True, False]])
    with pytest.raises(ValueError, match=r"anomalous and ignored share the values \[2\]"):
        labels_of(Path("a"), mask, [2], [2])
    with pytest.raises(ValueError, match="the mask has values that are NaN"):
        labels_of(Path("a"), np.array([[0, np.nan]]), None)


def test_ignored_values_are_not_counted(tmp_path):
    np.savez(tmp_path / "a.npz", cube=VALUES, gt=MASK * 3 + (np.arange(7) == 0))
    cube = read_cube(tmp_path / "a.npz", anomalous=[3, 4], ignored=[1])
    np.testing.assert_array_equal(cube.labels, MASK)
    np.testing.assert_array_equal(~cube.where, (MASK == 0) & (np.arange(7) == 0))


def test_two_places_for_a_mask(tmp_path):
    np.savez(tmp_path / "a.npz", cube=VALUES, gt=MASK)
    with pytest.raises(ValueError, match="two places for one mask"):
        read_cube(tmp_path / "a.npz", mask_key="gt", mask_path=tmp_path / "b.png")
    with pytest.raises(FileNotFoundError, match=r"b\.png: no such file"):
        read_cube(tmp_path / "a.npz", mask_path=tmp_path / "b.png")
    with pytest.raises(FileNotFoundError, match=r"none\.mat: no such file"):
        read_cube(tmp_path / "none.mat")


REAL = {
    # Name: height, width, bands, anomalous pixels, and the ROC AUC of RX.
    "abu-airport-4.mat": (100, 100, 191, 60, 0.9526),
    "abu-beach-2.mat": (100, 100, 193, 202, 0.9106),
    "abu-urban-1.mat": (100, 100, 204, 67, 0.9907),
    "abu-urban-3.mat": (100, 100, 191, 52, 0.9513),
    "hydice_urban_80x100x175.mat": (80, 100, 175, 21, 0.9857),
    "hydice_autoad_100x80x162_v73.mat": (80, 100, 162, 17, None),
}


@pytest.mark.parametrize("name", REAL)
def test_real_scenes(name):
    if not SCENES.is_dir():
        pytest.skip("hyperspectral is not under LOSSBENCH_DATA")
    height, width, bands, anomalous, known = REAL[name]
    cube = read_cube(SCENES / name)
    assert cube.data.shape == (height, width, bands)
    assert cube.labels.sum() == anomalous
    pixels = cube.data.reshape(-1, bands).astype(np.float64)
    pixels -= pixels.mean(0)
    covariance = pixels.T @ pixels / (len(pixels) - 1)
    scores = (pixels * np.linalg.solve(covariance, pixels.T).T).sum(1)
    odd, ranks = cube.labels.ravel(), stats.rankdata(scores)
    pairs = odd.sum() * (~odd).sum()
    area = (ranks[odd].sum() - odd.sum() * (odd.sum() + 1) / 2) / pairs
    if known is None:
        assert area > 0.98  # the anomalies stand out, so the mask lies on the image
    else:
        assert area == pytest.approx(known, abs=5e-5)
