import json
import os
from pathlib import Path

import numpy as np
import pytest

from lossbench.bench import files
from lossbench.bench.files import plain, write_arrays, write_json


def test_json_holds_what_was_written(tmp_path):
    value = {
        "none": None,
        "true": True,
        "text": "a < b & é",
        "tuple": (1, 2.5),
        "array": np.array([[1.0, np.nan], [np.inf, -np.inf]], np.float32),
        "scalar": np.int64(3),
        "flag": np.bool_(True),
        "nan": float("nan"),
        1: {"path": Path("a/b")},
    }
    write_json(tmp_path / "x.json", value)
    text = (tmp_path / "x.json").read_text()
    assert "NaN" not in text
    assert "Infinity" not in text
    assert json.loads(text) == {
        "none": None,
        "true": True,
        "text": "a < b & é",
        "tuple": [1, 2.5],
        "array": [[1.0, None], [None, None]],
        "scalar": 3,
        "flag": True,
        "nan": None,
        "1": {"path": str(Path("a/b"))},
    }
    assert json.loads(text)["true"] is True
    assert json.loads(text)["flag"] is True


def test_floats_survive_to_the_bit(tmp_path):
    values = np.random.default_rng(0).normal(size=100) ** 9
    write_json(tmp_path / "x.json", {"v": values})
    assert json.loads((tmp_path / "x.json").read_text())["v"] == values.tolist()


def test_arrays_survive_with_their_types(tmp_path):
    arrays = {"image": np.float16([[0.5]]), "labels": np.uint8([1, 2]), "allow": np.int32(4)}
    write_arrays(tmp_path / "x.npz", **arrays)
    with np.load(tmp_path / "x.npz") as found:
        assert set(found) == set(arrays)
        for name, array in arrays.items():
            assert found[name].dtype == array.dtype
            assert np.array_equal(found[name], array)


@pytest.mark.parametrize(
    ("write", "new"),
    [
        (lambda path: write_json(path, {"v": 2}), "json"),
        (lambda path: write_arrays(path, v=np.zeros(3)), "npz"),
    ],
)
def test_a_file_is_the_old_one_until_it_is_the_new_one(tmp_path, monkeypatch, write, new):
    path = tmp_path / f"x.{new}"
    path.write_text("old")

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            write(path)
    assert path.read_text() == "old"
    write(path)
    assert path.read_bytes() != b"old"
    assert os.listdir(tmp_path) == [path.name]


def test_plain_gives_python_values():
    assert type(plain(np.float32(0.5))) is float
    assert type(plain(np.array([1]))[0]) is int
    assert plain(object) == str(object)
