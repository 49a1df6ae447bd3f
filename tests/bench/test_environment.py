import datetime
import json
import platform
import subprocess

import jax
import numpy as np
import pytest

import lossbench
from lossbench.bench.environment import environment


def git(*arguments: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    done = subprocess.run(
        ["git", *identity, *arguments], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def test_versions_device_and_date_are_those_of_this_process():
    found = json.loads(json.dumps(environment()))
    assert found["lossbench"] == lossbench.__version__
    assert found["jax"] == jax.__version__
    assert found["numpy"] == np.__version__
    assert found["python"] == platform.python_version()
    assert found["device"].startswith(f"{len(jax.devices())} x ")
    date = datetime.datetime.fromisoformat(found["date"])
    assert abs(datetime.datetime.now(datetime.UTC) - date) < datetime.timedelta(minutes=5)


def test_the_commit_is_that_of_the_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    try:
        git("init")
    except OSError:
        pytest.skip("git is not installed")
    (tmp_path / "file").write_text("one")
    git("add", "file")
    git("commit", "-m", "one")
    assert environment()["git_commit"] == git("rev-parse", "HEAD")
    assert environment()["git_dirty"] is False
    (tmp_path / "file").write_text("two")
    assert environment()["git_dirty"] is True


def test_without_a_repository_or_git_there_is_no_commit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert environment()["git_commit"] is None
    assert environment()["git_dirty"] is None
    monkeypatch.setenv("PATH", "")
    assert environment()["git_commit"] is None
