from pathlib import Path

import optax
import pytest

from lossbench import losses
from lossbench.cli import main
from lossbench.testing.command import loss_of, option

MINE = """
import jax, jax.numpy as jnp

def mine(logits, labels, *, gamma=2.0):
    p = jnp.take_along_axis(jax.nn.softmax(logits), labels[..., None], -1)
    return -jnp.mean((1 - p) ** gamma * jnp.log(p), (1, 2, 3))

def dead(logits, labels):
    return 0 * logits.sum((1, 2, 3))
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(MINE)


def called(capsys, *arguments):
    try:
        status = main(["torture", *arguments])
    except SystemExit as end:
        status = end.code
    return status, *capsys.readouterr()


def test_names_of_losses():
    assert loss_of("dice") is losses.dice
    assert loss_of("lossbench.losses.dice") is losses.dice
    assert loss_of("optax.losses.dice_loss") is optax.losses.dice_loss
    assert loss_of("optax.losses:dice_loss") is optax.losses.dice_loss
    assert loss_of("mine.py:mine").__name__ == "mine"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a=1", 1),
        ("a=.5", 0.5),
        ("a=True", True),
        ("a=[1, 2]", [1, 2]),
        ("a=b=c", "b=c"),
        ("a=", ""),
    ],
)
def test_options(text, value):
    assert option(text) == ("a", value)


@pytest.mark.long
def test_a_verdict_and_its_status(capsys):
    status, out, _ = called(capsys, "mine.py:mine", "--quick", "--option", "gamma=1.0")
    assert status == 1
    lines = out.splitlines()
    assert lines[0].startswith("mine.py:mine (JAX): 3 classes, labels as class ids, no mask;")
    assert any(line.startswith("FAIL saturated logits   value ") for line in lines)
    assert any("left out as asked: 256^3 sums" in line for line in lines)
    assert lines[-1].endswith("not applicable")
    assert max(map(len, lines)) <= 100


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["dise"], "did you mean 'dice'"),
        (["optax.losses.dise_loss"], "has no attribute 'dise_loss'"),
        (["no_such_package.loss"], "No module named 'no_such_package'"),
        (["math.pi"], "math.pi is a float, no function or class"),
        (["dice", "--option", "smoth=2"], "did you mean 'smooth'"),
        (["dice", "--option", "2"], "expected NAME=VALUE, got '2'"),
        (["dice", "--skip", "vmab"], "did you mean 'vmap'"),
        (["dice", "--labels", "id"], "unknown form of labels 'id'"),
        (["dice", "--quik"], "unrecognized arguments: --quik"),
        (["math.hypot"], "the loss runs with no number of classes and form of labels"),
    ],
)
def test_a_users_error_is_one_message_and_status_2(capsys, arguments, message):
    status, out, errors = called(capsys, *arguments)
    assert (status, out) == (2, "")
    assert message in errors
