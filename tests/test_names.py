import math

import pytest

from lossbench._names import find, load_file, source, unknown


def test_a_near_name_is_offered_and_all_are_listed():
    message = str(unknown("shape", "dics", ["disc", "ring"]))
    assert message == "unknown shape 'dics'; did you mean 'disc'? There are: disc, ring"


def test_a_far_name_gets_the_list_alone():
    assert (
        str(unknown("shape", "zzz", ["disc", "ring"]))
        == "unknown shape 'zzz'. There are: disc, ring"
    )
    assert str(unknown("shape", "zzz", [])) == "unknown shape 'zzz'. There are: none"


def test_the_table_comes_first():
    assert find("number", "math:pi", {"math:pi": 3}) == 3


def test_a_module_and_a_file_are_found_by_their_place(tmp_path):
    assert find("number", "math:pi", {}) == math.pi
    file = tmp_path / "mine.py"
    file.write_text("def twice(x):\n    return 2 * x\n")
    assert find("function", f"{file}:twice", {})(4) == 8


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("math:tau_and_a_half", "has no attribute 'tau_and_a_half'"),
        ("no_such_module:f", "No module named 'no_such_module'"),
        ("nowhere.py:f", "there is no file 'nowhere.py'"),
        ("broken.py:f", "NameError"),
    ],
)
def test_what_is_not_there_is_named(tmp_path, monkeypatch, name, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.py").write_text("undefined\n")
    with pytest.raises(ValueError, match=message) as caught:
        find("loss", name, {"dice": 1})
    assert str(caught.value).startswith(f"loss '{name}': ")


def test_a_file_is_a_module_of_its_own(tmp_path):
    (tmp_path / "mine.py").write_text("x = []\n")
    assert load_file(tmp_path / "mine.py").x is not load_file(tmp_path / "mine.py").x


def test_the_source_is_all_of_the_file_that_can_change_a_result(tmp_path):
    file = tmp_path / "mine.py"
    text = "SCALE = 1\n\ndef twice(x):\n    return SCALE * x\n\ndef get_config():\n    return {}\n"
    file.write_text(text)
    before = source(f"{file}:twice")
    file.write_text(text.replace("{}", "{'seeds': 5}") + "# a remark\n")
    assert source(f"{file}:twice") == before
    file.write_text(text.replace("SCALE = 1", "SCALE = 2"))
    assert source(f"{file}:twice") != before
    assert "did you mean" in source("lossbench._names:unknown")


def test_a_flax_model_with_postponed_annotations_loads(tmp_path):
    file = tmp_path / "net.py"
    file.write_text(
        "from __future__ import annotations\nimport flax.linen as nn\n\n\n"
        "class Net(nn.Module):\n    num_classes: int\n"
    )
    assert find("model", f"{file}:Net", {})(num_classes=2).num_classes == 2
