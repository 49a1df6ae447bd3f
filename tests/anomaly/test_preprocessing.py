"""Preprocessing against cuvis-ai's values and NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench.anomaly import preprocessing as p
from tests.anomaly.cuvis import CUBE

NM = [400.0, 450.0, 650.0, 900.0, 950.0]


def test_bands_include_both_ends():
    assert p.bands_between(NM, low=450, high=900) == (1, 2, 3)
    assert p.bands_between(NM, low=700) == (3, 4)
    assert p.bands_between(NM, high=400) == (0,)
    assert p.bands_between([900.0, 500.0, 700.0], low=600) == (0, 2)


def test_no_band_names_the_range_there_is():
    with pytest.raises(ValueError, match="between 1000 and 2000 nm; they go from 400 to 950 nm"):
        p.bands_between(NM, low=1000, high=2000)
    with pytest.raises(ValueError, match="there are none"):
        p.bands_between([])


@pytest.mark.parametrize("bands", [(1, 2, 3), (0, 3), (2, 0)])
def test_take_bands(bands):
    x = np.arange(20).reshape(4, 5)
    np.testing.assert_array_equal(p.take_bands(x, bands), x[:, bands])


def test_unit_norm_is_that_of_cuvis():
    wanted = [-0.7262706, -0.1669215, 0.295315, 0.5978774]
    np.testing.assert_allclose(p.unit_norm(CUBE)[0, 0, 0], wanted, rtol=1e-5)


def test_unit_norm_of_constants_and_of_any_size():
    np.testing.assert_array_equal(p.unit_norm(np.full((3, 7), 0.1, np.float32)), 0)
    np.testing.assert_array_equal(p.unit_norm(np.zeros((2, 1), np.int16)), 0)
    x = np.array([[1.0, 2, 4]], np.float32)
    for size in (1e-6, 1e30):
        np.testing.assert_allclose(p.unit_norm(x * np.float32(size)), p.unit_norm(x), rtol=1e-5)
    np.testing.assert_allclose(p.unit_norm(x + 10_000), p.unit_norm(x), rtol=1e-5, atol=1e-6)
    gradient = jax.grad(lambda x: p.unit_norm(x)[0, 0])(jnp.ones((1, 3)))
    assert np.isfinite(gradient).all()


def test_unsigned_integers_do_not_overflow():
    x = np.array([[1, 3, 65_535]], np.uint16)
    np.testing.assert_allclose(p.unit_norm(x), p.unit_norm(x.astype(np.float32)))
    np.testing.assert_array_equal(p.z_score(x, jnp.full(3, 5.0), jnp.ones(3)), [[-4, -2, 65_530]])


def test_above_floor():
    found = p.above_floor(jnp.array([0.0, 1e-9, 1.0, 2.0, 3.0]), floor=0.1)
    np.testing.assert_allclose(found, [0.15, 0.15, 1, 2, 3], rtol=1e-6)
    np.testing.assert_array_equal(p.above_floor(jnp.zeros(3)), 1)


def test_min_max():
    x = jnp.array([[0.0, 5.0], [20.0, 5.0]])
    low, high = jnp.array([0.0, 5.0]), jnp.array([10.0, 5.0])
    np.testing.assert_array_equal(p.min_max(x, low, high), [[0, 0], [2, 0]])
    np.testing.assert_array_equal(p.min_max(x, low, high, clip=True), [[0, 0], [1, 0]])


def test_project():
    x = jnp.array([[3.0, 4.0]])
    found = p.project(x, jnp.array([1.0, 1.0]), jnp.array([[0.0, 2.0]]), jnp.array([3.0]))
    np.testing.assert_array_equal(found, [[2.0]])
