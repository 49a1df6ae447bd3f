import numpy as np
import pytest

from lossbench.data.false_color import band_view, color_bands, false_color


@pytest.fixture
def cube():
    return np.random.default_rng(0).normal(100, 20, (11, 9, 61))


def reference(view, gamma=1.5):
    low, high = np.percentile(view, (2, 98))
    return np.clip((view - low) / (high - low), 0, 1) ** (1 / gamma)


def test_colors_are_the_bands_nearest_to_red_green_and_blue(cube):
    waves = np.linspace(400, 1000, 61)  # every 10 nm
    assert color_bands(cube, waves) == (25, 15, 5)
    image = false_color(cube, waves)
    assert image.dtype == np.float32
    for k, band in enumerate((25, 15, 5)):
        np.testing.assert_allclose(image[..., k], reference(cube[..., band]), atol=1e-6)


def test_wavelengths_may_come_in_any_order(cube):
    waves = np.linspace(400, 1000, 61)
    order = np.random.default_rng(1).permutation(61)
    one, other = false_color(cube, waves), false_color(cube[..., order], waves[order])
    np.testing.assert_array_equal(one, other)


def test_without_visible_bands_three_are_spread_evenly_long_waves_red(cube):
    assert color_bands(cube) == (50, 30, 10)
    infrared = np.linspace(1000, 2500, 61)
    assert color_bands(cube, infrared) == (50, 30, 10)
    assert color_bands(cube, infrared[::-1]) == (10, 30, 50)
    # Red and green alone are no picture.
    assert color_bands(cube, np.linspace(530, 1000, 61)) == (50, 30, 10)


@pytest.mark.parametrize("dead", [0.0, -7.0, np.nan, np.inf])
def test_a_dead_band_is_passed_over_for_the_next(cube, dead):
    waves = np.linspace(400, 1000, 61)
    cube[..., 24:27] = dead
    assert color_bands(cube, waves) == (23, 15, 5)


def test_what_is_dead_where_it_counts_is_dead(cube):
    where = np.ones(cube.shape[:2], bool)
    where[0] = False
    cube[1:, :, 25] = 3.0
    waves = np.linspace(400, 1000, 61)
    assert color_bands(cube, waves)[0] == 25
    assert color_bands(cube, waves, where=where)[0] in (24, 26)


@pytest.mark.parametrize("bands", [1, 2, 3])
def test_few_bands_make_a_picture(bands):
    cube = np.random.default_rng(0).random((4, 5, bands))
    assert false_color(cube).shape == (4, 5, 3)
    assert len(set(color_bands(cube))) == bands
    assert false_color(cube, method="components").shape == (4, 5, 3)


@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.uint8, np.float32, ">i2"])
def test_negative_integers_and_large_ones_do_not_overflow(cube, dtype):
    info = np.iinfo(dtype) if np.dtype(dtype).kind in "iu" else np.finfo(np.float16)
    steps = np.linspace(float(info.min), float(info.max), cube.size).reshape(cube.shape)
    image = false_color(steps.astype(dtype))
    # Values rise from pixel to pixel; so must each color, apart from what is beyond the ends.
    assert (np.diff(image.reshape(-1, 3), axis=0) >= 0).all()
    assert image.min() == 0
    assert image.max() == 1


def test_what_is_not_finite_or_not_counted_is_black_and_leaves_the_rest_alone(cube):
    where = np.ones(cube.shape[:2], bool)
    where[:2] = False
    clean = false_color(np.where(where[..., None], cube, np.nan))
    cube[:2] = 1e9
    image = false_color(cube, where=where)
    np.testing.assert_array_equal(image, clean)
    assert (image[:2] == 0).all()
    assert (image[2:].std(axis=(0, 1)) > 0.1).all()


@pytest.mark.parametrize("fill", [0.0, 5.0, np.nan])
@pytest.mark.parametrize("method", ["bands", "components"])
def test_a_cube_that_says_nothing_is_black(fill, method):
    assert (false_color(np.full((4, 5, 6), fill), method=method) == 0).all()


def test_a_few_pixels_that_differ_are_seen():
    cube = np.zeros((20, 20, 3))
    cube[3, 4] = 9
    image = false_color(cube)
    assert image[3, 4].tolist() == [1, 1, 1]
    assert image.sum() == 3


def test_components_are_principal_components():
    rng = np.random.default_rng(0)
    parts = rng.normal(size=(300, 3)) * [9, 3, 1]
    axes = np.linalg.qr(rng.normal(size=(8, 8)))[0][:3]
    cube = (parts @ axes).reshape(20, 15, 8) + 5
    image = false_color(cube, method="components", percentiles=(0, 100), gamma=1.0)
    centered = (cube - cube.mean(axis=(0, 1))).reshape(-1, 8)
    vectors = np.linalg.svd(centered, full_matrices=False)[2][:3]
    for k, vector in enumerate(vectors):
        want = centered @ vector
        assert abs(np.corrcoef(want, image[..., k].ravel())[0, 1]) == pytest.approx(1, abs=1e-5)
    # Bright stays bright: the first follows the pixels' sum.
    signed = centered @ (vectors[0] * np.sign(vectors[0].sum()))
    assert np.corrcoef(signed, image[..., 0].ravel())[0, 1] > 0.99


def test_a_band_in_grey(cube):
    np.testing.assert_allclose(band_view(cube, -1), reference(cube[..., -1], gamma=1), atol=1e-6)
    for band in (61, -62):
        with pytest.raises(ValueError, match="band: expected one of 61 bands"):
            band_view(cube, band)


def test_what_does_not_fit_is_named(cube):
    with pytest.raises(ValueError, match=r"wavelengths: expected 61, .* \(3,\)"):
        false_color(cube, [1, 2, 3])
    with pytest.raises(ValueError, match=r"cube: expected height width bands, got shape \(4, 5\)"):
        false_color(np.zeros((4, 5)))
    with pytest.raises(ValueError, match=r"where: expected shape \(11, 9\), got \(9, 11\)"):
        false_color(cube, where=np.ones((9, 11), bool))
    with pytest.raises(ValueError, match="'bands' or 'components', got 'pca'"):
        false_color(cube, method="pca")
