import numpy as np
import pytest
from scipy import io

from lossbench.data.table_files import read_csv, read_table

X = np.random.default_rng(0).normal(size=(6, 3))
Y = np.array([0, 0, 1, 0, 1, 0])


def same(table):
    assert table.rows.dtype == np.float32
    assert table.labels.dtype == bool
    np.testing.assert_array_equal(table.rows, X.astype(np.float32))
    np.testing.assert_array_equal(table.labels, Y)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64, np.float64, bool])
def test_arrays(tmp_path, dtype):
    np.savez(tmp_path / "a.npz", X=X, y=Y.astype(dtype))
    io.savemat(tmp_path / "b.mat", {"X": X, "y": Y.astype(dtype)[:, None]})
    np.savez(tmp_path / "c.npz", x=X.astype(">f8"), Y=Y.astype(dtype))
    for name in ("a.npz", "b.mat", "c.npz"):
        same(read_table(tmp_path / name))


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, ">u2"])
def test_small_integers(tmp_path, dtype):
    limits = np.iinfo(dtype)
    x = np.array([[limits.min, 3], [limits.max, 5]], dtype)
    np.savez(tmp_path / "a.npz", X=x, y=[0, 1])
    np.testing.assert_array_equal(read_table(tmp_path / "a.npz").rows, x.astype(float))


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("header", [None, "a,b,c,label", "a,b,c,unknown"])
def test_text(tmp_path, delimiter, header):
    lines = [
        ",".join(map(repr, [*map(float, row), int(label)])) for row, label in zip(X, Y, strict=True)
    ]
    text = "\n".join([header, *lines] if header else lines) + "\n\n"
    (tmp_path / "a.csv").write_text(text.replace(",", delimiter))
    same(read_table(tmp_path / "a.csv"))
    (tmp_path / "b.csv").write_text("\ufeff" + text.replace(",", delimiter), encoding="utf-8")
    same(read_table(tmp_path / "b.csv"))


def test_the_column_of_the_label(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("Outlier,a,bad\n1,2.5,0\n0,1e3,1\n")
    np.testing.assert_array_equal(read_table(path).labels, [True, False])
    np.testing.assert_array_equal(read_table(path).rows, [[2.5, 0], [1000, 1]])
    np.testing.assert_array_equal(read_table(path, "bad").labels, [False, True])
    with pytest.raises(ValueError, match="there is no column 'worse'; there are: Outlier, a, bad"):
        read_table(path, "worse")
    path.write_text("1,2\n0,3\n")
    with pytest.raises(ValueError, match="there is no column 'y'; its first line names no columns"):
        read_table(path, "y")
    np.savez(tmp_path / "a.npz", X=X, y=Y)
    with pytest.raises(ValueError, match="label names a column of a CSV file; this file has X and"):
        read_table(tmp_path / "a.npz", "y")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"a\.csv: the file is empty"),
        ("a,y\n", "expected rows of at least one value and a label"),
        ("1\n0\n", "expected rows of at least one value and a label"),
        ("a,y\n1,0\n2\n", r"row 1 \(counted from 0\) has 1 fields, the first line 2"),
        ("a,y\n1,0\n,1\n", r"row 1 \(counted from 0\) has '' in column a, where a number belongs"),
        ("1,0\n2,0\nx,1\n", r"row 2 \(counted from 0\) has 'x' in column 0"),
    ],
)
def test_bad_text(tmp_path, text, message):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_csv(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"X": X}, r"a\.npz: expected arrays X and y; there are: X \(6x3 float64\)"),
        ({"X": X, "y": Y[:3]}, "expected X of rows and columns, and y of rows"),
        ({"X": X[:, 0], "y": Y}, "expected X of rows and columns"),
        ({"X": X.astype(str), "y": Y}, "X and y must hold real numbers"),
        ({"X": X, "y": Y + 1}, "labels must be 0 and 1 .anomalous., found 1, 2"),
        ({"X": X, "y": np.where(Y, -1, 1)}, "labels must be 0 and 1 .anomalous., found -1, 1"),
        ({"X": np.where(X[1, 2] == X, np.nan, X), "y": Y}, "row 1, column 2 .* is nan, not a fin"),
        ({"X": np.where(X[0, 0] == X, 1e99, X), "y": Y}, "row 0, column 0 .* is 1e\\+99, not a f"),
    ],
)
def test_bad_arrays(tmp_path, arrays, message):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        read_table(tmp_path / "a.npz")


def test_other_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"a\.npz: no such file"):
        read_table(tmp_path / "a.npz")
    (tmp_path / "a.xls").touch()
    with pytest.raises(
        ValueError, match=r"a\.xls: expected a file that ends in \.npz, \.mat, \.cs"
    ):
        read_table(tmp_path / "a.xls")
