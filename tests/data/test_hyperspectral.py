import os
from pathlib import Path

import numpy as np
import pytest

from lossbench.data import load
from lossbench.data.dataset import RandomSource

DATA = Path(os.environ.get("LOSSBENCH_DATA", Path(__file__).parents[2] / "../shared/data"))
SCENES = DATA / "hyperspectral"

SHAPE = (20, 30, 4)


def parts(data):
    return data.train, data.validation, data.test


def pixels_of(source):
    """The numbers of all counted pixels of a source, which the first band holds."""
    examples = [source[i] for i in range(len(source))]
    return np.concatenate([e["image"][e["where"]][:, 0] for e in examples])


@pytest.fixture
def folder(tmp_path):
    """Three scenes; the first band numbers their pixels, every seventh of which is anomalous."""
    for i in range(3):
        shape = (SHAPE[0] + i, SHAPE[1])
        numbers = 1000 * i + np.arange(np.prod(shape)).reshape(shape)
        values = np.stack([numbers, *np.random.default_rng(i).normal(size=(3, *shape))], -1)
        np.savez(
            tmp_path / f"scene{i}.npz",
            data=values.astype(np.float32),
            map=numbers % 7 == 0,
            wavelength=[450, 550, 650, 750],
        )
    return tmp_path


def test_one_scene_is_all_three_parts(folder):
    data = load("hyperspectral", path=folder / "scene0.npz", protocol="scene")
    assert data.name == "hyperspectral: scene0"
    assert data.class_names == ("normal", "anomalous")
    assert data.wavelengths == (450.0, 550.0, 650.0, 750.0)
    assert data.spacing is None
    for source in parts(data):
        assert len(source) == 1
        assert source.names == ("scene0",)
        assert source[0]["image"].shape == SHAPE
        assert source[0]["where"].all()
        assert source[0]["labels"].sum() == 86
    assert "one scene of 4 bands from 450 to 750 nm" in data.description
    assert "the same scenes" in data.description
    assert "counts all pixels, 86 anomalous ones among them" in data.description


def test_what_is_trained_on(folder):
    options = {"path": folder / "scene0.npz", "protocol": "scene"}
    data = load("hyperspectral", **options, train_on="normal")
    np.testing.assert_array_equal(data.train[0]["where"], data.test[0]["labels"] == 0)
    assert data.validation[0]["where"].all()
    assert "normal pixels only, by the labels of the test pixels" in data.description
    for protocol, train_on, odd in [("tiles", None, 0), ("tiles", "all", 1), ("files", None, 0)]:
        options = {"path": folder, "protocol": protocol, "tile": 8, "train_on": train_on}
        data = load("hyperspectral", **options)
        numbers = pixels_of(data.train)
        assert (numbers % 7 == 0).any() == bool(odd)
        assert (pixels_of(data.test) % 7 == 0).any()


@pytest.mark.parametrize("tile", [5, 8, 10])
def test_tiles_share_no_pixel(folder, tile):
    data = load("hyperspectral", path=folder, protocol="tiles", tile=tile, train_on="all")
    numbers = [pixels_of(source) for source in parts(data)]
    together = np.concatenate(numbers)
    assert len(set(together)) == len(together) == sum(30 * (20 + i) for i in range(3))
    assert all(source.names == ("scene0", "scene1", "scene2") for source in parts(data))
    for source in parts(data):
        assert max(source[0]["image"].shape[:2]) <= tile
        for i in range(len(source)):
            example = source[i]
            counted = example["image"][example["where"]][:, 0]
            assert (counted // 1000 == int(example["case"])).all()
            np.testing.assert_array_equal(example["labels"][example["where"]], counted % 7 == 0)


def test_folds_of_tiles_test_on_every_pixel(folder):
    tested = [
        pixels_of(
            load("hyperspectral", path=folder, protocol="tiles", tile=8, fold=fold, folds=3).test
        )
        for fold in range(3)
    ]
    together = np.concatenate(tested)
    assert len(set(together)) == len(together) == sum(30 * (20 + i) for i in range(3))


def test_files_are_split_by_name(folder):
    data = load("hyperspectral", path=folder, protocol="files", seed=1)
    names = [source.names for source in parts(data)]
    assert sorted(sum(names, ())) == ["scene0", "scene1", "scene2"]
    for source in parts(data):
        (name,) = source.names
        assert source[0]["image"].shape == (20 + int(name[-1]), 30, 4)
        np.testing.assert_array_equal(pixels_of(source) // 1000, int(name[-1]))


def test_scenes_of_different_sizes_are_padded(folder):
    data = load("hyperspectral", path=folder, protocol="scene")
    for i in range(3):
        example = data.test[i]
        assert example["image"].shape == (22, 30, 4)
        assert example["where"].sum() == 30 * (20 + i)
        assert int(example["case"]) == i


@pytest.mark.parametrize("protocol", ["scene", "tiles", "files"])
def test_pixels_come_from_what_is_trained_on(folder, protocol):
    options = {"path": folder, "protocol": protocol, "tile": 8, "train_on": "normal"}
    whole = load("hyperspectral", **options)
    data = load("hyperspectral", **options, pixels=50)
    assert isinstance(data.train, RandomSource)
    assert not isinstance(data.test, RandomSource)
    example = data.train[0]
    assert example["image"].shape == (50, 4)
    assert example["labels"].shape == example["where"].shape == (50,)
    drawn = {
        number
        for i in range(len(data.train))
        for seed in range(60)
        for number in data.train.sample(i, np.random.default_rng([i, seed]))["image"][:, 0]
    }
    assert drawn == set(pixels_of(whole.train))
    assert len(data.train) == pytest.approx(len(drawn) / 50, abs=3)


def test_the_same_options_give_the_same_data(folder):
    options = {"path": folder, "protocol": "tiles", "tile": 8, "pixels": 30, "cache_gib": 0.0}
    one, other = (load("hyperspectral", **options) for _ in range(2))
    for a, b in zip(parts(one), parts(other), strict=True):
        assert a.names == b.names
        for i in range(len(a)):
            for key, value in a[i].items():
                np.testing.assert_array_equal(value, b[i][key])
    other = load("hyperspectral", **{**options, "seed": 1})
    assert set(pixels_of(other.test)) != set(pixels_of(one.test))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"protocol": "rx"}, "protocol must be one of scene, tiles, files, got 'rx'"),
        ({"train_on": "most"}, "train_on must be 'normal' or 'all', got 'most'"),
        ({"tile": 0}, "tile must be at least 1 pixel"),
        ({"protocol": "scene", "folds": 2, "fold": 0}, "protocol 'scene' trains and tests on the"),
        ({"protocol": "scene", "test": 0.5}, "protocol 'scene' trains and tests on the same"),
        ({"tile": 30}, "the 1 tiles of the scene scene0: too few cases for the split"),
        ({"protocol": "files", "test": 2}, "too few cases for the split: there are 3"),
        ({"pixels": 0}, "pixels must be at least 1, got 0"),
        ({"ignored": [1]}, "no pixel of the test part is anomalous"),
        ({"anomalous": [0, 1]}, "no pixel of the training part is to be trained on"),
    ],
)
def test_errors(folder, options, message):
    with pytest.raises(ValueError, match=message):
        load("hyperspectral", **{"path": folder, "protocol": "tiles", "tile": 8, **options})


def test_a_protocol_must_be_chosen():
    with pytest.raises(ValueError, match="data set 'hyperspectral' needs the option 'protocol'"):
        load("hyperspectral", path="somewhere")


@pytest.mark.skipif(not SCENES.is_dir(), reason="hyperspectral is not under LOSSBENCH_DATA")
def test_real_scenes():
    path = [SCENES / "abu-airport-4.mat", SCENES / "abu-urban-3.mat"]
    data = load("hyperspectral", path=path, protocol="scene")
    assert [int(data.test[i]["labels"].sum()) for i in range(2)] == [60, 52]
    assert data.test[1]["image"].shape == (100, 100, 191)
    with pytest.raises(ValueError, match=r"beach-2\.mat: the scene has 193 bands, but .* has 191"):
        load("hyperspectral", path=SCENES, protocol="scene")
    data = load("hyperspectral", path=SCENES / "abu-beach-2.mat", protocol="tiles", pixels=256)
    assert data.train[0]["image"].shape == (256, 193)
    assert not data.train[0]["labels"].any()
