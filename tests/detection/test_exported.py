import builtins

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export as jax_export

from lossbench.detection import export, trained_detector
from lossbench.models import UNet

pytest.importorskip("flatbuffers")


@pytest.mark.parametrize("which", ["svdd", "rx"])
def test_the_program_gives_the_same_bits_for_any_size(which, scene, request):
    detector = request.getfixturevalue(which)
    program = jax_export.deserialize(export(detector))
    assert program.platforms == ("cpu", "cuda", "tpu")
    for part in (scene, scene[:5, :3]):
        scores, decisions = program.call(jnp.asarray(part, jnp.float32))
        want = detector.scores(part)
        np.testing.assert_allclose(scores, want, rtol=2e-6)
        np.testing.assert_array_equal(decisions, scores >= detector.threshold.value)
    filled = np.resize(scene, (16, 16, 12))  # as many as detectors score at once
    scores, decisions = program.call(jnp.asarray(filled, jnp.float32))
    np.testing.assert_array_equal(scores, detector.scores(filled))
    np.testing.assert_array_equal(decisions, detector.decide(filled))


def test_sizes_may_be_given(rx, scene):
    program = jax_export.deserialize(export(rx, shape=("rows", 12), platforms=("cpu",)))
    scores, _ = program.call(jnp.asarray(scene.reshape(-1, 12), jnp.float32))
    np.testing.assert_allclose(scores, rx.scores(scene).ravel(), rtol=2e-6)
    with pytest.raises(ValueError, match=r"expected 12 channels .* got shape \(1, 7\)"):
        export(rx, shape=("rows", 7))
    with pytest.raises(ValueError, match="expected numbers and names"):
        export(rx, shape=(2.5, 12))


def test_a_network_that_needs_to_know_the_size_says_so():
    model = UNet(num_classes=1, dims=2, features=(2, 4))
    image = np.random.default_rng(0).normal(size=(4, 6, 3)).astype(np.float32)
    variables = model.init(jax.random.key(0), image[None])
    detector = trained_detector(model, variables, shape=image.shape)
    with pytest.raises(ValueError, match=r"cannot be exported for any size, .*; give numbers"):
        export(detector, shape=("height", "width", 3))
    scores, decisions = jax_export.deserialize(export(detector)).call(jnp.asarray(image))
    np.testing.assert_allclose(scores, detector.scores(image), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(decisions, np.asarray(scores) > 0)


def test_without_flatbuffers_it_is_said_what_to_install(rx, monkeypatch):
    real = builtins.__import__

    def without(name, *rest):
        if name == "flatbuffers":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"pip install 'lossbench\[export\]'"):
        export(rx)
