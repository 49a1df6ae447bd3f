import matplotlib
import numpy as np
import pytest

from lossbench._colors import HEAT, NO_SCORE
from lossbench.training.heat import common_limits, heat, shares


def rgb(color):
    return [int(color[k : k + 2], 16) for k in (1, 3, 5)]


def test_limits_are_percentiles_of_all_maps_together():
    rng = np.random.default_rng(0)
    maps = [rng.normal(size=(9, 7)), 30 * rng.normal(size=(5, 4)), rng.normal(size=3)]
    pooled = np.concatenate([m.ravel() for m in maps])
    assert common_limits(maps, (5, 90)) == pytest.approx(np.percentile(pooled, (5, 90)))
    maps[1][0] = [np.nan, np.inf, -np.inf, np.nan]
    pooled = np.concatenate([m.ravel() for m in maps])
    want = np.percentile(pooled[np.isfinite(pooled)], (1, 99.5))
    assert common_limits(maps) == pytest.approx(want)


@pytest.mark.parametrize("maps", [[], [np.full((2, 2), np.nan)], [np.empty((0, 3))]])
def test_limits_of_nothing_are_0_and_1(maps):
    assert common_limits(maps) == (0.0, 1.0)


def test_colors_are_those_of_inferno():
    shares = np.linspace(0, 1, 256)
    want = 255 * matplotlib.colormaps["inferno"](np.arange(256))[:, :3]
    apart = np.abs(heat(3 + 2 * shares, (3, 5)) - want)  # of 255; mixed from every sixteenth
    assert apart.max() < 8
    assert apart.mean() < 1.5


def test_a_score_has_one_color_whatever_map_it_is_in():
    limits = (0.0, 10.0)
    one, other = np.array([[0.0, 4.0]]), np.array([[4.0, 400.0]])
    assert heat(one, limits)[0, 1].tolist() == heat(other, limits)[0, 0].tolist()
    assert heat(other, limits)[0, 1].tolist() == rgb(HEAT[-1])


def test_the_ends_infinity_and_what_has_no_score():
    got = heat(np.array([-np.inf, -1, 0, 1, 7, np.inf, np.nan]), (0.0, 1.0)).tolist()
    assert got == [rgb(HEAT[0])] * 3 + [rgb(HEAT[-1])] * 3 + [rgb(NO_SCORE)]


def test_a_constant_map_is_dark_and_what_is_above_it_bright():
    got = heat(np.array([5.0, 5.0, 6.0]), (5.0, 5.0)).tolist()
    assert got == [rgb(HEAT[0]), rgb(HEAT[0]), rgb(HEAT[-1])]


def test_scores_of_any_type_and_size():
    assert heat(np.array([1, 2], np.int16), (1, 2)).dtype == np.uint8
    huge = np.array([0.0, 1e308, -1e308])
    got = heat(huge, (-1e308, 1e308))  # the range overflows
    assert got.shape == (3, 3)
    assert heat(np.array([1e30], np.float32), (0, 1e30)).tolist() == [rgb(HEAT[-1])]


def test_shares_lie_between_the_limits():
    scores = np.array([-np.inf, 2, 3, 4.5, 6, 9, np.inf, np.nan])
    np.testing.assert_allclose(shares(scores, (3, 6)), [0, 0, 0, 0.5, 1, 1, 1, np.nan])
    np.testing.assert_array_equal(shares(scores, (3, 3)), [0, 0, 0, 1, 1, 1, 1, np.nan])
