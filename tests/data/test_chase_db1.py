import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lossbench.data import load
from lossbench.data.chase_db1 import chase_db1

DATA = Path(os.environ.get("LOSSBENCH_DATA", Path(__file__).parents[2] / "../shared/data"))
CHASE = DATA / "chase_db1"


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for name in [f"{child:02d}{eye}" for child in range(1, 6) for eye in "LR"]:
        pixels = rng.integers(0, 256, (24, 25, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"Image_{name}.jpg")
        for observer in ("1stHO", "2ndHO"):
            Image.fromarray(rng.random((24, 25)) < 0.3).save(
                tmp_path / f"Image_{name}_{observer}.png"
            )
    return tmp_path


def test_a_small_set(folder):
    data = load("chase_db1", path=folder, patch=(16, 16), validation=1, test=2)
    assert data.name == "chase_db1"
    assert data.class_names == ("background", "vessel")
    assert "observer 1" in data.description
    parts = (data.train, data.validation, data.test)
    assert [len(part.names) for part in parts] == [4, 2, 4]
    children = [{name[:2] for name in part.names} for part in parts]
    assert sum(map(len, children)) == len(set.union(*children)) == 5
    assert data.train[0]["image"].shape == (16, 16, 3)
    assert data.test[0]["image"].shape == (32, 32, 3)


def test_the_observer_decides_the_truth(folder):
    options = {"path": folder, "patch": (16, 16), "tile": (24, 25)}
    for observer, ending in ((1, "1stHO"), (2, "2ndHO")):
        test = chase_db1(observer=observer, **options).test
        for i, name in enumerate(test.names):
            truth = np.asarray(Image.open(folder / f"Image_{name}_{ending}.png"))
            np.testing.assert_array_equal(test[i]["labels"], truth)
    for observer in (0, 3, "first"):
        with pytest.raises(ValueError, match=f"observer must be 1 or 2, got {observer!r}"):
            chase_db1(observer=observer, **options)


def test_errors_name_the_files(folder):
    with pytest.raises(FileNotFoundError, match="nowhere: there is no such data folder"):
        chase_db1(path=folder / "nowhere")
    (folder / "Image_02L_1stHO.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"Image_02L_1stHO\.png: no such file"):
        chase_db1(path=folder, patch=(8, 8))
    chase_db1(path=folder, patch=(8, 8), observer=2)


@pytest.mark.skipif(not CHASE.is_dir(), reason="chase_db1 is not under LOSSBENCH_DATA")
def test_the_real_set():
    data = chase_db1(path=CHASE, channels="G", validation=2, test=3)
    second = chase_db1(path=CHASE, channels="G", validation=2, test=3, observer=2)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [10, 4, 6]
    scores = []
    for i in range(6):
        one, other = data.test[i], second.test[i]
        assert one["image"].shape == (960, 1008, 1)
        assert one["where"].sum() == 960 * 999
        np.testing.assert_array_equal(one["image"], other["image"])
        a, b = one["labels"], other["labels"]
        assert 0.03 < a.mean() < 0.12
        scores.append(2 * (a * b).sum() / (a.sum() + b.sum()))
    # What a person reaches; .768 over the 20 images of these ten children.
    assert np.mean(scores) == pytest.approx(0.770, abs=0.005)
