import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench.metrics._bits import up_to


@pytest.mark.parametrize("n", [1, 32, 100])
def test_counts_every_mark_and_finds_the_end_before(n):
    rng = np.random.default_rng(n)
    share = np.array([0, 0.03, 0.5, 1])
    marks = rng.random((16, n)) < np.repeat(share, 4)[:, None]
    ends = rng.random((16, n)) < np.tile(share, 4)[:, None]
    found = jax.jit(up_to)(jnp.asarray(marks), jnp.asarray(ends))
    np.testing.assert_array_equal(found.marks, marks.cumsum(1))
    for row in range(16):
        for i in range(n):
            earlier = np.flatnonzero(ends[row, :i])
            places = earlier[-1] + 1 if len(earlier) else 0
            assert found.places_before[row, i] == places
            assert found.marks_before[row, i] == marks[row, :places].sum()
