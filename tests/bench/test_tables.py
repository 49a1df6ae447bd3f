import csv
import io
import json
import math

import numpy as np
import pytest

from lossbench.bench import results, statistics, tables


@pytest.fixture
def comparison(fabricate):
    states = {("focal", 1): "diverged", ("dice_ce", 2): "pending"}
    return results.load(fabricate(states=states, effects={"dice": 0.06}, noise=0.004))


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_csv_has_one_row_a_run_and_case(comparison):
    rows = rows_of(tables.results_csv(comparison))
    assert list(rows[0]) == [
        "id", "loss", "seed", "state", "case",
        "dice", "dice_disc", "dice_ring", "iou", "iou_disc", "iou_ring",
    ]  # fmt: skip
    assert len(rows) == 10 * 5 + 2
    run = comparison.of("dice")[1]
    ours = [row for row in rows if row["id"] == run.id]
    assert [row["case"] for row in ours] == list(run.cases)
    np.testing.assert_array_equal(
        [[float(row["dice_disc"]), float(row["dice_ring"])] for row in ours],
        run.test["dice"].per_case,
    )
    (lost,) = [row for row in rows if row["loss"] == "focal" and row["seed"] == "1"]
    assert (lost["state"], lost["case"], lost["dice"]) == ("diverged", "", "")


def test_csv_holds_names_that_a_spreadsheet_would_run(fabricate):
    evil = ("=1+1", "+x", "-x", "@x", '"quoted", and\nbroken', "=a")
    rows = rows_of(
        tables.results_csv(
            results.load(fabricate(losses=evil, seeds=(0,), cases=("=cmd()", "\tx"), size=16))
        )
    )
    losses = list(dict.fromkeys(row["loss"] for row in rows))
    assert losses == ["'=1+1", "'+x", "'-x", "'@x", '"quoted", and\nbroken', "'=a"]
    assert {row["case"] for row in rows} == {"'=cmd()", "'\tx"}


def test_json_is_strict_and_holds_the_numbers_of_the_tables(comparison):
    def refuse(name):
        raise AssertionError(name)

    document = json.loads(tables.results_json(comparison), parse_constant=refuse)
    expected = statistics.standings(
        comparison.scores("dice"), "cross_entropy", higher_is_better=True
    )
    for loss, row in expected.items():
        got = document["losses"][loss]["metrics"]["dice"]
        assert got["mean"] == row.interval.mean
        assert got["verdict"] == row.verdict
        assert (got["difference"] is None) == (loss == "cross_entropy")
    assert document["losses"]["cross_entropy"]["metrics"]["dice"]["p_holm"] is None
    assert document["losses"]["focal"]["runs"] == {
        "completed": 2, "diverged": 1, "failed": 0, "pending": 0,
    }  # fmt: skip
    assert [run["id"] for run in document["runs"]] == [run.id for run in comparison.runs]
    assert document["losses"]["dice"]["metrics"]["iou"]["classes"][1]["class"] == "ring"


def test_class_intervals_are_over_seeds(comparison):
    ring = [run.test["dice"].per_class[1] for run in comparison.of("dice")]
    got = tables.class_intervals(comparison, "dice")["dice"][1]
    assert got == statistics.t_interval(ring)
    assert tables.class_intervals(comparison, "dice")["focal"][0].n == 2


def test_cost_is_the_median_and_counts_only_fresh_compilations(comparison):
    cost = tables.median_cost(comparison, "dice")
    assert cost.step_seconds == pytest.approx(0.0321)
    assert cost.compile_seconds == 7.0
    assert not cost.compile_from_cache


def test_cost_says_when_every_program_came_from_the_cache(fabricate):
    cost = tables.median_cost(results.load(fabricate(seeds=(1, 2))), "dice")
    assert cost.compile_from_cache
    assert cost.compile_seconds == 0.4


def test_cost_without_any_run_is_undefined(fabricate):
    states = {("dice", seed): "pending" for seed in range(3)}
    assert math.isnan(tables.median_cost(results.load(fabricate(states=states)), "dice").peak_bytes)


def test_latex_escapes_every_special_character():
    text = tables.latex_text("a_b % & # $ { } ~ ^ \\")
    assert text == (r"a\_b \% \& \# \$ \{ \} \textasciitilde{} \textasciicircum{} \textbackslash{}")
    assert tables.latex_text("two\nlines\\\\") == (r"two lines\textbackslash{}\textbackslash{}")


def test_latex_table_has_a_row_for_each_loss(fabricate):
    losses = ("cross_entropy", "[x]", "*", "a & b \\\\ %")
    text = tables.latex(results.load(fabricate(losses=losses)))
    lines = text.splitlines()
    assert r"\toprule" in lines
    body = lines[lines.index(r"\midrule") + 1 : lines.index(r"\bottomrule")]
    assert len(body) == 4
    for line in body:
        assert line.startswith("{")  # a bare [ or * would be taken by the \\ before it
        assert line.endswith(r" \\")
        assert line.replace(r"\&", "").count("&") == 5
    assert all(line.count("{") == line.count("}") for line in lines)
    assert "–" not in text
    assert "−" not in text


def test_summary_for_the_terminal_says_the_verdicts(comparison):
    lines = tables.summary_lines(comparison)
    assert len(lines) == 5
    assert lines[0].split()[0] == "loss"
    assert lines[2].startswith("dice ")
    assert lines[2].endswith("better")
    assert "2 of 3" in lines[3]
    assert "\n".join(lines).isascii()


def test_tables_of_a_distance_have_its_unit_and_its_direction(fabricate, by_hd95):
    comparison = results.load(fabricate(effects={"dice": 0.06}, noise=0.004, **by_hd95))
    assert tables.standings(comparison, "hd95")["dice"].verdict == "better"
    assert tables.standings(comparison, "dice")["dice"].verdict == "better"
    latex = tables.latex(comparison)
    assert r"HD95 (mm) $\downarrow$ [95\,\% interval]" in latex
    assert r"Difference (mm) [95\,\% interval]" in latex
    head, _, dice, *_ = tables.summary_lines(comparison)
    assert "hd95 in mm, lower is better [95 %]" in head
    assert "\n".join([head, dice]).isascii()
    assert dice.endswith("better")
    document = json.loads(tables.results_json(comparison))
    assert document["metrics"] == by_hd95["metrics"]
    assert document["losses"]["dice"]["metrics"]["hd95"]["difference"]["mean"] < 0
    assert tables.meaning(comparison, "hd95") == "with empty='worst', in mm, lower is better"
    assert tables.meaning(comparison, "dice") == "at most 1, higher is better"
    assert tables.measure(comparison, "dice") == "Dice"
    assert tables.measure(comparison, "hd95") == "HD95 (mm) ↓"


@pytest.mark.parametrize(("spacing", "unit"), [(None, "pixels"), ([1.0, 1.0], "mm")])
def test_a_tolerance_has_a_unit(fabricate, spacing, unit):
    nsd = {"higher_is_better": True, "unit": "", "options": {"tolerance": 2, "empty": "zero"}}
    plan = {"metrics": {"dice": {}, "nsd": nsd}, "data": {"spacing": spacing}}
    assert tables.meaning(results.load(fabricate(**plan)), "nsd") == (
        f"with tolerance = 2 {unit}, with empty='zero', at most 1, higher is better"
    )


def test_summary_keeps_control_characters_from_the_terminal(fabricate):
    lines = tables.summary_lines(results.load(fabricate(losses=("a\x1b[31m", "b\nc"))))
    assert len(lines) == 3
    assert "\x1b" not in "".join(lines)
    assert lines[2].startswith("b c")


@pytest.mark.parametrize(
    ("value", "signed", "text"),
    [
        (0.12345, False, "0.123"),
        (0.12345, True, "+0.123"),
        (-0.5, False, "−0.500"),
        (-0.0001, True, "0.000"),
        (math.nan, True, "–"),
    ],
)
def test_number(value, signed, text):
    assert tables.number(value, 3, signed) == text


@pytest.mark.parametrize(("half", "digits"), [(0.02, 3), (0.0051, 3), (0.0049, 4), (math.nan, 3)])
def test_narrow_intervals_get_a_fourth_decimal(half, digits):
    interval = statistics.Interval(0.8, 0.8 - half, 0.8 + half, 3)
    row = statistics.Standing(interval, None, math.nan, statistics.BASELINE, None)
    assert tables.decimals({"dice": row, "focal": row}) == digits
