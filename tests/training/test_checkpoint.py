import json
import random
import shutil
import signal
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from orbax.checkpoint import v1 as ocp

from lossbench.training.checkpoint import Checkpoint, open_checkpoints
from lossbench.training.state import TrainState

HISTORY = {"train": [{"loss": 0.1}], "validation": [{"step": 3, "dice": float("nan")}]}


def state_of(step: int) -> TrainState:
    """Values that lose something in any text form, in several dtypes."""
    rng = np.random.default_rng(step)
    weights = {
        "odd": jnp.float32([0.1, np.nan, -np.inf, -0.0, 1e-45]),
        "random": jnp.asarray(rng.normal(size=(3, 2)), jnp.float32),
        "half": jnp.asarray(rng.normal(size=4), jnp.bfloat16),
    }
    return TrainState(
        jnp.int32(step), weights, {}, (jnp.int32(step), weights["random"]), {}, {}, {}
    )


def checkpoint(step: int, history=HISTORY) -> Checkpoint:
    return Checkpoint(state_of(step), {"next_index": step, "nested": {"seed": 2**31}}, history)


def steps(folder) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "run" / "checkpoints"


def test_there_is_none_at_first(folder):
    with open_checkpoints(folder) as checkpoints:
        assert checkpoints.latest(state_of(0)) is None


def test_what_is_loaded_is_what_was_saved_to_the_bit(folder, same):
    with open_checkpoints(folder) as checkpoints:
        checkpoints.save(checkpoint(5), step=5, best=True)
    with open_checkpoints(folder) as checkpoints:
        found = checkpoints.latest(state_of(0))
        again = checkpoints.load(5, state_of(0))
    assert found is not None
    for one in (found, again):
        assert same(one.state, state_of(5))
        assert one.position == checkpoint(5).position
        assert one.history["train"] == HISTORY["train"]
        assert np.isnan(one.history["validation"][0]["dice"])


def test_a_checkpoint_comes_back_on_the_devices_asked_for(folder, same):
    with open_checkpoints(folder) as checkpoints:
        checkpoints.save(checkpoint(5), step=5, best=True)
        mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
        everywhere = jax.device_put(state_of(0), jax.NamedSharding(mesh, jax.P()))
        found = checkpoints.load(5, everywhere)
    assert same(found.state, state_of(5))
    assert {len(x.sharding.device_set) for x in jax.tree.leaves(found.state)} == {4}


def test_the_latest_and_the_best_are_kept_and_no_other(folder):
    with open_checkpoints(folder) as checkpoints:
        checkpoints.save(checkpoint(10), step=10, best=True)
        checkpoints.save(checkpoint(20), step=20, best=False)
        assert steps(folder) == {"10", "20"}
        checkpoints.save(checkpoint(30), step=30, best=False)
        assert steps(folder) == {"10", "30"}
    with open_checkpoints(folder) as checkpoints:  # as a continued run does
        checkpoints.save(checkpoint(40), step=40, best=False)
        assert steps(folder) == {"10", "40"}
        checkpoints.save(checkpoint(50), step=50, best=True)
        assert steps(folder) == {"50"}
        checkpoints.save(checkpoint(60), step=60, best=False)
        assert int(checkpoints.load(50, state_of(0)).state.step) == 50
    assert steps(folder) == {"50", "60"}


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """A folder with the best, 10, and the latest, 30; and the checkpoint 20 that was between."""
    folder, between = (tmp_path_factory.mktemp("parts") / n for n in ("checkpoints", "20"))
    with open_checkpoints(folder) as checkpoints:
        checkpoints.save(checkpoint(10), step=10, best=True)
        checkpoints.save(checkpoint(20), step=20, best=False)
        shutil.copytree(folder / "20", between)
        checkpoints.save(checkpoint(30), step=30, best=False)
    return folder, between


def goes_on_from_30(folder) -> None:
    with open_checkpoints(folder) as checkpoints:
        found = checkpoints.latest(state_of(0))
        assert found is not None
        assert int(found.state.step) == 30
        checkpoints.save(checkpoint(40), step=40, best=False)
        assert int(checkpoints.load(40, state_of(0)).state.step) == 40
        assert int(checkpoints.load(10, state_of(0)).state.step) == 10
    with open_checkpoints(folder) as checkpoints:
        assert int(checkpoints.latest(state_of(0)).state.step) == 40


@pytest.mark.parametrize("share", [0, 0.5, 1])
def test_a_half_written_checkpoint_is_not_taken(folder, parts, share):
    # A kill while 40 was written leaves a folder of another name, with some of its files.
    shutil.copytree(parts[0], folder)
    half = folder / "40.orbax-checkpoint-tmp"
    shutil.copytree(parts[1], half)
    files = sorted(p for p in half.rglob("*") if p.is_file())
    for file in files[int(share * len(files)) :]:
        file.unlink()
    goes_on_from_30(folder)
    assert steps(folder) == {"10", "40"}


@pytest.mark.parametrize("seed", range(4))
def test_a_half_deleted_checkpoint_is_no_hindrance(folder, parts, seed):
    # A kill while 20 was deleted leaves some of its files.
    shutil.copytree(parts[0], folder)
    shutil.copytree(parts[1], folder / "20")
    rng = np.random.default_rng(seed)
    files = np.array(sorted(p for p in (folder / "20").rglob("*") if p.is_file()), object)
    for file in rng.permutation(files)[: rng.integers(1, len(files))]:
        file.unlink()
    goes_on_from_30(folder)


# A run that is really killed, at moments that nobody chose.
CONFIG = {
    "data": {"name": "shapes", "size": (16, 16), "classes": 2}
    | {"train": 4, "validation": 2, "test": 3},
    "losses": ["dice"],
    "model": {"name": "unet", "features": (2,)},
    "augment": {"flip": True, "noise": 0.1},
    "train": {"steps": 120, "batch_size": 2, "eval_every": 4, "log_every": 3, "ema_decay": 0.9}
    | {"plateau_patience": 3},
}


@pytest.fixture
def _empty_folder(tmp_path, monkeypatch):
    """Where the test's programs run, with a compile cache of their own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.usefixtures("_empty_folder")
@pytest.mark.long
def test_a_run_that_is_killed_ends_with_the_bits_of_one_that_is_not(process):
    Path("config_file.py").write_text(f"def get_config():\n    return {CONFIG!r}\n")
    arguments = ("train", "--config=config_file.py", "--workdir")
    whole = process(*arguments, "whole")
    rng, at, told = random.Random(0), [], ""
    # The first dies before its first validation; the others at moments after some, in a step, in a
    # validation, while a checkpoint is written or an older one deleted. Before a third validation
    # the checkpoint of the first is there, however slow the machine is.
    for sign, longest in (("compiled", 0.5), *[("loss", 0.8)] * 4):
        running = process(*arguments, "killed")
        times = rng.randint(3, 5) if sign == "loss" else 1
        for line in running.stderr:
            times -= sign in line
            if not times:
                break
        time.sleep(rng.uniform(0, longest))
        running.send_signal(signal.SIGKILL)
        told = "".join(running.communicate())
        if running.returncode == 0:  # it was faster
            break
        assert running.returncode == -signal.SIGKILL, told
        at.append(latest("killed"))
    assert at == sorted(at)
    assert len(set(at)) >= 3
    running = process(*arguments, "killed")
    told = "".join(running.communicate())
    assert running.returncode == 0, told
    assert "continues at step" in told
    told = "".join(whole.communicate())
    assert whole.returncode == 0, told
    assert contents("killed") == contents("whole")


def checkpoints_of(workdir: str) -> Path:
    (place,) = Path(workdir, "runs").glob("*/checkpoints")
    return place


def latest(workdir: str) -> int:
    """The step of the latest whole checkpoint; 0 if there is none."""
    found = Path(workdir, "runs").glob("*/checkpoints/*")
    return max((int(p.name) for p in found if p.name.isdigit()), default=0)


def contents(workdir: str) -> dict[str, bytes]:
    """Every array of the latest checkpoint, and the history of the result."""
    place = checkpoints_of(workdir).resolve()
    step = place / str(latest(workdir))
    device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    like = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=device),
        ocp.checkpointables_metadata(step).metadata["state"],
    )
    loaded = ocp.load_checkpointables(step, {"state": like})["state"]
    leaves = jax.tree.leaves_with_path(loaded)
    assert {path[0].key for path, _ in leaves} >= {"step", "params", "average", "opt_state"}
    state = {jax.tree_util.keystr(path): np.asarray(leaf).tobytes() for path, leaf in leaves}
    result = json.loads((place.parent / "result.json").read_text())
    told = {key: result[key] for key in ("history", "test", "best_step", "steps", "test_loss")}
    return state | {"result": json.dumps(told, sort_keys=True).encode()}
