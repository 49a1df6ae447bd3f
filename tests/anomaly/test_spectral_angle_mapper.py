"""Spectral angles against cuvis-ai's values and float64."""

import jax.numpy as jnp
import numpy as np
import pytest

from lossbench.anomaly.spectral_angle_mapper import SpectralAngleMapper, fit_spectral_angle_mapper
from tests.anomaly.cuvis import CUBE, waves

REFERENCES = waves(2, 4, f=0.9, s=0.2, o=0.5)
RNG = np.random.default_rng(0)


def test_cuvis_values():
    """It divides by the means, which changes no angle of these; it counts references from 1."""
    found = SpectralAngleMapper(jnp.asarray(REFERENCES))
    wanted = [0.1317824, 0.1385694, 0.279249, 0.1076884, 0.1695105, 0.1044849]
    np.testing.assert_allclose(found.scores(CUBE)[0, 0], wanted, rtol=1e-4)
    np.testing.assert_array_equal(found.nearest(CUBE)[0, 0] + 1, [1, 1, 1, 2, 1, 1])


def test_angles_are_those_of_float64():
    x, references = RNG.standard_normal((2, 30, 5)).astype(np.float32)
    u, v = (a.astype(np.float64) / np.linalg.norm(a, axis=1)[:, None] for a in (x, references))
    found = SpectralAngleMapper(jnp.asarray(references)).angles(x)
    np.testing.assert_allclose(found, np.arccos(u @ v.T), rtol=1e-5)


def test_small_angles_and_any_brightness():
    reference = jnp.array([[1.0, 1.0]])
    x = jnp.array([[1.0, 1.0], [1.0, 1.0001], [1e30, 1e30], [1e-30, 1e-30], [-3.0, -3.0], [0, 0]])
    wanted = [0, 0.5e-4, 0, 0, np.pi, np.pi / 2]
    found = SpectralAngleMapper(reference).scores(x)
    np.testing.assert_allclose(found, wanted, rtol=2e-3, atol=1e-7)


def test_references_are_means():
    x = RNG.random((4, 5, 3)).astype(np.float32)
    where = RNG.random((4, 5)) < 0.7
    labels = RNG.integers(0, 2, (4, 5))
    found = fit_spectral_angle_mapper(x, where=where).references
    np.testing.assert_allclose(found, x[where].mean(0)[None], rtol=1e-5)
    found = fit_spectral_angle_mapper(x, labels, materials=2, where=where).references
    wanted = [x[where & (labels == k)].mean(0) for k in (0, 1)]
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_what_does_not_fit():
    x = np.ones((4, 3), np.float32)
    labels = np.zeros(4, int)
    with pytest.raises(ValueError, match="materials: expected how many labels"):
        fit_spectral_angle_mapper(x, labels)
    with pytest.raises(ValueError, match="labels: no pixel counts for reference 1"):
        fit_spectral_angle_mapper(x, labels, materials=2)
    with pytest.raises(ValueError, match="labels: expected integers of shape"):
        fit_spectral_angle_mapper(x, labels[:2], materials=1)
    with pytest.raises(ValueError, match="expected 3 channels"):
        fit_spectral_angle_mapper(x).scores(x[:, :2])
