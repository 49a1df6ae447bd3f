"""Random logits and class ids."""

import jax.numpy as jnp
import numpy as np


def random_logits(size, batch=2, pixels=5):
    return (
        np.random.default_rng(size).normal(size=(batch, pixels, size), scale=3).astype(np.float32)
    )


def random_ids(size, batch=2, pixels=5):
    ids = np.random.default_rng(size + 100).integers(0, size, (batch, pixels))
    return jnp.asarray(ids, jnp.int32)


def lookup_64(x, ids):
    return np.take_along_axis(x, np.asarray(ids)[..., None], axis=-1)[..., 0]
