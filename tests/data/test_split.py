import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossbench.data.split import split


@given(
    st.integers(3, 60),
    st.integers(0, 5),
    st.one_of(st.integers(1, 10), st.floats(0.01, 0.5)),
    st.one_of(st.integers(1, 10), st.floats(0.01, 0.4)),
)
def test_parts_are_disjoint_and_complete(n, seed, validation, test):
    sizes = [max(1, round(s * n)) if isinstance(s, float) else s for s in (validation, test)]
    if sum(sizes) >= n:
        with pytest.raises(ValueError, match=f"there are {n},.* need {sum(sizes) + 1}"):
            split(n, seed=seed, validation=validation, test=test)
        return
    parts = split(n, seed=seed, validation=validation, test=test)
    assert [len(parts.validation), len(parts.test)] == sizes
    assert sorted(np.concatenate(parts)) == list(range(n))
    assert len(parts.train) >= 1


def test_the_stated_rule():
    names = [f"case_{i}" for i in range(20)]
    by_digest = sorted(names, key=lambda n: hashlib.sha256(f"7/{n}".encode()).hexdigest())
    parts = split(names, seed=7, validation=3, test=0.25)
    assert {names[i] for i in parts.test} == set(by_digest[:5])
    assert {names[i] for i in parts.validation} == set(by_digest[5:8])


def test_order_of_names_does_not_matter_and_seed_does():
    names = [f"case_{i}" for i in range(30)]
    a = split(names, seed=1, validation=5, test=10)
    b = split(names[::-1], seed=1, validation=5, test=10)
    assert {names[i] for i in a.test} == {names[::-1][i] for i in b.test}
    assert list(split(names, seed=2, validation=5, test=10).test) != list(a.test)


@given(st.integers(2, 9), st.integers(0, 30), st.integers(0, 3))
def test_folds_partition_the_cases(folds, extra, seed):
    n = folds + extra
    validation = 1
    if n - -(-n // folds) - validation < 1:
        return
    parts = [split(n, seed=seed, validation=validation, fold=k, folds=folds) for k in range(folds)]
    assert sorted(np.concatenate([p.test for p in parts])) == list(range(n))
    sizes = {len(p.test) for p in parts}
    assert max(sizes) - min(sizes) <= 1
    for p in parts:
        assert sorted(np.concatenate(p)) == list(range(n))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"test": 2, "fold": 0}, "fold=0 needs folds"),
        ({"folds": 3, "fold": 3}, "fold must be from 0 to 2 for folds=3, got 3"),
        ({"folds": 3, "fold": -1}, "from 0 to 2"),
        ({"folds": 3}, "fold must be from 0 to 2 for folds=3, got None"),
        ({"folds": 1, "fold": 0}, "folds must be at least 2"),
        ({"folds": 11, "fold": 0}, "folds=11 needs at least 11 cases, but there are 10"),
        ({"folds": 5, "fold": 0, "test": 2}, "test=2 contradicts folds=5"),
        ({}, "test must say"),
        ({"test": 0}, "test must be a number of cases"),
        ({"test": 1.0}, "test must be a number of cases"),
        ({"test": True}, "test must be a number of cases"),
        ({"test": 2, "validation": 8}, "there are 10, and 2 for test, 8 for validation .* need 11"),
        ({"test": 2, "seed": -1}, "seed must be at least 0"),
    ],
)
def test_errors(options, message):
    with pytest.raises(ValueError, match=message):
        split(10, **{"seed": 0, "validation": 1, **options})


def test_names_must_differ():
    with pytest.raises(ValueError, match="two cases have one name: a"):
        split(["a", "b", "a", "c"], seed=0, validation=1, test=1)
