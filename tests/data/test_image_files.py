import numpy as np
import pytest
from PIL import Image

from lossbench.data.image_files import read_header, read_image, read_mask


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def save(path, array, mode=None):
    image = Image.fromarray(array)
    (image if mode is None else image.convert(mode)).save(path)
    return path


@pytest.mark.parametrize("ending", ["png", "tif", "bmp", "ppm"])
def test_it_reads_what_was_written(tmp_path, rng, ending):
    array = rng.integers(0, 256, (5, 7, 3)).astype(np.uint8)
    path = save(tmp_path / f"a.{ending}", array)
    assert read_header(path) == ((5, 7), ("R", "G", "B"))
    np.testing.assert_array_equal(read_image(path, ("R", "G", "B")), array)
    np.testing.assert_array_equal(read_image(path, ("B", "G")), array[..., [2, 1]])


def test_height_comes_first_in_a_jpeg(tmp_path, rng):
    path = save(tmp_path / "a.jpg", rng.integers(0, 256, (8, 24)).astype(np.uint8))
    assert read_header(path) == ((8, 24), ("L",))
    assert read_image(path, ("L",)).shape == (8, 24, 1)


def test_opacity_is_no_band(tmp_path, rng):
    array = rng.integers(0, 256, (4, 6, 4)).astype(np.uint8)
    path = save(tmp_path / "a.png", array)
    assert read_header(path).bands == ("R", "G", "B")
    np.testing.assert_array_equal(read_image(path, ("R", "G", "B")), array[..., :3])


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
def test_depth_is_kept(tmp_path, rng, dtype):
    array = rng.integers(0, 60000, (4, 6)).astype(dtype)
    path = save(tmp_path / "a.tif", array)
    (band,) = read_header(path).bands
    np.testing.assert_array_equal(read_image(path, (band,))[..., 0], array)


def test_a_palette_gives_its_colors(tmp_path):
    colors = np.array([[[255, 0, 0], [0, 0, 255]]], np.uint8).repeat(4, 0)
    path = save(tmp_path / "a.png", colors, "P")
    with Image.open(path) as image:
        assert image.mode == "P"
    assert read_header(path).bands == ("R", "G", "B")
    np.testing.assert_array_equal(read_image(path, ("R", "B")), colors[..., [0, 2]])


def test_a_pixel_that_is_no_number(tmp_path):
    array = np.array([[1.0, np.nan]], np.float32)
    with pytest.raises(ValueError, match=r"a\.tif: the image has pixels that are NaN"):
        read_image(save(tmp_path / "a.tif", array), ("F",))


MASK = np.random.default_rng(1).random((6, 9)) < 0.4


@pytest.mark.parametrize(
    ("array", "name", "mode"),
    [
        (MASK, "m.png", None),  # one bit a pixel
        (MASK.astype(np.uint8), "m.png", None),
        (MASK.astype(np.uint8) * 255, "m.tif", None),
        (MASK.astype(np.uint8) * 255, "m.gif", None),
        (MASK.astype(np.uint8) * 255, "m.png", "RGB"),
        (MASK.astype(np.uint8) * 255, "m.png", "P"),
        (MASK.astype(np.uint16), "m.png", None),
    ],
)
def test_masks_of_any_depth(tmp_path, array, name, mode):
    got = read_mask(save(tmp_path / name, array, mode))
    assert got.dtype == bool
    np.testing.assert_array_equal(got, MASK)


@pytest.mark.parametrize("value", [0, 1, 255])
def test_empty_and_full_masks(tmp_path, value):
    got = read_mask(save(tmp_path / "m.png", np.full((3, 4), value, np.uint8)))
    np.testing.assert_array_equal(got, np.full((3, 4), value > 0))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0, 2], "found 0, 2"),
        ([0, 1, 255], "found 0, 1, 255"),
        ([1, 255], "found 1, 255"),
        ([38], "found 38"),
        (range(20), r"found 0, 1, 2, 3, 4, 5, 6, 7, \.\.\. \(20 values\)"),
    ],
)
def test_masks_that_are_not_binary(tmp_path, values, message):
    path = save(tmp_path / "m.png", np.array([list(values)], np.uint8))
    with pytest.raises(ValueError, match=r"m\.png: a mask must hold two values, .*" + message):
        read_mask(path)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, of a TIFF file that ends too early
@pytest.mark.parametrize("ending", ["png", "jpg", "gif", "tif"])
@pytest.mark.parametrize("keep", [0, 0.02, 0.6])
def test_truncated_files(tmp_path, rng, ending, keep):
    array = rng.integers(0, 256, (40, 40)).astype(np.uint8)
    content = save(tmp_path / f"whole.{ending}", array).read_bytes()
    path = tmp_path / f"cut.{ending}"
    path.write_bytes(content[: int(keep * len(content))])
    for read in (lambda: read_image(path, ("L",)), lambda: read_mask(path)):
        with pytest.raises(ValueError, match=rf"cut\.{ending}: truncated or damaged image file"):
            read()


def test_files_that_are_no_images(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_text("no image at all")
    with pytest.raises(ValueError, match=r"a\.png: truncated or damaged image file, or none"):
        read_header(path)
    with pytest.raises(FileNotFoundError, match=r"gone\.png: no such file"):
        read_header(tmp_path / "gone.png")
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_mask(tmp_path)
    save(path, np.zeros((30, 30), np.uint8))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ValueError, match=r"a\.png: .*decompression bomb"):
        read_header(path)
