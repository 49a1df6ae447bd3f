import os
from pathlib import Path

import numpy as np
import pytest

from lossbench.data.decathlon import chosen_patch, decathlon
from lossbench.data.split import split

DATA = Path(os.environ.get("LOSSBENCH_DATA", Path(__file__).parents[2] / "../shared/data"))
HIPPOCAMPUS = DATA / "msd" / "Task04_Hippocampus"

COUNTS = {"validation": 1, "test": 2}


def sources(data):
    return data.train, data.validation, data.test


def test_a_small_task(task_folder):
    folder = task_folder()
    data = decathlon(path=str(folder), patch=(12, 8, 8), seed=3, **COUNTS)
    assert data.name == "decathlon: Task99_Blobs"
    assert data.class_names == ("background", "front", "back")
    assert data.spacing == (1.0, 1.0, 2.5)
    assert [len(s) for s in sources(data)] == [3, 1, 2]
    names = [f"blob_{i:02d}" for i in range(6)]
    parts = split(names, seed=3, **COUNTS)
    for source, part in zip(sources(data), parts, strict=True):
        assert source.names == tuple(names[i] for i in part)
        for i in range(len(source)):
            example = source[i]
            assert int(example["case"]) == i
            assert example["image"].shape == (12, 8, 8, 1)
            assert example["image"].dtype == np.float32
            where = example["where"]
            assert where.sum() == 9 * 8 * 7
            # Means of 100 to 600 in the files: each case is normalized for itself.
            assert example["image"][where].mean() == pytest.approx(0, abs=1e-5)
            assert example["image"][where].std() == pytest.approx(1, abs=1e-4)


def test_labels_and_voxels_are_those_of_the_files(task_folder):
    nibabel = pytest.importorskip("nibabel")
    folder = task_folder()
    data = decathlon(path=folder, patch=(4, 4, 4), **COUNTS)
    for case, name in enumerate(data.test.names):
        labels = np.asarray(nibabel.load(folder / "labelsTr" / f"{name}.nii.gz").dataobj)
        got = np.full(labels.shape, -1)
        for i in range(len(data.test)):
            example, (owner, tile) = data.test[i], data.test.tiles[i]
            if owner == case:
                index = np.argwhere(example["where"])
                got[tuple((index + tile.start).T)] = example["labels"][tuple(index.T)]
        np.testing.assert_array_equal(got, labels)


def test_modalities_become_channels(task_folder):
    folder = task_folder(modalities=("T1", "T2", "ADC"))
    both = decathlon(path=folder, **COUNTS)
    assert both.train[0]["image"].shape == (16, 8, 8, 3)
    assert "T1 + T2 + ADC" in both.description
    one = decathlon(path=folder, modality="T2", **COUNTS)
    np.testing.assert_array_equal(one.test[0]["image"][..., 0], both.test[0]["image"][..., 1])
    two = decathlon(path=folder, modality=("ADC", "T1"), **COUNTS)
    np.testing.assert_array_equal(two.test[1]["image"], both.test[1]["image"][..., [2, 0]])
    for wrong in ("FLAIR", ()):
        with pytest.raises(ValueError, match="modality must be among T1, T2, ADC"):
            decathlon(path=folder, modality=wrong, **COUNTS)


def test_lazy_and_eager_read_the_same(task_folder):
    folder = task_folder(shapes=[(9, 8, 7), (20, 8, 7), (5, 6, 7), (9, 9, 9), (3, 3, 3)])
    eager, lazy = (
        decathlon(path=folder, patch=(8, 8, 8), cache_gib=c, **COUNTS) for c in (1.0, 0.0)
    )
    for a, b in zip(sources(eager), sources(lazy), strict=True):
        assert len(a) == len(b)
        for i in range(len(a)):
            for key, value in a[i].items():
                np.testing.assert_array_equal(value, b[i][key])


def test_folds_test_each_case_once(task_folder):
    folder = task_folder()
    tested = [decathlon(path=folder, validation=1, fold=k, folds=3).test.names for k in range(3)]
    assert sorted(sum(tested, ())) == [f"blob_{i:02d}" for i in range(6)]
    with pytest.raises(ValueError, match="folds=9 needs at least 9 cases, but there are 6"):
        decathlon(path=folder, validation=1, fold=0, folds=9)


def test_default_patch():
    assert chosen_patch(None, [(35, 51, 36), (42, 50, 45)]) == (48, 56, 48)
    assert chosen_patch([16, 8, 8], [(35, 51, 36)]) == (16, 8, 8)
    with pytest.raises(ValueError, match="needs a patch of 512x512x304 voxels"):
        chosen_patch(None, [(512, 512, 300)])
    for patch in ((8, 8), (8, 8, 0)):
        with pytest.raises(ValueError, match="patch must be three positive numbers"):
            chosen_patch(patch, [(9, 9, 9)])


def test_foreground_crops_need_larger_cases(task_folder):
    folder = task_folder()
    data = decathlon(path=folder, patch=(4, 4, 4), foreground=0.5, **COUNTS)
    assert data.train.foreground == 0.5
    with pytest.raises(ValueError, match=r"foreground=0.5 has no effect"):
        decathlon(path=folder, patch=(16, 16, 16), foreground=0.5, **COUNTS)
    with pytest.raises(ValueError, match="foreground must be from 0 to 1"):
        decathlon(path=folder, patch=(4, 4, 4), foreground=2.0, **COUNTS)


@pytest.mark.parametrize("cache_gib", [2.0, 0.0])
def test_bad_files_are_named(task_folder, nifti, cache_gib):
    folder = task_folder()
    image, label = (folder / d / "blob_02.nii.gz" for d in ("imagesTr", "labelsTr"))

    def read_all():
        data = decathlon(path=folder, cache_gib=cache_gib, **COUNTS)
        for source in sources(data):
            for i in range(len(source)):
                source[i]

    def assert_refused(kind, message):
        with pytest.raises(kind, match=message):
            read_all()

    whole_image, whole_label = image.read_bytes(), label.read_bytes()
    image.write_bytes(whole_image[: len(whole_image) // 2])
    assert_refused(ValueError, r"imagesTr/blob_02\.nii\.gz: (truncated|not a readable)")
    image.write_bytes(b"not an image")
    assert_refused(ValueError, r"imagesTr/blob_02\.nii\.gz: not a readable NIfTI")
    image.unlink()
    assert_refused(FileNotFoundError, r"imagesTr/blob_02\.nii\.gz: no such file")
    nifti(image, np.full((9, 8, 7), np.nan, np.float32))
    assert_refused(ValueError, r"imagesTr/blob_02\.nii\.gz: the image has 504 voxels that are NaN")
    nifti(image, np.zeros((9, 8, 8), np.float32))
    assert_refused(ValueError, r"imagesTr/blob_02\.nii\.gz: .*\(9, 8, 8\).*\(9, 8, 7\)")
    image.write_bytes(whole_image)

    nifti(label, np.full((9, 8, 7), 3, np.uint8))
    assert_refused(ValueError, r"labelsTr/blob_02\.nii\.gz: label 3 is not .*2 = back")
    nifti(label, np.full((9, 8, 7), 0.5, np.float32))
    assert_refused(ValueError, r"labelsTr/blob_02\.nii\.gz: labels must be whole numbers")
    label.unlink()
    assert_refused(FileNotFoundError, r"labelsTr/blob_02\.nii\.gz: no such file")
    label.write_bytes(whole_label)
    read_all()


def test_too_few_cases(task_folder):
    with pytest.raises(ValueError, match="too few cases for the split: there are 2"):
        decathlon(path=task_folder(shapes=[(4, 4, 4)] * 2))


def test_two_calls_agree(task_folder):
    folder = task_folder(shapes=[(20, 20, 20)] * 4)
    a, b = (decathlon(path=folder, patch=(8, 8, 8), **COUNTS) for _ in range(2))
    assert a.description == b.description
    for x, y in zip(sources(a), sources(b), strict=True):
        assert x.names == y.names
        np.testing.assert_array_equal(x[0]["image"], y[0]["image"])


@pytest.mark.skipif(
    not HIPPOCAMPUS.is_dir(), reason="msd/Task04_Hippocampus is not under LOSSBENCH_DATA"
)
def test_hippocampus():
    pytest.importorskip("nibabel")
    data = decathlon(path=HIPPOCAMPUS, validation=20, test=40)
    assert data.class_names == ("background", "Anterior", "Posterior")
    assert data.spacing == pytest.approx((1, 1, 1), abs=0.01)
    assert [len(s) for s in sources(data)] == [148, 20, 40]
    assert not set(data.train.names) & set(data.test.names + data.validation.names)
    for source in sources(data):
        for i in range(0, len(source), 10):
            example = source[i]
            assert example["image"].shape == (48, 64, 48, 1)
            assert set(np.unique(example["labels"])) == {0, 1, 2}
            assert np.isfinite(example["image"]).all()
            assert example["image"][example["where"]].std() == pytest.approx(1, abs=1e-3)
