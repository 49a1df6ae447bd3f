import jax.numpy as jnp
import numpy as np

from lossbench.testing.jax_engine import JaxEngine, arrays, mean_of, with_gradient


def test_arrays_change_floating_dtypes_only():
    x, (ids, where) = arrays(
        np.ones(3), (np.arange(3, dtype=np.uint8), np.ones(3, bool)), "float16"
    )
    assert (x.dtype, ids.dtype, where.dtype) == (jnp.float16, jnp.uint8, jnp.bool_)


def test_a_mean_of_half_values_is_taken_in_float32():
    value = mean_of(lambda x, rest: x, jnp.full(2048, 60000.0, jnp.float16), ())
    assert value.dtype == jnp.float32
    np.testing.assert_allclose(value, 60000, rtol=1e-3)


def test_the_value_comes_with_its_gradient():
    value, gradient = with_gradient(lambda x, rest: x**2, jnp.sum)(jnp.arange(3.0), ())
    np.testing.assert_array_equal(value, [0, 1, 4])
    np.testing.assert_array_equal(gradient, [0, 2, 4])


def test_each_shape_is_compiled_once():
    traces = []

    def counted(x, rest):
        traces.append(x.shape)
        return jnp.sum(x)

    engine = JaxEngine(counted)
    for n in (2, 3, 2, 3):
        engine.value(np.ones(n, np.float32), ())
    assert traces == [(2,), (3,)]
