import numpy as np

from lossbench.data.spectra import angle, different_spectra, reflectance

AT = np.linspace(400, 1000, 80)


def test_spectra_are_smooth_and_in_range():
    for seed in range(30):
        spectrum = reflectance(AT, np.random.default_rng(seed))
        assert spectrum.shape == (80,)
        assert spectrum.min() >= 0.05
        assert spectrum.max() <= 1.0
        assert np.ptp(spectrum) >= 0.1 - 1e-12
        # The steepest bump has a deviation of 4 bands: second differences of at most its height/16.
        assert np.abs(np.diff(spectrum, 2)).max() < 0.3 * np.ptp(spectrum)


def test_angles():
    others = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 2.0]])
    np.testing.assert_allclose(
        angle(np.array([3.0, 0.0]), others), [0, np.pi / 4, np.pi / 2], atol=1e-7
    )


def test_spectra_differ_from_each_other_and_from_others():
    rng = np.random.default_rng(0)
    first = different_spectra(4, AT, 0.15, rng)
    second = different_spectra(3, AT, 0.15, rng, first)
    assert first.shape == (4, 80)
    assert second.shape == (3, 80)
    every = np.concatenate([first, second])
    for i in range(7):
        assert angle(every[i], np.delete(every, i, 0)).min() >= 0.15


def test_what_cannot_be_reached_ends():
    assert different_spectra(3, AT, 10.0, np.random.default_rng(0)).shape == (3, 80)
    assert np.isfinite(different_spectra(3, AT[:2], 0.15, np.random.default_rng(0))).all()
