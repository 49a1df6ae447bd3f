import jax
import numpy as np
import pytest

from lossbench.anomaly.deep_svdd import DeepSvdd
from lossbench.anomaly.svdd_options import SvddOptions
from lossbench.detection.fitting import train_svdd
from lossbench.detection.samples import Rows
from lossbench.models import SVDDEncoder
from lossbench.training.options import TrainOptions

X = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
MODEL = DeepSvdd(SVDDEncoder(features=(8, 4)), SvddOptions(nu=0.1))
OPTIONS = TrainOptions(steps=30, batch_size=1, learning_rate=1e-2, devices=1)


@pytest.mark.parametrize("loss", ["svdd_one_class", "svdd_soft_boundary"])
def test_it_trains_and_leaves_a_share_nu_outside(loss):
    variables, losses = train_svdd(MODEL, loss, OPTIONS, Rows(X, 20), seed=0)
    assert losses.shape == (30,)
    assert losses[-5:].mean() < losses[:5].mean()
    outputs = jax.jit(MODEL.apply)(variables, X)
    outside = np.asarray(outputs["scores"]) > float(outputs["threshold"]) * (1 + 1e-6)
    assert outside.sum() == 6


def test_passes_in_parts_give_what_one_pass_gives():
    short = TrainOptions(steps=1, batch_size=1, learning_rate=1e-2, devices=1)
    found = [
        train_svdd(MODEL, "svdd_one_class", short, Rows(X, 20, rows), seed=0)[0]["svdd"]["center"]
        for rows in (60, 23)
    ]
    np.testing.assert_allclose(*found, rtol=1e-5)
