import json

import numpy as np
import pytest

from lossbench.data.decathlon_task import check_case, read_task


def change(folder, **keys):
    file = folder / "dataset.json"
    content = json.loads(file.read_text())
    content.update(keys)
    file.write_text(json.dumps(content))


def test_it_reads_the_list(task_folder):
    task = read_task(task_folder())
    assert task.name == "Task99_Blobs"
    assert task.class_names == ("background", "front", "back")
    assert task.modalities == ("T1",)
    assert [case.name for case in task.cases] == [f"blob_{i:02d}" for i in range(6)]
    assert check_case(task.cases[0], task=task) == ((9, 8, 7), (1.0, 1.0, 2.5))


def test_resource_forks_and_unlisted_files_are_left_out(task_folder):
    folder = task_folder()
    entries = json.loads((folder / "dataset.json").read_text())["training"]
    fork = {"image": "./imagesTr/._blob_00.nii.gz", "label": "./labelsTr/._blob_00.nii.gz"}
    for path in fork.values():
        (folder / path).write_bytes(b"Mac OS X")
    (folder / "imagesTr" / "._other.nii.gz").write_bytes(b"Mac OS X")
    change(folder, training=[fork, *entries[1:]])
    assert [case.name for case in read_task(folder).cases] == [f"blob_{i:02d}" for i in range(1, 6)]


def test_a_missing_folder_or_list(tmp_path):
    with pytest.raises(FileNotFoundError, match="gone: there is no such data folder"):
        read_task(tmp_path / "gone")
    with pytest.raises(FileNotFoundError, match=r"dataset\.json: no such file"):
        read_task(tmp_path)


@pytest.mark.parametrize("content", [b"{'labels': 1}", b"", b"\xff\xfe\x00"])
def test_invalid_json(tmp_path, content):
    (tmp_path / "dataset.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"dataset\.json: not valid JSON"):
        read_task(tmp_path)


def test_json_that_is_no_object(tmp_path):
    (tmp_path / "dataset.json").write_text("[1, 2]")
    with pytest.raises(ValueError, match=r"dataset\.json: must hold a JSON object, found a list"):
        read_task(tmp_path)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"training": []}, '"training" must be a list of at least one case'),
        ({"training": None}, '"training" must be a list of at least one case'),
        ({"training": ["a.nii"]}, 'needs the paths "image" and "label", found \'a.nii\''),
        ({"training": [{"image": "a.nii"}]}, 'needs the paths "image" and "label"'),
        ({"labels": {"0": "background", "2": "b"}}, '"labels" must be an object with the keys'),
        ({"labels": {"0": "background"}}, '"labels" must name the background and at least one'),
        ({"labels": ["background", "b"]}, '"labels" must be an object'),
        ({"modality": {}}, '"modality" must be an object'),
    ],
)
def test_bad_lists(task_folder, keys, message):
    folder = task_folder()
    change(folder, **keys)
    with pytest.raises(ValueError, match=r"dataset\.json: .*" + message):
        read_task(folder)


def test_shapes_and_channels_are_compared(task_folder, nifti):
    folder = task_folder(modalities=("T1", "T2"))
    task = read_task(folder)
    assert check_case(task.cases[0], task=task).shape == (9, 8, 7, 2)
    nifti(task.cases[0].image, np.zeros((9, 8, 7), np.float32))
    with pytest.raises(ValueError, match=r"blob_00\.nii\.gz: the image has 1 channels .* T1, T2"):
        check_case(task.cases[0], task=task)
    nifti(task.cases[1].label, np.zeros((9, 8, 6), np.uint8))
    with pytest.raises(
        ValueError, match=r"imagesTr/blob_01.*\(9, 8, 7\).*labelsTr/blob_01.*\(9, 8, 6\)"
    ):
        check_case(task.cases[1], task=task)
    nifti(task.cases[2].image, np.zeros((9, 8), np.float32))
    with pytest.raises(ValueError, match=r"blob_02\.nii\.gz: an image must have 3 or 4 axes"):
        check_case(task.cases[2], task=task)
