"""Strict JAX for every test: four virtual CPU devices, no silent rank promotion, checked shapes."""

import os
import subprocess
import sys

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache
from jaxtyping import install_import_hook

# Tests run each of thousands of small programs a few times: what they take is compiling. Without
# LLVM's optimizations, and with XLA's plain emitters, that takes a fifth. XLA's own passes, which
# change what is computed, are the same. XLA reads this once; the processes of tests inherit it.
# `XLA_FLAGS= make test` compiles as users do, as the torture suite always does for each loss.
os.environ.setdefault(
    "XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
)
jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_numpy_rank_promotion", "raise")

# Annotations of the array code are checked at run time in tests, and free in use.
install_import_hook(["lossbench.losses", "lossbench.ops", "lossbench.metrics"], "beartype.beartype")


# Scripts that write what other libraries compute; they need those libraries.
collect_ignore_glob = ["*/make_*.py"]


@pytest.fixture(scope="session")
def as_users():
    """XLA's defaults, which users have, for tests that mean the very bits: `compiler_options`."""
    return {"xla_backend_optimization_level": 3, "xla_cpu_use_fusion_emitters": True}


@pytest.fixture(autouse=True, scope="module")
def _compiled():
    """What a file compiled ends with the file, in memory and in a cache it switched on.

    Every program of XLA's on the CPU holds mappings of memory, of which Linux gives a process
    65 530; and a cache on disk would be written to by every later program of the process.
    """
    yield
    jax.config.update("jax_compilation_cache_dir", None)
    compilation_cache.reset_cache()
    jax.clear_caches()


@pytest.fixture
def process():
    """Starts the program; what a test leaves running ends with it."""
    started = []

    def start(*arguments: str) -> subprocess.Popen:
        command = [sys.executable, "-m", "lossbench.cli", *arguments]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        started.append(subprocess.Popen(command, text=True, **pipes))
        return started[-1]

    yield start
    for one in started:
        if one.poll() is None:
            one.kill()
            one.communicate()
