import csv
import json

import jax
import pytest

from lossbench.bench.cost import peers, run
from lossbench.cli import main

SHAPE = "2x6x5x3"


@pytest.fixture(autouse=True)
def _strict(monkeypatch, tmp_path):
    """A folder of the test's own; optax broadcasts as it likes."""
    monkeypatch.chdir(tmp_path)
    with jax.numpy_rank_promotion("allow"):
        yield


def called(capsys, *arguments):
    try:
        status = main(["cost", *arguments])
    except SystemExit as end:
        status = end.code
    return status, *capsys.readouterr()


def test_a_run_from_the_command_line_leaves_table_and_picture(capsys, tmp_path):
    (tmp_path / "own.py").write_text(
        "def broken(logits, labels):\n    raise RuntimeError('not written yet')\n"
    )
    arguments = ("dice", "dice+cross_entropy", "own.py:broken", f"--shape={SHAPE}")
    status, out, err = called(capsys, *arguments, "--peers=optax", "--rounds=1", "--out=made/here")
    assert status == 0
    made = tmp_path / "made" / "here"
    assert sorted(path.name for path in made.iterdir()) == [
        "cost.csv",
        "cost.json",
        "cost.md",
        "cost.png",
        "cost.svg",
    ]
    with (made / "cost.csv").open() as file:
        rows = {(row["loss"], row["implementation"]): row for row in csv.DictReader(file)}
    assert list(rows) == [
        ("dice", "lossbench"),
        ("dice", "copy"),
        ("dice", "optax"),
        ("dice+cross_entropy", "lossbench"),
        ("dice+cross_entropy", "terms apart"),
        ("dice+cross_entropy", "copy"),
        ("own.py:broken", "lossbench"),
    ]
    ours = rows["dice", "lossbench"]
    assert float(ours["milliseconds"]) > 0
    assert ours["rounds"] == "1"
    assert ours["jax"] == jax.__version__
    assert rows["own.py:broken", "lossbench"]["error"] == "RuntimeError: not written yet"
    document = json.loads((made / "cost.json").read_text())
    assert document["settings"]["losses"] == ["dice", "dice+cross_entropy", "own.py:broken"]
    assert len(document["rows"]) == len(rows)
    assert document["settings"]["command"].startswith("lossbench cost dice")
    assert "[3/3]" in err
    assert f"table: {made / 'cost.md'}" in out
    assert "own.py:broken, lossbench: failed: RuntimeError: not written yet" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("dise",), "unknown loss 'dise'; did you mean 'dice'"),
        (("--shape=2x3",), "--shape=2x3: expected a batch"),
        (("--peers=monay",), "unknown peer in --peers 'monay'"),
        (("--compile=monay",), "unknown peer in --compile 'monay'"),
        (("--rounds=0",), "--rounds=0: at least 1"),
        (("--seconds=nan",), "--seconds=nan: at least 0"),
        (("--round=3",), "unrecognized arguments: --round=3"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_measured(capsys, tmp_path, arguments, message):
    status, out, err = called(capsys, *arguments)
    assert (status, out) == (2, "")
    assert message in err
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_without_a_word_everything_is_asked_for():
    asked = run.settings([], [], "all", "torch,monai", rounds=9, seconds=20.0, command="")
    assert "dice" in asked.losses
    assert "dice+cross_entropy" in asked.losses
    assert (2, 96, 96, 96, 3) in asked.shapes
    assert (1, 64, 64, 64, 100) in asked.shapes
    assert asked.peers == tuple(peers.PEERS)


def test_a_run_of_which_nothing_was_measured_fails(capsys, tmp_path):
    (tmp_path / "own.py").write_text("def broken(logits, labels):\n    raise RuntimeError('no')\n")
    status, out, _ = called(capsys, "own.py:broken", f"--shape={SHAPE}", "--peers=none")
    assert status == 1
    assert "failed: RuntimeError: no" in out


def test_what_was_measured_outlives_an_interruption(capsys, tmp_path, monkeypatch):
    measured = run.measure_case

    def case(name, *others):
        if name == "focal":
            raise KeyboardInterrupt
        return measured(name, *others)

    monkeypatch.setattr(run, "measure_case", case)
    arguments = ("dice", "focal", f"--shape={SHAPE}", "--peers=none", "--rounds=1", "--out=made")
    status, _, err = called(capsys, *arguments)
    assert status == 130
    assert "stopped; what was measured is in made" in err
    assert len((tmp_path / "made" / "cost.csv").read_text().splitlines()) == 3
