import numpy as np
import pytest
from scipy import io

from lossbench.data.array_files import Contents, listing, read_contents, read_numpy

ARRAY = np.arange(24, dtype=np.int16).reshape(2, 3, 4)


def test_numpy_files(tmp_path):
    np.savez(tmp_path / "a.npz", x=ARRAY, y=np.eye(2))
    np.savez_compressed(tmp_path / "b.npz", x=ARRAY)
    np.save(tmp_path / "c.npy", np.asfortranarray(ARRAY.astype(">i2")))
    for name, key in (("a.npz", "x"), ("b.npz", "x"), ("c.npy", "c")):
        np.testing.assert_array_equal(read_numpy(tmp_path / name)[key], ARRAY)
    assert list(read_numpy(tmp_path / "a.npz")) == ["x", "y"]


def test_pickles_are_not_opened(tmp_path):
    np.savez(tmp_path / "a.npz", x=ARRAY, danger=np.array([print], object))
    found = read_numpy(tmp_path / "a.npz")
    assert found["danger"].size == 0
    np.testing.assert_array_equal(found["x"], ARRAY)
    np.save(tmp_path / "b.npy", np.array([print], object))
    with pytest.raises(ValueError, match=r"b\.npy: truncated, damaged or not a NumPy file"):
        read_numpy(tmp_path / "b.npy")


@pytest.mark.parametrize("name", ["a.npz", "a.npy"])
def test_truncated_files(tmp_path, name):
    path = tmp_path / name
    big = np.random.default_rng(0).normal(size=(9, 9, 9))
    (np.savez if name == "a.npz" else np.save)(path, big)
    content = path.read_bytes()
    for part in (b"", content[:100], content[:-50], b"junk" * 20):
        path.write_bytes(part)
        with pytest.raises(ValueError, match=rf"{name}: truncated, damaged or not a NumPy file"):
            read_numpy(path)


def test_each_format_is_known_by_its_ending(tmp_path):
    for package in ("h5py", "spectral", "tifffile"):
        pytest.importorskip(package)
    import h5py
    import tifffile
    from spectral.io import envi

    np.savez(tmp_path / "npz.npz", x=ARRAY)
    np.save(tmp_path / "npy.NPY", ARRAY)
    (tmp_path / "npy.NPY.npy").rename(tmp_path / "npy.NPY")
    io.savemat(tmp_path / "mat.mat", {"x": ARRAY})
    for name in ("h5.h5", "hdf5.hdf5"):
        with h5py.File(tmp_path / name, "w") as file:
            file["x"] = ARRAY
    for name in ("tif.tif", "tiff.TIFF"):
        tifffile.imwrite(tmp_path / name, ARRAY.transpose(2, 0, 1), photometric="minisblack")
    envi.save_image(str(tmp_path / "envi.hdr"), ARRAY, ext=".img")
    files = sorted(tmp_path.iterdir())
    assert len(files) == 9
    for file in files:
        (array,) = read_contents(file).arrays.values()
        np.testing.assert_array_equal(array, ARRAY)


def test_one_band_is_two_axes(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(tmp_path / "a.tif", ARRAY[0])
    assert read_contents(tmp_path / "a.tif").arrays["a"].shape == (3, 4)


def test_other_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"a\.mat: no such file"):
        read_contents(tmp_path / "a.mat")
    with pytest.raises(ValueError, match="this is a folder, not a file"):
        read_contents(tmp_path)
    (tmp_path / "a.xyz").write_text("")
    message = (
        r"a\.xyz: expected a file that ends in \.mat, .*, or a raw file with its header a\.hdr"
    )
    with pytest.raises(ValueError, match=message):
        read_contents(tmp_path / "a.xyz")


def test_what_an_error_lists():
    arrays = {"x": ARRAY, "n": np.float64(3.0)}
    assert listing(arrays) == "x (2x3x4 int16), n (one value float64)"
    assert listing({}) == "no arrays"
    assert Contents(arrays).scale == 1.0
