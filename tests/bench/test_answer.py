import json

import pytest

from lossbench.bench import results, tables
from lossbench.bench.answer import answer, covers, join
from lossbench.bench.report import html

LOSSES = ("cross_entropy", "dice", "focal")


def everywhere(state, losses=LOSSES, seeds=(0, 1, 2)):
    return {(loss, seed): state for loss in losses for seed in seeds}


@pytest.fixture
def answered(fabricate):
    def make(**changes):
        return answer(results.load(fabricate(**{"losses": LOSSES, "size": 16, **changes})))

    return make


def test_a_clear_difference_is_said_and_an_unclear_one_is_not_called_better(answered):
    got = answered(effects={"dice": 0.06}, noise=0.006, seeds=range(5))
    assert got.headline == (
        "dice scores higher than the baseline cross_entropy on Dice. focal cannot be told apart "
        "from it."
    )
    findings = dict(got.findings)
    assert findings["dice"].startswith("better, +0.0")
    assert findings["focal"].startswith("not told apart, ")
    assert "seeds would be needed" in findings["focal"]
    assert "better" not in findings["focal"]
    assert got.progress == "15 of 15 runs completed"


def test_lower_is_said_too(answered):
    got = answered(effects={"dice": -0.06, "focal": -0.07}, noise=0.002)
    assert got.headline == "dice and focal score lower than the baseline cross_entropy on Dice."


def test_of_a_distance_the_lower_is_the_better(answered, by_hd95):
    got = answered(effects={"dice": 0.06, "focal": -0.06}, noise=0.002, **by_hd95)
    assert got.headline == (
        "dice scores lower (better) than the baseline cross_entropy on HD95. "
        "focal scores higher (worse) than the baseline cross_entropy on HD95."
    )
    findings = dict(got.findings)
    assert findings["dice"].startswith("better, −0.5")
    assert findings["focal"].startswith("worse, +0.5")
    assert "] mm over 3 seeds" in findings["dice"]


def test_cases_that_only_some_losses_leave_undefined_are_noticed(fabricate):
    folder = fabricate(losses=LOSSES, size=16)

    def leave_out(loss):
        for run in json.loads((folder / "plan.json").read_text())["runs"]:
            if run["loss"] == loss:
                path = folder / "runs" / run["id"] / "result.json"
                result = json.loads(path.read_text())
                result["test"]["dice"]["undefined"] = 1 + (run["seed"] == 0)
                path.write_text(json.dumps(result))
        return [c for c in answer(results.load(folder)).cautions if "undefined" in c]

    (caution,) = leave_out("dice")
    assert "(in a run: cross_entropy 0, dice 1.33 and focal 0)" in caution
    assert "not over the same cases" in caution
    leave_out("focal")
    assert leave_out("cross_entropy") == []


def test_one_seed_answers_nothing(answered):
    got = answered(seeds=(0,))
    assert got.headline.startswith("One seed cannot tell losses apart")
    assert all("no interval" in text for _, text in got.findings)


@pytest.mark.parametrize("state", ["failed", "diverged", "pending"])
def test_no_completed_run_is_no_answer(answered, state):
    got = answered(states=everywhere(state))
    assert got.headline == "No answer yet: no run has completed."
    assert got.findings == ()
    assert got.progress == f"0 of 9 runs completed, 9 {state}"


def test_a_baseline_without_runs_is_no_answer(answered):
    got = answered(states=everywhere("failed", ("cross_entropy",)))
    assert got.headline == "No answer yet: the baseline cross_entropy has no test score."
    assert "cross_entropy: no run completed." in got.cautions


def test_no_common_seed_is_no_answer(answered):
    states = everywhere("failed", ("dice", "focal"), (0, 1)) | {("cross_entropy", 2): "failed"}
    assert answered(states=states).headline.startswith("No answer yet: no loss has a test score")


def test_one_loss_is_no_comparison(answered):
    assert answered(losses=("dice",)).headline.startswith("dice is the only loss")


def test_losses_with_too_few_runs_are_named(answered):
    got = answered(states=everywhere("pending", ("focal",), (1, 2)))
    assert got.headline.endswith("focal has too few completed runs for a comparison.")
    assert got.cautions[0].startswith("Preliminary: 2 runs still to come.")


def test_what_runs_warn_of_is_said_once_a_loss(fabricate):
    directory = fabricate(losses=LOSSES, size=16)
    for run in results.load(directory).of("dice")[:2]:
        path = run.folder / "result.json"
        warned = {**json.loads(path.read_text()), "warnings": ["term 'x': it trains nothing"]}
        path.write_text(json.dumps(warned))
    comparison = results.load(directory)
    said = [text for text in answer(comparison).cautions if "trains nothing" in text]
    assert said == ["dice, 2 of 3 runs: term 'x': it trains nothing."]
    document = json.loads(tables.results_json(comparison))
    assert [len(run["warnings"]) for run in document["runs"]] == [0, 0, 0, 1, 1, 0, 0, 0, 0]
    assert "trains nothing" in html(comparison)


def test_failures_are_said_to_flatter(answered):
    got = answered(states={("dice", 1): "diverged"})
    assert any(text.startswith("dice: 1 of 3 runs did not complete.") for text in got.cautions)


def test_seeds_that_change_nothing_are_noticed(fabricate):
    directory = fabricate(losses=LOSSES, size=16)
    for run in results.load(directory).runs:
        path = run.folder / "result.json"
        result = json.loads(path.read_text())
        result["test"]["dice"]["mean"] = {"dice": 0.9}.get(run.loss, 0.8)
        path.write_text(json.dumps(result))
    got = answer(results.load(directory))
    assert any("is the same for every seed" in text for text in got.cautions)
    assert dict(got.findings)["focal"].endswith("No difference was seen at all.")


def test_what_the_intervals_cover_is_said(fabricate):
    assert "one fixed split" in covers(results.load(fabricate()))
    folds = results.load(fabricate("folds", data={"folds": 5}))
    assert "5 folds" in covers(folds)
    assert "fold" in answer(folds).findings[0][1]
    assert "seeds would be needed" not in str(answer(folds).findings)


def test_join():
    assert [join(names) for names in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == [
        "", "a", "a and b", "a, b and c",
    ]  # fmt: skip
