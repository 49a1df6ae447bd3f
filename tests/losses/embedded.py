"""Inputs of losses of an embedding, a color or a spectrum a pixel; and one way to see them."""

import inspect
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lossbench import losses

PIXEL_LOSSES = (
    "svdd_one_class",
    "svdd_soft_boundary",
    "deep_sad",
    "hypersphere_classifier",
    "reconstruction",
    "spectral_angle",
    "spectral_information_divergence",
    "foreground_contrast",
)


def arrays(name, *, batch=3, space=(4, 5), seed=0) -> dict[str, Any]:
    """The required arguments of a loss in NumPy; the labels have both classes in every example."""
    rng = np.random.default_rng(seed)
    channels = 3
    vectors = rng.normal(size=(batch, *space, channels)).astype(np.float32)
    pixels = int(np.prod(space))
    mask = np.stack([rng.permutation(np.arange(pixels) % 3 == 0) for _ in range(batch)])
    mask = mask.reshape(batch, *space)
    every = {
        "embeddings": vectors,
        "reconstructed": np.abs(vectors),
        "colors": 1 / (1 + np.exp(-vectors)),
        "center": rng.normal(size=channels).astype(np.float32),
        "radius": np.float32(1.5),
        "nu": 0.3,
        "image": rng.random((batch, *space, channels)).astype(np.float32),
        "labels": mask,
    }
    if name == "deep_sad":
        every["labels"] = (rng.integers(-1, 2, (batch, *space))).astype(np.int32)
    parameters = inspect.signature(getattr(losses, name)).parameters.items()
    needed = [n for n, p in parameters if p.default is inspect.Parameter.empty]
    return {n: every[n] for n in needed}


def on_device(inputs) -> dict[str, Any]:
    """As JAX arrays; numbers as they are."""
    return {k: x if isinstance(x, float) else jnp.asarray(x) for k, x in inputs.items()}


def changed(inputs, change) -> dict[str, Any]:
    """With every array of space, `batch *space ...`, changed."""
    return {k: change(x) if np.ndim(x) > 1 else x for k, x in inputs.items()}


def value_and_gradient(name, inputs, where=None, **options):
    """Value and gradient of its sum for the first argument, compiled."""
    loss = getattr(losses, name)
    inputs = on_device(inputs)
    first = next(iter(inputs))
    x = inputs.pop(first)
    options = {**options, **({"nu": inputs.pop("nu")} if "nu" in inputs else {})}
    where = None if where is None else jnp.asarray(where)

    @jax.jit
    def both(x, rest, where):
        def total(x):
            value = loss(**{first: x}, **rest, where=where, **options)
            return jnp.sum(value.astype(jnp.float32)), value

        gradient, value = jax.grad(total, has_aux=True)(x)
        return value, gradient

    value, gradient = both(x, inputs, where)
    return np.asarray(value), np.asarray(gradient)
