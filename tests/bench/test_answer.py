import json

import numpy as np
import pytest

from lossbench.bench import results, tables
from lossbench.bench.answer import answer, covers, join
from lossbench.bench.report import html
from tests.bench.conftest import CLASSES, HD95, score

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


def leave_out(folder, metric, where):
    """Make a metric undefined: `where` gives (loss, seed) a mask over cases and classes."""
    for path in (folder / "runs").glob("*/result.json"):
        result = json.loads(path.read_text())
        mask = where.get((result["loss"], result["seed"]))
        if mask is not None and result["test"]:
            table = np.array(result["test"][metric]["per_case"])
            table[np.broadcast_to(mask, table.shape)] = np.nan
            got = score(table, CLASSES) | {"undefined": int(np.isnan(table).sum())}
            text = json.dumps(result | {"test": result["test"] | {metric: got}})
            path.write_text(text.replace("NaN", "null"))
    return answer(results.load(folder))


CASE_0, CASE_1 = np.arange(5)[:, None] == 0, np.arange(5)[:, None] == 1


def about_undefined(got):
    return [text for text in got.cautions if "is undefined for " in text]


def test_other_undefined_cases_than_the_baselines_are_noticed(fabricate):
    folder = fabricate(losses=LOSSES, size=16)
    (caution,) = about_undefined(leave_out(folder, "dice", {("dice", 0): CASE_0}))
    assert "under dice (2 values against 0, same seeds) than under the baseline" in caution
    assert "not over the same cases" in caution
    # As many, but of another case.
    (caution,) = about_undefined(leave_out(folder, "dice", {("cross_entropy", 0): CASE_1}))
    assert "dice (2 values against 2, same seeds) and focal (0 values against 2" in caution


def test_equal_undefined_cases_are_no_caution_though_a_run_is_missing(fabricate):
    folder = fabricate(losses=LOSSES, size=16, states={("dice", 1): "failed"})
    everywhere = {(loss, seed): CASE_0 for loss in LOSSES for seed in (0, 2)}
    once = {(loss, 1): CASE_0 | CASE_1 for loss in LOSSES}
    assert about_undefined(leave_out(folder, "dice", everywhere | once)) == []


BY_HD95 = {"losses": LOSSES[:2], "seeds": (0, 1), "size": 16, **HD95}
BY_HD95["metrics"] = HD95["metrics"] | {"hd95": {"higher_is_better": False, "unit": "mm"}}


def test_a_metric_that_is_never_defined_is_said_to_be_undefined(fabricate):
    folder = fabricate(**BY_HD95)
    got = leave_out(folder, "hd95", {("dice", seed): True for seed in (0, 1)})
    assert got.headline == "No answer: HD95 is undefined in all 2 completed runs of dice."
    assert got.findings == ()
    assert "HD95 is undefined in all 2 completed runs of dice." in got.cautions
    assert len(about_undefined(got)) == 1
    assert "empty='worst'" in got.cautions[2]
    comparison = results.load(folder)
    assert tables.standings(comparison, "hd95")["dice"].verdict == "undefined in every pair"
    assert "undefined in every pair" in html(comparison)
    got = leave_out(folder, "hd95", {("cross_entropy", seed): True for seed in (0, 1)})
    assert got.headline == (
        "No answer: HD95 is undefined in all 4 completed runs of cross_entropy and dice; "
        "ask for empty='worst'."
    )
    assert got.progress == "4 of 4 runs completed"
    assert about_undefined(got) == []
    page = html(results.load(folder))
    for wrong in ("no test score", "no pair of completed runs", "too few completed runs"):
        assert wrong not in page


def test_one_pair_with_a_value_is_not_called_one_seed(fabricate):
    got = leave_out(fabricate(**BY_HD95), "hd95", {("dice", 1): True})
    assert got.headline == (
        "No answer: HD95 is defined for both dice and cross_entropy in only 1 of 2 seeds."
    )


def test_a_share_or_a_diagonal_needs_no_advice(fabricate, by_hd95):
    masks = {(loss, seed): True for loss in LOSSES for seed in (0, 1, 2)}
    got = leave_out(fabricate("worst", losses=LOSSES, size=16, **by_hd95), "hd95", masks)
    assert got.headline.startswith("No answer: HD95 is undefined in all 9 completed runs of")
    got = leave_out(fabricate("share", losses=LOSSES, size=16), "dice", masks)
    assert "worst" not in got.headline + str(got.cautions)


def test_a_run_that_was_never_validated_is_not_said_to_be_best_at_the_end(fabricate):
    folder = fabricate(**BY_HD95)
    assert any("4 of 4 runs were best at their last" in text for text in caution_of(folder))
    for number, path in enumerate(sorted((folder / "runs").glob("*/result.json"))):
        result = json.loads(path.read_text())
        for row in result["history"]["validation"]:
            row["hd95"] = None if number else row["hd95"]
        path.write_text(json.dumps(result))
    texts = caution_of(folder)
    assert any("In 3 of 4 runs HD95 was undefined at every validation" in text for text in texts)
    assert any("1 of 1 runs were best at their last" in text for text in texts)


def caution_of(folder):
    return answer(results.load(folder)).cautions


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
