import os
from pathlib import Path

import numpy as np
import pytest

from lossbench.data import load
from lossbench.data.dataset import RandomSource

DATA = Path(os.environ.get("LOSSBENCH_DATA", Path(__file__).parents[2] / "../shared/data"))
TABULAR = DATA / "tabular"

ROWS, ODD = 120, 20


@pytest.fixture
def table(tmp_path):
    """A table whose first column numbers its rows; the last ones are anomalous."""
    rows = np.random.default_rng(0).normal(size=(ROWS, 4))
    rows[:, 0] = np.arange(ROWS)
    np.savez(tmp_path / "a.npz", X=rows, y=np.arange(ROWS) >= ROWS - ODD)
    return tmp_path / "a.npz"


def parts(data):
    return data.train, data.validation, data.test


def numbers(source):
    return {int(source[i]["image"][0]) for i in range(len(source))}


def test_the_one_class_protocol(table):
    data = load("tables", path=table)
    assert data.name == "tables: a"
    assert data.class_names == ("normal", "anomalous")
    assert [len(source) for source in parts(data)] == [40, 10, 70]
    for source in parts(data):
        assert source.names == ("a",)
        for i in range(len(source)):
            example = source[i]
            assert example["image"].shape == (4,)
            assert example["labels"].shape == example["where"].shape == ()
            assert int(example["labels"]) == (example["image"][0] >= ROWS - ODD)
            assert int(example["case"]) == 0
    train, validation, test = map(numbers, parts(data))
    assert train | validation | test == set(range(ROWS))
    assert len(train) + len(validation) + len(test) == ROWS
    assert max(train | validation) < ROWS - ODD
    assert "training 40 rows, 0 anomalous; validation 10 rows, 0 anomalous; test 70 rows, 20" in (
        data.description
    )


@pytest.mark.parametrize(
    ("options", "odd"),
    [
        ({"train_on": "all"}, (8, 0, 12)),
        ({"validation_anomalies": True}, (0, 2, 18)),
        ({"train_on": "all", "validation_anomalies": True}, (8, 2, 10)),
        ({"test": 0.2, "validation": 0.25, "train_on": "all"}, (12, 0, 8)),
    ],
)
def test_where_anomalies_go(table, options, odd):
    data = load("tables", path=table, **options)
    members = [numbers(source) for source in parts(data)]
    assert sum(map(len, members)) == len(set.union(*members)) == ROWS
    assert tuple(sum(n >= ROWS - ODD for n in m) for m in members) == odd


def test_folds_test_on_every_normal_row(table):
    tested = []
    for fold in range(4):
        data = load("tables", path=table, fold=fold, folds=4)
        assert [len(source) for source in parts(data)] == [60, 15, 45]
        tested.append({n for n in numbers(data.test) if n < ROWS - ODD})
    assert sum(map(len, tested)) == len(set.union(*tested)) == ROWS - ODD


def test_rows_drawn_together(table):
    data = load("tables", path=table, rows=16)
    assert isinstance(data.train, RandomSource)
    assert len(data.train) == 2
    assert data.train.names == ("a",)
    example = data.train.sample(0, np.random.default_rng(0))
    assert example["image"].shape == (16, 4)
    assert example["labels"].shape == example["where"].shape == (16,)
    single = load("tables", path=table)
    assert set(example["image"][:, 0]) <= numbers(single.train)
    assert numbers(data.test) == numbers(single.test)


def test_the_seed_decides(table):
    one, same, other = (load("tables", path=table, seed=s) for s in (1, 1, 2))
    for a, b in zip(parts(one), parts(same), strict=True):
        np.testing.assert_array_equal(a.samples, b.samples)
    assert numbers(one.train) != numbers(other.train)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train_on": "some"}, "train_on must be 'normal' or 'all', got 'some'"),
        ({"validation": 3}, "validation must be a share between 0 and 1, got 3"),
        ({"test": 1.0}, "test must be a share between 0 and 1, got 1.0"),
        ({"test": 0.5, "fold": 0, "folds": 2}, "test=0.5 contradicts folds=2"),
        ({"fold": 5, "folds": 2}, "fold must be from 0 to 1"),
        ({"folds": 1, "fold": 0}, "folds must be at least 2"),
        ({"rows": 0}, "must be at least 1, got 0"),
        ({"seed": -1}, "seed must be at least 0"),
    ],
)
def test_errors(table, options, message):
    with pytest.raises(ValueError, match=message):
        load("tables", **{"path": table, **options})


def test_tables_of_one_kind(tmp_path):
    for labels, kind in ((np.zeros(9), "anomalous"), (np.ones(9), "normal")):
        np.savez(tmp_path / "a.npz", X=np.ones((9, 2)), y=labels)
        with pytest.raises(ValueError, match=rf"a\.npz: no row is {kind}"):
            load("tables", path=tmp_path / "a.npz")


SIZES = {"cardio": (1831, 176), "thyroid": (3772, 93), "wbc": (223, 10), "satellite": (6435, 2036)}


@pytest.mark.parametrize("name", SIZES)
def test_real_tables(name):
    if not TABULAR.is_dir():
        pytest.skip("tabular is not under LOSSBENCH_DATA")
    data = load("tables", path=TABULAR / f"{name}.npz")
    rows, odd = SIZES[name]
    assert sum(len(source) for source in parts(data)) == rows
    assert data.test.labels.sum() == odd
    assert len(data.test) - odd == round((rows - odd) / 2)
