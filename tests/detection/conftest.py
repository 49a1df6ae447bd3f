"""Detectors of small scenes: Deep SVDD after its two passes over the data, and RX."""

import jax
import numpy as np
import pytest

from lossbench.anomaly.deep_svdd import DeepSvdd
from lossbench.anomaly.pipeline import Pipeline
from lossbench.anomaly.preprocessed import Preprocessed
from lossbench.anomaly.rx import fit_rx
from lossbench.anomaly.svdd_options import SvddOptions
from lossbench.detection import classical_detector, trained_detector
from lossbench.metrics import fit_nu
from lossbench.models import SVDDEncoder

WAVELENGTHS = tuple(float(nm) for nm in range(400, 1000, 50))


@pytest.fixture(scope="session")
def scene():
    """A scene of 12 x 15 pixels and 12 bands, integers, with one bright pixel."""
    scene = np.random.default_rng(0).poisson(200, (12, 15, 12)).astype(np.uint16)
    scene[3, 4] += np.arange(12, dtype=np.uint16) * 60
    return scene


@pytest.fixture(scope="session")
def svdd(scene):
    """Deep SVDD behind a bandpass and a z-score, not trained but with a center and a radius."""
    steps = {"bandpass": {"low": 450.0, "high": 900.0}, "z_score": {}}
    pipeline = Pipeline.from_config(steps, wavelengths=WAVELENGTHS)
    model = DeepSvdd(Preprocessed(pipeline, SVDDEncoder(features=(8, 4))), SvddOptions(nu=0.05))
    batch = {"image": scene[None].astype(np.float32)}
    variables = model.init(jax.random.key(0), batch["image"])
    variables = model.prepare(variables, lambda: [batch])
    return trained_detector(model, variables, shape=scene.shape, wavelengths=WAVELENGTHS)


@pytest.fixture(scope="session")
def rx(scene):
    fitted = fit_rx(scene)
    scores = fitted.scores(scene)
    return classical_detector(
        fitted, fit_nu(scores[None], nu=0.05, split="train"), wavelengths=WAVELENGTHS
    )
