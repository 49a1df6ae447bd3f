import csv
import json

import jax
import pytest

from lossbench.bench.cost import weighting_run
from lossbench.cli import main
from lossbench.weighting import WEIGHTINGS

SHAPE = "1x4x8x3"


@pytest.fixture(autouse=True)
def _folder(monkeypatch, tmp_path):
    """A folder of the test's own."""
    monkeypatch.chdir(tmp_path)


def called(capsys, *arguments):
    try:
        status = main(["cost", "weighting", *arguments])
    except SystemExit as end:
        status = end.code
    return status, *capsys.readouterr()


@pytest.mark.long
def test_a_run_from_the_command_line_leaves_table_and_picture(capsys, tmp_path):
    arguments = ("constant", "pcgrad", "--terms=2", f"--shape={SHAPE}", "--peers=none")
    status, out, err = called(capsys, *arguments, "--rounds=1", "--out=made/here")
    assert status == 0
    made = tmp_path / "made" / "here"
    endings = ("csv", "json", "md", "png", "svg")
    assert sorted(path.name for path in made.iterdir()) == [f"weighting-cost.{e}" for e in endings]
    with (made / "weighting-cost.csv").open() as file:
        rows = {(row["method"], row["implementation"]): row for row in csv.DictReader(file)}
    assert list(rows) == [
        ("constant", "plain sum"),
        ("constant", "lossbench"),
        ("pcgrad", "plain sum"),
        ("pcgrad", "lossbench"),
        ("pcgrad", "lossbench, last layer"),
    ]
    ours = rows["pcgrad", "lossbench"]
    assert float(ours["milliseconds"]) > 0
    assert float(ours["times_plain"]) > 0
    assert ours["limit"] == "2.3"
    assert ours["jax"] == jax.__version__
    document = json.loads((made / "weighting-cost.json").read_text())
    assert document["settings"]["methods"] == ["constant", "pcgrad"]
    assert document["settings"]["command"].startswith("lossbench cost weighting constant")
    assert len(document["rows"]) == len(rows)
    assert "[2/2] 1x4x8x3 2 terms pcgrad: plain sum" in err
    assert f"table: {made / 'weighting-cost.md'}" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("pcgrat",), "unknown weighting 'pcgrat'; did you mean 'pcgrad'"),
        (("--shape=1x8x3",), "--shape=1x8x3: a weighting is measured on a U-Net"),
        (("--shape=1x6x8x3",), "two or three axes of space whose sizes 4 divides"),
        (("--peers=monai",), "--peers=monai: the peer of weightings is torchjd"),
        (("--compile=torch",), "--compile is for losses"),
        (("--terms=0",), "--terms=0: expected numbers from 1 to 8, such as 2,3,8"),
        (("--terms=2,9",), "--terms=2,9: expected numbers from 1 to 8"),
        (("--terms=two",), "--terms=two: expected numbers"),
        (("--rounds=0",), "--rounds=0: at least 1"),
        (("--seconds=nan",), "--seconds=nan: at least 0"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_measured(capsys, tmp_path, arguments, message):
    status, out, err = called(capsys, *arguments)
    assert (status, out) == (2, "")
    assert message in err
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_terms_are_for_weightings_alone(capsys):
    assert main(["cost", "dice", "--terms=2"]) == 2
    assert "--terms is for weightings" in capsys.readouterr().err


def test_without_a_word_everything_is_asked_for():
    asked = weighting_run.settings([], "2,3,8", [], "all", rounds=9, seconds=20.0, command="")
    assert asked.methods == tuple(WEIGHTINGS)
    assert asked.terms == (2, 3, 8)
    assert asked.shapes == ((2, 48, 64, 48, 3),)
    assert asked.peers


def test_a_weighting_that_fails_is_a_row_and_the_others_go_on(capsys, tmp_path, monkeypatch):
    from lossbench.bench.cost import weighting
    from lossbench.bench.cost.measure import Contestant

    def contestant(label, problem, method, terms, shared=""):
        if method == "dwa":
            raise RuntimeError("not written yet")
        if method == "famo":
            raise KeyboardInterrupt
        return Contestant(label, lambda: (1.0,), lambda out: None)

    monkeypatch.setattr(weighting, "contestant", contestant)
    arguments = ("dwa", "geometric", "famo", "--terms=2", f"--shape={SHAPE}", "--peers=none")
    status, _, err = called(capsys, *arguments, "--rounds=1", "--out=made")
    assert status == 130
    assert "lossbench failed: RuntimeError: not written yet" in err
    assert "stopped; what was measured is in made" in err
    lines = (tmp_path / "made" / "weighting-cost.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines[1:]] == ["dwa", "dwa", "geometric", "geometric"]
