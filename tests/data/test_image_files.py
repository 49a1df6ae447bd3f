import numpy as np
import pytest
from PIL import ExifTags, Image

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


def test_the_a_of_lab_is_a_color(tmp_path, rng):
    array = rng.integers(0, 256, (4, 6, 3)).astype(np.uint8)
    path = tmp_path / "a.tif"
    Image.frombytes("LAB", (6, 4), array.tobytes()).save(path)
    assert read_header(path).bands == ("L", "A", "B")
    np.testing.assert_array_equal(read_image(path, ("B", "A")), array[..., [2, 1]])


@pytest.mark.parametrize("ending", ["tif", "gif", "png", "webp"])
def test_files_of_several_images(tmp_path, rng, ending):
    frames = [Image.fromarray(rng.integers(0, 256, (9, 9)).astype(np.uint8)) for _ in range(3)]
    path = tmp_path / f"a.{ending}"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    for read in (read_header, read_mask, lambda path: read_image(path, ("L",))):
        with pytest.raises(ValueError, match=rf"a\.{ending}: the file must hold one image, .* 3"):
            read(path)


@pytest.mark.parametrize("ending", ["jpg", "png", "tif"])
def test_images_that_are_not_upright(tmp_path, rng, ending):
    image = Image.fromarray(rng.integers(0, 256, (5, 9)).astype(np.uint8))
    path = tmp_path / f"a.{ending}"
    for orientation in range(10):
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = orientation
        image.save(path, exif=exif)
        if orientation in (0, 1, 9):  # unknown, upright, without a meaning
            assert read_header(path).shape == (5, 9)
            continue
        for read in (read_header, read_mask, lambda path: read_image(path, ("L",))):
            with pytest.raises(ValueError, match=rf"must be stored upright, .* is {orientation} "):
                read(path)


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


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_a_mask_whose_shape_is_in_its_opacity(tmp_path, mode):
    black = np.zeros((*MASK.shape, 4), np.uint8)
    opaque = black + np.array([0, 0, 0, 255], np.uint8)
    for opacity in (MASK * 255, MASK * 10 + 20):
        for rest in (black, opaque | (255 * MASK[..., None]).astype(np.uint8)):
            rest[..., 3] = opacity
            path = save(tmp_path / "m.png", rest, mode)
            with pytest.raises(ValueError, match=r"m\.png: a mask must have the same opacity"):
                read_mask(path)
    white = np.where(MASK[..., None], 255, opaque).astype(np.uint8)
    np.testing.assert_array_equal(read_mask(save(tmp_path / "m.png", white, mode)), MASK)


def test_a_palette_with_a_transparent_color(tmp_path):
    path = tmp_path / "m.png"
    image = Image.fromarray(MASK.astype(np.uint8)).convert("P")
    image.putpalette([0, 0, 0, 255, 255, 255])
    image.save(path, transparency=0)
    np.testing.assert_array_equal(read_mask(path), MASK)
    image.putpalette([0, 0, 0, 0, 0, 0])
    image.save(path, transparency=0)
    with pytest.raises(ValueError, match=r"m\.png: a mask must have the same opacity"):
        read_mask(path)


@pytest.mark.parametrize("mode", ["RGB", "P"])
def test_masks_in_colors(tmp_path, mode):
    path = save(tmp_path / "m.png", np.array([[[0, 0, 0], [255, 0, 0]]], np.uint8), mode)
    with pytest.raises(ValueError, match=r"m\.png: .* the colors \(0, 0, 0\), \(255, 0, 0\)$"):
        read_mask(path)
    # So dark that it would have been background in gray.
    save(path, np.array([[[0, 0, 0], [0, 0, 3]]], np.uint8), "RGB")
    with pytest.raises(ValueError, match=r"the colors \(0, 0, 0\), \(0, 0, 3\)$"):
        read_mask(path)
    save(path, np.arange(30, dtype=np.uint8).reshape(1, 10, 3), "RGB")
    with pytest.raises(ValueError, match=r"\(21, 22, 23\), \.\.\. \(10 colors\)$"):
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
