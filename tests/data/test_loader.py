import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossbench.data.dataset import ArraySource
from lossbench.data.loader import evaluation_batches, training_batches
from lossbench.data.patches import CropSource, Volume
from lossbench.data.transforms import augmentation


def source_of(n):
    images = np.arange(n * 12, dtype=np.float32).reshape(n, 4, 3, 1)
    return ArraySource(tuple(map(str, range(n))), images, np.ones((n, 4, 3), np.uint8))


def take(iterator, count):
    return [next(iterator) for _ in range(count)]


def assert_same(a, b):
    assert len(a) == len(b)
    for x, y in zip(a, b, strict=True):
        assert x.keys() == y.keys()
        for key in x:
            np.testing.assert_array_equal(x[key], y[key])


def test_a_batch_has_the_stated_form():
    iterator = training_batches(source_of(5), batch_size=2, seed=0)
    batch = next(iterator)
    assert {k: (v.shape, v.dtype) for k, v in batch.items()} == {
        "image": ((2, 4, 3, 1), np.float32),
        "labels": ((2, 4, 3), np.int32),
        "where": ((2, 4, 3), bool),
        "case": ((2,), np.int32),
    }
    iterator.close()


def test_every_epoch_visits_each_case_once_in_an_order_of_its_own():
    cases = np.concatenate(
        [b["case"] for b in take(training_batches(source_of(12), batch_size=4, seed=3), 9)]
    ).reshape(3, 12)
    for epoch in cases:
        assert sorted(epoch) == list(range(12))
    assert len({tuple(epoch) for epoch in cases}) == 3


def test_order_depends_on_the_seed_alone():
    def order(seed, augment=None):
        batches = take(
            training_batches(source_of(20), batch_size=3, seed=seed, augment=augment), 15
        )
        return [tuple(b["case"]) for b in batches]

    assert order(1) == order(1)
    assert order(1) != order(2)
    assert order(1) == order(1, augmentation({"noise": 0.5, "flip": True}, 2))


def crop_source():
    rng = np.random.default_rng(0)
    case = Volume(
        rng.normal(size=(9, 9, 1)).astype(np.float32), rng.integers(0, 2, (9, 9)).astype(np.uint8)
    )
    return CropSource(("a", "b", "c", "d", "e"), lambda i: case, (4, 4), foreground=0.5)


@pytest.mark.parametrize("stop", [0, 1, 7])
def test_it_resumes_bit_for_bit(stop):
    augment = augmentation({"flip": True, "noise": 0.3, "gamma": 0.2, "brightness": 0.1}, 2)

    def stream():
        return training_batches(crop_source(), batch_size=2, seed=5, augment=augment)

    first = stream()
    take(first, stop)
    state = json.loads(json.dumps(first.get_state()))
    ahead = take(first, 8)
    second = stream()
    take(second, 2)
    second.set_state(state)
    assert_same(ahead, take(second, 8))
    assert_same(take(stream(), stop + 8)[stop:], ahead)


def test_crops_differ_between_epochs():
    batches = take(training_batches(crop_source(), batch_size=5, seed=0), 4)
    assert len({b["image"].tobytes() for b in batches}) == 4
    assert all(b["where"].all() for b in batches)


def test_the_interpreter_ends_with_an_open_iterator():
    code = (
        "import lossbench.data as d\n"
        "s = d.shapes(size=(16, 16), train=4, validation=1, test=1)\n"
        "i = d.training_batches(s.train, batch_size=2, seed=0)\n"
        "print(next(i)['case'].tolist())"
    )
    out = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    from lossbench.data import shapes

    here = training_batches(
        shapes(size=(16, 16), train=4, validation=1, test=1).train, batch_size=2, seed=0
    )
    assert json.loads(out.stdout) == next(here)["case"].tolist()
    assert out.stderr == ""


@given(st.integers(1, 9), st.integers(1, 5))
def test_evaluation_visits_each_example_once_in_order(n, batch_size):
    batches = list(evaluation_batches(source_of(n), batch_size))
    assert all(value.shape[0] == batch_size for b in batches for value in b.values())
    weights = np.concatenate([b["weights"] for b in batches])
    cases = np.concatenate([b["case"] for b in batches])
    where = np.concatenate([b["where"] for b in batches])
    assert weights.dtype == np.float32
    assert cases.dtype == np.int32
    np.testing.assert_array_equal(weights[:n], 1)
    np.testing.assert_array_equal(weights[n:], 0)
    np.testing.assert_array_equal(cases, list(range(n)) + [0] * (len(cases) - n))
    assert where[:n].all()
    assert not where[n:].any()
    assert len(cases) - n < batch_size
    images = np.concatenate([b["image"] for b in batches])[:n]
    np.testing.assert_array_equal(images, source_of(n).images)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 6}, "batch_size is 6, but the training data has only 5 examples"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"seed": -1}, "seed must be an integer from 0"),
    ],
)
def test_errors(options, message):
    with pytest.raises(ValueError, match=message):
        training_batches(source_of(5), **{"batch_size": 2, "seed": 0, **options})


def test_evaluation_refuses_an_empty_batch():
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        next(evaluation_batches(source_of(5), 0))
