import numpy as np
import pytest
from scipy import io

from lossbench.data.mat_files import read_hdf5, read_mat

h5py = pytest.importorskip("h5py")

DTYPES = ["i1", "u1", "<i2", ">i2", "<u2", ">u2", "<i4", "<u4", "<i8", "<f4", ">f4", "<f8", ">f8"]


def extremes(dtype, shape=(4, 3, 5)):
    """Values from the least to the greatest of a type."""
    kind = np.dtype(dtype)
    rng = np.random.default_rng(0)
    if kind.kind == "f":
        return rng.normal(size=shape).astype(kind)
    limits = np.iinfo(kind)
    values = rng.integers(limits.min, limits.max, shape, kind.newbyteorder("="), endpoint=True)
    values.flat[:2] = limits.min, limits.max
    return values.astype(kind)


def write_v73(path, arrays, classes=None, userblock=True):
    """Writes a file as MATLAB does: axes reversed, the class as an attribute."""
    with h5py.File(path, "w", userblock_size=512 if userblock else 0) as file:
        for name, array in arrays.items():
            stored = file.create_dataset(name.replace(".", "/"), data=np.asarray(array).T)
            stored.attrs["MATLAB_class"] = np.bytes_((classes or {}).get(name, "double"))
    if userblock:
        with open(path, "r+b") as file:
            file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(512))
    return path


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("version", ["5", "5 packed", "7.3"])
def test_numbers_of_every_type(tmp_path, dtype, version):
    path, array = tmp_path / "a.mat", extremes(dtype)
    if version == "7.3":
        write_v73(path, {"data": array})
    else:
        io.savemat(path, {"data": array}, do_compression="packed" in version)
    (found,) = read_mat(path).values()
    assert found.dtype.kind == array.dtype.kind
    np.testing.assert_array_equal(found, array)


def test_version_4_has_two_axes(tmp_path):
    io.savemat(tmp_path / "a.mat", {"X": np.eye(3, 4)}, format="4")
    np.testing.assert_array_equal(read_mat(tmp_path / "a.mat")["X"], np.eye(3, 4))


@pytest.mark.parametrize("userblock", [True, False])
def test_version_7_3_is_turned_back(tmp_path, userblock):
    arrays = {"cube": np.arange(24.0).reshape(2, 3, 4), "map": np.eye(2, 3), "x": np.ones((1, 4))}
    path = write_v73(tmp_path / "a.mat", arrays, {"map": "logical"}, userblock)
    found = read_mat(path)
    assert found["map"].dtype == bool
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)


def test_structs_are_flattened(tmp_path):
    array = np.arange(24).reshape(2, 3, 4)
    io.savemat(tmp_path / "5.mat", {"scene": {"data": array, "more": {"gt": np.eye(2)}}, "n": "x"})
    found = read_mat(tmp_path / "5.mat")
    np.testing.assert_array_equal(found["scene.data"], array)
    np.testing.assert_array_equal(found["scene.more.gt"], np.eye(2))
    found = read_mat(write_v73(tmp_path / "7.mat", {"scene.data": array}))
    np.testing.assert_array_equal(found["scene.data"], array)


def test_what_is_no_number_is_left_out(tmp_path):
    path = write_v73(tmp_path / "a.mat", {"data": np.ones((2, 2)), "n": [1, 2]}, {"n": "char"})
    with h5py.File(path, "r+") as file:
        file["#refs#/a"] = np.ones(3)
        file["nothing"] = h5py.Empty("f8")
        file["hole"] = np.zeros(2, np.uint64)
        file["hole"].attrs["MATLAB_empty"] = 1
    assert list(read_mat(path)) == ["data"]


def test_complex_numbers_stay_complex(tmp_path):
    array = np.ones((2, 3, 4)) * 1j
    io.savemat(tmp_path / "5.mat", {"data": array})
    pairs = np.zeros((4, 3, 2), [("real", "f8"), ("imag", "f8")])
    pairs["imag"] = 1
    with h5py.File(tmp_path / "7.mat", "w") as file:
        file["data"] = pairs
    for name in ("5.mat", "7.mat"):
        found = read_mat(tmp_path / name)["data"]
        assert found.dtype.kind == "c"
        np.testing.assert_array_equal(found, array)


def test_hdf5_of_others_keeps_its_axes(tmp_path):
    array = np.arange(24).reshape(2, 3, 4)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["group/data"] = array
        file["written_by_matlab"] = array
        file["written_by_matlab"].attrs["MATLAB_class"] = np.bytes_("int64")
    found = read_hdf5(tmp_path / "a.h5")
    np.testing.assert_array_equal(found["group.data"], array)
    np.testing.assert_array_equal(found["written_by_matlab"], array.T)


@pytest.mark.parametrize("version", ["5", "5 packed", "7.3"])
def test_truncated_files(tmp_path, version):
    path, array = tmp_path / "a.mat", np.random.default_rng(0).normal(size=(9, 9, 9))
    if version == "7.3":
        write_v73(path, {"data": array})
    else:
        io.savemat(path, {"data": array}, do_compression="packed" in version)
    content = path.read_bytes()
    for share in (0.3, 0.9):
        path.write_bytes(content[: int(share * len(content))])
        with pytest.raises(ValueError, match=r"a\.mat: truncated, damaged or not a"):
            read_mat(path)


@pytest.mark.parametrize("content", [b"", b"x" * 10, b"\0" * 200, b"<html>" * 100])
def test_files_of_something_else(tmp_path, content):
    path = tmp_path / "a.mat"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.mat: truncated, damaged or not a \.mat file"):
        read_mat(path)
    with pytest.raises(ValueError, match=r"a\.mat: truncated, damaged or not an HDF5 file"):
        read_hdf5(path)


def test_without_h5py(tmp_path, monkeypatch):
    path = write_v73(tmp_path / "a.mat", {"data": np.ones((2, 2))})
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(ImportError, match=r'need the package h5py: pip install "lossbench\[hyper'):
        read_mat(path)
