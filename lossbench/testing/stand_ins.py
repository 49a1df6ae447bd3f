"""Losses of other arrays than logits and class ids: what stands for what, by their names.

The output that a loss is differentiated by stands where logits do, so that what is asked of masks,
precision, examples and programs is asked of it, too. Every other array is the same for all pixels.
"""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

MATRIX = "matrix"
# The first argument, and what the channels of its arrays are.
ORIGINS = {
    "embeddings": "features",
    "reconstructed": "channels",
    "colors": "channels",
    MATRIX: "a small matrix",
}
MATRICES = ("components", "selector_weights")
NUMBERS = {"radius": 1.0, "nu": 0.1}
_ARRAYS = ("center", "image", "labels")


def stands_for(parameters: Mapping[str, inspect.Parameter]) -> str | None:
    """Of which of `ORIGINS` a loss with these arguments is; None for one of logits."""
    first = next(iter(parameters), "")
    if first in MATRICES:
        return MATRIX
    return first if first in ORIGINS and _known(parameters) else None


def matrix(parameters: Mapping[str, inspect.Parameter]) -> dict[str, np.ndarray]:
    """The one array of a regularizer: 4 rows of 6 positive numbers, by its name."""
    weights = np.random.default_rng(0).random((4, 6)) + 0.1
    return {next(iter(parameters)): weights.astype(np.float32)}


def of_logits(fn: Callable, parameters: Mapping[str, inspect.Parameter]) -> Any:
    """The loss as one of logits and class ids, with the same options; class 1 is the anomaly."""
    first, *others = _required(parameters)

    @functools.wraps(fn)
    def loss(logits: jax.Array, labels: jax.Array, **options: Any) -> jax.Array:
        given = {first: logits}
        for name in others:
            if name not in options:
                given[name] = _stand_in(name, logits, labels)
        return fn(**given, **options)

    both = [inspect.Parameter(n, inspect.Parameter.POSITIONAL_ONLY) for n in ("logits", "labels")]
    shared = [
        p.replace(kind=p.KEYWORD_ONLY, default=NUMBERS.get(name, p.default))
        for name, p in parameters.items()
        if name not in (first, *_ARRAYS)
    ]
    loss.__signature__ = inspect.Signature([*both, *shared])  # pyright: ignore
    return loss


def _known(parameters: Mapping[str, inspect.Parameter]) -> bool:
    return all(name in (*_ARRAYS, *NUMBERS) for name in _required(parameters)[1:])


def _required(parameters: Mapping[str, inspect.Parameter]) -> list[str]:
    return [name for name, p in parameters.items() if p.default is p.empty]


def _stand_in(name: str, logits: jax.Array, labels: jax.Array) -> Any:
    if name == "labels":
        return labels == 1
    if name in NUMBERS:
        return NUMBERS[name]
    channels = jnp.arange(logits.shape[-1], dtype=jnp.float32)
    if name == "center":
        return jnp.cos(channels)
    spectrum = jnp.cos(channels) + 1.5
    return jnp.broadcast_to(spectrum.reshape((1,) * (logits.ndim - 1) + (-1,)), logits.shape)
