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


def test_the_source_of_a_name_is_its_own_and_not_its_neighbors(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("x = 1\n\n\ndef twice(x):\n    return 2 * x\n\n\nclass Model:\n    pass\n")
    assert source(f"{file}:twice") == "def twice(x):\n    return 2 * x"
    assert source(f"{file}:Model") == "class Model:\n    pass"
    assert "did you mean" in source("lossbench._names:unknown")
