"""Eigenvalues of a small Gramian, each to its own digits."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

SWEEPS = 6


class Components(NamedTuple):
    """The eigenvalues and eigenvectors of a Gramian.

    Attributes:
        values: eigenvalues `terms`.
        vectors: eigenvectors in columns, `terms terms`.
        used: which eigenvalues are more than rounding, `terms`.
    """

    values: jax.Array
    vectors: jax.Array
    used: jax.Array


def components(gramian: jax.Array) -> Components:
    r"""Eigenvalues and eigenvectors of a positive semidefinite matrix, by Jacobi's rotations.

    Its error in an eigenvalue is relative to that one, as far as the unit gradients are
    independent (Demmel and Veselic 1992). `eigh` has an error relative to the largest one: of
    gradients of norm 1 and 1e-3 it would lose the smaller one's eigenvalue, 1e-6, in float32.

    An eigenvalue :math:`v^\top G v` counts as rounding up to twice the machine epsilon times T
    times :math:`\sum_i v_i^2 G_{ii}`, what it would be of orthogonal gradients: so gradients are
    taken for dependent by their directions, however large or small they are.

    Args:
        gramian: `terms terms`, a few of them, about 1 at most.
    """
    terms = len(gramian)
    eye = jnp.eye(terms, dtype=gramian.dtype)

    def rotate(carry: tuple[jax.Array, jax.Array], pairs: jax.Array) -> tuple:
        matrix, vectors = carry
        p, q = pairs[:, 0], pairs[:, 1]
        cross = matrix[p, q]
        some = cross != 0
        slope = (matrix[q, q] - matrix[p, p]) / jnp.where(some, 2 * cross, 1)
        tangent = jnp.where(slope >= 0, 1, -1) / (jnp.abs(slope) + jnp.sqrt(1 + slope * slope))
        tangent = jnp.where(some, tangent, 0)
        cosine = 1 / jnp.sqrt(1 + tangent * tangent)
        sine = tangent * cosine
        turn = eye.at[p, p].set(cosine).at[q, q].set(cosine).at[p, q].set(sine).at[q, p].set(-sine)
        matrix = _times(_times(turn.T, matrix), turn)
        matrix = matrix.at[p, q].set(0).at[q, p].set(0)
        return (matrix, _times(vectors, turn)), None

    matrix, vectors = gramian, eye
    if terms > 1:
        rounds = jnp.tile(jnp.array(_rounds(terms)), (SWEEPS, 1, 1))
        (matrix, vectors), _ = jax.lax.scan(rotate, (matrix, vectors), rounds)
    values, lengths = jnp.diagonal(matrix), jnp.diagonal(gramian)
    apart = jnp.sum(jnp.square(vectors) * lengths[:, None], axis=0)
    present = jnp.sum(lengths > 0)
    used = values > 2 * present * jnp.finfo(gramian.dtype).eps * apart
    return Components(values, vectors, used)


def _rounds(terms: int) -> list[list[tuple[int, int]]]:
    """Rounds of disjoint pairs, in which each two of the terms meet once."""
    players = list(range(terms + terms % 2))
    rounds = []
    for _ in players[1:]:
        half = len(players) // 2
        pairs = zip(players[:half], reversed(players[half:]), strict=True)
        rounds.append([(min(pair), max(pair)) for pair in pairs if max(pair) < terms])
        players = [players[0], players[-1], *players[1:-1]]
    return rounds


def _times(left: jax.Array, right: jax.Array) -> jax.Array:
    return jnp.matmul(left, right, precision="highest")
