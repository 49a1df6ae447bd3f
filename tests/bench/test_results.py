import json
import math

import numpy as np
import pytest

from lossbench.bench import results


def run_folder(directory, loss, seed):
    plan = json.loads((directory / "plan.json").read_text())
    place = {(run["loss"], run["seed"]): run["id"] for run in plan["runs"]}
    return directory / "runs" / place[loss, seed]


def test_every_state_is_read(fabricate):
    states = {("dice", 1): "diverged", ("focal", 0): "failed", ("focal", 2): "pending"}
    comparison = results.load(fabricate(states=states))
    found = {(run.loss, run.seed): run.state for run in comparison.runs}
    assert {place: found[place] for place in states} == states
    assert comparison.count("completed") == 9
    assert comparison.count("completed", "focal") == 1
    diverged = comparison.of("dice")[1]
    assert diverged.error == results.Failure(133, "dice", "the loss became NaN")
    assert diverged.test == {}
    assert math.isnan(diverged.score("dice"))
    assert diverged.examples() is None


def test_scores_are_one_value_a_seed_and_nan_where_a_run_is_missing(fabricate):
    directory = fabricate(states={("dice", 1): "failed"})
    comparison = results.load(directory)
    written = json.loads((run_folder(directory, "dice", 2) / "result.json").read_text())
    scores = comparison.scores("iou")
    assert list(scores) == ["cross_entropy", "dice", "focal", "dice_ce"]
    assert np.isnan(scores["dice"][1])
    assert scores["dice"][2] == written["test"]["iou"]["mean"]


def test_null_is_nan_and_is_left_out_of_a_case(fabricate):
    directory = fabricate()
    path = run_folder(directory, "dice", 0) / "result.json"
    result = json.loads(path.read_text())
    result["test"]["dice"]["per_case"][0] = [None, 0.5]
    result["test"]["dice"]["per_case"][1] = [None, None]
    result["test"]["dice"]["per_class"][0] = None
    result["cost"]["step_seconds"] = None
    path.write_text(json.dumps(result))
    run = results.load(directory).of("dice")[0]
    np.testing.assert_array_equal(run.test["dice"].case_means()[:2], [0.5, math.nan])
    assert math.isnan(run.test["dice"].per_class[0])
    assert math.isnan(run.cost.step_seconds)


@pytest.mark.parametrize("text", ["", '{"state": "completed", "te', '{"state": "odd"}', "[]", "\0"])
def test_a_result_that_cannot_be_read_is_a_failed_run(fabricate, text):
    directory = fabricate()
    (run_folder(directory, "focal", 1) / "result.json").write_text(text)
    comparison = results.load(directory)
    run = comparison.of("focal")[1]
    assert run.state == "failed"
    assert run.error is not None
    assert run.error.message.startswith("result.json cannot be read")
    assert comparison.count("completed") == 11


def test_broken_examples_are_absent_examples(fabricate):
    directory = fabricate()
    run = results.load(directory).runs[0]
    examples = run.examples()
    assert examples is not None
    assert examples.image.shape == examples.prediction.shape == (5, 48, 48)
    path = run.folder / "examples.npz"
    path.write_bytes(path.read_bytes()[:200])
    assert run.examples() is None


def test_history_has_a_value_for_each_step(fabricate):
    history = results.load(fabricate()).runs[0].history
    assert history is not None
    assert history.train_steps.shape == history.train_loss.shape == (40,)
    assert history.validation["dice"].shape == history.validation_steps.shape == (10,)


def test_a_folder_without_a_plan_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"no plan\.json"):
        results.load(tmp_path)


@pytest.mark.parametrize("text", ["{", "{}", "[]", '{"metrics": 3}'])
def test_a_plan_that_cannot_be_read_is_named(tmp_path, text):
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises(ValueError, match=r"plan\.json: not a plan that can be read"):
        results.load(tmp_path)


@pytest.mark.parametrize("facts", [{"options": None}, {"unit": None}, {"unitt": ""}, None])
def test_a_plan_whose_metric_means_nothing_is_named(fabricate, facts):
    with pytest.raises(ValueError, match=r"plan\.json: not a plan that can be read \("):
        results.load(fabricate(metrics={"dice": facts}))


def test_a_baseline_or_metric_outside_the_plan_is_refused(fabricate):
    with pytest.raises(ValueError, match=r"the baseline 'tversky' is not among \['cross_entropy'"):
        results.load(fabricate(baseline="tversky"))
    with pytest.raises(ValueError, match=r"the metric 'hd95' is not among \['dice', 'iou'\]"):
        results.load(fabricate("other", metric="hd95"))


def test_the_plan_says_what_a_number_of_a_metric_means(fabricate, by_hd95):
    comparison = results.load(fabricate(**by_hd95))
    assert list(comparison.metrics) == ["hd95", "dice"]
    assert comparison.declared == results.Metric(False, "mm", {"empty": "worst"})
    assert comparison.metrics["dice"] == results.Metric(True, "", {})
    # A plan that lists names was written when every metric was a share.
    assert results.load(fabricate("older")).declared == results.Metric(True, "", {})


def test_folds_carry_the_ratio_of_test_to_training_cases(fabricate):
    assert results.load(fabricate()).test_to_train is None
    data = {"folds": 5, "train": 80, "test": 20}
    assert results.load(fabricate("folds", data=data)).test_to_train == 0.25


def test_the_collapse_monitor_and_the_selectors_last_weights_are_read(fabricate):
    directory = fabricate()
    path = run_folder(directory, "dice", 0) / "result.json"
    result = json.loads(path.read_text())
    result["history"]["collapse"] = [
        {"step": 10, "spread": 1.0, "nu": 0.1, "outliers": 5},
        {"step": 20, "spread": None, "nu": 0.1},
    ]
    rows = [{"step": 1, "weights": [[0, 1], [1, 0]]}, {"step": 2, "weights": [0.25, 0.75]}]
    result["history"]["selector_weights"] = [*rows, {"step": 3, "weights": None}]
    path.write_text(json.dumps(result))
    run, other = results.load(directory).of("dice")[:2]
    assert set(run.history.collapse) == {"step", "spread", "nu"}
    np.testing.assert_array_equal(run.history.collapse["spread"], [1, np.nan])
    np.testing.assert_array_equal(run.history.selector_weights, [[0.25, 0.75]])
    assert other.history.collapse == {}
    assert other.history.selector_weights is None
