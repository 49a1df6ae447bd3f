"""`lossbench diagnose`: what it prints and writes, and what it refuses."""

import dataclasses
import json
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench import losses, models
from lossbench.bench.diagnosis import command
from lossbench.bench.plan import make_plan
from lossbench.cli import main
from tests.pixelwise import Pixelwise

CONFIG = {
    "data": {"name": "shapes", "size": (16, 16), "classes": 2}
    | {"train": 6, "validation": 2, "test": 2},
    "augment": {"flip": True},
    "model": {"name": "pixelwise"},
    "losses": {
        "dice": {"terms": {"dice": {}}},
        "both": {"terms": {"dice": {"weight": 1000.0}, "cross_entropy": {}}},
        "other": {"terms": {"focal": {}, "dice": {}}},
    },
    "seeds": [3, 5],
    "train": {"steps": 40, "batch_size": 2, "eval_every": 20, "devices": 1},
}


@pytest.fixture(autouse=True, scope="module")
def _cache(tmp_path_factory):
    """A model that compiles fast, and a compile cache of this file's own."""
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = {name: getattr(jax.config, name) for name in names}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.setitem(models.MODELS, "pixelwise", Pixelwise)
        yield
    for name, value in before.items():
        jax.config.update(name, value)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("diagnose")
    (made / "config_file.py").write_text(f"def get_config():\n    return {CONFIG!r}\n")
    return made


@pytest.fixture(autouse=True)
def _there(folder, monkeypatch):
    monkeypatch.chdir(folder)


@pytest.fixture(scope="module")
def run(folder):
    """One diagnosis of the loss with most terms: its status, output and errors."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        arguments = ["diagnose", "--config=config_file.py", "--batches=3", "--at=5,0,5"]
        with pytest.MonkeyPatch.context() as inner:
            said: list[str] = []
            inner.setattr("builtins.print", lambda *a, **k: said.append(" ".join(map(str, a))))
            status = main(arguments)
    return status, "\n".join(said)


def test_it_prints_and_writes(run, folder):
    status, said = run
    assert status == 0
    out = folder / "runs" / "config_file" / "diagnosis"
    assert f"report: {out / 'diagnosis.html'}" in said
    for step in (0, 5):
        assert f"Step {step}, 3 batches, gradients of all 6 parameters" in said
        assert (out / f"step{step}-cosines.svg").exists()
    assert "'dice' is too large" in said
    assert "'dice' is too large" in (out / "diagnosis.md").read_text(encoding="utf-8")
    assert not [path for path in out.iterdir() if path.name.startswith(".")]


def test_the_json_has_every_number(run, folder):
    found = json.loads((folder / "runs/config_file/diagnosis/diagnosis.json").read_text())
    assert (found["loss"], found["seed"], found["batches"], found["at"]) == ("both", 3, 3, [0, 5])
    assert found["command"].startswith("lossbench diagnose --config=config_file.py")
    assert [one["step"] for one in found["moments"]] == [0, 5]
    dice = found["moments"][0]["terms"][0]
    assert dice["variance"] == pytest.approx(dice["deviation"] ** 2)
    norms = np.array(found["moments"][0]["gradient_norms"])
    assert math.sqrt(np.mean(norms[:, 0] ** 2)) == pytest.approx(dice["norm"])
    assert found["moments"][0]["terms"][1]["norm"] != found["moments"][1]["terms"][1]["norm"]
    assert found["moments"][0]["findings"][0]["kind"] == "dominates"


def test_figures_stand_alone(run, folder):
    text = (folder / "runs/config_file/diagnosis/step0-norms.svg").read_text(encoding="utf-8")
    assert text.startswith("<svg xmlns")
    assert 'xmlns="http://www.w3.org/2000/svg"' in text


def test_the_numbers_are_those_of_the_training_itself(folder):
    """A plan trained to a step by hand has the parameters that the diagnosis looks at."""
    plan = make_plan({**CONFIG, "losses": {"other": CONFIG["losses"]["other"]}})
    asked = command.settings(plan, batches=1, at="0,1")
    found = command.diagnose_plan(plan, asked, say=lambda text: None)
    again = command.diagnose_plan(plan, dataclasses.replace(asked, at=(1,)), say=lambda text: None)
    np.testing.assert_array_equal(found.moment.measured.values, again.moment.measured.values)
    np.testing.assert_array_equal(found.moment.measured.products, again.moment.measured.products)


def test_defaults():
    plan = make_plan(CONFIG)
    asked = command.settings(plan)
    assert asked == command.Settings(loss="both", seed=3, batches=16, at=(0, 4))
    long = make_plan({**CONFIG, "train": {"steps": 5000}})
    assert command.settings(long).at == (0, 100)
    short = make_plan({**CONFIG, "train": {"steps": 1}})
    assert command.settings(short).at == (0, 1)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--loss=bot"], "did you mean 'both'"),
        (["--seed=4"], "seed of the configuration '4'"),
        (["--batches=0"], "--batches=0: at least 1"),
        (["--at=0,-3"], "--at=0,-3: expected steps"),
        (["--at="], "--at=: expected steps"),
        (["--shared=nosuch/*", "--batches=1", "--at=0"], "'nosuch/*'"),
        (["--at=41"], "the training has 40 steps"),
        (["--out=config_file.py/x"], "--out: config_file.py/x cannot be made"),
        (["--config.train.stepz=3"], "stepz"),
        (["--nosuch=3"], "unknown option '--nosuch=3'"),
        (["--config.model.name=nosuch"], "unknown model 'nosuch'"),
    ],
)
def test_a_user_s_error_is_one_message_and_leaves_nothing(arguments, said, capsys, folder):
    before = sorted(folder.rglob("*"))
    status = main(["diagnose", "--config=config_file.py", *arguments])
    out, err = capsys.readouterr()
    assert (status, out) == (2, "")
    (line,) = [line for line in err.splitlines() if line.startswith("lossbench: ")]
    assert said in line
    assert "Traceback" not in err
    assert sorted(folder.rglob("*")) == before


def test_an_objective_that_does_not_fit_is_named(capsys, folder):
    config = {**CONFIG, "losses": {"l": {"terms": {"dice": {"inputs": {"logits": "nosuch"}}}}}}
    Path("other_file.py").write_text(f"def get_config():\n    return {config!r}\n")
    status = main(["diagnose", "--config=other_file.py"])
    out, err = capsys.readouterr()
    assert (status, out) == (2, "")
    assert "losses.l: " in err
    assert "nosuch" in err
    assert not (folder / "runs" / "other_file").exists()


def test_stopped_it_does_not_promise_to_go_on(capsys, monkeypatch):
    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "diagnose_plan", stopped)
    status = main(["diagnose", "--config=config_file.py"])
    assert (status, *capsys.readouterr()) == (130, "", "\nlossbench: stopped\n")


def ruin(logits, labels):
    """NaN with its gradient, and so are the parameters after a step."""
    return jnp.nan * jnp.mean(logits**2, axis=(1, 2, 3))


def test_a_training_that_is_ruined_is_told_and_the_moment_before_it_kept(monkeypatch, folder):
    monkeypatch.setattr(losses, "ruin", ruin, raising=False)
    terms = {"dice": {}, "bad": {"loss": "lossbench.losses:ruin"}}
    plan = make_plan({**CONFIG, "losses": {"l": {"terms": terms}}})
    asked = command.settings(plan, batches=1, at="0,2,3")
    said = []
    found = command.diagnose_plan(plan, asked, say=said.append)
    assert [one.moment.step for one in found.examinations] == [0]
    assert found.ended == (
        "The training ended at step 1 by the term 'bad': it was not finite; steps 2, 3 cannot be "
        "looked at."
    )
    assert "l: looking at 1 batch at step 0" in said
    assert np.isfinite(found.moment.term("dice").norm)
    assert command.as_values(found)["ended"] == found.ended
    late = dataclasses.replace(asked, at=(2,))
    with pytest.raises(ValueError, match=r"ended at step 1 .*--at=0 looks before"):
        command.diagnose_plan(plan, late, say=said.append)


def test_a_folder_is_tried_and_nothing_of_it_left(tmp_path):
    command.check_folder(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []
    for refused in (Path("/proc/nope"), Path("/dev/null/x")):
        with pytest.raises(ValueError, match=f"--out: {refused} cannot be made"):
            command.check_folder(refused)
