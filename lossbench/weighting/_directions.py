"""Gradients as lengths and cosines: no method then meets numbers of very different size."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lossbench.weighting._gramians import present_terms
from lossbench.weighting._options import Number
from lossbench.weighting._weighting import Weighting


class Directions(NamedTuple):
    """Cosines between the gradients of the terms that take part, and their lengths.

    Attributes:
        present: the terms whose loss and gradient are finite `terms`.
        active: those of them whose gradient is not 0 `terms`.
        norms: lengths of the gradients `terms`; 1 for a term that is not active.
        cosines: `terms terms`, positive definite; rows and columns of the identity for terms that
            are not active.
    """

    present: jax.Array
    active: jax.Array
    norms: jax.Array
    cosines: jax.Array
    lift: jax.Array

    def mean(self) -> jax.Array:
        """Equal weights of the terms that are present, `terms`, which sum to 1."""
        count = jnp.maximum(jnp.sum(self.present, dtype=self.norms.dtype), 1)
        return self.present / count


def directions(values: jax.Array, gramian: jax.Array | None) -> Directions:
    r"""Splits a Gramian into lengths and cosines, :math:`G_{ij} = n_i n_j C_{ij}`.

    Rounding makes an inner product wrong by about :math:`10^{-7} n_i n_j`, so the cosines are
    known equally well whatever the lengths are. Their smallest eigenvalue is 0 for gradients that
    depend on each other, and rounding may make it negative: where it is below 8 times the machine
    epsilon (1e-6), the diagonal is raised until it is that. All other sets stay as they are.

    Args:
        values: losses `terms`; a term whose loss is not finite is left out.
        gramian: inner products of gradients `terms terms`; so is one whose diagonal is not.

    Raises:
        ValueError: without a Gramian.
    """
    present, products = present_terms(values, gramian)
    squares = jnp.diagonal(products)
    active = squares > 0
    norms = jnp.sqrt(jnp.where(active, squares, 1))
    # Divided one after the other: the product of two small lengths may be 0.
    unit = products / norms[:, None] / norms[None, :]
    eye = jnp.eye(len(norms), dtype=bool)
    unit = jnp.where(eye, 1, jnp.clip((unit + unit.T) / 2, -1, 1))
    floor = 8 * jnp.finfo(unit.dtype).eps
    lift = jnp.maximum(floor - jnp.linalg.eigvalsh(unit)[0], 0)
    lifted = unit + jnp.where(eye & active[:, None], lift, 0)
    return Directions(present, active, norms, lifted, lift)


def of_directions(
    weights: Callable[[Directions], jax.Array], *, regularization: Number = 0.0
) -> Weighting:
    """The weighting whose weights follow from directions alone, without a state.

    Args:
        weights: directions -> weights `terms`.
        regularization: this share of the sum of the squared norms is added to the Gramian's
            diagonal first.
    """

    def init(terms: int, seed: int | jax.Array = 0) -> tuple[()]:
        return ()

    def update(
        values: jax.Array, state: Any, gramian: jax.Array | None = None
    ) -> tuple[jax.Array, Any]:
        _, products = present_terms(values, gramian)
        share = jnp.asarray(regularization, products.dtype) * jnp.trace(products)
        # On the Gramian as it came: what is not finite in it stays so.
        raised = jnp.asarray(gramian) + share * jnp.eye(len(values), dtype=share.dtype)
        return weights(directions(values, raised)), state

    return Weighting(init, update, needs_gramian=True)
