import numpy as np
import pytest

from lossbench.data import RandomSource, training_batches
from lossbench.detection.samples import Rows, normal_of, samples_of


class Frame:
    """A data frame without pandas."""

    columns = ("a", "b")

    def __array__(self, dtype=None, copy=None):
        return np.array([[1, 2.5], [3, 4]], object)


def test_tables_cubes_lists_and_frames_are_taken():
    assert samples_of([[1, 2], [3, 4]]).rows.shape == (2, 2)
    assert samples_of(np.zeros((2, 3, 4, 5), np.uint16)).rows.shape == (24, 5)
    assert samples_of(np.zeros((3, 4, 5), bool)).values.dtype == np.uint8
    frame = samples_of(Frame())
    assert frame.names == ("a", "b")
    np.testing.assert_array_equal(frame.values, [[1, 2.5], [3, 4]])
    where = np.array([True, False])
    assert samples_of([[1.0], [np.nan]], where).counted.tolist() == [True, False]


@pytest.mark.parametrize(
    ("x", "where", "message"),
    [
        ([1, 2, 3], None, r"X: expected a table .* got shape \(3,\)"),
        (np.zeros((0, 3)), None, "not empty"),
        ([["a", "b"]], None, "X: expected numbers, got <U1"),
        (np.array([["a", 1]], object), None, "X: expected numbers, got something else"),
        (np.zeros((2, 2), complex), None, "X: expected numbers, got complex128"),
        ([[1, np.nan], [np.inf, 2]], None, r"X: 2 rows .* the first is nan at \(0, 1\)"),
        ([[1e39, 0.0]], None, r"infinite in float32 at \(0, 0\)"),
        ([[1], [2]], np.array([1, 0]), r"where: expected bool of shape \(2,\) .*got int64"),
        ([[1], [2]], np.array([True]), r"got bool of \(1,\)"),
    ],
)
def test_anything_else_is_refused(x, where, message):
    with pytest.raises(ValueError, match=message):
        samples_of(x, where)


def test_sparse_matrices_are_refused():
    sparse = pytest.importorskip("scipy.sparse")
    with pytest.raises(ValueError, match="sparse matrices are not taken"):
        samples_of(sparse.eye_array(3).tocsr())


def test_labels_leave_rows_out():
    samples = samples_of([[1], [2], [3]], np.array([True, True, False]))
    assert normal_of(None, samples).tolist() == [True, True, False]
    assert normal_of([0, 1, 0], samples).tolist() == [True, False, False]
    assert normal_of([False, True, True], samples).tolist() == [True, False, False]
    for y, message in (
        ([1, 1, 0], "every row is labeled anomalous"),
        ([1, -1, 1], "got -1 as well; of scikit-learn's"),
        ([0, 1], r"y: expected shape \(3,\)"),
    ):
        with pytest.raises(ValueError, match=message):
            normal_of(y, samples)


def test_rows_are_drawn_from_all_and_passed_over_once():
    values = np.arange(20, dtype=np.uint16).reshape(10, 2)
    source = Rows(values, pixels=4, pass_rows=3)
    assert isinstance(source, RandomSource)
    assert len(source) == 4
    parts = [source.whole(i)["image"] for i in range(len(source))]
    np.testing.assert_array_equal(np.concatenate(parts), values)
    batches = training_batches(source, batch_size=1, seed=0)
    drawn = [next(batches)["image"] for _ in range(30)]
    batches.close()
    assert all(one.shape == (1, 4, 2) and one.dtype == np.float32 for one in drawn)
    assert all(len(np.unique(one[0, :, 0])) == 4 for one in drawn)
    assert set(np.concatenate(drawn)[..., 0].ravel()) == set(values[:, 0].tolist())
