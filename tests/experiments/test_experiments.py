"""Every experiment says how it is run, makes a plan, and runs where it is made small."""

import ast
import copy
import os
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from lossbench._names import load_file
from lossbench.bench import results
from lossbench.bench.compare import compare
from lossbench.bench.plan import make_plan
from lossbench.configuration import load_config, override
from lossbench.objective import Objective

FOLDER = Path(__file__).parents[2] / "experiments"
FILES = sorted(FOLDER.glob("*.py"))
DATA = Path(os.environ.get("LOSSBENCH_DATA") or FOLDER.parents[1] / "shared" / "data")
SMALL = {
    "steps": 2,
    "batch_size": 2,
    "eval_batch_size": 0,
    "eval_every": 1,
    "log_every": 1,
    "warmup_steps": 0,
    "devices": 1,
}

files = pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)


def config_of(file: Path) -> dict:
    return override(load_config(str(file)), [])


def shrunk(config: dict, **data) -> dict:
    """Two steps of a small model on little data, for every loss and one seed."""
    small = copy.deepcopy(config)
    small["data"].update(data)
    small["model"]["features"] = (2, 4)
    small["train"].update(SMALL)
    small["seeds"] = 1
    return small


def ends_well(config: dict, folder: Path) -> None:
    said = []
    compare(make_plan(config), folder, command="lossbench compare", say=said.append)
    comparison = results.load(folder)
    assert len(comparison.runs) == len(config["losses"])
    for one in comparison.runs:
        assert (one.state, one.steps) == ("completed", 2), one.error
    assert (folder / "report.html").exists()


def test_there_are_experiments():
    names = {"compare_shapes", "compare_hippocampus", "compare_hippocampus_boundary"}
    assert names <= {file.stem for file in FILES}


@files
def test_the_docstring_says_how_to_run_it(file):
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))
    assert text
    assert len(text.splitlines()[0]) > 20
    assert f"lossbench compare --config=experiments/{file.name}" in text


@files
def test_it_makes_a_plan_that_answers_a_question(file):
    config = config_of(file)
    plan = make_plan(config)
    assert len(plan.losses) >= 2
    assert len(plan.seeds) >= 3
    for key in ("title", "question", "baseline", "metric"):
        assert config[key], f"{key} is not said"
    assert config["question"].endswith("?")
    assert plan.train.steps % plan.train.eval_every == 0
    assert plan.train.warmup_steps < plan.train.steps / 2


@files
def test_it_can_be_made_shorter_from_the_command_line(file):
    config = load_config(str(file))
    plan = make_plan(override(config, ["--config.train.steps=50", "--config.seeds=2"]))
    assert (plan.train.steps, plan.seeds) == (50, (0, 1))


@pytest.mark.long
@pytest.mark.parametrize(
    "file", [f for f in FILES if config_of(f)["data"]["name"] == "shapes"], ids=lambda f: f.stem
)
def test_it_runs_on_synthetic_data(file, tmp_path):
    config = config_of(file)
    axes = len(config["data"].get("size", (64, 64)))
    sizes = {"size": (16,) * axes, "train": 4, "validation": 2, "test": 2}
    ends_well(shrunk(config, **sizes), tmp_path)


@pytest.fixture
def hippocampus() -> str:
    task = DATA / "msd" / "Task04_Hippocampus"
    if not (task / "dataset.json").is_file():
        pytest.skip("Task04_Hippocampus of the Medical Segmentation Decathlon is not there")
    pytest.importorskip("nibabel")
    return str(task)


@pytest.mark.long
def test_compare_hippocampus_runs_on_real_data(tmp_path, hippocampus):
    config = config_of(FOLDER / "compare_hippocampus.py")
    config["losses"] = {"dice": config["losses"]["dice"]}
    config["baseline"] = "dice"
    sizes = {"path": hippocampus, "patch": (16, 16, 16), "validation": 2, "test": 3}
    ends_well(shrunk(config, **sizes), tmp_path)
    (run,) = results.load(tmp_path).runs
    assert len(run.cases) == 3
    assert run.test["dice"].classes == ("Anterior", "Posterior")
    assert jax.numpy.isfinite(run.score("dice"))


@pytest.mark.long
def test_compare_hippocampus_boundary_runs_on_real_data(tmp_path, hippocampus):
    config = config_of(FOLDER / "compare_hippocampus_boundary.py")
    sizes = {"path": hippocampus, "validation": 2, "test": 3}
    ends_well(shrunk(config, **sizes), tmp_path)
    found = results.load(tmp_path)
    assert (found.declared.higher_is_better, found.declared.unit) == (False, "mm")
    for one in found.runs:
        assert one.test["hd95"].per_case.shape == (3, 2)
        assert 0 < one.score("hd95") <= 89  # the diagonal of the image
    too_small = shrunk(config, **sizes, patch=(40, 56, 40))
    with pytest.raises(ValueError, match=r"the metric 'hd95' needs each case in one piece"):
        compare(make_plan(too_small), tmp_path / "no", command="", say=print)


def test_the_boundary_takes_over_from_dice_in_the_course_of_training():
    config = config_of(FOLDER / "compare_hippocampus_boundary.py")
    steps = config["train"]["steps"]
    terms = Objective.from_config(config["losses"]["dice_to_boundary"]).terms
    for step in (0, steps // 2, steps):
        weights = {name: float(term.weight(step)) for name, term in terms.items()}
        assert sum(weights.values()) == pytest.approx(1)
        assert weights["boundary"] == pytest.approx(0.99 * step / steps)


def vessels(folder: Path) -> Path:
    """Small pictures under the names of CHASE_DB1: bright lines, both eyes of five children."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    for name in [f"{child:02d}{eye}" for child in range(1, 6) for eye in "LR"]:
        mask = np.zeros((30, 33), bool)
        mask[rng.integers(4, 26)] = mask[:, rng.integers(4, 29)] = True
        pixels = rng.integers(0, 90, (*mask.shape, 3)) + 120 * mask[..., None]
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"Image_{name}.jpg")
        for observer in ("1stHO", "2ndHO"):
            Image.fromarray(mask).save(folder / f"Image_{name}_{observer}.png")
    return folder


@pytest.mark.long
def test_compare_vessels_runs_on_small_pictures(tmp_path):
    config = config_of(FOLDER / "compare_vessels.py")
    sizes = {"path": str(vessels(tmp_path / "vessels")), "patch": (16, 16), "validation": 1}
    ends_well(shrunk(config, **sizes, test=2), tmp_path / "run")
    for run in results.load(tmp_path / "run").runs:
        assert len(run.cases) == 4
        assert run.test["dice"].classes == ("vessel",)


@pytest.mark.long
def test_compare_vessels_runs_on_real_data(tmp_path):
    folder = DATA / "chase_db1"
    if not folder.is_dir():
        pytest.skip("chase_db1 is not under LOSSBENCH_DATA")
    config = config_of(FOLDER / "compare_vessels.py")
    config["losses"] = {"dice": config["losses"]["dice"]}
    config["baseline"], config["metrics"] = "dice", ("dice",)
    sizes = {"path": str(folder), "patch": (64, 64), "validation": 1, "test": 1}
    ends_well(shrunk(config, **sizes), tmp_path)
    (run,) = results.load(tmp_path).runs
    assert len(run.cases) == 2
    assert len({name[:2] for name in run.cases}) == 1  # both eyes of a child
    assert np.isfinite(run.score("dice"))


@pytest.mark.long
@pytest.mark.parametrize(
    "file", [f for f in FILES if config_of(f)["data"]["name"] == "scenes"], ids=lambda f: f.stem
)
def test_it_runs_on_synthetic_scenes(file, tmp_path):
    sizes = {"size": (16, 16), "train": 2, "validation": 1, "test": 1}
    ends_well(shrunk(config_of(file), **sizes), tmp_path)


@pytest.mark.long
def test_svdd_mnist_runs_on_digits(tmp_path):
    folder = DATA / "mnist"
    if not folder.is_dir():
        pytest.skip("mnist is not under LOSSBENCH_DATA")
    config = config_of(FOLDER / "svdd_mnist.py")
    ends_well(shrunk(config, path=str(folder), train=8, validation=4, test=100), tmp_path)
    for run in results.load(tmp_path).runs:
        assert run.test["roc_auc"].per_case.shape == (1, 1)
        assert 0 <= run.score("roc_auc") <= 1


@pytest.fixture
def of_tables(monkeypatch):
    """The file of svdd_tabular, as `python experiments/svdd_tabular.py` runs it."""
    return load_file(FOLDER / "svdd_tabular.py")


@pytest.mark.long
def test_svdd_tabular_puts_fitted_detectors_beside(tmp_path, monkeypatch, of_tables):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 6 == 0
    np.savez("easy.npz", X=rng.normal(size=(60, 4)) + 6 * labels[:, None], y=labels.astype(int))
    whole = of_tables.get_config()
    monkeypatch.setattr(of_tables, "get_config", lambda: shrunk(whole, rows=8))
    of_tables.main(".")
    head, _, row, mean = Path("runs/svdd_tabular/table.md").read_text().splitlines()
    assert head.startswith("| data | one_class | soft_boundary |")
    areas = dict(zip(head.split(" | "), row.split(" | "), strict=True))
    assert areas["| data"] == "| easy"
    assert float(areas["RX"]) == 1.0
    assert areas["runs not completed |"] == "0 |"
    assert mean.startswith("| mean |")


def test_svdd_tabular_says_where_it_looked(tmp_path, of_tables):
    with pytest.raises(SystemExit, match=r"no \.npz table there"):
        of_tables.main(str(tmp_path))
