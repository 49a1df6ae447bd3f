import sys

import numpy as np
import pytest

from lossbench.data.tiff_cubes import read_tiff

tifffile = pytest.importorskip("tifffile")

H, W, B = 6, 7, 9


def values(dtype, shape):
    rng = np.random.default_rng(0)
    if np.dtype(dtype).kind == "f":
        return rng.normal(size=shape).astype(dtype)
    limits = np.iinfo(dtype)
    array = rng.integers(limits.min, limits.max, shape, dtype, endpoint=True)
    array.flat[:2] = limits.min, limits.max
    return array


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8"])
@pytest.mark.parametrize("order", "<>")
def test_pages_of_every_type(tmp_path, dtype, order):
    array = values(dtype, (B, H, W))
    tifffile.imwrite(tmp_path / "a.tif", array, byteorder=order, photometric="minisblack")
    np.testing.assert_array_equal(read_tiff(tmp_path / "a.tif").stored, array.transpose(1, 2, 0))


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((B, H, W), {"metadata": None}),  # pages without a word on axes
        ((B, H, W), {"imagej": True}),
        ((B, H, W), {"metadata": {"axes": "CYX"}, "ome": True}),
        ((B, H, W), {"metadata": {"axes": "ZYX"}, "ome": True}),
        ((B, H, W), {"planarconfig": "separate", "extrasamples": [0] * (B - 1)}),
        ((B, H, W), {"tile": (16, 16)}),
        ((B, H, W), {"compression": "zlib"}),
        ((B, H, W), {"bigtiff": True}),
        ((1, B, H, W), {}),
        ((H, W, B), {"planarconfig": "contig", "extrasamples": [0] * (B - 1)}),
        ((H, W, 3), {"photometric": "rgb"}),
    ],
)
def test_layouts(tmp_path, shape, options):
    array = values("u2", shape)
    tifffile.imwrite(tmp_path / "a.tif", array, **{"photometric": "minisblack", **options})
    bands_first = shape[-2:] == (H, W)
    expected = array.reshape(B, H, W).transpose(1, 2, 0) if bands_first else array
    np.testing.assert_array_equal(read_tiff(tmp_path / "a.tif").stored, expected)


def test_pages_that_were_written_one_by_one(tmp_path):
    array = values("i2", (B, H, W))
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for band in array:
            file.write(band, contiguous=False)
    np.testing.assert_array_equal(read_tiff(tmp_path / "a.tif").stored, array.transpose(1, 2, 0))


def test_one_page_has_one_band(tmp_path):
    array = values("u1", (H, W))
    tifffile.imwrite(tmp_path / "a.tif", array)
    np.testing.assert_array_equal(read_tiff(tmp_path / "a.tif").stored[..., 0], array)


def test_no_data_of_gdal(tmp_path):
    tag = (42113, "s", 0, "-9999", True)
    tifffile.imwrite(tmp_path / "a.tif", values("i2", (B, H, W)), extratags=[tag])
    assert read_tiff(tmp_path / "a.tif").no_data == -9999.0
    tag = (42113, "s", 0, "none", True)
    tifffile.imwrite(tmp_path / "a.tif", values("i2", (B, H, W)), extratags=[tag])
    with pytest.raises(ValueError, match=r"a\.tif: GDAL's no-data value is no number: 'none'"):
        read_tiff(tmp_path / "a.tif")


def test_several_images(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(values("u1", (B, H, W)), photometric="minisblack")
        file.write(values("u1", (4, 5)))
    with pytest.raises(
        ValueError, match=r"a\.tif: the file must hold one cube, found several: 4x5"
    ):
        read_tiff(tmp_path / "a.tif")
    tifffile.imwrite(tmp_path / "b.tif", values("u1", (2, 3, H, W)), photometric="minisblack")
    with pytest.raises(ValueError, match=r"b\.tif: expected height, width and bands, found axes"):
        read_tiff(tmp_path / "b.tif")


def test_complex_numbers(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.ones((B, H, W), np.complex64))
    with pytest.raises(ValueError, match=r"a\.tif: a cube holds real numbers, found complex64"):
        read_tiff(tmp_path / "a.tif")


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"planarconfig": "separate"}])
def test_truncated_files(tmp_path, options):
    path = tmp_path / "a.tif"
    array = values("u2", (B, 40, 50))
    tifffile.imwrite(path, array, **{"photometric": "minisblack", **options})
    content = path.read_bytes()
    for share in (0.1, 0.5, 0.95):
        path.write_bytes(content[: int(share * len(content))])
        with pytest.raises(ValueError, match=r"a\.tif: truncated"):
            read_tiff(path)


@pytest.mark.parametrize("content", [b"", b"II*\0", b"\x89PNG\r\n", b"II*\0\xff\xff\xff\xff"])
def test_files_of_something_else(tmp_path, content):
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.tif: truncated, damaged or not a TIFF file"):
        read_tiff(tmp_path / "a.tif")


def test_without_tifffile(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tifffile", None)
    with pytest.raises(ImportError, match=r'package tifffile: pip install "lossbench\[hyperspec'):
        read_tiff(tmp_path / "a.tif")
