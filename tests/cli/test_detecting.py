from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from jax import export as jax_export

from lossbench.anomaly.rx import fit_rx
from lossbench.detection import classical_detector, load, save
from lossbench.metrics import fit_nu
from tests.cli.conftest import called, refused

SCENE = np.random.default_rng(0).normal(size=(9, 11, 5)).astype(np.float32)
SCENE[2, 3] += 9


@pytest.fixture
def kept(folder):
    """A detector in a run's folder, and a scene with a mask."""
    fitted = fit_rx(SCENE)
    scores = fitted.scores(SCENE)
    detector = classical_detector(fitted, fit_nu(scores[None], nu=0.02, split="train"))
    save(folder / "run" / "detector", detector)
    labels = np.zeros(SCENE.shape[:2], bool)
    labels[2, 3] = True
    np.savez(folder / "field.npz", data=SCENE, map=labels)
    return folder / "run"


def test_a_scene_is_scored_into_a_file_and_a_picture(capsys, kept, folder):
    status, out, _ = called(capsys, "score", "run", "field.npz")
    assert status == 0
    place = folder / "runs" / "scores" / "field"
    assert f"detector: {kept / 'detector'}\n" in out
    assert "field: 1 of 99 pixels flagged" in out
    assert "roc_auc: 1.0000  average_precision: 1.0000" in out
    assert f"scores: {place / 'scores.npz'}\npicture: {place / 'scores.png'}\n" in out
    found = np.load(place / "scores.npz")
    np.testing.assert_allclose(found["scores"], fit_rx(SCENE).scores(SCENE), rtol=1e-5)
    assert np.argwhere(found["decisions"]).tolist() == [[2, 3]]
    np.testing.assert_array_equal(found["decisions"], found["scores"] >= found["threshold"])
    assert (place / "scores.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in place.iterdir()) == ["scores.npz", "scores.png"]

    status, out, _ = called(
        capsys, "score", "run/detector", "field.npz", "--out=made", "--threshold=1e9", "--key=data"
    )
    assert status == 0
    assert "field: 0 of 99 pixels flagged, with scores of 1e+09 and above (fixed)" in out
    assert not np.load("made/scores.npz")["decisions"].any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere", "field.npz"], "nowhere: there is no such folder"),
        ([".", "field.npz"], "not a saved detector"),
        (["run", "no.npz"], "no.npz: no such file"),
        (["run", "config_file.py"], "config_file.py: expected a file that ends in"),
        (["run", "few.npy"], "few.npy: the scene has 4 bands, and the detector was trained on 5"),
        (["run", "field.npz", "--key=cube"], "there is no array 'cube'"),
        (["run", "field.npz", "--out=field.npz/x"], "cannot be made or written to"),
        (["run", "field.npz", "--threshold=nan"], "threshold: expected a number, got NaN"),
    ],
)
def test_what_does_not_fit_is_one_message_and_leaves_nothing(capsys, kept, arguments, message):
    np.save("few.npy", SCENE[..., :4])
    assert message in refused(capsys, "score", *arguments)


def test_a_failing_picture_leaves_nothing(capsys, kept, monkeypatch):
    from lossbench.bench import drawing

    def broken(*_, **__):
        raise OSError("no space")

    monkeypatch.setattr(drawing, "figure_png", broken)
    assert "no space" in refused(capsys, "score", "run", "field.npz")


def test_the_scoring_function_is_exported(capsys, kept, folder):
    pytest.importorskip("flatbuffers")
    status, out, _ = called(capsys, "export", "run")
    assert status == 0
    file = kept / "scores.stablehlo"
    assert f"exported: {file} ({file.stat().st_size:,} bytes)" in out
    scores, decisions = jax_export.deserialize(bytearray(file.read_bytes())).call(jnp.array(SCENE))
    detector = load(kept / "detector")
    np.testing.assert_allclose(scores, detector.scores(SCENE), rtol=1e-5)
    assert np.argwhere(decisions).tolist() == [[2, 3]]
    arguments = ("export", "run", "made/it.bin", "--shape=rows,5")
    assert called(capsys, *arguments)[0] == 0
    program = jax_export.deserialize(bytearray(Path("made/it.bin").read_bytes()))
    assert program.call(jnp.ones((7, 5)))[0].shape == (7,)
    for wrong, message in (
        (("run", "made"), "FILE: made is a folder"),
        (("run", "--shape=h,w,4"), "expected 5 channels"),
        (("run", "config_file.py/it"), "cannot be made or written to"),
    ):
        assert message in refused(capsys, "export", *wrong)


def test_of_a_comparison_with_several_one_is_named(capsys, kept, folder):
    detector = load(kept / "detector")
    for seed in (0, 1):
        save(folder / "compared" / "runs" / f"a-seed{seed}" / "detector", detector)
    status, out, err = called(capsys, "score", "compared", "field.npz")
    assert (status, out) == (2, "")
    assert "2 runs hold a detector; name one of them:\n" in err
    assert "compared/runs/a-seed1" in err
