"""The split of cases into training, validation and test: by seed and name alone."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Integer


class Split(NamedTuple):
    """Indices of the cases of each part, ascending; together each case once."""

    train: Integer[np.ndarray, " a"]
    validation: Integer[np.ndarray, " b"]
    test: Integer[np.ndarray, " c"]


def split(
    names: int | Sequence[str],
    *,
    seed: int,
    validation: float | int,
    test: float | int | None = None,
    fold: int | None = None,
    folds: int | None = None,
) -> Split:
    """Splits cases at random, by a rule that holds for any order of the files, Python and NumPy.

    Cases are sorted by the SHA-256 digest of `"seed/name"`. The first are the test set, the next
    validation, the rest training. With `folds`, the sorted cases are cut into that many runs whose
    lengths differ by at most one; the test set is run number `fold`, and validation takes the cases
    that follow it, cyclically.

    Args:
        names: The cases' names, no two alike, or their number, which names them "0", "1", ...
        seed: Seed of the order.
        validation: Size of the validation set: an integer counts cases, a float above 0 and below 1
            is a share of all cases, rounded, at least one case.
        test: Size of the test set in the same way; None with `folds`, which decides it.
        fold: Which part of a cross-validation is the test set, from 0 to `folds` - 1.
        folds: Number of disjoint test sets, or None for one split.

    Returns:
        The indices of each part; none is empty.
    """
    names = [str(i) for i in range(names)] if isinstance(names, int) else list(names)
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f"two cases have one name: {', '.join(twice[:5])}")
    check_fold(fold, folds)
    if seed < 0:
        raise ValueError(f"seed must be at least 0, got {seed}")
    n = len(names)
    order = np.array(
        sorted(range(n), key=lambda i: hashlib.sha256(f"{seed}/{names[i]}".encode()).digest()), int
    )
    if folds is None or fold is None:
        if test is None:
            raise ValueError("test must say how many cases to test on where there are no folds")
        start, test_size = 0, part_size(test, n, "test")
    else:
        if test is not None:
            raise ValueError(f"test={test} contradicts folds={folds}, which decides the test set")
        if folds > n:
            raise ValueError(f"folds={folds} needs at least {folds} cases, but there are {n}")
        start = sum(n // folds + (k < n % folds) for k in range(fold))
        test_size = n // folds + (fold < n % folds)
    validation_size = part_size(validation, n, "validation")
    needed = test_size + validation_size + 1
    if needed > n:
        raise ValueError(
            f"too few cases for the split: there are {n}, and {test_size} for test, "
            f"{validation_size} for validation and at least 1 for training need {needed}"
        )
    order = np.roll(order, -start)
    parts = np.split(order, [test_size, test_size + validation_size])
    return Split(train=np.sort(parts[2]), validation=np.sort(parts[1]), test=np.sort(parts[0]))


def part_size(size: float | int, n: int, part: str) -> int:
    """Returns the number of cases that a count or a share of `n` stands for."""
    if isinstance(size, int) and not isinstance(size, bool) and size >= 1:
        return size
    if isinstance(size, float) and 0 < size < 1:
        return max(1, round(size * n))
    raise ValueError(
        f"{part} must be a number of cases (an integer of at least 1) or a share of them (a float "
        f"between 0 and 1), got {size!r}"
    )


def check_fold(fold: int | None, folds: int | None) -> None:
    """Raises a ValueError unless `fold` is one of `folds`, or both are None."""
    if folds is None:
        if fold is not None:
            raise ValueError(f"fold={fold} needs folds, the number of parts")
        return
    if folds < 2:
        raise ValueError(f"folds must be at least 2, got {folds}")
    if fold is None or not 0 <= fold < folds:
        raise ValueError(f"fold must be from 0 to {folds - 1} for folds={folds}, got {fold}")
