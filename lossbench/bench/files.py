"""Files that are whole or not there."""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Writes JSON at once; NaN and infinity, which JSON does not know, become null."""
    write_text(path, json.dumps(plain(value), indent=1, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Writes a text at once."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)


def write_arrays(path: Path, **arrays: np.ndarray) -> None:
    """Writes an npz file at once."""
    part = path.with_name(f".{path.name}.{os.getpid()}.npz")
    np.savez_compressed(part, **arrays)  # pyright: ignore[reportArgumentType]
    os.replace(part, path)


def plain(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    return str(value)
