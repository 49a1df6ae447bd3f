"""Samples as the estimator takes them: tables, cubes, stacks of cubes; which of them count."""

from __future__ import annotations

import dataclasses
from typing import Any, SupportsIndex

import numpy as np

from lossbench.data import Example

# Rows of one example when all are passed over: what a network has between must fit in memory.
PASS_ROWS = 2**16
# A deviation below this share of the mean may be one of rounding to float32.
ROUNDING = 2.0**-22


@dataclasses.dataclass(frozen=True)
class Samples:
    """Samples in their own shape.

    Attributes:
        values: `*space features`, numbers.
        counted: `*space`, true = counted.
        names: of the columns of a data frame; None where there are none.
    """

    values: np.ndarray
    counted: np.ndarray
    names: tuple[str, ...] | None = None

    @property
    def rows(self) -> np.ndarray:
        """`n features`, what does not count included."""
        return self.values.reshape(-1, self.values.shape[-1])


def samples_of(x: Any, where: Any = None) -> Samples:
    """Checks what a user gives as X.

    Args:
        x: a table `rows features`, a cube `height width bands`, or cubes in front of each other;
            an array, a list of lists, or a data frame.
        where: true = counted; a mask over all axes but the last.

    Raises:
        ValueError: for another shape or dtype, for a NaN or an infinity that counts.
    """
    names = None
    if hasattr(x, "columns") and all(isinstance(name, str) for name in x.columns):
        names = tuple(x.columns)
    if hasattr(x, "toarray"):
        raise ValueError("X: sparse matrices are not taken; X.toarray() makes it an array")
    try:
        values = np.asarray(x)
        if values.dtype.kind == "O":
            values = values.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"X: expected numbers, got something else ({error})") from error
    if values.dtype.kind == "b":
        values = values.astype(np.uint8)
    if values.dtype.kind not in "iuf":
        raise ValueError(f"X: expected numbers, got {values.dtype}")
    if values.ndim not in (2, 3, 4) or 0 in values.shape:
        raise ValueError(
            "X: expected a table `rows features`, a cube `height width bands`, or cubes `n height "
            f"width bands`, not empty, got shape {values.shape}"
        )
    counted = np.ones(values.shape[:-1], bool)
    if where is not None:
        counted = np.asarray(where)
        if counted.shape != values.shape[:-1] or counted.dtype != bool:
            raise ValueError(
                f"where: expected bool of shape {values.shape[:-1]} (X without its last axis), got "
                f"{counted.dtype} of {counted.shape}"
            )
    if values.dtype.kind == "f":
        _check_finite(values, counted)
    return Samples(values, counted, names)


def normal_of(y: Any, samples: Samples) -> np.ndarray:
    """Which samples are trained on: those that count and are not labeled anomalous.

    Raises:
        ValueError: for labels of another shape, or other than 0 and 1; if none is normal.
    """
    if y is None:
        return samples.counted
    labels = np.asarray(y)
    if labels.shape != samples.counted.shape:
        raise ValueError(
            f"y: expected shape {samples.counted.shape} (X without its last axis), got "
            f"{labels.shape}"
        )
    wrong = [value for value in np.unique(labels).tolist() if value not in (0, 1)]
    if wrong:
        raise ValueError(
            f"y: expected 1 for anomalous and 0 for normal, got {wrong[0]!r} as well; of "
            "scikit-learn's -1 and 1, take y = (labels == -1)"
        )
    normal = samples.counted & (labels == 0)
    if not normal.any():
        raise ValueError("y: every row is labeled anomalous, none is left to train on")
    return normal


@dataclasses.dataclass(frozen=True)
class Rows:
    """Rows of a table as a source: an example is some of them, drawn at random.

    Attributes:
        values: `rows features`, of any type.
        pixels: rows of an example.
        pass_rows: rows of an example of `whole`, at most.
    """

    values: np.ndarray
    pixels: int
    pass_rows: int = PASS_ROWS

    @property
    def names(self) -> tuple[str, ...]:
        """All of it is one case."""
        return ("training",)

    def __len__(self) -> int:
        return -(-len(self.values) // self.pass_rows)

    def __getitem__(self, index: SupportsIndex, /) -> Example:
        number = range(len(self))[index]
        return self.sample(number, np.random.default_rng(number))

    def whole(self, index: SupportsIndex, /) -> Example:
        """Returns one part of the rows; all parts together are the table."""
        number = range(len(self))[index]
        return _example(self.values[number * self.pass_rows : (number + 1) * self.pass_rows])

    def sample(self, index: SupportsIndex, rng: np.random.Generator, /) -> Example:
        """Returns rows drawn from the whole table, none twice."""
        return _example(self.values[rng.choice(len(self.values), self.pixels, replace=False)])


def smallest_deviation(samples: Samples) -> float:
    """Half of the smallest deviation of a column, as a share of the median; 0 if none varies.

    What is a rounding of float32 beside the mean is no deviation.
    """
    rows = samples.rows[samples.counted.ravel()]
    means, deviations = [], []
    for column in rows.T:
        wide = column.astype(np.float32).astype(np.float64)
        means.append(abs(wide.mean()))
        deviations.append(wide.std())
    found = np.array(deviations)
    varies = found > ROUNDING * np.array(means)
    if not varies.any():
        return 0.0
    return float(found[varies].min() / np.median(found[found > 0]) / 2)


def _example(values: np.ndarray) -> Example:
    return {
        "image": values.astype(np.float32),
        "labels": np.zeros(len(values), np.int32),
        "where": np.ones(len(values), bool),
        "case": np.asarray(0, np.int32),
    }


def _check_finite(values: np.ndarray, counted: np.ndarray) -> None:
    """Raises a ValueError for a value that counts and is NaN, or no finite number in float32."""
    with np.errstate(over="ignore"):
        good = np.isfinite(values.astype(np.float32, copy=False))
    bad = ~good & counted[..., None]
    if not bad.any():
        return
    first = tuple(int(i) for i in np.argwhere(bad)[0])
    what = "infinite in float32" if np.isfinite(values[first]) else str(values[first])
    raise ValueError(
        f"X: {int(bad.any(-1).sum())} rows or pixels have values that are not finite; the first is "
        f"{what} at {first}. Leave them out, or out of `where`"
    )
