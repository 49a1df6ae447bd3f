"""A pipeline is a constant beside its arrays: fitted in order, whatever the batches."""

import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench.anomaly.pipeline import Pipeline

RNG = np.random.default_rng(0)
NM = (400.0, 500.0, 600.0, 700.0, 800.0)
X = (RNG.standard_normal((60, 5)) * [1, 2, 3, 4, 5] + 50).astype(np.float32)
WHERE = RNG.random(60) < 0.8
CONFIG = {"bandpass": {"low": 450.0, "high": 800.0}, "unit_norm": {}, "z_score": {}}


def made(config=CONFIG, wavelengths=NM):
    return Pipeline.from_config(config, wavelengths=wavelengths)


def reference(x, kept):
    def unit(x):
        d = x[:, 1:].astype(np.float64)
        d = d - d.mean(1, keepdims=True)
        return d / np.linalg.norm(d, axis=1, keepdims=True)

    of = unit(kept)
    return (unit(x) - of.mean(0)) / of.std(0, ddof=1)


@pytest.mark.parametrize("cuts", [(0, 60), (0, 7, 8, 60)])
def test_it_is_fitted_in_order_on_what_counts(cuts):
    pipeline, passes = made(), []

    def batches():
        passes.append(1)
        for a, b in itertools.pairwise(cuts):
            yield np.where(WHERE[a:b, None], X[a:b], np.nan), WHERE[a:b]

    arrays = pipeline.fit(batches)
    assert list(arrays) == ["z_score"]
    assert len(passes) == 1
    found = jax.jit(pipeline.apply)(arrays, X)
    np.testing.assert_allclose(found, reference(X, X[WHERE]), rtol=1e-4, atol=1e-5)


def test_a_later_step_sees_what_earlier_ones_make():
    pipeline = made({"z_score": {}, "again": {"step": "min_max", "per": "global"}})
    arrays = pipeline.fit(lambda: [(X.reshape(6, 10, 5), None)])
    found = pipeline.apply(arrays, X)
    np.testing.assert_allclose([found.min(), found.max()], [0, 1], atol=1e-6)


def test_it_is_a_constant_of_a_program():
    assert hash(made()) == hash(made())
    assert made() == made()
    arrays = made().init(5)
    traces = []

    def apply(pipeline, arrays, x):
        traces.append(1)
        return pipeline.apply(arrays, x)

    compiled = jax.jit(apply, static_argnums=0)
    assert compiled(made(), arrays, X).shape == (60, 4)
    compiled(made(), arrays, X)
    assert len(traces) == 1


def test_what_comes_out():
    pipeline = made()
    assert pipeline.channels(5) == 4
    assert pipeline.wavelengths == NM[1:]
    assert made({"pca": {"n_components": 2}}).wavelengths is None
    assert made({"unit_norm": None}, None).wavelengths is None
    assert Pipeline().apply({}, X).dtype == jnp.float32


def test_the_configuration_makes_the_same():
    config = {**CONFIG, "again": {"step": "z_score", "floor": 0.01}, "pca": {"n_components": 2}}
    pipeline = made(config)
    saved = json.loads(json.dumps(pipeline.config()))
    assert saved["bandpass"] == {"low": 450.0, "high": 800.0}
    assert made(saved) == pipeline


def test_init_has_the_shapes_of_fit():
    pipeline = made({**CONFIG, "percentile": {}, "pca": {"n_components": 2, "whiten": True}})
    shape = lambda arrays: jax.tree.map(jnp.shape, arrays)  # noqa: E731
    assert shape(pipeline.init(5)) == shape(pipeline.fit(lambda: [(X, None)]))


@pytest.mark.parametrize(
    ("config", "wavelengths", "message"),
    [
        ({"zscore": {}}, NM, "unknown preprocessing step 'zscore'; did you mean 'z_score'"),
        ({"z_score": {"flor": 1}}, NM, "option of the preprocessing step z_score 'flor'; did you"),
        ({"bandpass": {"bands": (1,)}}, NM, "unknown option of the preprocessing step bandpass"),
        ({"bandpass": {"low": 450}}, None, "a bandpass needs the wavelengths"),
        ({"bandpass": {"low": 950}}, NM, "they go from 400 to 800 nm"),
        ({"pca": {"n_components": 2}, "bandpass": {}}, NM, "needs the wavelengths"),
    ],
)
def test_configurations_that_do_not_fit(config, wavelengths, message):
    with pytest.raises(ValueError, match=message):
        made(config, wavelengths)


def test_data_that_do_not_fit():
    pipeline = made({"z_score": {}})
    for x, where in ((X, WHERE & False), (np.where(WHERE[:, None], X, np.nan), None)):
        with pytest.raises(ValueError, match="z_score: cannot be fitted"):
            pipeline.fit(lambda x=x, where=where: [(x, where)])
    with pytest.raises(ValueError, match="cannot be fitted"):
        pipeline.fit(lambda: [])
    with pytest.raises(ValueError, match="nothing for the step 'z_score'"):
        pipeline.apply({}, X)
    with pytest.raises(ValueError, match="x has 4 channels, and there are 5 wavelengths"):
        made().apply(made().init(5), X[:, :4])
