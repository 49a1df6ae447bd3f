"""What JAX and PyTorch share: the same function gives the same figures."""

import numpy as np
import pytest

from lossbench.testing.engine import Engine, Result
from lossbench.testing.jax_engine import JaxEngine
from lossbench.testing.torch_adapter import TorchEngine


def squares(x, rest):
    return (x**2 * rest[0]).sum(1)


@pytest.fixture(params=["compiled", "eager", "torch"])
def engine(request) -> Engine:
    if request.param == "torch":
        pytest.importorskip("torch")
        return TorchEngine(squares)
    return JaxEngine(squares, compiled=request.param == "compiled")


X = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)
W = np.array([[1, 2], [0, 1]], np.int32)


def test_value_and_gradient(engine):
    np.testing.assert_array_equal(engine.value(X, (W,)), [9, 16])
    result = engine.value_and_gradient(X, (W,))
    assert isinstance(result, Result)
    np.testing.assert_array_equal(result.gradient, X * W)  # of the mean over two
    total = engine.value_and_gradient(X, (W,), total=True)
    np.testing.assert_array_equal(total.gradient, 2 * X * W)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_dtypes(engine, dtype):
    result = engine.value_and_gradient(X, (W,), dtype=dtype)
    assert (result.value_dtype, result.gradient_dtype) == (dtype, dtype)
    assert result.value.dtype == result.gradient.dtype == np.float64


def test_second_derivative(engine):
    # d/dx of sum(x w cos x)
    expected = W * (np.cos(X) - X * np.sin(X))
    np.testing.assert_allclose(engine.second(X, (W,)), expected, rtol=1e-5)
