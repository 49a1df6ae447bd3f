import json
import os
from pathlib import Path

import numpy as np
import pytest

import lossbench
from lossbench.detection import load, save
from lossbench.detection.saved import ARRAYS, DESCRIPTION, check_replaceable, is_detector
from lossbench.metrics import Threshold


@pytest.fixture
def folder(svdd, tmp_path):
    return save(tmp_path / "kept" / "detector", svdd)


def change(folder: Path, **values) -> None:
    path = folder / DESCRIPTION
    content = json.loads(path.read_text())
    path.write_text(json.dumps({k: v for k, v in {**content, **values}.items() if v != "gone"}))


def test_a_detector_comes_back_to_the_bit(svdd, folder, scene):
    restored = load(folder)
    assert restored.model == svdd.model
    assert (restored.shape, restored.wavelengths) == (svdd.shape, svdd.wavelengths)
    assert restored.threshold.value == svdd.threshold.value
    assert (restored.threshold.how, restored.threshold.split) == ("nu", "train")
    np.testing.assert_array_equal(restored.scores(scene), svdd.scores(scene))
    for name in ("center", "radius"):
        np.testing.assert_array_equal(
            restored.variables["svdd"][name], svdd.variables["svdd"][name]
        )


def test_it_is_two_files_of_plain_values(folder):
    assert sorted(path.name for path in folder.iterdir()) == [ARRAYS, DESCRIPTION]
    assert [path.name for path in folder.parent.iterdir()] == ["detector"]
    content = json.loads((folder / DESCRIPTION).read_text())
    assert (content["format"], content["kind"]) == (1, "svdd")
    assert content["lossbench"] == lossbench.__version__
    assert content["preprocess"]["bandpass"] == {"low": 450.0, "high": 900.0}
    assert content["svdd"]["nu"] == 0.05
    with np.load(folder / ARRAYS, allow_pickle=False) as arrays:
        assert arrays["params/dense_0/kernel"].shape == (10, 8)
        assert set(arrays.files) == set(content["arrays"])


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, 0.1])
def test_any_threshold_is_kept(rx, tmp_path, value):
    import dataclasses

    kept = dataclasses.replace(rx, threshold=Threshold.fixed(value))
    restored = load(save(tmp_path / "rx", kept))
    np.testing.assert_array_equal(np.float32(restored.threshold.value), np.float32(value))


def test_a_detector_is_replaced_by_another(folder, rx):
    save(folder, rx)
    assert load(folder).kind == "rx"
    assert [path.name for path in folder.parent.iterdir()] == ["detector"]


@pytest.mark.parametrize("name", ["notes.txt", "scores.npy"])
def test_what_is_something_else_is_not_replaced(folder, rx, name):
    (folder / name).write_text("mine")
    with pytest.raises(ValueError, match=f"holds {name}, so it is not replaced"):
        save(folder, rx)
    assert (folder / name).read_text() == "mine"
    assert load(folder).kind == "svdd"
    (folder.parent / "file").write_text("x")
    with pytest.raises(ValueError, match="something that is no folder"):
        check_replaceable(folder.parent / "file")


def test_a_failure_leaves_what_was_there(folder, rx, monkeypatch):
    def full(*_, **__):
        raise OSError("no space left")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="no space"):
        save(folder, rx)
    with pytest.raises(OSError, match="no space"):
        save(folder.parent / "other", rx)
    monkeypatch.undo()
    assert [path.name for path in folder.parent.iterdir()] == ["detector"]
    replace = os.replace

    def broken(source, target):
        if Path(source).name.endswith(".new"):
            raise OSError("gone")
        replace(source, target)

    monkeypatch.setattr(os, "replace", broken)
    with pytest.raises(OSError, match="gone"):
        save(folder, rx)
    monkeypatch.undo()
    assert load(folder).kind == "svdd"
    assert [path.name for path in folder.parent.iterdir()] == ["detector"]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: (f / DESCRIPTION).unlink(), "not a saved detector, it has no detector.json"),
        (lambda f: (f / DESCRIPTION).write_text("{"), "detector.json: truncated or damaged"),
        (lambda f: (f / DESCRIPTION).write_text("[]"), "its format is None"),
        (lambda f: change(f, format=2), "its format is 2, and lossbench .* reads 1"),
        (lambda f: change(f, kind="svd"), "unknown kind of detector 'svd'; did you mean 'svdd'"),
        (lambda f: change(f, shape="gone"), "detector.json: 'shape' is missing"),
        (lambda f: change(f, threshold=3), "detector.json: "),
        (lambda f: change(f, svdd={"nuu": 1}), "unknown option of svdd 'nuu'"),
        (lambda f: change(f, model={"name": "svdd", "options": {}}), "unknown model 'svdd'"),
        (
            lambda f: change(f, model={"name": "svdd_encoder", "options": {"width": 3}}),
            "the model svdd_encoder: .*width",
        ),
        (
            lambda f: change(f, model={"name": "svdd_encoder", "options": {"features": [9, 4]}}),
            "the arrays do not fit the model",
        ),
        (lambda f: (f / ARRAYS).unlink(), "arrays.npz: no such file, the detector is not complete"),
        (
            lambda f: (f / ARRAYS).write_bytes((f / ARRAYS).read_bytes()[:-300]),
            "arrays.npz: truncated or damaged",
        ),
        (
            lambda f: np.savez(f / ARRAYS, **{"svdd/center": np.zeros(4, np.float32)}),
            r"the array 'params/dense_0/kernel' is missing \(\d in all\)",
        ),
    ],
)
def test_a_spoiled_folder_is_refused_by_name(folder, spoil, message):
    spoil(folder)
    with pytest.raises(ValueError, match=message) as error:
        load(folder)
    assert str(folder) in str(error.value)


def test_no_folder_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere: there is no such folder"):
        load(tmp_path / "nowhere")
    assert not is_detector(tmp_path)


def test_pickled_arrays_are_not_opened(folder):
    with np.load(folder / ARRAYS) as content:
        arrays = {**content}
    arrays["svdd/center"] = np.array([{"a": 1}], object)
    np.savez(folder / ARRAYS, **arrays)
    with pytest.raises(ValueError, match="truncated or damaged"):
        load(folder)
