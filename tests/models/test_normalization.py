import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench.models.normalization import normalize


def reference(x, scale, bias, groups, epsilon=1e-5):
    x = np.asarray(x, np.float64)
    out = np.empty_like(x)
    size = x.shape[-1] // groups
    for example in range(x.shape[0]):
        for group in range(groups):
            part = x[example, ..., group * size : (group + 1) * size]
            part = (part - part.mean()) / np.sqrt(part.var() + epsilon)
            out[example, ..., group * size : (group + 1) * size] = part
    return out * np.asarray(scale, np.float64) + np.asarray(bias, np.float64)


@pytest.mark.parametrize("groups", [1, 2, 6])
@pytest.mark.parametrize("space", [(5, 7), (3, 4, 5)])
@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_equals_the_formula(groups, space, offset):
    keys = jax.random.split(jax.random.key(groups), 3)
    x = offset + 2 * jax.random.normal(keys[0], (3, *space, 6))
    scale, bias = (jax.random.normal(key, (6,)) for key in keys[1:])
    got = normalize(x, scale, bias, groups=groups)
    tolerance = 1e-5 if offset == 0 else 2e-3
    np.testing.assert_allclose(got, reference(x, scale, bias, groups), atol=tolerance)


def test_a_constant_channel_becomes_its_bias_with_a_finite_gradient():
    x, scale, bias = jnp.full((1, 4, 4, 2), 7.0), jnp.ones(2), jnp.array([1.0, -2.0])
    np.testing.assert_allclose(normalize(x, scale, bias, groups=2), jnp.broadcast_to(bias, x.shape))
    gradient = jax.grad(lambda x: jnp.sum(normalize(x, scale, bias, groups=2) ** 2))(x)
    assert bool(jnp.isfinite(gradient).all())


def test_half_precision_keeps_its_dtype_and_single_statistics():
    x = (100 + jax.random.normal(jax.random.key(0), (1, 64, 64, 1))).astype(jnp.bfloat16)
    got = normalize(x, jnp.ones(1), jnp.zeros(1), groups=1)
    assert got.dtype == jnp.bfloat16
    expected = reference(x.astype(jnp.float32), np.ones(1), np.zeros(1), 1)
    np.testing.assert_allclose(got.astype(jnp.float32), expected, rtol=2**-8, atol=1e-3)


def test_groups_must_divide_the_channels():
    with pytest.raises(ValueError, match="4 groups do not divide 6 channels"):
        normalize(jnp.ones((1, 2, 6)), jnp.ones(6), jnp.zeros(6), groups=4)
