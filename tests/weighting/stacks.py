"""Sets of stacked gradients for tests, and methods on many sets in one program."""

import functools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

VALUES = Path(__file__).parent / "values"
# All sets are padded to these: each method is compiled once a file.
SETS, TERMS = 128, 8


def peer_values(name):
    """A file of another library's values."""
    return json.loads((VALUES / f"{name}.json").read_text())


def random_sets(seed, sets, terms, size, spread=0.0):
    """Random gradients `sets terms size`, of sizes from 10^-spread to 10^spread, as float32 has."""
    rng = np.random.default_rng(seed)
    sizes = 10.0 ** rng.uniform(-spread, spread, (sets, terms, 1))
    return (rng.normal(size=(sets, terms, size)) * sizes).astype(np.float32)


def gramians(sets):
    """Their Gramians in float32, `SETS TERMS TERMS`; a term that a set does not have is NaN."""
    padded = np.full((SETS, TERMS, TERMS), np.nan, np.float32)
    for place, gradients in zip(padded, sets, strict=False):
        rows = np.asarray(gradients, np.float32)
        place[: len(rows), : len(rows)] = rows @ rows.T
    return jnp.asarray(padded)


@functools.cache
def program(method):
    """The weights of a first step for many Gramians."""

    @jax.jit
    @jax.vmap
    def run(values, gramian):
        return method.update(values, method.init(TERMS, 0), gramian)[0]

    return run


def weights_of(method, sets, values=None):
    """The weights of a first step for each set of gradients, a list.

    Sets have up to `TERMS` gradients each; losses are 1 unless `values` has some for each set.
    """
    losses = np.ones((SETS, TERMS), np.float32)
    for place, given in zip(losses, values or [], strict=False):
        place[: len(given)] = given
    found = np.asarray(program(method)(losses, gramians(sets)), float)
    assert np.all(found[np.isnan(np.asarray(gramians(sets)).diagonal(0, 1, 2))] == 0)
    return [row[: len(gradients)] for row, gradients in zip(found, sets, strict=False)]


def updates_of(method, sets, **options):
    """The combined gradients of a first step for each set, summed in float64, a list."""
    weights = weights_of(method, sets, **options)
    return [w @ np.asarray(gradients, float) for w, gradients in zip(weights, sets, strict=True)]


def distance(found, wanted):
    """How far apart two vectors are, relative to the second one's length."""
    wanted = np.asarray(wanted, float)
    return np.linalg.norm(np.asarray(found, float) - wanted) / np.linalg.norm(wanted)
