"""Readers of cases: functions from a case's number to its voxels."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from jaxtyping import Integer

from lossbench.data.patches import Volume

Read = Callable[[int], Volume]


def remembering(read: Read, sizes: Sequence[int], cache_gib: float) -> Read:
    """Returns a reader that keeps what it has read, after it has read every case once.

    So a bad file is found now, whether its case is kept or not.

    Args:
        read: Function from a case's number to its voxels.
        sizes: Bytes of each case.
        cache_gib: Memory for cases in GiB; where not all fit, each is read again when it is needed.
    """
    room = cache_gib * 2**30
    kept = len(sizes) if sum(sizes) <= room else max(1, int(room / max(sizes)))
    cached = functools.lru_cache(maxsize=kept)(read)

    def look(i: int) -> None:
        cached(i)

    with ThreadPoolExecutor(os.cpu_count()) as pool:  # decoding releases the interpreter lock
        list(pool.map(look, range(len(sizes))))
    return cached


def named(
    part: Integer[np.ndarray, " cases"], names: list[str], read: Read
) -> tuple[tuple[str, ...], Read]:
    """Returns the names of a part's cases, and a reader by their number in the part."""
    return tuple(names[i] for i in part), lambda i: read(int(part[i]))
