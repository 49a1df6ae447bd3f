import pytest

from tests.cli.conftest import called, refused


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["cost", "dice", "--terms=2"], "--terms is for weightings: lossbench cost weighting"),
        (["cost", "weighting", "--compile=torch"], "--compile is for losses"),
        (["cost", "dicee"], "unknown loss 'dicee'; did you mean 'dice'"),
        (["torture", "dicee"], "'dicee'"),
    ],
)
def test_what_cannot_be_measured_is_one_message(capsys, arguments, message):
    assert message in refused(capsys, *arguments)


def test_both_explain_themselves(capsys):
    for command in ("cost", "torture"):
        status, out, _ = called(capsys, command, "--help")
        assert status == 0
        assert f"lossbench {command}" in out
