import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench.models import LearnableChannelMixer


def test_equals_its_formula():
    model = LearnableChannelMixer((5, 3), negative_slope=0.2, output="sigmoid")
    image = jax.random.normal(jax.random.key(1), (2, 3, 4, 6))
    params = {
        "dense_0": {
            "kernel": jax.random.normal(jax.random.key(2), (6, 5)),
            "bias": jnp.arange(5.0),
        },
        "dense_1": {"kernel": jax.random.normal(jax.random.key(3), (5, 3)), "bias": -jnp.ones(3)},
    }
    got = model.apply({"params": params}, image)
    p = jax.tree.map(lambda x: np.asarray(x, np.float64), params)
    x = np.asarray(image, np.float64) @ p["dense_0"]["kernel"] + p["dense_0"]["bias"]
    x = np.where(x > 0, x, 0.2 * x) @ p["dense_1"]["kernel"] + p["dense_1"]["bias"]
    assert set(got) == {"mixed"}
    np.testing.assert_allclose(got["mixed"], 1 / (1 + np.exp(-x)), atol=1e-5)


def test_its_parameters_and_statistics():
    model = LearnableChannelMixer([4, 3], use_bias=False, normalization="batch_no_affine")
    assert isinstance(hash(model), int)
    variables = jax.eval_shape(model.init, jax.random.key(0), jnp.ones((2, 5)))
    assert {n: set(v) for n, v in variables["params"].items()} == {
        "dense_0": {"kernel"},
        "dense_1": {"kernel"},
    }
    assert set(variables["batch_stats"]) == {"norm_0", "norm_1"}


def test_what_cannot_be_mixed_says_why():
    for options, message in (
        ({"features": ()}, "features must name one layer"),
        ({"output": "tanh"}, "output: expected one of 'linear', 'sigmoid'"),
    ):
        with pytest.raises(ValueError, match=message):
            LearnableChannelMixer(**options).init(jax.random.key(0), jnp.ones((2, 5)))
