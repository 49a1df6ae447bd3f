import jax
import numpy as np
import pytest

from lossbench.anomaly.lad import fit_lad
from lossbench.anomaly.pca_reconstruction import fit_pca_reconstruction
from lossbench.anomaly.rx import fit_rx
from lossbench.anomaly.spectral_angle_mapper import fit_spectral_angle_mapper
from lossbench.detection import classical_detector, load, save
from lossbench.detection.classical import arrays_of, channels_of, fitted_of, kind_of
from lossbench.metrics import Threshold

FITS = {
    "rx": fit_rx,
    "lad": fit_lad,
    "pca_reconstruction": lambda x: fit_pca_reconstruction(x, components=2),
    "spectral_angle_mapper": fit_spectral_angle_mapper,
}


@pytest.mark.parametrize("kind", FITS)
def test_arrays_and_back_and_through_a_folder(kind, scene, tmp_path):
    x = scene[:4, :, :5].astype(np.float32)
    fitted = FITS[kind](x)
    assert kind_of(fitted) == kind
    assert channels_of(fitted) == 5
    again = fitted_of(kind, arrays_of(fitted))
    assert jax.tree.all(jax.tree.map(np.array_equal, again, fitted))
    detector = classical_detector(fitted, Threshold.fixed(2.0))
    np.testing.assert_allclose(detector.scores(x), fitted.scores(x), rtol=1e-5, atol=1e-6)
    restored = load(save(tmp_path / kind, detector))
    assert restored.kind == kind
    np.testing.assert_array_equal(restored.scores(x), detector.scores(x))


def test_something_else_is_refused():
    with pytest.raises(ValueError, match=r"expected one of Rx, Lad, .*, got dict"):
        kind_of({})
