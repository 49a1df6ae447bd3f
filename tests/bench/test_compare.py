import dataclasses
import json

import jax
import numpy as np
import pytest

from lossbench import models
from lossbench.bench import compare, results
from lossbench.bench import run as running
from lossbench.bench.compare import build_model, fingerprint
from lossbench.bench.plan import make_plan
from lossbench.data import ArraySource, shapes
from lossbench.data.patches import CropSource, TileSource, Volume
from tests.pixelwise import Pixelwise

SMALL = {"size": (16, 16), "classes": 2, "train": 2, "validation": 1, "test": 1}

# 1, 1, then so much that the gradient's norm is more than float32 holds.
EXPLODING = {
    "schedule": "warmup_exponential_decay_schedule",
    "init_value": 1.0,
    "peak_value": 1.0,
    "warmup_steps": 1,
    "transition_steps": 1,
    "decay_rate": 1e30,
}
CONFIG = {
    "data": {"name": "shapes", "size": (16, 16), "classes": 2, "foreground": 0.3}
    | {"train": 6, "validation": 2, "test": 3},
    "augment": {"flip": True, "noise": 0.1},
    "model": {"name": "pixelwise"},
    "losses": {
        "good": {"terms": {"cross_entropy": {}}},
        "<bad> & odd": {"terms": {"fine": {"loss": "dice"}, "wild": {"loss": "focal"}}},
    },
    "seeds": [4, 2],
    "train": {"steps": 5, "batch_size": 2, "eval_every": 2, "log_every": 1, "devices": 1},
}
CONFIG["losses"]["<bad> & odd"]["terms"]["wild"]["weight"] = EXPLODING


@pytest.fixture(autouse=True, scope="module")
def _pixelwise():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(models.MODELS, "pixelwise", Pixelwise)
        yield


def compared(folder, config=CONFIG, **changes):
    said = []
    plan = make_plan({**config, **changes})
    path = compare.compare(plan, folder, command="lossbench compare", say=said.append)
    return path, said


def watch_steps(patch):
    """Records the parameters and the batch of every step of every run."""
    seen = {}
    original = compare.build_program

    def build_program(model, objective, *arguments, **options):
        program = original(model, objective, *arguments, **options)
        steps = seen.setdefault("+".join(objective.terms), [])

        def train(state, batch):
            arrays = jax.device_get((state.step, state.params, batch))
            steps.append(jax.tree.map(np.copy, arrays))
            return program.train(state, batch)

        return dataclasses.replace(program, train=train)

    patch.setattr(compare, "build_program", build_program)
    return seen


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    """Two losses under two seeds, of which one loss diverges, and the steps they took."""
    folder = tmp_path_factory.mktemp("compare") / "made"
    with pytest.MonkeyPatch.context() as patch:
        steps = watch_steps(patch)
        path, said = compared(folder)
    return folder, path, said, steps


def test_every_run_is_there_and_one_loss_diverged(comparison):
    folder, path, _, _ = comparison
    plan = json.loads((folder / "plan.json").read_text())
    assert [(r["loss"], r["seed"]) for r in plan["runs"]] == [
        ("good", 4),
        ("<bad> & odd", 4),
        ("good", 2),
        ("<bad> & odd", 2),
    ]
    assert sorted(r["id"] for r in plan["runs"]) == sorted(
        p.name for p in (folder / "runs").iterdir()
    )
    found = results.load(folder)
    assert found.baseline == "good"
    for one in found.runs:
        if one.loss == "good":
            assert one.state == "completed"
        else:
            assert one.state == "diverged"
            assert one.error is not None
            assert (one.error.step, one.error.term) == (2, "gradient")
    assert path == folder / "report.html"


def test_the_report_and_its_tables_are_there(comparison):
    folder, path, _, _ = comparison
    for name in ("report.html", "results.csv", "results.json", "table.tex"):
        assert (folder / name).stat().st_size > 0
    page = path.read_text(encoding="utf-8")
    assert "diverged" in page
    assert "&lt;bad&gt; &amp; odd" in page
    assert "<bad>" not in page
    assert "lossbench compare" in page


def test_losses_of_a_seed_share_initialization_and_batches(comparison):
    steps = comparison[3]
    good, bad = steps["cross_entropy"], steps["fine+wild"]
    runs = {}
    for name, taken in (("good", good), ("bad", bad)):
        starts = [i for i, (step, _, _) in enumerate(taken) if step == 0]
        assert len(starts) == 2
        for seed, start in zip((4, 2), starts, strict=True):
            runs[name, seed] = taken[start : start + 3]
    for seed in (4, 2):
        own, other = runs["good", seed], runs["bad", seed]
        assert _equal(own[0][1], other[0][1])  # parameters before the first step
        assert not _equal(own[1][1], other[1][1])  # which then part
        for mine, theirs in zip(own, other, strict=True):
            assert _equal(mine[2], theirs[2])  # batches, augmentation included
    assert not _equal(runs["good", 4][0][1], runs["good", 2][0][1])
    assert not _equal(runs["good", 4][0][2], runs["good", 2][0][2])


def _equal(a, b) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(*map(jax.tree.leaves, (a, b)), strict=True))


def test_a_finished_comparison_trains_and_compiles_nothing(comparison, monkeypatch):
    folder, _, _, _ = comparison
    files = sorted(folder.glob("runs/*/*.json"))
    before = [file.stat().st_mtime_ns for file in files]
    monkeypatch.setattr(running, "fit", None)
    monkeypatch.setattr(compare, "build_program", None)
    _, said = compared(folder)
    assert len(said) == 4
    assert all("finished before" in line for line in said)
    assert [file.stat().st_mtime_ns for file in files] == before


def test_it_goes_on_from_another_folder(comparison, monkeypatch):
    folder, _, _, _ = comparison
    monkeypatch.setattr(running, "fit", None)
    monkeypatch.chdir(folder.parent)
    path, _ = compared(type(folder)(folder.name))
    assert path.resolve() == folder / "report.html"


def test_what_is_said_names_each_run_and_why_it_ended(comparison):
    said = comparison[2]
    assert sum("compiled in" in line for line in said) == 2
    ends = [line for line in said if "diverged" in line]
    assert [line.split("]")[0] for line in ends] == ["[2/4", "[4/4"]
    assert all("the gradient is inf at step 2" in line for line in ends)


def test_a_stopped_comparison_has_whole_pairs_and_goes_on(tmp_path, monkeypatch):
    losses = ["dice", "cross_entropy"]
    original, runs = running.fit, []

    def fit(*arguments, **options):
        if len(runs) == 2:
            raise KeyboardInterrupt
        runs.append(options["seed"])
        return original(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(running, "fit", fit)
        with pytest.raises(KeyboardInterrupt):
            compared(tmp_path, losses=losses)
    assert runs == [4, 4]
    states = [(r.loss, r.seed, r.state) for r in results.load(tmp_path).runs]
    assert [state for *_, state in states] == ["completed"] * 2 + ["pending"] * 2
    _, said = compared(tmp_path, losses=losses)
    assert sum("finished before" in line for line in said) == 2
    assert all(r.state == "completed" for r in results.load(tmp_path).runs)


def test_a_loss_that_cannot_be_compiled_is_failed_rows_and_the_rest_goes_on(tmp_path, monkeypatch):
    original = compare.build_program

    def build_program(model, objective, *arguments, **options):
        if "dice" in objective.terms:
            raise RuntimeError("RESOURCE_EXHAUSTED: out of memory")
        return original(model, objective, *arguments, **options)

    monkeypatch.setattr(compare, "build_program", build_program)
    compared(tmp_path, losses=["cross_entropy", "dice"], seeds=1)
    states = {r.loss: (r.state, r.error and r.error.message) for r in results.load(tmp_path).runs}
    assert states["cross_entropy"] == ("completed", None)
    assert states["dice"] == ("failed", "RuntimeError: RESOURCE_EXHAUSTED: out of memory")


def test_each_seed_has_its_fold(tmp_path):
    config = {**CONFIG, "losses": ["cross_entropy"], "data": {**CONFIG["data"], "folds": 3}}
    compared(tmp_path, config)
    cases = {r.seed: r.cases for r in results.load(tmp_path).runs}
    assert all(name.startswith("fold0-test") for name in cases[4])
    assert all(name.startswith("fold1-test") for name in cases[2])
    assert json.loads((tmp_path / "plan.json").read_text())["data"]["folds"] == 3


def renamed(terms, **options):
    return {"a": {"terms": {name: options for name in terms}}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": {"batch_size": 7}}, "batch_size is 7, but the training data has only 6"),
        ({"augment": {"flop": True}}, "unknown augmentation 'flop'; did you mean 'flip'"),
        ({"augment": {"noise": "much"}}, "augmentation noise must be a number"),
        ({"model": {"name": "pixelwise", "dim": 2}}, "pixelwise 'dim'; did you mean 'dims'"),
        ({"train": {"batch_size": 2, "devices": 3}}, "train.devices: 3 devices"),
        ({"losses": renamed(["dice"], inputs={"logits": "logits_2"})}, "losses.a: .*'logits_2'"),
        ({"losses": renamed(["dice"], activation="tanh")}, "losses.a: activation: expected"),
        ({"losses": renamed(["focal"], reduction="none")}, 'losses.a: .*"none" cannot be a term'),
    ],
)
def test_nothing_is_written_for_what_cannot_run(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        compared(tmp_path / "new", **changes)
    assert list(tmp_path.iterdir()) == []


def in_tiles():
    """A data set whose test case is twice as long as its patch."""
    volume = Volume(np.zeros((32, 16, 1), np.float32), np.zeros((32, 16), np.int32))
    tiles = TileSource(("long",), lambda i: volume, [(32, 16)], (16, 16))
    return dataclasses.replace(shapes(**SMALL), test=tiles)


def test_a_metric_of_whole_cases_is_refused_for_cases_in_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr(compare.Plan, "dataset", lambda *_: in_tiles())
    with pytest.raises(ValueError, match=r"the metric 'hd95' needs .* 1 cases .* 2 patches"):
        compared(tmp_path / "new", metrics=["dice", "hd95"])
    assert list(tmp_path.iterdir()) == []


def test_a_spacing_that_does_not_fit_the_data_is_refused(tmp_path, monkeypatch):
    spaced = dataclasses.replace(shapes(**SMALL), spacing=(1.0, 1.0, 1.0))
    monkeypatch.setattr(compare.Plan, "dataset", lambda *_: spaced)
    with pytest.raises(ValueError, match=r"data: spacing \(1.0, 1.0, 1.0\) does not fit"):
        compared(tmp_path / "new")


@pytest.mark.parametrize("length", [0.0, -1.0, float("nan"), float("inf")])
def test_a_spacing_that_is_no_length_is_refused_before_any_run(tmp_path, monkeypatch, length):
    spaced = dataclasses.replace(shapes(**SMALL), spacing=(1.0, length))
    monkeypatch.setattr(compare.Plan, "dataset", lambda *_: spaced)
    with pytest.raises(ValueError, match=rf"data: spacing \(1.0, {length}\) has a length that"):
        compared(tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def test_a_comparison_by_a_distance_goes_by_the_lowest(tmp_path, monkeypatch):
    options = {k: v for k, v in CONFIG["data"].items() if k != "name"}
    data = dataclasses.replace(shapes(**options), spacing=(2.0, 2.0))
    monkeypatch.setattr(compare.Plan, "dataset", lambda *_: data)
    worst = {"empty": "worst"}
    compared(
        tmp_path,
        losses=["cross_entropy"],
        metrics={"hd95": worst, "dice": {}},
        metric="hd95",
        seeds=1,
    )
    found = results.load(tmp_path)
    assert found.metrics == {
        "hd95": results.Metric(False, "mm", worst),
        "dice": results.Metric(True, "", {}),
    }
    (one,) = found.runs
    history = one.history.validation["hd95"]
    assert one.best_step == one.history.validation_steps[np.argmin(history)]
    distances = one.test["hd95"].per_case
    assert np.all((distances >= 0) & (distances <= 2 * np.hypot(16, 16)))
    page = (tmp_path / "report.html").read_text()
    assert "HD95 (mm)" in page
    assert "lower is better" in page


def test_a_distance_of_unknown_spacing_is_in_pixels():
    data = shapes(**SMALL)
    assert compare.meaning("hd95", data) == {"higher_is_better": False, "unit": "pixels"}
    assert compare.meaning("nsd", data) == {"higher_is_better": True, "unit": ""}


def test_a_model_gets_its_classes_and_axes_from_the_data():
    flat = shapes(size=(16, 16), classes=2, train=1, validation=1, test=1)
    deep = shapes(size=(16, 16, 16), classes=1, train=1, validation=1, test=1)
    model = build_model("unet", {"features": (2, 4)}, flat)
    assert (model.num_classes, model.dims, model.features) == (3, 2, (2, 4))
    assert build_model("unet", {}, deep).dims == 3
    assert build_model("unet", {"num_classes": 1}, deep).num_classes == 1


def test_a_fingerprint_changes_with_any_value_of_any_case():
    data = shapes(size=(16, 16), classes=2, train=3, validation=2, test=2)
    marks = {fingerprint(data)}
    for part in ("train", "validation", "test"):
        source = getattr(data, part)
        for case in range(len(source)):
            labels, images = source.labels.copy(), source.images.copy()
            labels[case, 5, 6] = (labels[case, 5, 6] + 1) % 3
            images[case, 5, 6] += 1e-3
            for change in ({"labels": labels}, {"images": images}):
                changed = dataclasses.replace(source, **change)
                marks.add(fingerprint(dataclasses.replace(data, **{part: changed})))
    names = dataclasses.replace(data.test, names=("x", "y"))
    marks.add(fingerprint(dataclasses.replace(data, test=names)))
    marks.add(fingerprint(dataclasses.replace(data, class_names=("background", "a", "b"))))
    assert len(marks) == 1 + 2 * 7 + 2
    same = shapes(size=(16, 16), classes=2, train=3, validation=2, test=2)
    assert fingerprint(dataclasses.replace(same, description="other words")) in marks


def test_a_fingerprint_sees_all_of_a_case_that_is_cropped():
    labels = np.zeros((32, 8, 8), np.int32)

    def crops(labels):
        volume = Volume(np.zeros((32, 8, 8, 1), np.float32), labels)
        return CropSource(("a",), lambda i: volume, (8, 8, 8))

    data = dataclasses.replace(shapes(**SMALL), train=crops(labels))
    marks = {fingerprint(data)}
    for slice_ in range(32):
        corrected = labels.copy()
        corrected[slice_] = 1
        marks.add(fingerprint(dataclasses.replace(data, train=crops(corrected))))
    assert len(marks) == 33


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("labels", 255, r"train case 'b' has labels from 0 to 255, but there are 3 classes"),
        ("labels", -1, r"train case 'b' has labels from -1"),
        ("images", np.nan, r"train case 'b': the image is not finite"),
    ],
)
def test_an_example_without_sense_is_named(name, value, message):
    arrays = {
        "images": np.zeros((2, 16, 16, 1), np.float32),
        "labels": np.zeros((2, 16, 16), np.int32),
    }
    arrays[name][1, 3, 3] = value
    data = dataclasses.replace(shapes(**SMALL), train=ArraySource(("a", "b"), **arrays))
    with pytest.raises(ValueError, match=message):
        compare.check_examples(data)
    where = np.ones((2, 16, 16), bool)
    where[1, 3, 3] = False
    if name == "labels":
        hidden = ArraySource(("a", "b"), **arrays, where=where)
        compare.check_examples(dataclasses.replace(data, train=hidden))
