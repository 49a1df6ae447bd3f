import numpy as np
import pytest

from lossbench.data.scene_drawing import (
    Blobs,
    Scenery,
    noise_of,
    place_targets,
    render,
    smooth_field,
)
from lossbench.data.synthetic_shapes import smoothing_matrix

SIZE = (40, 50)
SMOOTHERS = tuple(smoothing_matrix(n, 4.0) for n in SIZE)


def drawn(seed=0, noise=0.0, illumination=0.0, blobs=None, dead=()):
    rng = np.random.default_rng(seed)
    materials, targets = rng.uniform(0.1, 0.9, (3, 6)), rng.uniform(0.1, 0.9, (2, 6))
    scenery = Scenery(materials, targets, np.full(6, noise), dead)
    if blobs is None:
        blobs = Blobs(np.zeros(SIZE), np.zeros(SIZE))
    return scenery, render(scenery, blobs, SMOOTHERS, illumination, np.random.default_rng(seed + 1))


def test_fields_are_smooth():
    field = smooth_field(SMOOTHERS, np.random.default_rng(0))
    assert field.shape == SIZE
    assert field.mean() == pytest.approx(0, abs=1e-9)
    assert field.std() == pytest.approx(1)
    assert np.diff(field, axis=0).std() < 0.4


def test_pixels_are_mixtures():
    scenery, image = drawn()
    assert image.dtype == np.float32
    # Every spectrum solves for shares from 0 to 1 that sum to 1.
    shares = np.linalg.lstsq(scenery.materials.T, image.reshape(-1, 6).T, rcond=None)[0]
    assert shares.min() > -1e-5
    np.testing.assert_allclose(shares.sum(0), 1, atol=1e-5)
    np.testing.assert_allclose(scenery.materials.T @ shares, image.reshape(-1, 6).T, atol=1e-5)


def test_targets_are_mixed_in_by_their_abundance():
    abundance, kind = np.zeros(SIZE), np.zeros(SIZE)
    abundance[3, 4], abundance[5, 6] = 1.0, 0.4
    kind[3, 4], kind[5, 6] = 0.99, 0.0
    scenery, image = drawn(blobs=Blobs(abundance, kind))
    _, clean = drawn()
    np.testing.assert_allclose(image[3, 4], scenery.targets[1], rtol=1e-5)
    np.testing.assert_allclose(image[5, 6], 0.4 * scenery.targets[0] + 0.6 * clean[5, 6], rtol=1e-5)
    changed = (image != clean).any(-1)
    np.testing.assert_array_equal(changed, abundance > 0)


def test_light_changes_brightness_and_no_angle():
    _, clean = drawn()
    _, lit = drawn(illumination=0.3)
    ratio = lit / clean
    np.testing.assert_allclose(ratio, ratio[..., :1].repeat(6, -1), rtol=1e-4)
    assert np.ptp(ratio) > 0.1
    assert 0.7**2 <= ratio.min() <= ratio.max() <= 1.3**2


def test_noise_has_the_stated_strength():
    _, clean = drawn()
    _, noisy = drawn(noise=noise_of(20.0, 6)[0], dead=(2,))
    assert not noisy[..., 2].any()
    live = [0, 1, 3, 4, 5]
    error = (noisy - clean)[..., live]
    ratio = 20 * np.log10(np.sqrt((clean**2).mean()) / error.std())
    assert ratio == pytest.approx(20, abs=0.2)


def test_noise_by_band():
    np.testing.assert_allclose(noise_of(20, 3), [0.1, 0.1, 0.1])
    np.testing.assert_allclose(noise_of((40, 20), 3), [0.01, 10**-1.5, 0.1])
    np.testing.assert_allclose(noise_of([20, 40, 20], 3), [0.1, 0.01, 0.1])
    assert noise_of(np.inf, 2).max() == 0
    for wrong in ([1, 2, 3, 4], [], float("nan"), [[1.0]]):
        with pytest.raises(ValueError, match="snr must be one number of decibels, two"):
            noise_of(wrong, 3)


def test_blobs_have_their_size_and_abundance():
    sizes = set()
    for seed in range(60):
        blobs = place_targets(SIZE, 1, (1, 9), (0.2, 0.8), np.random.default_rng(seed))
        inside = blobs.abundance[blobs.abundance > 0]
        sizes.add(inside.size)
        assert inside.min() >= 0.2 - 1e-12
        assert inside.max() <= 0.8
        assert len(set(blobs.kind[blobs.abundance > 0])) == 1
        # Close together: no further apart than an ellipse of nine pixels reaches.
        rows, columns = np.nonzero(blobs.abundance)
        assert max(np.ptp(rows), np.ptp(columns)) <= 7
    assert sizes == set(range(1, 10))
    assert not place_targets(SIZE, 0, (1, 9), (0.2, 0.8), np.random.default_rng(0)).abundance.any()
