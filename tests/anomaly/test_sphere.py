"""The center's push and the radius's nu-property, against NumPy in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench.anomaly.sphere import Recent, svdd_center, svdd_radius


def test_components_near_0_are_pushed_away_and_exact_zeros_too():
    mean = jnp.array([0.0, -0.0, 0.05, -0.05, 0.1, -0.1, 3.0, -1e-30])
    expected = np.float32([0.1, 0.1, 0.1, -0.1, 0.1, -0.1, 3.0, -0.1])
    assert np.array_equal(svdd_center(mean), expected)
    assert np.array_equal(svdd_center(mean, eps=0.0), mean)


@pytest.mark.parametrize("n", [1, 2, 7, 100, 1001])
def test_at_most_a_share_nu_lies_outside_and_at_least_so_much_on_or_outside(n):
    distances = np.float32(np.random.default_rng(n).gamma(2.0, size=n))
    radius = jax.jit(lambda nu: svdd_radius(jnp.asarray(distances), nu=nu))
    for nu in (0.001, 0.01, 0.05, 0.1, 0.5, 0.95, 1.0):
        square = np.float32(radius(nu)) * np.float32(radius(nu))  # as a detector decides
        outside = np.mean(distances > square)
        on_or_outside = np.mean(distances >= square * (1 - 1e-6))
        assert outside <= nu + 1e-9
        assert on_or_outside >= nu - 1e-9


def test_masked_distances_do_not_count_and_none_is_nan():
    distances = jnp.array([[1.0, 100.0], [4.0, jnp.nan]])
    where = jnp.array([[True, False], [True, False]])
    assert svdd_radius(distances, nu=0.5, where=where) == 1
    assert np.isnan(svdd_radius(distances, nu=0.5, where=jnp.zeros((2, 2), bool)))


@pytest.mark.parametrize("nu", [0, -0.1, 1.1, float("nan")])
def test_a_share_outside_of_0_and_1_is_refused(nu):
    with pytest.raises(ValueError, match="nu: expected a share above 0 and at most 1"):
        svdd_radius(jnp.ones(3), nu=nu)


def test_the_ring_holds_the_last_distances():
    add = jax.jit(Recent.add)
    state, seen = Recent.empty(10), []
    rng = np.random.default_rng(0)
    for n in (3, 4, 1, 6, 10, 2, 9):
        values, where = np.float32(rng.random(n)), rng.random(n) < 0.8
        state = add(state, jnp.asarray(values), jnp.asarray(where))
        seen += list(values[where])
        held = np.asarray(state.distances)[np.asarray(state.full)]
        assert sorted(held) == sorted(np.float32(seen[-10:]))


def test_of_a_large_batch_evenly_spread_distances_are_kept():
    values = jnp.arange(1000.0)
    where = values % 2 == 0  # 500 count, for a ring of 64
    state = Recent.empty(64).add(values, where)
    held = np.asarray(state.distances)
    assert state.full.all()
    assert (held % 2 == 0).all()
    assert np.histogram(held, bins=8, range=(0, 1000))[0].tolist() == pytest.approx([8] * 8, abs=1)


@pytest.mark.parametrize("stripes", [2, 3, 4, 5, 8])
def test_what_is_kept_is_in_step_with_no_stripes_of_an_image(stripes):
    striped = jnp.broadcast_to((jnp.arange(120) % stripes == 0).astype(jnp.float32), (100, 120))
    state = Recent.empty(1000).add(striped)
    assert np.mean(state.distances) == pytest.approx(1 / stripes, abs=0.03)


def test_a_batch_just_larger_than_the_ring_fills_it():
    state = Recent.empty(100).add(jnp.arange(101.0))
    assert state.full.all()
    assert len(np.unique(state.distances)) > 70


def test_of_millions_no_distance_too_many_lies_outside():
    distances = jnp.arange(5_000_000, dtype=jnp.float32)
    square = np.float32(svdd_radius(distances, nu=0.5)) ** 2
    assert int(jnp.sum(distances > square * (1 + 2e-7))) <= 2_500_000


def test_the_count_never_overflows():
    state = Recent.empty(4)._replace(seen=jnp.int32(7))
    state = state.add(jnp.ones(3))
    assert int(state.seen) == 6
    assert state.full.all()
