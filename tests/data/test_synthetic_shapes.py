import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest

from lossbench.data.synthetic_shapes import KINDS, pink_noise, shapes, smoothing_matrix

SMALL = {"size": (32, 32), "train": 4, "validation": 2, "test": 3}


def arrays(dataset):
    return [
        a for s in (dataset.train, dataset.validation, dataset.test) for a in (s.images, s.labels)
    ]


@pytest.mark.parametrize("size", [(32, 40), (16, 24, 20)])
def test_examples_have_the_stated_form(size):
    data = shapes(size=size, classes=3, train=2, validation=1, test=1)
    assert data.class_names == ("background", "disc", "ring", "curve")
    assert len(data.train) == len(data.train.names) == 2
    example = data.train[1]
    assert example["image"].shape == (*size, 1)
    assert example["image"].dtype == np.float32
    assert example["labels"].shape == example["where"].shape == size
    assert example["labels"].dtype == example["case"].dtype == np.int32
    assert example["where"].dtype == bool
    assert example["where"].all()
    assert int(example["case"]) == 1
    with pytest.raises(IndexError):
        data.train[2]


@pytest.mark.parametrize("foreground", [0.01, 0.15, 0.5])
def test_foreground_dial(foreground):
    labels = shapes(
        size=(40, 40), foreground=foreground, train=400, validation=1, test=1
    ).train.labels
    # A class varies by 1/sqrt(12) of its share a case, so the mean of 400 cases by below 1 %.
    assert (labels > 0).mean() == pytest.approx(foreground, rel=0.04)
    total = sum(weight for weight, _ in KINDS.values())
    for class_id, (weight, _) in enumerate(KINDS.values(), start=1):
        target = foreground * weight / total * labels[0].size
        counts = (labels == class_id).sum((1, 2))
        assert counts.min() >= np.floor(0.5 * target)
        assert counts.max() <= np.ceil(1.5 * target)


def test_foreground_dial_in_3d():
    labels = shapes(size=(24, 24, 24), foreground=0.1, train=40, validation=1, test=1).train.labels
    assert (labels > 0).mean() == pytest.approx(0.1, rel=0.1)


def test_contrast_dial():
    for contrast in (0.0, 1.0, 4.0):
        source = shapes(contrast=contrast, blur=0.0, train=150, validation=1, test=1).train
        image, labels = source.images[..., 0], source.labels
        step = image[labels > 0].mean() - image[labels == 0].mean()
        assert step == pytest.approx(contrast, abs=0.12)
        assert image[labels == 0].std() == pytest.approx(1, abs=0.1)


def test_blur_dial():
    sharp, soft = (shapes(**SMALL, blur=b, contrast=5.0).train for b in (0.0, 2.0))
    np.testing.assert_array_equal(sharp.labels, soft.labels)
    # The noise is the same, so only shapes differ, whose total brightness roughly stays.
    difference = (soft.images - sharp.images)[..., 0]
    assert np.abs(difference).max() > 1
    assert np.abs(difference.mean((1, 2))).max() < 0.15


def test_smoothing_is_a_gaussian_of_the_stated_width():
    matrix = smoothing_matrix(65, 2.0)
    np.testing.assert_allclose(matrix.sum(1), 1, rtol=1e-5)
    offset = np.arange(65) - 32
    assert matrix[32] @ offset == pytest.approx(0, abs=1e-5)
    assert matrix[32] @ offset**2 == pytest.approx(4, rel=1e-4)
    np.testing.assert_array_equal(smoothing_matrix(5, 0.0), np.eye(5))


@pytest.mark.parametrize("size", [(128, 128), (48, 48, 48)])
def test_noise_has_equal_power_in_every_octave(size):
    noise = pink_noise(size, np.random.default_rng(0))
    assert noise.mean() == pytest.approx(0, abs=1e-5)
    assert noise.std() == pytest.approx(1, abs=1e-5)
    power = np.abs(np.fft.fftn(noise)) ** 2
    frequency = np.sqrt(sum(f**2 for f in np.meshgrid(*map(np.fft.fftfreq, size), indexing="ij")))
    bands = [(0.0625, 0.125), (0.125, 0.25), (0.25, 0.5)]
    octaves = [power[(frequency >= a) & (frequency < b)].sum() for a, b in bands]
    assert max(octaves) / min(octaves) < 1.4


def test_label_noise_reaches_the_training_labels_alone():
    clean = shapes(size=(32, 32), train=150, validation=3, test=3)
    noisy = shapes(size=(32, 32), train=150, validation=3, test=3, label_noise=0.4)
    for part in ("validation", "test"):
        np.testing.assert_array_equal(getattr(clean, part).labels, getattr(noisy, part).labels)
    np.testing.assert_array_equal(clean.train.images, noisy.train.images)
    before, after = (
        np.stack([(d.train.labels == c).sum((1, 2)) for c in range(1, 5)]) for d in (clean, noisy)
    )
    assert (before != after).mean() == pytest.approx(0.4, abs=0.08)
    changed = (after / before)[before != after]
    for factor in (0, 0.5, 2):  # missed, half, twice; odd counts are rounded down
        assert np.mean(np.abs(changed - factor) < 0.13) == pytest.approx(1 / 3, abs=0.1)
    # No shape is drawn over another.
    both = (clean.train.labels > 0) & (noisy.train.labels > 0)
    np.testing.assert_array_equal(clean.train.labels[both], noisy.train.labels[both])


def test_classes_by_number_or_name():
    assert shapes(**SMALL, classes=2).class_names == ("background", "disc", "ring")
    data = shapes(**SMALL, classes=("lesion",), foreground=0.02)
    assert data.class_names == ("background", "lesion")
    assert set(np.unique(data.train.labels)) == {0, 1}


def test_cases_do_not_depend_on_how_many_there_are():
    few, many = shapes(**SMALL), shapes(**{**SMALL, "train": 7, "test": 5})
    np.testing.assert_array_equal(few.train.images, many.train.images[:4])
    np.testing.assert_array_equal(few.test.labels, many.test.labels[:3])


def test_seeds_folds_and_parts_share_no_case():
    variants = [
        shapes(**SMALL),
        shapes(**SMALL, seed=1),
        shapes(**SMALL, fold=0, folds=2),
        shapes(**SMALL, fold=1, folds=2),
    ]
    images = [i.tobytes() for d in variants for a in arrays(d)[::2] for i in a]
    assert len(set(images)) == len(images) == 4 * 9
    names = [
        name for d in variants[2:] for s in (d.train, d.validation, d.test) for name in s.names
    ]
    assert len(set(names)) == len(names)


def test_another_process_draws_the_same():
    code = (
        "import hashlib\n"
        "from lossbench.data.synthetic_shapes import shapes\n"
        "d = shapes(size=(32, 32), train=4, validation=2, test=3, label_noise=0.5)\n"
        "parts = [a for s in (d.train, d.validation, d.test) for a in (s.images, s.labels)]\n"
        "print(hashlib.sha256(b''.join(a.tobytes() for a in parts)).hexdigest())"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "123"}
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    here = arrays(shapes(**SMALL, label_noise=0.5))
    assert out.stdout.strip() == hashlib.sha256(b"".join(a.tobytes() for a in here)).hexdigest()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": (64,)}, "size must have 2 or 3 axes"),
        ({"size": (64, 8)}, "at least 16 voxels"),
        ({"classes": 5}, "number from 1 to 4 .* disc, ring, curve, lesion; got 5"),
        ({"classes": 0}, "got 0"),
        ({"classes": ("disc", "square")}, "different names among"),
        ({"classes": ("disc", "disc")}, "different names among"),
        ({"classes": ()}, "different names among"),
        ({"foreground": 0.0}, "foreground must be above 0"),
        ({"foreground": 0.6}, "at most 0.5"),
        ({"label_noise": 1.5}, "label_noise must be from 0 to 1"),
        ({"blur": -1.0}, "blur"),
        ({"contrast": float("nan")}, "contrast"),
        ({"seed": -1}, "seed"),
        ({"test": 0}, "test must be at least 1 case"),
        ({"fold": 2, "folds": 2}, "fold must be from 0 to 1"),
    ],
)
def test_errors(options, message):
    with pytest.raises(ValueError, match=message):
        shapes(**{**SMALL, **options})
