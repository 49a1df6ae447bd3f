import numpy as np
import pytest
from scipy import stats

from lossbench.data import load
from lossbench.data.dataset import RandomSource
from lossbench.data.synthetic_scenes import scenes

SMALL = {"size": (24, 32), "bands": 20, "train": 2, "validation": 1, "test": 2, "targets": 3}


def parts(data):
    return data.train, data.validation, data.test


def examples(data):
    return [source[i] for source in parts(data) for i in range(len(source))]


def area(scores, odd):
    ranks, many = stats.rankdata(scores), odd.sum()
    return (ranks[odd].sum() - many * (many + 1) / 2) / (many * (~odd).sum())


def rx(image):
    pixels = image.reshape(-1, image.shape[-1]).astype(np.float64)
    pixels -= pixels.mean(0)
    return (pixels * np.linalg.solve(np.cov(pixels.T), pixels.T).T).sum(1)


def test_examples_have_the_stated_form():
    data = load("scenes", **SMALL)
    assert data.class_names == ("normal", "anomalous")
    assert data.wavelengths[0] == 400.0
    assert data.wavelengths[-1] == 1000.0
    assert len(data.wavelengths) == 20
    assert [len(source) for source in parts(data)] == [2, 1, 2]
    for example in examples(data):
        assert example["image"].shape == (24, 32, 20)
        assert example["image"].dtype == np.float32
        assert np.isfinite(example["image"]).all()
        assert example["labels"].shape == example["where"].shape == (24, 32)
        assert 0 < example["labels"].sum() <= 3 * 12
    assert "3 targets of 2 other materials" in data.description


def test_training_counts_normal_pixels_unless_told():
    data = scenes(**SMALL)
    for i in range(2):
        np.testing.assert_array_equal(data.train[i]["where"], data.train[i]["labels"] == 0)
        assert data.test[i]["where"].all()
    assert "normal pixels only" in data.description
    contaminated = scenes(**SMALL, train_on="all")
    assert contaminated.train[0]["where"].all()
    np.testing.assert_array_equal(contaminated.train[0]["image"], data.train[0]["image"])


def test_pixels_of_training_scenes():
    data = scenes(**SMALL, pixels=100)
    assert isinstance(data.train, RandomSource)
    assert len(data.train) == 2 * 7  # 768 pixels less the targets
    assert data.train[0]["image"].shape == (100, 20)
    assert not data.train[0]["labels"].any()
    assert data.test[0]["image"].shape == (24, 32, 20)


def test_a_scene_depends_on_its_own_place_alone():
    few, many = scenes(**SMALL), scenes(**{**SMALL, "train": 4, "test": 3})
    for i in range(2):
        np.testing.assert_array_equal(few.train[i]["image"], many.train[i]["image"])
        np.testing.assert_array_equal(few.test[i]["labels"], many.test[i]["labels"])


def test_seeds_folds_and_parts_share_no_scene():
    variants = [
        scenes(**SMALL),
        scenes(**SMALL, seed=1),
        scenes(**SMALL, fold=0, folds=2),
        scenes(**SMALL, fold=1, folds=2),
    ]
    images = {e["image"].tobytes() for data in variants for e in examples(data)}
    assert len(images) == 4 * 5
    names = [name for data in variants[2:] for source in parts(data) for name in source.names]
    assert len(set(names)) == len(names)
    assert scenes(**SMALL).test[0]["image"].tobytes() in images


def test_all_scenes_have_the_same_materials():
    """Without noise every spectrum, of a target too, is a mixture of five materials."""
    data = scenes(**SMALL, materials=3, target_materials=2, snr=200.0)
    pixels = np.concatenate([e["image"].reshape(-1, 20) for e in examples(data)])
    values = np.linalg.svd(pixels.astype(np.float64), compute_uv=False)
    assert values[5] < 1e-5 * values[0] < values[4]


@pytest.mark.parametrize("seed", range(3))
def test_targets_stand_out_to_a_detector(seed):
    data = scenes(size=(48, 48), bands=30, train=1, validation=1, test=2, seed=seed)
    faint = scenes(
        size=(48, 48), bands=30, train=1, validation=1, test=2, seed=seed,
        target_abundance=(1e-6, 1e-6),
    )  # fmt: skip
    found, missed = (
        np.mean([area(rx(d.test[i]["image"]), d.test[i]["labels"].ravel() > 0) for i in range(2)])
        for d in (data, faint)
    )
    assert found > 0.75
    assert 0.3 < missed < 0.7


def test_dead_bands_and_noise_by_band():
    data = scenes(**SMALL, dead_bands=(0, 7), snr=(50.0, 10.0), wavelengths=(1000.0, 2500.0))
    image = data.test[0]["image"]
    assert not image[..., [0, 7]].any()
    noise = np.diff(image, axis=0).std((0, 1))
    assert noise[-1] > 5 * noise[1]
    assert "50 to 10 dB" in data.description
    assert data.wavelengths[-1] == 2500.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": (24,)}, "size must be two numbers at least 8"),
        ({"size": (24, 4)}, "size must be two numbers at least 8"),
        ({"bands": 1}, "bands must be at least 2"),
        ({"wavelengths": (1000, 400)}, "must each be a lower and an upper number"),
        ({"wavelengths": (0, 400)}, "wavelengths must be two numbers above 0"),
        ({"target_size": (5, 2)}, "must each be a lower and an upper number"),
        ({"target_size": (0, 2)}, "target_size must be two numbers at least 1"),
        ({"target_abundance": (0.2, 1.2)}, "target_abundance must be two numbers above 0 and at m"),
        ({"materials": 0}, "materials must be at least 1"),
        ({"test": 0}, "test must be at least 1"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"illumination": 1.0}, "illumination must be at least 0 and below 1"),
        ({"smoothness": -1}, "smoothness"),
        ({"snr": (1, 2, 3)}, "snr must be one number"),
        ({"dead_bands": (20,)}, "dead_bands must be some of 0 to 19"),
        ({"dead_bands": range(20)}, "dead_bands must be some of 0 to 19"),
        ({"train_on": "some"}, "train_on must be 'normal' or 'all'"),
        ({"pixels": 0}, "pixels must be at least 1"),
        ({"fold": 2, "folds": 2}, "fold must be from 0 to 1"),
    ],
)
def test_errors(options, message):
    with pytest.raises(ValueError, match=message):
        scenes(**{**SMALL, **options})
