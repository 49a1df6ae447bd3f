"""Sets of stacked gradients for tests, and methods on many sets in one program."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from lossbench import weighting

VALUES = Path(__file__).parent / "values"


def peer_cases(name):
    """The cases of a file of another library's values."""
    return json.loads((VALUES / f"{name}.json").read_text())


def random_sets(seed, sets, terms, size, spread=0.0):
    """Random gradients `sets terms size`, of sizes from 10^-spread to 10^spread, as float32 has."""
    rng = np.random.default_rng(seed)
    sizes = 10.0 ** rng.uniform(-spread, spread, (sets, terms, 1))
    return (rng.normal(size=(sets, terms, size)) * sizes).astype(np.float32)


def weights_of(method, gradients, values=None, seed=0):
    """The weights of a first step for each of the sets `sets terms size`."""
    gradients = jnp.asarray(gradients, jnp.float32)
    values = jnp.ones(gradients.shape[:2]) if values is None else jnp.asarray(values)
    state = method.init(gradients.shape[1], seed)

    @jax.jit
    @jax.vmap
    def run(gradients, values):
        return method.update(values, state, weighting.gramian(gradients))[0]

    return np.asarray(run(gradients, values), float)


def updates_of(method, gradients, **options):
    """The combined gradients of a first step `sets size`, summed in float64."""
    weights = weights_of(method, gradients, **options)
    return np.einsum("nt,ntp->np", weights, np.asarray(gradients, float))


def distance(found, wanted):
    """How far apart two vectors are, relative to the second one's length."""
    wanted = np.asarray(wanted, float)
    return np.linalg.norm(np.asarray(found, float) - wanted) / np.linalg.norm(wanted)
