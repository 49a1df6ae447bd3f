"""In a process of its own: what `mallopt` sets holds for the rest of it."""

import subprocess
import sys

import pytest

SCRIPT = """
import resource
import numpy as np
from lossbench.bench.cost import memory

print(memory.keep_freed_memory())
for size in (5, 20, 40, 80):
    np.ones(size * 2**17)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for size in (5, 20, 40, 80):
    np.ones(size * 2**17)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="about the C library of Linux")
def test_large_blocks_are_taken_from_the_system_once():
    """145 MB in blocks around every threshold: 37,000 pages of 4 kB otherwise."""
    run = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    told, faults = run.stdout.splitlines()
    if told == "as the C library does":
        pytest.skip("not glibc")
    assert told == "kept by the process"
    assert int(faults) < 1000
