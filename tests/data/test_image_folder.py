import math

import numpy as np
import pytest
from PIL import Image

from lossbench.data.dataset import Dataset
from lossbench.data.image_folder import chosen_size, find_cases, groups_of, image_folder

COUNTS = {"validation": 1, "test": 1}
NAMES = [f"{patient:02d}{eye}" for patient in range(1, 6) for eye in "LR"]


@pytest.fixture
def folder(tmp_path):
    """Returns a function that writes images, and masks in a folder beside."""

    def make(shapes=((20, 30),) * 10, bands=3):
        rng = np.random.default_rng(0)
        for part in ("images", "masks", "fields"):
            (tmp_path / part).mkdir(exist_ok=True)
        for i, (name, shape) in enumerate(zip(NAMES, shapes, strict=False)):
            pixels = rng.integers(10 * i, 10 * i + 90, (*shape, bands)).astype(np.uint8)
            mask = rng.random(shape) < 0.2
            field = np.zeros(shape, np.uint8)
            field[2:-2, 2:-2] = 255
            Image.fromarray(pixels.squeeze()).save(tmp_path / "images" / f"{name}.png")
            Image.fromarray(mask).save(tmp_path / "masks" / f"{name}.png")
            Image.fromarray(field).save(tmp_path / "fields" / f"{name}.png")
        return tmp_path

    return make


def sources(data):
    return data.train, data.validation, data.test


def stored(folder, part, name):
    return np.asarray(Image.open(folder / part / f"{name}.png"))


def test_a_small_folder(folder):
    root = folder()
    data = image_folder(path=str(root), patch=(8, 16), foreground=0.5, seed=3, **COUNTS)
    assert isinstance(data, Dataset)
    assert data.name == f"image_folder: {root.name}"
    assert data.class_names == ("background", "foreground")
    assert data.spacing is None
    assert [len(s) for s in sources(data)] == [8, 1, 1]
    assert sorted(sum((s.names for s in sources(data)), ())) == NAMES
    for source in sources(data):
        shape = (8, 16) if source is data.train else (32, 32)
        for i in range(len(source)):
            example = source[i]
            assert int(example["case"]) == i
            assert example["image"].shape == (*shape, 3)
            assert example["image"].dtype == np.float32
            assert example["labels"].shape == example["where"].shape == shape
            assert example["labels"].dtype == np.int32


def test_whole_images_are_normalized_and_have_the_labels_of_the_files(folder):
    root = folder()
    data = image_folder(path=root, **COUNTS)
    for source in sources(data):
        for i, name in enumerate(source.names):
            example = source[i]
            where = example["where"]
            assert where.sum() == 20 * 30
            inside = example["image"][where]
            np.testing.assert_allclose(inside.mean(0), 0, atol=1e-5)
            np.testing.assert_allclose(inside.std(0), 1, atol=1e-4)
            assert not example["image"][~where].any()
            labels = example["labels"][where].reshape(20, 30)
            np.testing.assert_array_equal(labels, stored(root, "masks", name))
            # Green keeps its order, within the percentiles that are kept.
            green = example["image"][where][:, 1]
            order = stored(root, "images", name)[..., 1].ravel()
            assert np.corrcoef(green, order)[0, 1] > 0.99


def test_tiles_put_an_image_together(folder):
    root = folder(shapes=[(20, 30), (17, 9), (8, 8), (40, 31)])
    data = image_folder(path=root, patch=(8, 8), tile=(16, 12), **COUNTS)
    for source in (data.validation, data.test):
        pieces = [source[i] for i in range(len(source))]
        assert {piece["image"].shape for piece in pieces} == {(16, 12, 3)}
        for case, name in enumerate(source.names):
            own = [piece for piece in pieces if piece["case"] == case]
            mask = stored(root, "masks", name)
            assert sum(piece["where"].sum() for piece in own) == mask.size
            assert sum(piece["labels"][piece["where"]].sum() for piece in own) == mask.sum()


def test_both_eyes_of_a_patient_stay_together(folder):
    root = folder()
    for seed in range(5):
        data = image_folder(path=root, group=r"(\d+)", seed=seed, validation=1, test=0.4)
        assert [len(s) for s in sources(data)] == [4, 2, 4]
        patients = [{name[:2] for name in source.names} for source in sources(data)]
        assert [len(p) for p in patients] == [2, 1, 2]
    tested = [
        image_folder(path=root, group=r"(\d+)", validation=1, fold=k, folds=5).test.names
        for k in range(5)
    ]
    assert sorted(sum(tested, ())) == NAMES
    assert all(len({name[:2] for name in names}) == 1 for names in tested)
    assert "10 images of 5 groups" in data.description


def test_where_nothing_is_counted_nothing_is_seen(folder):
    root = folder()
    data = image_folder(path=root, counted="fields/{name}.png", patch=(8, 8), **COUNTS)
    for source in (data.validation, data.test):
        example = source[0]
        where = example["where"]
        assert where.sum() == 16 * 26
        assert not example["image"][~where].any()
        assert not example["labels"][~where].any()
        np.testing.assert_allclose(example["image"][where].mean(0), 0, atol=1e-5)
    assert set(data.train.whole(0)) == {"image", "labels", "where"}
    Image.fromarray(np.zeros((20, 30), np.uint8)).save(root / "fields" / "01L.png")
    with pytest.raises(ValueError, match=r"fields/01L\.png: the mask of what is counted is empty"):
        image_folder(path=root, counted="fields/{name}.png", **COUNTS)


def test_channels_are_chosen_by_name(folder):
    root = folder()
    full = image_folder(path=root, **COUNTS)
    green = image_folder(path=root, channels="G", **COUNTS)
    turned = image_folder(path=root, channels=("B", "R"), **COUNTS)
    image = full.test[0]["image"]
    np.testing.assert_array_equal(green.test[0]["image"], image[..., 1:2])
    np.testing.assert_array_equal(turned.test[0]["image"], image[..., [2, 0]])
    assert "Channels B + R" in turned.description
    for wrong in ("X", "RGX", ()):
        with pytest.raises(ValueError, match=r"channels must be among R, G, B \(of .*01L\.png\)"):
            image_folder(path=root, channels=wrong, **COUNTS)
    with pytest.raises(ValueError, match="channels must name each band once, got 'GG'"):
        image_folder(path=root, channels="GG", **COUNTS)
    Image.fromarray(np.zeros((20, 30), np.uint8)).save(root / "images" / "02L.png")
    with pytest.raises(
        ValueError, match=r"02L\.png: .*channels L, but .*01L\.png has R, G, B; say"
    ):
        image_folder(path=root, **COUNTS)


def test_gray_images(folder):
    data = image_folder(path=folder(bands=1), **COUNTS)
    assert data.train[0]["image"].shape == (32, 32, 1)


def test_lazy_and_eager_read_the_same(folder):
    root = folder(shapes=[(9, 8), (20, 8), (5, 6), (9, 9)])
    eager, lazy = (image_folder(path=root, patch=(8, 8), cache_gib=c, **COUNTS) for c in (1.0, 0.0))
    for a, b in zip(sources(eager), sources(lazy), strict=True):
        assert a.names == b.names
        for i in range(len(a)):
            for key, value in a[i].items():
                np.testing.assert_array_equal(value, b[i][key])


def test_cases_are_found_by_the_form_of_their_names(tmp_path):
    files = [
        "a/eye_1.jpg",
        "a/eye_1_mask.jpg",
        "a/eye_2+x.jpg",
        "a/eye_2+x_mask.jpg",
        "a/eye_3.png",
        "a/other.jpg",
        "a/._eye_4.jpg",
        "b/eye_5.jpg",
    ]
    for file in files:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).touch()
    cases = find_cases(tmp_path, images="a/eye_{name}.jpg", masks="a/eye_{name}_mask.jpg")
    assert [case.name for case in cases] == ["1", "2+x"]
    assert cases[1].mask == tmp_path / "a" / "eye_2+x_mask.jpg"
    assert cases[1].counted is None
    hidden = find_cases(tmp_path, images="a/{name}.jpg", masks="a/{name}_mask.jpg")
    assert [case.name for case in hidden] == ["eye_1", "eye_2+x", "other"]


def test_extensions_in_capitals_are_found(folder):
    root = folder()
    for part, name in (("images", "01L"), ("images", "03R"), ("masks", "03R")):
        file = root / part / f"{name}.png"
        file.rename(file.with_suffix(".PNG"))
    data = image_folder(path=root, **COUNTS)
    assert sorted(sum((source.names for source in sources(data)), ())) == NAMES
    cases = find_cases(root, images="images/{name}.Png", masks="masks/{name}.png")
    assert [case.name for case in cases] == NAMES
    assert cases[0].image == root / "images" / "01L.PNG"
    # A name keeps its capitals, and so does what comes before the extension.
    with pytest.raises(FileNotFoundError, match="there is no image"):
        find_cases(root, images="images/{name}l.png", masks="masks/{name}.png")
    (root / "images" / "01L.png").touch()
    if len(list((root / "images").iterdir())) > len(NAMES):  # the file system tells them apart
        with pytest.raises(ValueError, match=r"01L\.PNG: 01L\.png is there, too; which one"):
            image_folder(path=root, **COUNTS)


def test_an_extension_may_lie_in_a_folder_of_the_case_or_be_missing(tmp_path):
    for file in ("c/1.x/image.PNG", "c/1.x/mask.png", "c/2.x/image.png", "d/1", "d/1_mask"):
        (tmp_path / file).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / file).touch()
    cases = find_cases(tmp_path, images="c/{name}.x/image.png", masks="c/{name}.x/mask.png")
    assert [case.image.name for case in cases] == ["image.PNG", "image.png"]
    assert [case.name for case in cases] == ["1", "2"]
    cases = find_cases(tmp_path, images="d/{name}", masks="d/{name}_mask")
    assert [case.name for case in cases] == ["1"]


def test_a_mask_without_an_image(folder):
    root = folder()
    (root / "images" / "03R.png").rename(root / "images" / "03R.jpeg")
    with pytest.raises(ValueError, match=r"masks/03R\.png: the mask has no image .*s/03R\.png"):
        image_folder(path=root, **COUNTS)
    (root / "masks" / "03R.png").unlink()
    assert sum(len(source) for source in sources(image_folder(path=root, **COUNTS))) == 9


def test_images_that_have_the_form_of_a_mask(tmp_path):
    for file in ("1_photo.png", "1.png", "1_field.png", "2_photo.png", "2.png", "2_field.png"):
        (tmp_path / file).touch()
    cases = find_cases(
        tmp_path, images="{name}_photo.png", masks="{name}.png", counted="{name}_field.png"
    )
    assert [case.name for case in cases] == ["1", "2"]


def test_a_set_without_any_foreground(folder):
    root = folder()
    empty = Image.fromarray(np.zeros((20, 30), np.uint8))
    for name in NAMES[1:]:
        empty.save(root / "masks" / f"{name}.png")
    image_folder(path=root, cache_gib=0, **COUNTS)
    outside = np.zeros((20, 30), np.uint8)
    outside[0] = 255
    Image.fromarray(outside).save(root / "masks" / "01L.png")
    with pytest.raises(ValueError, match=r"no mask masks/.* has a pixel .* that counts"):
        image_folder(path=root, counted="fields/{name}.png", **COUNTS)
    empty.save(root / "masks" / "01L.png")
    with pytest.raises(ValueError, match=r"no mask masks/\{name\}\.png has a pixel of the fore"):
        image_folder(path=root, **COUNTS)


def test_the_description_tells_tiles_from_whole_images(folder):
    root = folder()
    whole = image_folder(path=root, patch=(8, 16), **COUNTS).description
    assert (
        "training on patches of 8x16 pixels, evaluation on whole images, padded to 32x32" in whole
    )
    tiled = image_folder(path=root, tile=(16, 16), **COUNTS).description
    assert "training on whole images, padded to 32x32 pixels, evaluation on tiles of 16" in tiled


def test_groups():
    assert groups_of(["1L", "1R", "2L"], None) == ["1L", "1R", "2L"]
    assert groups_of(["1L", "1R", "2L"], r"(\d)[LR]") == ["1", "1", "2"]
    with pytest.raises(ValueError, match=r"group must hold a group in parentheses, got '\\\\d'"):
        groups_of(["1L"], r"\d")
    with pytest.raises(ValueError, match=r"group is no regular expression: '\('"):
        groups_of(["1L"], "(")
    with pytest.raises(ValueError, match="finds nothing in the name 'x'"):
        groups_of(["1L", "x"], r"(\d)")


def test_sizes():
    assert chosen_size("patch", None, [(960, 999), (13, 4)]) == (960, 1008)
    assert chosen_size("patch", [8, 24], [(960, 999)]) == (8, 24)
    for wrong in ((8,), (8, 8, 8), (0, 8)):
        with pytest.raises(ValueError, match="tile must be two positive numbers of pixels"):
            chosen_size("tile", wrong, [(9, 9)])


@pytest.mark.parametrize("cache_gib", [2.0, 0.0])
def test_bad_files_are_named(folder, cache_gib):
    root = folder()
    image, mask = (root / part / "03R.png" for part in ("images", "masks"))
    whole_image, whole_mask = image.read_bytes(), mask.read_bytes()

    def refused(kind, message):
        with pytest.raises(kind, match=message):
            image_folder(path=root, cache_gib=cache_gib, **COUNTS)

    image.write_bytes(whole_image[: len(whole_image) // 2])
    refused(ValueError, r"images/03R\.png: truncated or damaged")
    image.write_bytes(whole_image)
    Image.fromarray(np.zeros((30, 20), np.uint8)).save(mask)
    refused(ValueError, r"images/03R\.png: the image has 20x30 pixels, but .*03R\.png has 30x20")
    Image.fromarray(np.arange(600, dtype=np.uint8).reshape(20, 30)).save(mask)
    refused(ValueError, r"masks/03R\.png: a mask must hold two values")
    mask.unlink()
    refused(FileNotFoundError, r"masks/03R\.png: no such file; the image .*images/03R\.png needs")
    mask.write_bytes(whole_mask)
    image_folder(path=root, cache_gib=cache_gib, **COUNTS)


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"path": "/no/where"}, FileNotFoundError, "where: there is no such data folder"),
        ({"images": "{name}.bmp"}, FileNotFoundError, r"there is no image \{name\}\.bmp"),
        ({"images": "images/x.png"}, ValueError, r"images must hold \{name\} once"),
        ({"masks": "{name}/{name}.png"}, ValueError, r"masks must hold \{name\} once"),
        ({"counted": "fields"}, ValueError, r"counted must hold \{name\} once"),
        ({"masks": "images/{name}.png"}, ValueError, "images and masks name the same files"),
        ({"masks": "images/{name}.PNG"}, ValueError, "images and masks name the same files"),
        ({"counted": "masks/{name}.png"}, ValueError, "masks and counted name the same files"),
        ({"cache_gib": -1}, ValueError, "cache_gib must be at least 0, got -1"),
        ({"cache_gib": math.nan}, ValueError, "cache_gib must be at least 0, got nan"),
        ({"patch": (8,)}, ValueError, "patch must be two positive numbers"),
        ({"foreground": 0.5}, ValueError, r"foreground=0.5 has no effect"),
        ({"group": r"(0)", "folds": 3, "fold": 0, "test": None}, ValueError, "folds=3 needs at"),
        ({"validation": 9}, ValueError, "too few cases for the split: there are 10"),
    ],
)
def test_errors(folder, options, kind, message):
    with pytest.raises(kind, match=message):
        image_folder(**{"path": folder(), **COUNTS, **options})
