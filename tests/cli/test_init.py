import pytest

from lossbench import __version__
from tests.cli.conftest import called


def test_version_is_told(capsys):
    assert called(capsys, "--version") == (0, f"lossbench {__version__}\n", "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "required: COMMAND"),
        (["compare"], "required: --config"),
        (["list", "loss"], "invalid choice: 'loss'"),
        (["score", "run"], "required: SCENE"),
        (["score", "run", "field.npz", "--anomalous=x"], "invalid int value: 'x'"),
        (["train", "--config=config_file.py", "--seed=x"], "invalid int value: 'x'"),
    ],
)
def test_a_bad_command_is_refused(capsys, arguments, message):
    status, out, err = called(capsys, *arguments)
    assert (status, out) == (2, "")
    assert message in err


def test_the_module_is_a_program(process):
    started = [process("compare", "--config=nowhere.py"), process("list", "metrics")]
    (bad, good) = [(*p.communicate(), p.returncode) for p in started]
    said = "lossbench: no configuration file 'nowhere.py'; in its folder: config_file.py\n"
    assert bad == ("", said, 2)
    assert good[2] == 0
    assert good[0].startswith("metrics:\n  dice ")


def test_only_commands_about_a_configuration_take_more(capsys):
    for command in (["report", "x"], ["list"], ["cost"], ["score", "a", "b"], ["export", "a"]):
        status, out, err = called(capsys, *command, "--config.seeds=1")
        assert (status, out) == (2, "")
        assert "unrecognized arguments: --config.seeds=1" in err
