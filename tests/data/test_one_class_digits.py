import gzip
import os
from pathlib import Path

import numpy as np
import pytest

from lossbench.data import load
from lossbench.data.one_class_digits import FILES, find_file, read_part, scaled

DATA = Path(os.environ.get("LOSSBENCH_DATA", Path(__file__).parents[2] / "../shared/data"))
MNIST = DATA / "mnist"

RNG = np.random.default_rng(0)
IMAGES = {"train": RNG.integers(0, 256, (60, 6, 5), np.uint8)}
IMAGES["test"] = RNG.integers(0, 256, (40, 6, 5), np.uint8)
LABELS = {"train": np.arange(60, dtype=np.uint8) % 3, "test": np.arange(40, dtype=np.uint8) % 4}


def idx(array):
    sizes = np.array(array.shape, ">u4").tobytes()
    return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


@pytest.fixture
def folder(tmp_path):
    for (part, what), name in FILES.items():
        content = idx((IMAGES if what == "images" else LABELS)[part])
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(content))
    return tmp_path


def rows(images):
    """What images a source gives out, in any scale."""
    return {np.round(image, 4).tobytes() for image in images}


def test_one_digit_is_normal(folder):
    data = load("one_class_digits", path=folder, normal=1)
    assert data.class_names == ("normal", "anomalous")
    assert [len(source) for source in (data.train, data.validation, data.test)] == [18, 2, 40]
    for source in (data.train, data.validation, data.test):
        example = source[1]
        assert example["image"].shape == (6, 5, 1)
        assert example["image"].dtype == np.float32
        assert example["labels"].shape == example["where"].shape == example["case"].shape == ()
        assert example["labels"].dtype == example["case"].dtype == np.int32
        assert example["where"].dtype == bool
        assert example["where"]
        assert len(source.names) == 1
        with pytest.raises(IndexError):
            source[len(source)]
    assert not data.train.labels.any()
    assert not data.validation.labels.any()
    np.testing.assert_array_equal(data.test.labels, LABELS["test"] != 1)
    np.testing.assert_allclose(data.test.samples[..., 0], IMAGES["test"] / 255, rtol=1e-6)
    own = rows(IMAGES["train"][LABELS["train"] == 1] / np.float32(255))
    train, validation = (rows(s.samples[..., 0]) for s in (data.train, data.validation))
    assert not train & validation
    assert train | validation == own


def test_contrast_is_normalized_as_in_deep_svdd(folder):
    data = load("one_class_digits", path=folder, normal=2, contrast="global_l1")
    plain = load("one_class_digits", path=folder, normal=2)
    assert data.train.samples.min() == 0
    assert data.train.samples.max() == 1
    # In float64, from the formula.
    train, test = (s.samples.astype(np.float64) for s in (plain.train, plain.test))
    ours = []
    for images in (train, test):
        centered = images - images.mean((1, 2, 3), keepdims=True)
        ours.append(centered / np.abs(centered).mean((1, 2, 3), keepdims=True))
    low, high = ours[0].min(), ours[0].max()
    np.testing.assert_allclose(data.test.samples, (ours[1] - low) / (high - low), atol=1e-5)


def test_an_empty_image_has_no_contrast():
    assert not scaled(np.zeros((1, 3, 3), np.uint8), "global_l1").any()


def test_fewer_images(folder):
    data = load("one_class_digits", path=folder, normal=0, train=5, test=7, validation=3)
    assert [len(source) for source in (data.train, data.validation, data.test)] == [5, 3, 7]
    whole = load("one_class_digits", path=folder, normal=0, validation=3)
    assert rows(data.train.samples) <= rows(whole.train.samples)
    assert rows(data.validation.samples) == rows(whole.validation.samples)
    again = load("one_class_digits", path=folder, normal=0, train=5, test=7, validation=3)
    np.testing.assert_array_equal(data.test.samples, again.test.samples)
    other = load("one_class_digits", path=folder, normal=0, train=5, test=7, validation=3, seed=1)
    assert rows(data.test.samples) != rows(other.test.samples)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"normal": 3}, "normal must be one of 0, 1, 2, got 3"),
        ({"contrast": "l1"}, "contrast must be None or 'global_l1', got 'l1'"),
        ({"train": 19}, "train must be from 1 to 18 images, got 19"),
        ({"test": 0}, "test must be from 1 to 40 images, got 0"),
        ({"validation": 20}, "validation=20 leaves none of 20 images to train on"),
        ({"validation": 0.0}, "validation must be a number of cases"),
        ({"seed": -1}, "seed must be at least 0"),
    ],
)
def test_errors(folder, options, message):
    with pytest.raises(ValueError, match=message):
        load("one_class_digits", **{"path": folder, "normal": 0, **options})


def test_missing_files_are_named(tmp_path, folder):
    with pytest.raises(
        FileNotFoundError, match=r"nowhere: there is no such folder; it must hold"
    ) as e:
        load("one_class_digits", path=tmp_path / "nowhere")
    for name in FILES.values():
        assert name in str(e.value)
    (folder / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(FileNotFoundError, match="t10k-labels-idx1-ubyte: no such file; the folder"):
        load("one_class_digits", path=folder)


def test_names_as_others_write_them(tmp_path):
    for name in ("train-images.idx3-ubyte", "emnist-digits-test-labels-idx1-ubyte.gz"):
        (tmp_path / name).touch()
    assert find_file(tmp_path, "train", "images").name == "train-images.idx3-ubyte"
    assert find_file(tmp_path, "test", "labels").name == "emnist-digits-test-labels-idx1-ubyte.gz"
    (tmp_path / "train-images-idx3-ubyte").touch()
    with pytest.raises(
        ValueError, match=r"which file is train-images-idx3-ubyte\? There are: train"
    ):
        find_file(tmp_path, "train", "images")


def test_files_that_do_not_fit(folder):
    path = folder / "train-labels-idx1-ubyte.gz"
    path.write_bytes(idx(LABELS["test"]))
    with pytest.raises(ValueError, match=r"train-labels.*: \(40,\) labels for the 60 images of tr"):
        load("one_class_digits", path=folder)
    (folder / "train-images-idx3-ubyte.gz").write_bytes(idx(LABELS["train"]))
    with pytest.raises(ValueError, match="expected images of 8 bits with height and width"):
        load("one_class_digits", path=folder)


@pytest.mark.skipif(not MNIST.is_dir(), reason="mnist is not under LOSSBENCH_DATA")
def test_the_real_set():
    data = load("one_class_digits", path=MNIST, normal=3, contrast="global_l1")
    assert len(data.train) + len(data.validation) == 6131
    assert len(data.test) == 10000
    assert data.test.labels.sum() == 10000 - 1010
    assert data.train[0]["image"].shape == (28, 28, 1)


# Least and greatest value of each digit's training images, as Deep SVDD's authors state them.
RANGES = {
    0: (-0.8826567, 9.0015455),
    1: (-0.6661465, 20.1080623),
    2: (-0.7820455, 11.6651008),
    3: (-0.7645772, 12.8950512),
    4: (-0.7253923, 12.6832357),
    5: (-0.7698502, 13.1032784),
    6: (-0.7784182, 10.4578374),
    7: (-0.7129781, 12.0577776),
    8: (-0.8280403, 10.5815384),
    9: (-0.7369959, 10.6970398),
}


@pytest.mark.skipif(not MNIST.is_dir(), reason="mnist is not under LOSSBENCH_DATA")
def test_contrast_has_the_ranges_that_the_authors_found():
    images, labels = read_part(MNIST, "train")
    for digit, (low, high) in RANGES.items():
        x = scaled(images[labels == digit], "global_l1")
        assert (x.min(), x.max()) == pytest.approx((low, high), rel=1e-5)
