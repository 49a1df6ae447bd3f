import gzip
import sys

import numpy as np
import pytest

from lossbench.data.nifti import read_header, read_image, read_labels, spatial_shape

NAMES = ("background", "front", "back")


@pytest.fixture
def image(tmp_path, nifti):
    array = np.random.default_rng(0).integers(0, 3, (6, 5, 4)).astype(np.uint8)
    return nifti(tmp_path / "case.nii.gz", array, (1.0, 2.0, 7.5)), array


def test_it_reads_what_was_written(image, tmp_path, nifti):
    path, array = image
    assert read_header(path) == ((6, 5, 4), (1.0, 2.0, 7.5))
    np.testing.assert_array_equal(read_labels(path, NAMES), array)
    assert read_labels(path, NAMES).dtype == np.uint8
    got = read_image(path)
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got[..., 0], array)
    many = np.random.default_rng(1).normal(size=(4, 3, 2, 5))
    got = read_image(nifti(tmp_path / "many.nii", many))
    np.testing.assert_allclose(got, many, rtol=1e-6)


def test_scaling_of_the_header_is_applied(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    stored = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    file = nibabel.Nifti1Image(stored, np.eye(4))
    file.header.set_slope_inter(0.5, -3)
    file.to_filename(tmp_path / "scaled.nii")
    raw = nibabel.load(tmp_path / "scaled.nii")
    np.testing.assert_allclose(
        read_image(tmp_path / "scaled.nii")[..., 0], raw.get_fdata(), atol=1e-6
    )


def test_labels_stored_as_floats_or_with_an_extra_axis(tmp_path, nifti):
    array = np.random.default_rng(0).integers(0, 3, (6, 5, 4))
    floats = nifti(tmp_path / "float.nii.gz", array.astype(np.float64))
    np.testing.assert_array_equal(read_labels(floats, NAMES), array)
    extra = nifti(tmp_path / "extra.nii.gz", array.astype(np.uint8)[..., None])
    np.testing.assert_array_equal(read_labels(extra, NAMES), array)
    assert spatial_shape((4, 1, 1)) == (4, 1, 1)
    assert spatial_shape((4, 3, 2, 1, 1)) == (4, 3, 2)
    assert spatial_shape((4, 3, 2, 5)) == (4, 3, 2, 5)


@pytest.mark.parametrize("keep", [0, 20, 0.3, 0.9])
@pytest.mark.parametrize("suffix", [".nii.gz", ".nii"])
def test_truncated_files(tmp_path, nifti, keep, suffix):
    noise = np.random.default_rng(0).normal(size=(16, 16, 16)).astype(np.float32)
    content = nifti(tmp_path / f"whole{suffix}", noise).read_bytes()
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(content[: int(keep * len(content)) if keep < 1 else keep])
    with pytest.raises(ValueError, match=rf"cut{suffix}: (not a readable|truncated)"):
        read_image(path)


@pytest.mark.parametrize(
    "content", [b"no image at all" * 50, gzip.compress(b"text" * 500, mtime=0)]
)
def test_files_that_are_not_nifti(tmp_path, content):
    pytest.importorskip("nibabel")
    path = tmp_path / "text.nii.gz"
    path.write_bytes(content)
    for read in (read_header, read_image):
        with pytest.raises(ValueError, match=r"text\.nii\.gz: not a readable NIfTI file"):
            read(path)


def test_other_formats_are_refused(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    path = tmp_path / "case.mgz"
    nibabel.MGHImage(np.zeros((3, 3, 3), np.float32), np.eye(4)).to_filename(path)
    with pytest.raises(ValueError, match=r"case\.mgz: not a NIfTI file but MGHImage"):
        read_header(path)


def test_a_missing_file(tmp_path):
    pytest.importorskip("nibabel")
    with pytest.raises(FileNotFoundError, match=r"gone\.nii\.gz: no such file"):
        read_image(tmp_path / "gone.nii.gz")


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_non_finite_images(tmp_path, nifti, value):
    array = np.zeros((4, 4, 4))
    array[1, 2, 3] = value
    with pytest.raises(ValueError, match=r"bad\.nii: the image has 1 voxels that are NaN"):
        read_image(nifti(tmp_path / "bad.nii", array))


def test_images_must_be_real(tmp_path, nifti):
    path = nifti(tmp_path / "complex.nii", np.zeros((3, 3, 3), np.complex64))
    with pytest.raises(ValueError, match=r"complex\.nii: voxels must be real numbers"):
        read_image(path)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (3, r"label 3 is not one of the classes \(0 = background, 1 = front, 2 = back\)"),
        (-1, "label -1 is not"),
        (1.5, "labels must be whole numbers, found 1.5"),
        (np.nan, "labels must be whole numbers, found nan"),
        (np.inf, "label inf is not"),
    ],
)
def test_bad_labels(tmp_path, nifti, value, message):
    array = np.ones((4, 4, 4), np.int16 if isinstance(value, int) else np.float32)
    array[0, 0, 0] = value
    with pytest.raises(ValueError, match=r"bad\.nii: " + message):
        read_labels(nifti(tmp_path / "bad.nii", array), NAMES)


def test_many_bad_labels_are_listed_in_short(tmp_path, nifti):
    path = nifti(tmp_path / "bad.nii", np.arange(64, dtype=np.int16).reshape(4, 4, 4))
    with pytest.raises(ValueError, match=r"label 3, 4, .*, 10, \.\.\. \(61 values\) is not"):
        read_labels(path, NAMES)


def test_without_nibabel_the_extra_is_named(image, monkeypatch):
    monkeypatch.setitem(sys.modules, "nibabel", None)
    with pytest.raises(ImportError, match=r'pip install "lossbench\[medical\]"'):
        read_header(image[0])
