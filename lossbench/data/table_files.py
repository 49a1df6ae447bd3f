"""Files of tables: NPZ and MATLAB with X and y, and CSV."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from lossbench.data.array_files import listing, read_numpy
from lossbench.data.mat_files import read_mat

LABEL_NAMES = ("y", "label", "labels", "anomaly", "outlier", "class", "target", "is_anomaly")
DELIMITERS = ",;\t"
ENDINGS = (".npz", ".mat", ".csv", ".tsv", ".txt")


class Table(NamedTuple):
    """A table in memory.

    Attributes:
        rows: Values.
        labels: True = anomalous.
    """

    rows: Float[np.ndarray, "rows columns"]
    labels: Bool[np.ndarray, " rows"]


def read_table(path: Path, label: str | None = None) -> Table:
    """Returns a table and its labels.

    Raises:
        FileNotFoundError: Where there is no such file.
        ValueError: Where the file is no table of finite numbers, or its labels are not 0 and 1.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    ending = path.suffix.lower()
    if ending in (".npz", ".mat"):
        if label is not None:
            raise ValueError(f"{path}: label names a column of a CSV file; this file has X and y")
        x, y = _x_and_y(path, read_numpy(path) if ending == ".npz" else read_mat(path))
    elif ending in ENDINGS:
        x, y = read_csv(path, label)
    else:
        raise ValueError(f"{path}: expected a file that ends in {', '.join(ENDINGS)}")
    with np.errstate(over="ignore"):  # too large for float32 becomes infinite, an error below
        rows = x.astype(np.float32)
    if not np.isfinite(rows).all():
        row, column = np.argwhere(~np.isfinite(rows))[0]
        raise ValueError(
            f"{path}: row {row}, column {column} (counted from 0) is {x[row, column]}, not a "
            "finite number of float32"
        )
    values = np.unique(y)
    if not np.isin(values, (0, 1)).all():
        shown = ", ".join(str(value) for value in values[:8])
        raise ValueError(f"{path}: labels must be 0 and 1 (anomalous), found {shown}")
    return Table(rows, y.astype(bool))


def _x_and_y(path: Path, arrays: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The arrays X and y of a file."""
    by_name = {name.lower(): array for name, array in arrays.items()}
    if not {"x", "y"} <= set(by_name):
        raise ValueError(f"{path}: expected arrays X and y; there are: {listing(arrays)}")
    x, y = by_name["x"], by_name["y"]
    y = y.reshape(-1) if y.size == max(y.shape, default=0) else y
    if x.ndim != 2 or x.shape[1] < 1 or y.shape != x.shape[:1]:
        raise ValueError(
            f"{path}: expected X of rows and columns, and y of rows; there are: {listing(arrays)}"
        )
    if x.dtype.kind not in "biuf" or y.dtype.kind not in "biuf":
        raise ValueError(f"{path}: X and y must hold real numbers; there are: {listing(arrays)}")
    return x, y


def read_csv(path: Path, label: str | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Returns the columns of a CSV file, and the one that is the label."""
    with open(path, newline="", encoding="utf-8-sig") as file:
        first = file.readline()
        delimiter = max(DELIMITERS, key=first.count)
        file.seek(0)
        lines = [line for line in csv.reader(file, delimiter=delimiter) if line]
    if not lines:
        raise ValueError(f"{path}: the file is empty")
    names = [field.strip() for field in lines[0]]
    named = not all(_is_number(field) for field in names)
    if label is not None and (not named or label not in names):
        there = f"there are: {', '.join(names)}" if named else "its first line names no columns"
        raise ValueError(f"{path}: there is no column {label!r}; {there}")
    at = len(names) - 1
    if label is not None:
        at = names.index(label)
    elif named:
        at = next((i for i, n in enumerate(names) if n.lower() in LABEL_NAMES), at)
    values = np.empty((len(lines) - named, len(names)))
    for row, line in enumerate(lines[named:]):
        if len(line) != len(names):
            raise ValueError(
                f"{path}: row {row} (counted from 0) has {len(line)} fields, the first line "
                f"{len(names)}"
            )
        for column, field in enumerate(line):
            try:
                values[row, column] = float(field)
            except ValueError:
                raise ValueError(
                    f"{path}: row {row} (counted from 0) has {field!r} in column "
                    f"{names[column] if named else column}, where a number belongs"
                ) from None
    if values.shape[0] < 1 or values.shape[1] < 2:
        raise ValueError(f"{path}: expected rows of at least one value and a label")
    return np.delete(values, at, 1), values[:, at]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
