"""Tables with anomalous rows: the one-class protocol, by which methods are compared."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from lossbench.data.dataset import Dataset, SampleSource, Source
from lossbench.data.patches import Volume
from lossbench.data.scene_sources import PixelSource, draws_of
from lossbench.data.split import split
from lossbench.data.table_files import read_table


def tables(
    *,
    path: str | os.PathLike[str],
    label: str | None = None,
    train_on: str = "normal",
    validation_anomalies: bool = False,
    rows: int | None = None,
    seed: int = 0,
    validation: float = 0.2,
    test: float | None = None,
    fold: int | None = None,
    folds: int | None = None,
) -> Dataset:
    """A table of numbers with anomalous rows: NPZ or MATLAB with X and y, or CSV.

    Half of the normal rows is for training, a fifth of that half is held out for validation; the
    other half and all anomalous rows are the test set: the one-class protocol of ADBench and PyOD.
    Values are those of the file; nothing is normalized.

    Args:
        path: The file. In `X`, a row is a sample; `y` is 1 where it is anomalous and else 0. The
            first line of a CSV file may name its columns.
        label: The column of a CSV file that is `y`. None takes one called y, label, class, outlier
            or alike, or the last one.
        train_on: "normal" trains on normal rows only. "all" splits anomalous rows as normal ones,
            so that training is contaminated.
        validation_anomalies: Whether validation gets anomalous rows as well, its share of those
            that "all" would train on; with train_on="normal" the test set has only the others.
        rows: A training example is this number of rows drawn at random; None takes single rows.
        seed: Seed of the split.
        validation: Share of the training rows that is held out.
        test: Share of the normal rows for test; None is a half, or the fold's part where there are
            folds.
        fold: Which of the `folds` parts of the normal rows is tested on.
        folds: Number of parts for cross-validation.

    Returns:
        The data set. An example is a row, its label a scalar; all rows of a part are one case.
    """
    if train_on not in ("normal", "all"):
        raise ValueError(f"train_on must be 'normal' or 'all', got {train_on!r}")
    if not (isinstance(validation, float) and 0 < validation < 1):
        raise ValueError(f"validation must be a share between 0 and 1, got {validation!r}")
    file = Path(path).expanduser()
    table = read_table(file, label)
    if folds is None:
        test = 0.5 if test is None else test
        if not (isinstance(test, float) and 0 < test < 1):
            raise ValueError(f"test must be a share between 0 and 1, got {test!r}")
        held = validation * (1 - test)
    else:
        held = validation * (1 - 1 / max(folds, 1))

    def parted(odd: bool) -> list[np.ndarray]:
        members = np.flatnonzero(table.labels == odd)
        if not len(members):
            raise ValueError(f"{file}: no row is {'anomalous' if odd else 'normal'}")
        kind = "anomalous" if odd else "normal"
        try:
            parts = split(
                len(members), seed=seed, validation=held, test=test, fold=fold, folds=folds
            )
        except ValueError as error:
            raise ValueError(f"{file}: the {len(members)} {kind} rows: {error}") from error
        return [members[part] for part in parts]

    learned, held_out, tested = parted(odd=False)
    odd = np.flatnonzero(table.labels)
    if not len(odd):
        raise ValueError(f"{file}: no row is anomalous")
    if train_on == "all" or validation_anomalies:
        odd_learned, odd_held_out, odd_tested = parted(odd=True)
        if train_on == "all":
            learned = np.sort(np.concatenate([learned, odd_learned]))
        else:
            odd_tested = np.concatenate([odd_tested, odd_learned])
        if validation_anomalies:
            held_out = np.sort(np.concatenate([held_out, odd_held_out]))
        else:
            odd_tested = np.concatenate([odd_tested, odd_held_out])
        odd = odd_tested
    tested = np.sort(np.concatenate([tested, odd]))

    name = file.stem

    def source(part: np.ndarray) -> SampleSource:
        return SampleSource((name,), table.rows[part], table.labels[part].astype(np.int32))

    train: Source = source(learned)
    if rows is not None:
        volume = Volume(table.rows[learned], table.labels[learned].astype(np.uint8))
        draws = draws_of([len(learned)], rows)
        train = PixelSource((name,), lambda _: volume, rows, draws, seed)
    counts = "; ".join(
        f"{part} {len(members)} rows, {int(table.labels[members].sum())} anomalous"
        for part, members in (("training", learned), ("validation", held_out), ("test", tested))
    )
    cross = f"fold {fold} of {folds}, " if folds else ""
    return Dataset(
        name=f"tables: {name}",
        description=(
            f"{name}: a table of {len(table.rows)} rows and {table.rows.shape[1]} columns, split "
            f"for one-class learning ({cross}seed {seed}): {counts}."
        ),
        train=train,
        validation=source(held_out),
        test=source(tested),
        class_names=("normal", "anomalous"),
    )
