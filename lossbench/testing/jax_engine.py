"""Evaluates a JAX loss, compiled where it can be."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lossbench.testing.engine import Arrays, Result


class JaxEngine:
    """Evaluates `apply(x, rest)`; see `Engine`.

    Compiling is what a check costs, so all checks share the programs of one engine.

    Args:
        apply: the loss, of the array to differentiate and a tuple of the others.
        compiled: false to run without `jax.jit`, for losses that cannot be traced.
        compiler_options: XLA's, by name; default: those of the process.

    Attributes:
        program: the loss under `jax.jit`.
        gradient_program: its value and the gradient of its mean under `jax.jit`.
        traces: how often that program has been traced.
    """

    library = "JAX"

    def __init__(
        self,
        apply: Callable,
        *,
        compiled: bool = True,
        compiler_options: Mapping[str, Any] | None = None,
    ):
        self.apply = apply
        self.traces = 0

        def counted(x, rest):
            self.traces += 1
            return apply(x, rest)

        xla = None if compiler_options is None else dict(compiler_options)

        def jit(function: Callable) -> Callable:
            return jax.jit(function, compiler_options=xla)

        self.program = jit(apply)
        self.gradient_program = jit(with_gradient(counted, jnp.mean))
        wrap = jit if compiled else (lambda f: f)
        self._value = self.program if compiled else apply
        self._mean = self.gradient_program if compiled else with_gradient(apply, jnp.mean)
        self._total = wrap(with_gradient(apply, jnp.sum))
        self._second = wrap(self._along)

    def value(self, x: np.ndarray, rest: Arrays, *, dtype: str = "float32") -> np.ndarray:
        """The value in float64, computed from inputs of this dtype."""
        with jax.enable_x64(dtype == "float64"):
            return _float64(self._value(*arrays(x, rest, dtype)))

    def value_and_gradient(
        self, x: np.ndarray, rest: Arrays, *, dtype: str = "float32", total: bool = False
    ) -> Result:
        """Value and gradient of its mean, or of its sum if `total`."""
        run = self._total if total else self._mean
        with jax.enable_x64(dtype == "float64"):
            value, gradient = run(*arrays(x, rest, dtype))
            return Result(
                _float64(value), _float64(gradient), str(value.dtype), str(gradient.dtype)
            )

    def second(self, x: np.ndarray, rest: Arrays) -> np.ndarray:
        """The gradient of `sum(gradient * cos(x))`, reverse over reverse."""
        return _float64(self._second(*arrays(x, rest)))

    def _along(self, x: jax.Array, rest: tuple[jax.Array, ...]) -> jax.Array:
        gradient = jax.grad(lambda x: mean_of(self.apply, x, rest))
        return jax.grad(lambda x: jnp.sum(gradient(x) * jnp.cos(x)))(x)


def arrays(x: np.ndarray, rest: Arrays, dtype: str = "float32"):
    """The inputs as JAX arrays, floating ones in this dtype."""
    return _cast(x, dtype), tuple(_cast(y, dtype) for y in rest)


def mean_of(apply: Callable, x: jax.Array, rest: tuple[jax.Array, ...]) -> jax.Array:
    """The mean of the value, taken in at least float32."""
    return with_gradient(apply, jnp.mean, objective_only=True)(x, rest)


def with_gradient(apply: Callable, reduce: Callable, *, objective_only: bool = False) -> Callable:
    """The function that gives a loss's value and the gradient of its mean or sum."""

    def objective(x, rest):
        value = jnp.asarray(apply(x, rest))
        return reduce(value.astype(jnp.promote_types(value.dtype, jnp.float32))), value

    if objective_only:
        return lambda x, rest: objective(x, rest)[0]

    def evaluate(x, rest):
        (_, value), gradient = jax.value_and_grad(objective, has_aux=True)(x, rest)
        return value, gradient

    return evaluate


def _cast(array: np.ndarray, dtype: str) -> jax.Array:
    # Cast by NumPy, and put: `jnp.asarray` compiles a program for each shape.
    floating = jnp.issubdtype(array.dtype, jnp.floating)
    return jax.device_put(array.astype(jnp.dtype(dtype)) if floating else array)


def _float64(array: jax.Array) -> np.ndarray:
    return np.asarray(array).astype(np.float64)
