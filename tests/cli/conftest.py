"""A folder with a configuration that runs, and commands called as users call them."""

from pathlib import Path

import jax
import pytest

from lossbench import models
from lossbench.cli import main
from tests.pixelwise import Pixelwise

CONFIG = {
    "data": {"name": "shapes", "size": (16, 16), "classes": 2}
    | {"train": 4, "validation": 2, "test": 3},
    "model": {"name": "pixelwise"},
    "losses": {"dice": {"terms": {"dice": {}}}, "focal": {"terms": {"focal": {"gamma": 2.0}}}},
    "seeds": 2,
    "train": {"steps": 4, "batch_size": 2, "eval_every": 2, "devices": 1},
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


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The current folder, with a configuration that runs and nothing else."""
    monkeypatch.chdir(tmp_path)
    write(CONFIG)
    return tmp_path


def write(config, name: str = "config_file.py") -> None:
    Path(name).write_text(f"def get_config():\n    return {config!r}\n")


def called(capsys, *arguments: str) -> tuple[int, str, str]:
    """Exit status, output and errors of a command."""
    try:
        status = main(list(arguments))
    except SystemExit as end:
        status = end.code
    return status, *capsys.readouterr()


def refused(capsys, *arguments: str, folder: Path = Path()) -> str:
    """The message of a command that must fail with one message and leave nothing behind."""
    before = sorted(folder.rglob("*"))
    status, out, err = called(capsys, *arguments)
    assert status == 2
    assert out == ""
    assert "Traceback" not in err
    after = [path for path in folder.rglob("*") if "__pycache__" not in path.parts]
    assert sorted(after) == [path for path in before if "__pycache__" not in path.parts]
    (message,) = [line for line in err.splitlines() if "lossbench" in line]
    return message
