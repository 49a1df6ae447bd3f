"""ConFIG: the direction that has the same cosine with all gradients."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from lossbench.weighting import _options
from lossbench.weighting._combination import combination
from lossbench.weighting._gramians import preferred, present_terms, unit_gramian
from lossbench.weighting._jacobi import components
from lossbench.weighting._options import Numbers
from lossbench.weighting._weighting import Weighting


def config(
    *,
    preference: Numbers | None = None,
    shared: str | Sequence[str] = (),
    skip_nonfinite: bool = False,
    seed: int = 0,
) -> optax.GradientTransformationExtraArgs:
    r"""ConFIG: the direction with one cosine to all gradients, as long as they reach along it.

    .. math::
        d = \Big(\sum_i g_i \cdot \hat{x}\Big)\, \hat{x}, \qquad
        \hat{x} = \frac{x}{\|x\|}, \qquad
        x = U^+ p, \qquad U = \begin{pmatrix} g_1 / \|g_1\| & g_2 / \|g_2\| & \cdots
            \end{pmatrix}^\top

    It is worked out from the Gramian of the unit gradients: :math:`x = \sum_i a_i g_i / \|g_i\|`
    with :math:`a = (U U^\top)^+ p`.

    Args:
        preference: p, the cosines wanted, up to a factor; the same for all by default.
        shared: patterns of the names of parameters whose gradients make the Gramian; all by
            default.
        skip_nonfinite: true leaves a term out of a step in which its gradient is not finite.
        seed: not used.

    Returns:
        An optax transformation of gradients stacked on a leading axis of terms. A gradient of 0
        is left out. Where no direction has one cosine to all (dependent gradients), it is the
        least-squares solution; where that is 0, as with opposite gradients, d is 0. An eigenvalue
        of :math:`U U^\top` counts as 0 if it is no more than rounding.

    For opposite gradients TorchJD and the paper's code scale what rounding leaves of x to a unit
    vector: in float32 TorchJD makes (-1.67, -1.67, -1.67) of (1, 2, 2) and (-2, -4, -4).

    Raises:
        ValueError: for preferences that are all 0, or another number of them.

    Example:
        >>> import jax.numpy as jnp
        >>> from lossbench import weighting
        >>> free = weighting.config()
        >>> gradients = jnp.array([[4.0, 0.0], [0.0, 2.0]])
        >>> update, _ = free.update(gradients, free.init(gradients[0]))
        >>> print(update)
        [3. 3.]

    Reference: Liu, Chu and Thuerey, ConFIG: Towards Conflict-free Training of Physics Informed
    Neural Networks, ICLR 2025 (arXiv 2408.11104).
    """
    return combination(
        config_weighting(preference=preference),
        shared=shared,
        skip_nonfinite=skip_nonfinite,
        seed=seed,
    )


def config_weighting(*, preference: Numbers | None = None) -> Weighting:
    """The weights of `config`, from the Gramian of the gradients."""
    _options.preference(preference, negative=True)

    def init(terms: int, seed: int | jax.Array = 0) -> tuple[()]:
        return ()

    def update(
        values: jax.Array, state: Any, gramian: jax.Array | None = None
    ) -> tuple[jax.Array, Any]:
        present, products = present_terms(values, gramian)
        ones = jnp.ones(len(values), products.dtype)
        wanted = preferred(preference, ones) * present
        return config_weights(products, wanted), state

    return Weighting(init, update, needs_gramian=True)


def config_weights(gramian: jax.Array, preference: jax.Array) -> jax.Array:
    """Weights of the gradients `terms`; the Gramian is 0 for those that are not present."""
    unit, norms = unit_gramian(gramian)
    wanted = jnp.where(norms > 0, preference, 0)
    values, vectors, used = components(unit)
    along = jnp.where(used, jnp.matmul(wanted, vectors, precision="highest"), 0)
    # What is reached of the cosines wanted; below rounding there is no such direction.
    reached = jnp.sum(jnp.square(along))
    error = 2 * len(values) * jnp.finfo(unit.dtype).eps
    there = reached > jnp.square(error) * jnp.sum(jnp.square(wanted))
    solved = along / jnp.where(used, values, 1)
    squared = jnp.where(there, jnp.sum(along * solved), 1)
    coefficients = jnp.matmul(vectors, solved, precision="highest")
    cosines = jnp.matmul(vectors, along, precision="highest")
    length = jnp.sum(norms * cosines)
    weights = length / squared * coefficients / jnp.where(norms > 0, norms, 1)
    return jnp.where(there & (norms > 0), weights, 0)
