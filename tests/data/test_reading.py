import numpy as np
import pytest

from lossbench.data.patches import Volume
from lossbench.data.reading import named, remembering


def reader(count):
    """Reads cases that hold their own number, and counts how often."""
    times = [0] * count

    def read(i):
        times[i] += 1
        return Volume(np.full((2, 1), i, np.float32), np.full(2, i, np.uint8))

    return read, times


# Three cases of a quarter of a GiB each.
SIZES = [2**28] * 3


@pytest.mark.parametrize(("cache_gib", "kept"), [(0.75, 3), (0.7, 2), (0.0, 1)])
def test_each_case_is_read_once_and_kept_where_all_fit(cache_gib, kept):
    read, times = reader(3)
    remembered = remembering(read, SIZES, cache_gib)
    assert times == [1, 1, 1]
    for i in (*range(kept), *range(kept)):
        assert remembered(i).labels[0] == i
    before = list(times)
    for i in range(kept):  # those read last are in memory
        remembered(i)
    assert times == before
    for i in range(3):
        remembered(i)
    assert (sum(times) == 3) == (kept == 3)


@pytest.mark.parametrize("cache_gib", [0.0, 1.0])
def test_a_bad_case_is_found_at_once(cache_gib):
    def read(i):
        if i == 2:
            raise ValueError("case 2 is damaged")
        return reader(3)[0](i)

    with pytest.raises(ValueError, match="case 2 is damaged"):
        remembering(read, SIZES, cache_gib)


def test_a_part_has_its_own_numbers():
    names, read = named(np.array([2, 0]), ["a", "b", "c"], reader(3)[0])
    assert names == ("c", "a")
    assert [int(read(i).labels[0]) for i in range(2)] == [2, 0]
