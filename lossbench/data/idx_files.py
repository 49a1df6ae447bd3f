"""IDX files, in which MNIST and sets like it come, packed by gzip or not."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

TYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


def read_idx(path: Path) -> Shaped[np.ndarray, "*axes"]:
    """Returns the array of an IDX file.

    Raises:
        FileNotFoundError: Where there is no such file.
        ValueError: Where the file is truncated, damaged or none of IDX.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    content = path.read_bytes()
    if content.startswith(b"\x1f\x8b"):
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"{path}: truncated or damaged gzip file ({error})") from error
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in TYPES:
        raise ValueError(f"{path}: not an IDX file: it begins with {content[:4]!r}")
    dtype, axes = np.dtype(TYPES[content[2]]), content[3]
    start = 4 + 4 * axes
    if len(content) < start:
        raise ValueError(f"{path}: truncated: the file ends in its header")
    shape = tuple(int(n) for n in np.frombuffer(content, ">u4", axes, 4))
    needed = start + math.prod(shape) * dtype.itemsize
    if len(content) != needed:
        raise ValueError(
            f"{path}: truncated or damaged: {'x'.join(map(str, shape))} values need {needed} "
            f"bytes, the file has {len(content)}"
        )
    return np.frombuffer(content, dtype, offset=start).reshape(shape)
