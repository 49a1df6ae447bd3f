import dataclasses
import json
import types

import jax.numpy as jnp
import numpy as np
import pytest

from lossbench import metrics, models
from lossbench.bench import run
from lossbench.bench.compare import open_bench
from lossbench.bench.plan import make_plan
from lossbench.bench.run import finished
from lossbench.detection import load
from lossbench.training.loop import Diverged
from tests.pixelwise import Pixelwise

CONFIG = {
    "data": {"name": "shapes", "size": (16, 16), "classes": 2, "foreground": 0.3}
    | {"train": 4, "validation": 2, "test": 3},
    "augment": {"flip": True},
    "model": {"name": "pixelwise"},
    "losses": ["cross_entropy"],
    "seeds": 2,
    "train": {"steps": 4, "batch_size": 2, "eval_every": 2, "log_every": 1, "devices": 1},
}


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """An open bench with its program compiled."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(models.MODELS, "pixelwise", Pixelwise)
        plan = make_plan(CONFIG)
        opened = open_bench(plan, tmp_path_factory.mktemp("bench"), say=lambda _: None)
        opened.program("cross_entropy")
    return opened


def execute(bench, folder, seed=0, program=None):
    return run.execute(
        bench.specs["cross_entropy", seed],
        bench.plan,
        bench.datasets[seed],
        program or bench.program("cross_entropy"),
        folder,
        label="test",
    )


def on_disk(folder):
    return json.loads((folder / "result.json").read_text())


@pytest.fixture(scope="module")
def completed(bench):
    folder = bench.folder / "completed"
    execute(bench, folder)
    return folder


def test_a_completed_run_says_all_that_a_report_needs(bench, completed):
    result, spec = on_disk(completed), bench.specs["cross_entropy", 0]
    assert result["state"] == "completed"
    assert result["error"] is None
    assert result["warnings"] == []
    assert (result["id"], result["loss"], result["seed"]) == (spec.id, "cross_entropy", 0)
    assert result["steps"] == 4
    assert result["stopped_early"] is False
    assert result["best_step"] in (2, 4)
    assert result["cases"] == [f"test-{i:04d}" for i in range(3)]
    assert result["parameters"] == 1 * 3 + 3
    assert [row["step"] for row in result["history"]["train"]] == [1, 2, 3, 4]
    assert [row["step"] for row in result["history"]["validation"]] == [2, 4]
    cost = result["cost"]
    for name in ("compile_seconds", "step_seconds", "train_seconds", "peak_bytes"):
        assert cost[name] > 0
    assert isinstance(cost["compile_from_cache"], bool)
    assert result["environment"]["lossbench"]
    for metric in ("dice", "iou"):
        score = result["test"][metric]
        assert score["classes"] == ["disc", "ring"]
        assert np.shape(score["per_case"]) == (3, 2)
        assert len(score["per_class"]) == len(score["pooled"]) == 2
    content = json.loads((completed / "spec.json").read_text())
    assert content["id"] == spec.id
    assert content["content"]["train"]["steps"] == 4


def test_scores_are_those_of_the_pictures(completed):
    result = on_disk(completed)
    with np.load(completed / "examples.npz") as examples:
        labels, prediction = examples["labels"], examples["prediction"]
        assert examples["image"].shape == labels.shape == prediction.shape == (3, 16, 16)
        assert examples["image"].dtype == np.float16
        assert examples["image"].min() >= 0
        assert examples["image"].max() <= 1
        assert examples["axis_slice"].tolist() == [-1] * 3
    found = np.array(result["test"]["dice"]["per_case"], float)
    for case, c in np.ndindex(3, 2):
        truth, guess = labels[case] == c + 1, prediction[case] == c + 1
        expected = 2 * (truth & guess).sum() / (truth.sum() + guess.sum())
        assert found[case, c] == pytest.approx(expected, rel=1e-5)
    assert result["test"]["dice"]["mean"] == pytest.approx(found.mean(), rel=1e-5)
    assert result["test"]["dice"]["per_class"] == pytest.approx(found.mean(0), rel=1e-5)


def test_the_best_state_is_tested_on_the_test_data(bench, tmp_path, monkeypatch):
    fit, evaluate, tested = run.fit, run.evaluate, []

    def marked(*arguments, **options):
        fitted = fit(*arguments, **options)
        best = dataclasses.replace(fitted.best, step=jnp.int32(99))
        return dataclasses.replace(fitted, best=best)

    def watched(program, state, source, **options):
        tested.append((int(state.step), source))
        return evaluate(program, state, source, **options)

    monkeypatch.setattr(run, "fit", marked)
    monkeypatch.setattr(run, "evaluate", watched)
    assert execute(bench, tmp_path)["state"] == "completed"
    assert tested == [(99, bench.datasets[0].test)]


def test_a_finished_run_is_not_run_again(bench, completed, monkeypatch):
    monkeypatch.setattr(run, "fit", None)  # calling it would fail
    before = (completed / "result.json").stat().st_mtime_ns
    assert execute(bench, completed) == on_disk(completed)
    assert (completed / "result.json").stat().st_mtime_ns == before


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"state": "failed"}', "{}", '"x"'])
def test_what_is_no_whole_result_is_not_finished(tmp_path, text):
    assert finished(tmp_path) is None
    (tmp_path / "result.json").write_text(text)
    assert finished(tmp_path) is None


@pytest.mark.parametrize("state", ["completed", "diverged"])
def test_an_ended_run_is_finished(tmp_path, state):
    (tmp_path / "result.json").write_text(json.dumps({"state": state}))
    assert finished(tmp_path) == {"state": state}


def test_a_truncated_result_is_written_again_without_training(bench, completed, tmp_path):
    folder = tmp_path / "run"
    execute(bench, folder)
    whole = on_disk(folder)
    (folder / "result.json").write_text(json.dumps(whole)[:100])
    program = bench.program("cross_entropy")
    again = execute(bench, folder)
    assert program is bench.program("cross_entropy")
    for key in ("test", "history", "best_step", "steps", "state"):
        assert on_disk(folder)[key] == whole[key]
    assert again["cost"]["step_seconds"] != again["cost"]["step_seconds"]  # NaN: no step was taken


def test_a_run_that_breaks_is_failed_with_its_reason_and_is_tried_again(
    bench, tmp_path, monkeypatch
):
    def broken(*_, **__):
        raise RuntimeError("out of memory, \udcff is no text")

    with monkeypatch.context() as patch:
        patch.setattr(run, "fit", broken)
        result = execute(bench, tmp_path)
    assert result["state"] == on_disk(tmp_path)["state"] == "failed"
    assert on_disk(tmp_path)["error"]["message"].startswith("RuntimeError: out of memory")
    assert "in broken" in (tmp_path / "error.txt").read_text("utf-8")
    assert execute(bench, tmp_path)["state"] == "completed"
    assert not (tmp_path / "error.txt").exists()


def test_a_program_that_could_not_be_built_is_a_failed_run(bench, tmp_path):
    result = execute(bench, tmp_path, program=MemoryError("too large"))
    assert result["state"] == "failed"
    assert result["error"] == {"step": None, "term": "", "message": "MemoryError: too large"}


def test_a_run_that_diverges_says_where(bench, tmp_path, monkeypatch):
    row = {"step": 5, "loss": 1.0, "terms": {"dice": 1.0, "cross_entropy": 1.0}}

    def diverging(*_, **__):
        error = Diverged(7, "dice", float("nan"))
        error.history["train"].append(row)
        raise error

    monkeypatch.setattr(run, "fit", diverging)
    result = execute(bench, tmp_path)
    assert result["state"] == "diverged"
    assert (result["error"]["step"], result["error"]["term"], result["steps"]) == (7, "dice", 7)
    assert result["history"]["train"] == [row]
    assert result["cost"]["peak_bytes"] > 0
    monkeypatch.setattr(run, "fit", None)
    assert execute(bench, tmp_path) == on_disk(tmp_path)


def probed(gradient):
    facts = {"reach": 1.0, "channels": 1.0, "counted": 1.0, "foreground": 1.0}
    return [{"step": 1, "terms": {"cross_entropy": {"gradient": gradient, **facts}}}]


@pytest.mark.parametrize("diverges", [False, True])
def test_a_term_that_trains_nothing_is_a_warning_of_the_result(
    bench, tmp_path, monkeypatch, diverges
):
    fit = run.fit

    def dead(*arguments, **options):
        if diverges:
            error = Diverged(7, "cross_entropy", float("nan"))
            error.history["probes"] = probed(0.0)
            raise error
        fitted = fit(*arguments, **options)
        history = {**fitted.history, "probes": probed(0.0)}
        return dataclasses.replace(fitted, history=history)

    monkeypatch.setattr(run, "fit", dead)
    execute(bench, tmp_path)
    (text,) = on_disk(tmp_path)["warnings"]
    assert text.startswith("term 'cross_entropy': its gradient was exactly zero")


def test_an_interrupted_run_has_no_result(bench, tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(run, "fit", interrupted)
        with pytest.raises(KeyboardInterrupt):
            execute(bench, tmp_path)
    assert finished(tmp_path) is None
    assert not (tmp_path / "result.json").exists()
    assert execute(bench, tmp_path)["state"] == "completed"


def test_a_metric_of_all_classes_together_has_one_column():
    state = metrics.get("accuracy").empty(cases=2, num_classes=3)
    labels = jnp.array([[0, 1, 2, 2], [0, 0, 1, 1]])
    scores = state.update(labels.at[0, 0].set(1), labels, case=jnp.arange(2)).compute()
    found = run._score(scores, ("background", "a", "b"), by_class=metrics.get("accuracy").by_class)
    assert found["classes"] == ["all classes"]
    np.testing.assert_allclose(found["per_case"], [[0.75], [1]])
    assert (found["mean"], found["undefined"]) == (0.875, 0)


@pytest.mark.long
def test_an_anomaly_run_leaves_its_detector(tmp_path):
    plan = make_plan(
        {
            "data": {"name": "scenes", "size": (20, 20), "bands": 8, "targets": 3}
            | {"train": 2, "validation": 1, "test": 1},
            "preprocess": {"bandpass": {"low": 450.0}, "z_score": {}},
            "model": {"name": "svdd_encoder", "features": (8, 4)},
            "losses": {"one_class": {"terms": {"svdd_one_class": {}}}},
            "seeds": 1,
            "metrics": ("roc_auc",),
            "train": {"steps": 4, "batch_size": 1, "eval_every": 4, "devices": 1},
        }
    )
    bench = open_bench(plan, tmp_path, say=lambda _: None)
    result = bench.run("one_class", 0)
    assert (result["state"], result["warnings"]) == ("completed", [])
    folder = bench.run_folder(bench.specs["one_class", 0])
    detector = load(folder / "detector")
    dataset = bench.datasets[0]
    assert detector.wavelengths == dataset.wavelengths
    example = dataset.test[0]
    scores = jnp.asarray(detector.scores(example["image"]))
    auc = metrics.roc_auc(
        scores[None],
        jnp.asarray(example["labels"] == 1)[None],
        where=jnp.asarray(example["where"])[None],
    )
    assert result["test"]["roc_auc"]["mean"] == pytest.approx(float(auc.mean), abs=1e-6)
    # The threshold is the sphere's: of what was trained on a share nu reaches it.
    trained = [dataset.train[i] for i in range(2)]
    flagged = np.concatenate([detector.decide(one["image"])[one["where"]] for one in trained])
    assert flagged.mean() == pytest.approx(0.1, abs=0.005)


def test_a_run_without_ranking_metrics_keeps_no_detector(bench, completed):
    assert not (completed / "detector").exists()


def test_a_detector_that_cannot_be_saved_is_a_warning(bench, tmp_path, monkeypatch):
    def broken(*_, **__):
        raise OSError("no space left")

    monkeypatch.setattr(run, "save", broken)
    monkeypatch.setitem(bench.plan.metrics, "roc_auc", {})
    monkeypatch.setattr(run, "trained_detector", lambda *_, **__: None)
    fitted = types.SimpleNamespace(best=types.SimpleNamespace(evaluated={}))
    said = run.keep_detector(
        fitted, bench.program("cross_entropy"), bench.plan, bench.datasets[0], tmp_path / "detector"
    )
    assert said == ["the detector was not saved: no space left"]
