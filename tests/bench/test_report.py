import html.parser
import json
import re

import numpy as np
import pytest

from lossbench.bench import report, results

EVIL = ("cross_entropy", '<script>alert(1)</script>&"', "'><img src=x onerror=alert(2)>", "$a_{b}$")


class Page(html.parser.HTMLParser):
    """What a browser would make of the page: tags, attributes, text."""

    VOID = ("meta", "img", "br", "link", "input", "hr")

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.texts, self.open = [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.texts.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())


def page_of(directory):
    return Page(report.write_report(directory).read_text(encoding="utf-8"))


def test_four_files_and_nothing_else_are_written(fabricate):
    directory = fabricate()
    assert report.write_report(directory) == directory / "report.html"
    assert {path.name for path in directory.iterdir()} == {
        "plan.json", "runs", "report.html", "results.csv", "results.json", "table.tex",
    }  # fmt: skip


def test_the_same_files_give_the_same_report(fabricate):
    directory = fabricate(states={("dice", 0): "pending"})
    first = report.write_report(directory).read_bytes()
    assert report.write_report(directory).read_bytes() == first


def test_the_page_needs_nothing_from_outside(fabricate):
    page = page_of(fabricate(states={("focal", 2): "diverged"}))
    assert not {"script", "link", "iframe", "object", "base"} & set(page.tags)
    for name, value in page.attributes:
        if name in ("src", "href", "xlink:href", "data", "action", "poster", "srcset"):
            assert value.startswith(("data:image/png;base64,", "#"))
    text = (page.text + str(page.attributes)).replace("http-equiv", "")
    assert "http" not in text
    assert "url(http" not in text
    ids = [value for name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))


def test_every_name_is_escaped(fabricate):
    directory = fabricate(
        losses=EVIL,
        classes=("<i>disc</i>", 'b"ring'),
        cases=("<u>one</u>", "two & 2", "</style><script>3</script>"),
        title="</title><script>alert(3)</script>",
        question="<b>which?</b>",
        command="lossbench compare --config='<s>'",
        data={"name": "<em>data</em>", "description": "</dd><script>alert(4)</script>"},
        config={"</pre><script>": "</script>"},
        states={(EVIL[1], 0): "diverged"},
    )
    page = page_of(directory)
    assert "script" not in page.tags
    assert not {"i", "u", "b", "em", "s"} & (set(page.tags) - {"b", "i"})
    assert not any(name.startswith("on") for name, _ in page.attributes)
    for name in (*EVIL, "<i>disc</i>", "<u>one</u>", "<b>which?</b>", "<em>data</em>", "'<s>'"):
        assert name in page.text
    sources = [value for name, value in page.attributes if name == "src"]
    assert sources
    assert all(source.startswith("data:image/png") for source in sources)


def test_environment_and_errors_are_escaped(fabricate):
    directory = fabricate(states={("dice", 0): "failed"})
    for path in (directory / "runs").glob("*/result.json"):
        result = json.loads(path.read_text())
        result["environment"]["device"] = "<script>device</script>"
        if result["error"]:
            result["error"]["message"] = "<script>message</script>"
        path.write_text(json.dumps(result))
    page = page_of(directory)
    assert "script" not in page.tags
    assert "<script>message</script>" in page.text
    assert "<script>device</script>" in page.text


def test_lone_surrogates_do_not_stop_the_report(fabricate):
    page = page_of(fabricate(title="\ud800", losses=("a\udfff", "b")))
    assert "b cannot be told apart" in page.text


def test_the_report_grows_with_the_runs(fabricate):
    states = {("focal", 0): "diverged", ("dice", 2): "pending", ("dice_ce", 1): "failed"}
    page = page_of(fabricate(states=states))
    assert "9 of 12 runs completed, 1 diverged, 1 failed, 1 pending" in page.text
    assert "Preliminary" in page.text
    assert "Runs that did not complete" in page.text
    for text in ("133", "the loss became NaN", "out of memory", "no result yet"):
        assert text in page.text
    page = page_of(fabricate("done"))
    assert "12 of 12 runs completed" in page.text
    assert "Preliminary" not in page.text
    assert "Runs that did not complete" not in page.text


@pytest.mark.parametrize("state", ["failed", "diverged", "pending"])
def test_no_completed_run_still_makes_a_page(fabricate, state):
    losses = ("cross_entropy", "dice")
    states = {(loss, seed): state for loss in losses for seed in (0, 1)}
    page = page_of(fabricate(losses=losses, seeds=(0, 1), states=states))
    assert "No answer yet" in page.text
    assert "Three test cases" not in page.text
    assert "0 of 2" in page.text


@pytest.mark.parametrize("changes", [{"seeds": (0,)}, {"losses": ("dice",)}, {"cases": ("only",)}])
def test_small_comparisons_make_a_page(fabricate, changes):
    page = page_of(fabricate(**changes))
    assert "Three test cases" in page.text


def test_cases_are_ranked_by_their_mean_over_all_completed_runs(fabricate):
    directory = fabricate(states={("dice", 0): "failed"})
    comparison = results.load(directory)
    runs = [run for run in comparison.runs if run.state == "completed"]
    means = np.mean([run.test["dice"].per_case.mean(axis=1) for run in runs], axis=0)
    order = np.argsort(means)
    page = page_of(directory)
    for kind, index in (("Best", order[-1]), ("Median", order[2]), ("Worst", order[0])):
        assert re.search(
            rf"{kind} case: {runs[0].cases[index]} , mean Dice {means[index]:.3f}", page.text
        )
    shown = re.findall(r"Dice 0\.\d{3}, seed (\d)", page.text)
    assert shown == ["0", "1", "0", "0"] * 3  # dice: its first completed run


def test_the_report_of_a_distance_says_its_unit_and_which_way_is_better(fabricate, by_hd95):
    directory = fabricate(effects={"dice": 0.06}, noise=0.002, **by_hd95)
    comparison = results.load(directory)
    page = page_of(directory)
    assert "dice scores lower (better) than the baseline cross_entropy on HD95." in page.text
    assert "foreground classes, with empty='worst', in mm, lower is better" in page.text
    assert "Left of the line: better." in page.text
    assert "Test HD95 (mm) ↓" in page.text
    assert "Test HD95 (in mm, lower is better) of each loss over its completed runs" in page.text
    assert "Test Dice (at most 1, higher is better), reported beside HD95." in page.text
    assert "▲ better" in page.text
    # The best case has the least distance.
    means = np.mean([run.test["hd95"].per_case.mean(axis=1) for run in comparison.runs], axis=0)
    order, cases = np.argsort(means), comparison.runs[0].cases
    for kind, index in (("Best", order[0]), ("Worst", order[-1])):
        assert f"{kind} case: {cases[index]} , mean HD95 {means[index]:.3f} mm" in page.text
    share = page_of(fabricate("share"))
    assert "Right of the line: better." in share.text
    assert "at most 1, higher is better" in share.text


def test_a_slice_keeps_its_proportions_in_millimeters(fabricate):
    directory = fabricate(data={"spacing": [2.0, 1.0, 5.0]})
    text = report.write_report(directory).read_text()
    assert "aspect-ratio: 48 / 96" in text


def test_ten_losses_and_ten_seeds_stay_small(fabricate):
    losses = tuple(f"loss_{k}" for k in range(10))
    directory = fabricate(losses=losses, seeds=tuple(range(10)), size=160, steps=1500)
    assert report.write_report(directory).stat().st_size < 3e6


def test_cost_is_given_in_units_and_beside_the_baseline(fabricate):
    text = page_of(fabricate()).text
    assert "cross_entropy 30.1 1.00 6.0 40.0 1.00 20.0" in text
    assert "dice 32.1 1.07 7.0 41.0 1.02 21.0" in text


def test_how_to_reproduce_is_said(fabricate):
    directory = fabricate(command="lossbench compare --config=experiments/x.py")
    page = page_of(directory)
    assert "git checkout 0123456789abcdef" in page.text
    assert "lossbench compare --config=experiments/x.py" in page.text
    assert f"lossbench report {directory}" in page.text
    assert '"learning_rate": 0.001' in page.text


def test_a_failed_write_leaves_the_old_report(fabricate, monkeypatch):
    directory = fabricate()
    old = report.write_report(directory).read_bytes()

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(report.os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        report.write_report(directory)
    assert (directory / "report.html").read_bytes() == old
    assert not list(directory.glob(".*"))


def test_weights_of_terms_are_drawn_for_objectives_with_a_weighting(fabricate):
    directory = fabricate(losses=("dice", "both"), seeds=(0, 1))
    assert "Weights of the terms" not in page_of(directory).text
    plan = json.loads((directory / "plan.json").read_text())
    terms = {"dice": {}, "focal": {}, "tversky": {}}
    plan["losses"]["both"] = {"terms": terms, "weighting": {"type": "dwa"}}
    (directory / "plan.json").write_text(json.dumps(plan))
    assert "Weights of the terms" in page_of(directory).text  # from runs that tell none
    for run in plan["runs"]:
        path = directory / "runs" / run["id"] / "result.json"
        result = json.loads(path.read_text())
        for row in result["history"]["train"]:
            row["weights"] = {"dice": 1 + row["step"], "focal": 0.0, "tversky": 1.0}
        path.write_text(json.dumps(result))
    history = next(r for r in results.load(directory).runs if r.loss == "both").history
    np.testing.assert_array_equal(history.weights["dice"], 1 + history.train_steps)
    page = page_of(directory)
    drawn = [value for name, value in page.attributes if name == "aria-label"]
    assert [label for label in drawn if label.startswith("Weight")] == [
        "Weight of each term of both against training step."
    ]
