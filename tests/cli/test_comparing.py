import json
import re
from pathlib import Path

import jax
import numpy as np
import pytest

from lossbench.bench import run
from tests.cli.conftest import CONFIG, called, refused, write


def test_compare_then_again_then_report(capsys, folder, monkeypatch):
    arguments = ("compare", "--config=config_file.py", "--config.seeds=1")
    status, out, err = called(capsys, *arguments)
    assert status == 0
    report = folder / "runs" / "config_file" / "report.html"
    assert f"report: {report}" in out
    assert re.search(r"^dice +1 of 1", out, re.MULTILINE)
    line = next(line for line in err.splitlines() if "step 4/4" in line)
    assert re.search(r"\] dice, seed 0: step 4/4 .*loss \d.* dice \d.*\d\d:\d\d left", line)
    assert "--config.seeds=1" in report.read_text(encoding="utf-8")
    assert "lossbench compare" in report.read_text(encoding="utf-8")

    monkeypatch.setattr(run, "fit", None)
    status, _, err = called(capsys, *arguments)
    assert status == 0
    assert err.count("finished before") == 2

    report.unlink()
    assert called(capsys, "report", "runs/config_file")[:2] == (0, f"report: {report}\n")
    assert report.exists()


def test_a_comparison_of_which_no_run_completes_fails(capsys, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(run, "fit", broken)
    arguments = ("compare", "--config=config_file.py", "--config.seeds=1", "--workdir=made")
    status, _, err = called(capsys, *arguments)
    assert status == 1
    assert "dice, seed 0: failed: RuntimeError: out of memory" in err
    assert Path("made/report.html").exists()


def test_train_once_then_not_again(capsys, folder, monkeypatch):
    arguments = ("train", "--config=config_file.py", "--loss=focal", "--seed=1", "--workdir=made")
    status, out, _ = called(capsys, *arguments)
    assert status == 0
    place = Path(re.search(r"^run: (.*)$", out, re.MULTILINE)[1])
    assert place.parent == folder / "made" / "runs"
    result = json.loads((place / "result.json").read_text())
    assert (result["loss"], result["seed"], result["state"]) == ("focal", 1, "completed")
    assert f"test dice: {result['test']['dice']['mean']:.4f}" in out

    monkeypatch.setattr(run, "fit", None)
    status, again, err = called(capsys, *arguments)
    assert (status, again) == (0, out)
    assert "focal, seed 1: finished before" in err
    assert "compiled" not in err


def test_train_takes_the_baseline_and_the_first_seed(capsys):
    status, out, err = called(capsys, "train", "--config=config_file.py", "--config.seeds=(5, 4)")
    assert status == 2
    assert "seeds" in err
    write({**CONFIG, "seeds": [5, 4], "baseline": "focal"})
    status, out, _ = called(capsys, "train", "--config=config_file.py")
    assert status == 0
    assert re.search(r"runs/focal-seed5-", out)


def test_train_continues_what_was_interrupted(capsys, monkeypatch):
    from lossbench.training import loop

    saved = loop._save

    def interrupted(*arguments):
        saved(*arguments)
        raise KeyboardInterrupt

    arguments = ("train", "--config=config_file.py", "--config.train.log_every=1")
    with monkeypatch.context() as patch:
        patch.setattr(loop, "_save", interrupted)
        status, _, err = called(capsys, *arguments)
    assert status == 130
    assert "the same command goes on from here" in err
    status, _, err = called(capsys, *arguments)
    assert status == 0
    assert "continues at step 2 of 4" in err
    assert "step 4/4" in err
    assert "step 2/4" not in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config.data.name=shape"], r"unknown data set 'shape'; did you mean 'shapes'"),
        (["--config.model.name=pixelwis"], r"unknown model 'pixelwis'; .*'pixelwise'"),
        (["--config.train.stepz=1"], r"'stepz'; did you mean 'steps'"),
        (["--config.train.steps=many"], r"--config.train.steps=many: invalid literal"),
        (["--config.train.optimizer=adam"], r"train.optimizer: expected one of 'adamw', 'sgd'"),
        (["--config.train.batch_size=5"], r"batch_size is 5, .* only 4 examples"),
        (["--config.train.devices=3"], r"train.devices: 3 devices"),
        (["--config.data.size=(8, 8)"], r"size must have 2 or 3 axes of at least 16"),
        (["--workdir=config_file.py"], r"config_file.py cannot be made or written to"),
        (["--workdir=config_file.py/made"], r"cannot be made or written to, because of .*file.py"),
        (["--unknown=3"], r"unknown option '--unknown=3'"),
    ],
)
@pytest.mark.parametrize("command", ["compare", "train"])
def test_a_bad_argument_is_one_message_and_no_folder(capsys, command, arguments, message):
    said = refused(capsys, command, "--config=config_file.py", *arguments)
    assert re.search(message, said), said


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"losses": ["dise"]}, r"unknown loss 'dise'; did you mean 'dice'"),
        ({"losses": {"a": {"terms": {"dice": {"smoth": 1}}}}}, r"'smoth'; did you mean 'smooth'"),
        ({"metrics": ["iouu"]}, r"unknown metric 'iouu'; did you mean 'iou'"),
        ({"metric": "dic"}, r"'dic'; did you mean 'dice'"),
        ({"augment": {"flop": True}}, r"unknown augmentation 'flop'; did you mean 'flip'"),
        ({"model": {"name": "pixelwise", "dim": 2}}, r"'dim'; did you mean 'dims'"),
        ({"data": {"name": "shapes", "folds": 2}, "seeds": 3}, r"3 seeds, but the data allow 2"),
        ({"data": {"name": "shapes", "size": 16}}, r"data: an option has the wrong type"),
        ({"baseline": "dicee"}, r"unknown baseline 'dicee'; did you mean 'dice'"),
        (
            {"losses": {"a": {"terms": {"dice": {"inputs": {"logits": "mask"}}}}}},
            r"losses.a: .*needs 'logits' \(from 'mask'\); batch and outputs have: .*logits",
        ),
    ],
)
def test_a_bad_configuration_is_one_message_and_no_folder(capsys, change, message):
    write({**CONFIG, **change}, "changed.py")
    for command in ("compare", "train"):
        said = refused(capsys, command, "--config=changed.py")
        assert re.search(message, said), said


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no configuration file 'file.py'; in its folder: config_file.py"),
        ("x = 1", "file.py: there is no function get_config"),
        ("def get_config(:", "file.py, line 1: invalid syntax"),
        ("import no_such_module", "file.py, line 1: ModuleNotFoundError"),
    ],
)
def test_a_bad_configuration_file_is_one_message_and_no_folder(capsys, text, message):
    if text is not None:
        Path("file.py").write_text(text)
    assert message in refused(capsys, "compare", "--config=file.py")


def test_unknown_loss_and_seed_of_train(capsys):
    command = ("train", "--config=config_file.py")
    said = refused(capsys, *command, "--loss=focall")
    assert "unknown loss of the configuration 'focall'; did you mean 'focal'" in said
    assert "unknown seed of the configuration '7'" in refused(capsys, *command, "--seed=7")


def test_report_needs_a_comparison(capsys):
    Path("empty").mkdir()
    for place in ("empty", "nowhere", "config_file.py"):
        assert place in refused(capsys, "report", place)


def test_a_home_without_a_cache_is_no_hindrance(capsys, monkeypatch):
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(Path("config_file.py").resolve()))
    try:
        status, _, _ = called(capsys, "train", "--config=config_file.py")
    finally:
        jax.config.update("jax_compilation_cache_dir", before)
    assert status == 0


def make_task(place: Path, cases: int = 6) -> Path:
    """A small task in the format of the Medical Segmentation Decathlon."""
    nibabel = pytest.importorskip("nibabel")
    rng = np.random.default_rng(0)
    entries = []
    for part in ("imagesTr", "labelsTr"):
        (place / part).mkdir(parents=True)
    for i in range(cases):
        image = rng.normal(size=(8, 8, 8)).astype(np.float32)
        labels = (image > 0.5).astype(np.uint8)
        for part, array in (("imagesTr", image), ("labelsTr", labels)):
            file = place / part / f"case_{i}.nii.gz"
            nibabel.Nifti1Image(array, np.eye(4)).to_filename(file)
        name = f"case_{i}.nii.gz"
        entries.append({"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"})
    content = {"labels": {"0": "background", "1": "blob"}, "modality": {"0": "MR"}}
    (place / "dataset.json").write_text(json.dumps({**content, "training": entries}))
    return place


def save(file: Path, array: np.ndarray) -> None:
    import nibabel

    nibabel.Nifti1Image(array, np.eye(4)).to_filename(file)


CASE = "case_3.nii.gz"


@pytest.mark.parametrize(
    ("file", "spoil", "message"),
    [
        (f"imagesTr/{CASE}", lambda f: f.write_bytes(f.read_bytes()[:-200]), "truncated or damag"),
        (f"imagesTr/{CASE}", lambda f: f.write_text("no NIfTI"), "not a readable NIfTI file"),
        (f"imagesTr/{CASE}", lambda f: f.unlink(), "no such file"),
        ("dataset.json", lambda f: f.unlink(), "no such file"),
        (
            f"labelsTr/{CASE}",
            lambda f: save(f, np.zeros((8, 8, 7), np.uint8)),
            r"shape \(8, 8, 8\).*\(8, 8, 7\)",
        ),
        (
            f"labelsTr/{CASE}",
            lambda f: save(f, np.full((8, 8, 8), 2, np.uint8)),
            "label 2 is not one of the classes",
        ),
        (
            f"imagesTr/{CASE}",
            lambda f: save(f, np.full((8, 8, 8), np.nan, np.float32)),
            "the image has 512 voxels that are NaN or infinite",
        ),
    ],
)
def test_bad_data_are_named_and_leave_no_folder(capsys, folder, file, spoil, message):
    task = make_task(folder / "Task99_Blobs")
    write({**CONFIG, "data": {"name": "decathlon", "path": str(task), "patch": (8, 8, 8)}})
    spoil(task / file)
    said = refused(capsys, "compare", "--config=config_file.py")
    assert re.search(f"{Path(file).name}.*{message}", said), said


def test_missing_data_and_too_few_cases_are_named(capsys, folder):
    write({**CONFIG, "data": {"name": "decathlon", "path": "nowhere"}})
    said = refused(capsys, "compare", "--config=config_file.py")
    assert "nowhere: there is no such data folder" in said
    task = make_task(folder / "Task99_Blobs")
    write({**CONFIG, "data": {"name": "decathlon", "path": str(task), "test": 6}})
    assert "6" in refused(capsys, "compare", "--config=config_file.py")


def test_a_task_is_found_from_another_folder_and_moved(capsys, folder, monkeypatch):
    task = make_task(folder / "Task99_Blobs")
    options = {"name": "decathlon", "path": "Task99_Blobs", "patch": (8, 8, 8)}
    write({**CONFIG, "data": options, "losses": ["dice"], "seeds": 1})
    assert called(capsys, "compare", "--config=config_file.py", "--workdir=made")[0] == 0
    task.rename(folder / "elsewhere")
    (folder / "sub").mkdir()
    monkeypatch.chdir(folder / "sub")
    monkeypatch.setattr(run, "fit", None)
    status, _, err = called(
        capsys,
        "compare",
        "--config=../config_file.py",
        f"--config.data.path={folder / 'elsewhere'}",
        f"--workdir={folder / 'made'}",
    )
    assert (status, "finished before" in err) == (0, True)
