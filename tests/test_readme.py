"""What README shows, runs."""

import re
from pathlib import Path

from lossbench.bench import results
from lossbench.cli import main

SNIPPETS = re.findall(
    r"```python\n(.*?)```", (Path(__file__).parents[1] / "README.md").read_text(), re.S
)


def test_the_library_snippets_run_one_after_the_other():
    names = {}
    for snippet in SNIPPETS:
        if "get_config" not in snippet:
            exec(compile(snippet, "README.md", "exec"), names)
    assert names["value"].shape == (2,)
    assert set(names["weights"]) == {"dice", "hard"}


def test_a_comparison_of_a_new_loss_is_one_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (file,) = (snippet for snippet in SNIPPETS if "get_config" in snippet)
    Path("mine.py").write_text(file)
    shorter = ["--config.seeds=1", "--config.train.steps=2", "--config.train.devices=1"]
    assert main(["compare", "--config=mine.py", *shorter]) == 0
    comparison = results.load(tmp_path / "runs" / "mine")
    assert [run.state for run in comparison.runs] == [results.COMPLETED] * 2
