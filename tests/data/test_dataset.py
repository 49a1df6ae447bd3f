import numpy as np
import pytest

from lossbench.data.dataset import ArraySource, RandomSource, Source


def test_a_source_over_arrays():
    images = np.random.default_rng(0).normal(size=(3, 4, 5, 2)).astype(np.float32)
    labels = np.arange(60, dtype=np.uint8).reshape(3, 4, 5)
    source = ArraySource(("a", "b", "c"), images, labels)
    assert isinstance(source, Source)
    assert not isinstance(source, RandomSource)
    assert len(source) == 3
    for i in range(3):
        example = source[i]
        np.testing.assert_array_equal(example["image"], images[i])
        np.testing.assert_array_equal(example["labels"], labels[i])
        assert example["labels"].dtype == example["case"].dtype == np.int32
        assert example["case"].shape == ()
        assert int(example["case"]) == i
        assert example["where"].shape == (4, 5)
        assert example["where"].all()
    with pytest.raises(IndexError):
        source[3]
