"""How a loss is evaluated: the small surface that JAX and PyTorch share."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np

Arrays = tuple[np.ndarray, ...]


class Result(NamedTuple):
    """What one evaluation gave.

    Attributes:
        value: the loss as it is returned, in float64.
        gradient: of the mean of the value (or its sum), in float64 and the layout of the input.
        value_dtype: its name, such as "float32".
        gradient_dtype: its name.
    """

    value: np.ndarray
    gradient: np.ndarray
    value_dtype: str
    gradient_dtype: str


class Engine(Protocol):
    """Evaluates a loss of one array `x` (which is differentiated) and others."""

    library: str
    apply: Callable

    def value(self, x: np.ndarray, rest: Arrays, *, dtype: str = "float32") -> np.ndarray:
        """The value in float64, computed from inputs of this dtype."""
        ...

    def value_and_gradient(
        self, x: np.ndarray, rest: Arrays, *, dtype: str = "float32", total: bool = False
    ) -> Result:
        """Value and gradient of its mean, or of its sum if `total`."""
        ...

    def second(self, x: np.ndarray, rest: Arrays) -> np.ndarray:
        """The gradient of `sum(gradient * cos(x))`, which no symmetry makes vanish."""
        ...
