import gzip

import numpy as np
import pytest

from lossbench.data.idx_files import read_idx

CODES = {">u1": 8, ">i1": 9, ">i2": 11, ">i4": 12, ">f4": 13, ">f8": 14}


def idx(array, code=8):
    sizes = np.array(array.shape, ">u4").tobytes()
    return bytes([0, 0, code, array.ndim]) + sizes + array.tobytes()


@pytest.mark.parametrize("dtype", CODES)
@pytest.mark.parametrize("shape", [(5,), (2, 3, 4)])
@pytest.mark.parametrize("packed", [False, True])
def test_every_type(tmp_path, dtype, shape, packed):
    array = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    content = idx(array, CODES[dtype])
    # The ending does not decide, since some tools unpack and keep it.
    (tmp_path / "a.gz").write_bytes(gzip.compress(content) if packed else content)
    np.testing.assert_array_equal(read_idx(tmp_path / "a.gz"), array)


def test_damaged_files(tmp_path):
    path = tmp_path / "a"
    content = idx(np.zeros((3, 4), np.uint8))
    with pytest.raises(FileNotFoundError, match="a: no such file"):
        read_idx(path)
    for part, message in [
        (b"", "a: not an IDX file"),
        (b"\x89PNG", "a: not an IDX file: it begins with b'.x89PNG'"),
        (b"\0\0\7\1", "a: not an IDX file"),
        (content[:8], "a: truncated: the file ends in its header"),
        (content[:-1], "a: truncated or damaged: 3x4 values need 24 bytes, the file has 23"),
        (content + b"1", "the file has 25"),
        (gzip.compress(content)[:-9], "a: truncated or damaged gzip file"),
        (b"\x1f\x8bjunk", "a: truncated or damaged gzip file"),
    ]:
        path.write_bytes(part)
        with pytest.raises(ValueError, match=message):
            read_idx(path)
