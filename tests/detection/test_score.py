import dataclasses

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from lossbench.data import Cube
from lossbench.detection import score_scene
from lossbench.detection.score import bands_for
from tests.detection.conftest import WAVELENGTHS


@pytest.fixture
def file(scene, tmp_path):
    """A scene with a mask, its bands from blue to red, and a pixel without data."""
    data = scene.astype(np.float32)
    data[0, 0] = np.nan
    labels = np.zeros(scene.shape[:2], np.uint8)
    labels[3, 4] = labels[7, 7] = 1
    np.savez(tmp_path / "field.npz", data=data, map=labels, wavelengths=np.array(WAVELENGTHS))
    return tmp_path / "field.npz"


def test_a_scene_from_a_file_is_scored_decided_and_measured(svdd, scene, file):
    found = score_scene(svdd, file)
    want = svdd.scores(scene)
    counted = np.ones(want.shape, bool)
    counted[0, 0] = False
    assert np.isnan(found.scores[0, 0])
    np.testing.assert_allclose(found.scores[counted], want[counted], rtol=1e-6)
    np.testing.assert_array_equal(found.decisions, svdd.flagged(found.scores))
    assert not found.decisions[0, 0]
    labels, scores = found.labels[counted], want[counted]
    assert found.roc_auc == pytest.approx(roc_auc_score(labels, scores), abs=1e-6)
    assert found.average_precision == pytest.approx(
        average_precision_score(labels, scores), abs=1e-6
    )
    assert found.color.shape == (12, 15, 3)
    flagged = int(found.decisions.sum())
    assert found.summary().startswith(f"field: {flagged} of 179 pixels flagged, with scores of ")
    assert f"roc_auc: {found.roc_auc:.4f}" in found.summary()
    assert sorted(found.arrays()) == ["decisions", "scores", "threshold"]


def test_a_threshold_may_be_given_and_a_mask_be_missing(rx, scene, tmp_path):
    np.save(tmp_path / "bare.npy", scene)
    found = score_scene(rx, tmp_path / "bare.npy", threshold=float(rx.scores(scene).max()))
    assert found.decisions.sum() == 1
    assert found.labels is None
    assert np.isnan(found.roc_auc)
    assert found.summary().count("\n") == 0
    assert "(fixed)" in found.summary()
    with pytest.raises(ValueError, match="threshold: expected a number, got NaN"):
        score_scene(rx, tmp_path / "bare.npy", threshold=np.nan)


def cube(bands, wavelengths=None, good=None):
    return Cube("x", np.zeros((2, 2, bands), np.float32), None, wavelengths, None, good)


def test_bands_are_found_by_wavelength_then_by_what_is_good(rx):
    assert bands_for(rx, cube(12)) is None
    assert bands_for(rx, cube(12, WAVELENGTHS)) is None
    more = tuple(np.arange(390.0, 1010, 10))
    assert bands_for(rx, cube(len(more), more)).tolist() == list(range(1, 61, 5))
    backwards = tuple(nm + 0.3 for nm in reversed(WAVELENGTHS))
    assert bands_for(rx, cube(12, backwards)).tolist() == list(range(11, -1, -1))
    unknown = dataclasses.replace(rx, wavelengths=None)
    good = (False, *[True] * 12, False)
    assert bands_for(unknown, cube(14, None, good)).tolist() == list(range(1, 13))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (cube(7), "the scene has 7 bands, and the detector was trained on 12"),
        (cube(9, None, (True,) * 8 + (False,)), r"trained on 12 \(8 of them are called good\)"),
        (
            cube(12, tuple(nm + 5.0 for nm in WAVELENGTHS)),
            "bands at 12 wavelengths from 405 to 955 nm.* 400 to 950 nm: the nearest to its 400 nm",
        ),
        (cube(2, (400.0, 450.0)), "the nearest to its 950 nm is 450 nm"),
    ],
)
def test_other_bands_are_refused(rx, other, message):
    with pytest.raises(ValueError, match=message):
        bands_for(rx, other)


def test_a_file_that_does_not_fit_is_named(svdd, scene, tmp_path):
    np.save(tmp_path / "few.npy", scene[..., :5])
    with pytest.raises(ValueError, match=r"few\.npy: the scene has 5 bands"):
        score_scene(svdd, tmp_path / "few.npy")
    with pytest.raises(FileNotFoundError, match=r"no\.npy"):
        score_scene(svdd, tmp_path / "no.npy")
