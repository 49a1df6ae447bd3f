import numpy as np
import pytest

from lossbench.data.dataset import ArraySource, RandomSource, SampleSource, Source


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


@pytest.mark.parametrize("shape", [(4,), (3, 5, 1)])
def test_samples_with_one_label_each(shape):
    samples = np.random.default_rng(0).normal(size=(6, *shape))
    labels = np.arange(6) % 2
    source = SampleSource(("all",), samples, labels)
    assert isinstance(source, Source)
    assert len(source) == 6
    for i in range(6):
        example = source[i]
        np.testing.assert_array_equal(example["image"], samples[i].astype(np.float32))
        assert example["image"].dtype == np.float32
        assert int(example["labels"]) == labels[i]
        assert example["labels"].shape == example["where"].shape == example["case"].shape == ()
        assert example["labels"].dtype == example["case"].dtype == np.int32
        assert bool(example["where"])
        assert int(example["case"]) == 0
    with pytest.raises(IndexError):
        source[6]
    for names, wrong in ((("all",), labels[:5]), (("a", "b"), labels), (("all",), labels[:, None])):
        with pytest.raises(ValueError, match=r"expected samples `samples \*shape`, labels `samp"):
            SampleSource(names, samples, wrong)
