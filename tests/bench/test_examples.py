import numpy as np
import pytest

from lossbench.bench.examples import read_examples

ARRAYS = {
    "image": np.full((2, 4, 5), 0.25, np.float16),
    "labels": np.zeros((2, 4, 5), np.uint8),
    "prediction": np.ones((2, 4, 5), np.uint8),
}


def written(tmp_path, **arrays):
    np.savez(tmp_path / "examples.npz", **(ARRAYS | arrays))
    return read_examples(tmp_path / "examples.npz")


def test_a_picture_of_classes_counts_everywhere(tmp_path):
    found = written(tmp_path, labels=np.full((2, 4, 5), 255, np.uint8))
    assert found.scores is None
    assert found.where.all()
    assert found.axis_slice.tolist() == [-1, -1]
    assert found.image.dtype == np.float32
    assert written(tmp_path, axis_slice=np.array([3, 4])).axis_slice.tolist() == [3, 4]


def test_colors_of_bytes_are_shares(tmp_path):
    image = np.full((2, 4, 5, 3), 51, np.uint8)
    np.testing.assert_allclose(written(tmp_path, image=image).image, 0.2)


def test_what_has_no_label_or_no_score_is_not_counted(tmp_path):
    labels, scores = ARRAYS["labels"].copy(), np.zeros((2, 4, 5), np.float32)
    labels[0, 0], scores[1, 1] = 255, np.nan
    where = written(tmp_path, labels=labels, scores=scores).where
    assert not where[0, 0].any()
    assert not where[1, 1].any()
    assert where.sum() == 30


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 broken"])
def test_what_cannot_be_read_is_none(tmp_path, content):
    path = tmp_path / "examples.npz"
    assert read_examples(path) is None
    path.write_bytes(content)
    assert read_examples(path) is None
    np.savez(path, image=np.zeros((1, 2, 2)))
    assert read_examples(path) is None
