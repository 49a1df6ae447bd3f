import sys

import numpy as np
import pytest

from lossbench.data.envi import header_of, read_envi

pytest.importorskip("spectral")

CODES = {"u1": 1, "i2": 2, "i4": 3, "f4": 4, "f8": 5, "u2": 12, "u4": 13, "i8": 14, "u8": 15}
AXES = {"bsq": (2, 0, 1), "bil": (0, 2, 1), "bip": (0, 1, 2)}


def write_envi(path, array, interleave="bsq", order="<", ending=".img", **fields):
    """Writes a header and its raw file, byte by byte as the format is described."""
    code = CODES[array.dtype.str[1:]]
    raw = array.astype(array.dtype.newbyteorder(order)).transpose(
        AXES.get(interleave.lower(), (2, 0, 1))
    )
    offset = int(fields.get("header offset", 0))
    path.with_name(path.stem + ending).write_bytes(b"\7" * offset + raw.tobytes())
    lines = {
        "samples": array.shape[1],
        "lines": array.shape[0],
        "bands": array.shape[2],
        "data type": code,
        "interleave": interleave,
        "byte order": int(order == ">"),
        **fields,
    }
    text = "".join(f"{name} = {value}\n" for name, value in lines.items() if value is not None)
    path.write_bytes(("ENVI\ndescription = {a\n scene}\n" + text).encode("latin-1"))
    return path


def values(dtype, shape=(3, 4, 5)):
    rng = np.random.default_rng(0)
    if np.dtype(dtype).kind == "f":
        return rng.normal(size=shape).astype(dtype)
    limits = np.iinfo(dtype)
    array = rng.integers(limits.min, limits.max, shape, dtype, endpoint=True)
    array.flat[:2] = limits.min, limits.max
    return array


@pytest.mark.parametrize("dtype", CODES)
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("interleave", ["bsq", "bil", "bip", "BIL"])
def test_every_type_order_and_interleave(tmp_path, dtype, order, interleave):
    array = values(dtype)
    raster = read_envi(write_envi(tmp_path / "a.hdr", array, interleave, order))
    np.testing.assert_array_equal(np.asarray(raster.stored), array)
    assert raster[1:] == (None, None, None, 1.0)


@pytest.mark.parametrize("ending", ["", ".img", ".dat", ".raw", ".bin", ".bsq", ".IMG"])
def test_header_and_raw_file_find_each_other(tmp_path, ending):
    array = values("i2")
    header = write_envi(tmp_path / "a.hdr", array, ending=ending)
    raw = tmp_path / f"a{ending}"
    assert header_of(raw) == header
    for path in (header, raw):
        np.testing.assert_array_equal(np.asarray(read_envi(path).stored), array)


def test_a_header_may_keep_the_ending_of_the_raw_file(tmp_path):
    array = values("i2")
    write_envi(tmp_path / "a.hdr", array, ending=".img").rename(tmp_path / "a.img.hdr")
    for name in ("a.img", "a.img.hdr"):
        np.testing.assert_array_equal(np.asarray(read_envi(tmp_path / name).stored), array)


def test_header_offset(tmp_path):
    array = values("u2")
    path = write_envi(tmp_path / "a.hdr", array, **{"header offset": 37})
    np.testing.assert_array_equal(np.asarray(read_envi(path).stored), array)


def test_fields(tmp_path):
    fields = {
        "wavelength": "{0.4, 0.5, 0.6,\n 0.7, 0.8}",
        "wavelength units": "Micrometers",
        "data ignore value": "-9999",
        "reflectance scale factor": "10000",
        "bbl": "{1, 1, 0, 1, 1,}",
    }
    raster = read_envi(write_envi(tmp_path / "a.hdr", values("i2"), **fields))
    assert raster.wavelengths == (400.0, 500.0, 600.0, 700.0, 800.0)
    assert raster.no_data == -9999.0
    assert raster.scale == 10000.0
    assert raster.good_bands == (True, True, False, True, True)


@pytest.mark.parametrize("names", [str.title, str.upper])
def test_names_in_capitals(tmp_path, names):
    array = values("i2")
    path = write_envi(tmp_path / "a.hdr", array)
    lines = path.read_text().splitlines()
    turned = [
        names(name) + mark + value
        for name, mark, value in (line.partition(" = ") for line in lines[3:])
    ]
    path.write_text("\n".join([*lines[:3], *turned]))
    np.testing.assert_array_equal(np.asarray(read_envi(path).stored), array)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8", "utf-8-sig"])
def test_headers_with_other_letters(tmp_path, encoding):
    array = values("i2")
    fields = {"wavelength": "{1,2,3,4,5}", "wavelength units": "µm", "place": "Zürich"}
    path = write_envi(tmp_path / "a.hdr", array, **fields)
    path.write_bytes(path.read_bytes().decode("latin-1").encode(encoding))
    raster = read_envi(path)
    assert raster.wavelengths == (1000.0, 2000.0, 3000.0, 4000.0, 5000.0)
    np.testing.assert_array_equal(np.asarray(raster.stored), array)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"interleave": "abc"}, r"a\.hdr: .*interleave must be one of bsq, bil, bip, found 'abc'"),
        ({"data type": 6}, r"a\.hdr: .*complex"),
        ({"data type": 99}, r"a\.hdr: not a sound ENVI header"),
        ({"byte order": 2}, r"a\.hdr: .*byte order must be 0 or 1, found '2'"),
        ({"byte order": None}, r"a\.hdr: .*byte order"),
        ({"lines": 0}, r"a\.hdr: .*lines must be at least 1"),
        ({"bands": "many"}, r"a\.hdr: not a sound ENVI header"),
        ({"lines": 4}, r"a\.img: truncated: the header a\.hdr asks for 160 bytes, .* has 120"),
        ({"wavelength": "{1, 2}"}, r"a\.hdr: wavelength has 2 numbers for 5 bands"),
        ({"wavelength": "{1, 2, x, 4, 5}"}, r"a\.hdr: wavelength must hold numbers"),
        ({"bbl": "{1}"}, r"a\.hdr: bbl has 1 numbers for 5 bands"),
        ({"bbl": "{a,b,c,d,e}"}, r"a\.hdr: bbl must hold numbers"),
        ({"data ignore value": "no"}, r"a\.hdr: data ignore value must be a number, found 'no'"),
        ({"reflectance scale factor": 0}, r"a\.hdr: reflectance scale factor must be above 0"),
        ({"file type": "ENVI Spectral Library"}, r"a\.hdr: this is a spectral library"),
    ],
)
def test_wrong_headers(tmp_path, fields, message):
    path = write_envi(tmp_path / "a.hdr", values("i2"), **fields)
    with pytest.raises(ValueError, match=message):
        read_envi(path)


@pytest.mark.parametrize("content", [b"", b"samples = 3\n", b"\xff\xfe\0\1", b"\x89PNG\r\n"])
def test_headers_of_something_else(tmp_path, content):
    path = write_envi(tmp_path / "a.hdr", values("i2"))
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.hdr: not an? (sound )?ENVI header"):
        read_envi(path)


def test_missing_files(tmp_path):
    path = write_envi(tmp_path / "a.hdr", values("i2"))
    (tmp_path / "a.img").unlink()
    with pytest.raises(FileNotFoundError, match=r"a\.hdr: there is no raw file beside it, such"):
        read_envi(path)
    (tmp_path / "b.img").write_bytes(b"12")
    with pytest.raises(FileNotFoundError, match=r"b\.img: there is no header b\.hdr beside it"):
        read_envi(tmp_path / "b.img")
    with pytest.raises(FileNotFoundError, match=r"c\.hdr: no such file"):
        read_envi(tmp_path / "c.hdr")


def test_without_spectral(tmp_path, monkeypatch):
    for name in [n for n in sys.modules if n.split(".")[0] == "spectral"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r'package spectral: pip install "lossbench\[hyperspec'):
        read_envi(tmp_path / "a.hdr")
