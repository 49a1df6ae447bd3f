"""MGDA: the shortest convex combination of the gradients."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import optax

from lossbench.weighting._combination import combination
from lossbench.weighting._directions import Directions, of_directions
from lossbench.weighting._simplex import shortest
from lossbench.weighting._weighting import Weighting


def mgda(
    *, shared: str | Sequence[str] = (), skip_nonfinite: bool = False, seed: int = 0
) -> optax.GradientTransformationExtraArgs:
    r"""MGDA: the shortest vector in the convex hull of the gradients.

    .. math::
        d = \sum_i a_i g_i, \qquad
        a = \arg\min_{a \ge 0,\; \sum_i a_i = 1} \Big\lVert \sum_i a_i g_i \Big\rVert^2

    It has an inner product of at least :math:`\lVert d \rVert^2` with every gradient, so a small
    step lowers all losses, and it is 0 exactly where no direction lowers all of them.

    Args:
        shared: patterns of the names of parameters whose gradients make the Gramian; all by
            default.
        skip_nonfinite: true leaves a term out of a step in which its gradient is not finite.
        seed: not used.

    Returns:
        An optax transformation of gradients stacked on a leading axis of terms. d is never longer
        than the shortest gradient: a gradient of 0 makes it 0, and one far shorter than the rest
        is all of it, which is why losses of different size must be scaled before. Of gradients
        that depend on each other the weights are one of many solutions; d is the only one, up to
        rounding.

    The solution is exact, by an active set. The paper's code, TorchJD and LibMTL take steps of
    Frank and Wolfe until one is shorter than 1e-3 (TorchJD, 100 at most): with three gradients or
    more their d is often wrong in one of the first three digits. For two gradients all agree. The
    paper's code can also divide gradients by their norms or losses; here that is for
    the caller.

    Example:
        >>> import jax.numpy as jnp
        >>> from lossbench import weighting
        >>> nearest = weighting.mgda()
        >>> gradients = jnp.array([[2.0, 0.0], [0.0, 1.0]])
        >>> update, _ = nearest.update(gradients, nearest.init(gradients[0]))
        >>> print(update)
        [0.4 0.8]

    Reference: Désidéri, Multiple-Gradient Descent Algorithm, Comptes Rendus Mathématique 2012;
    Sener and Koltun, Multi-Task Learning as Multi-Objective Optimization, NeurIPS 2018.
    """
    return combination(mgda_weighting(), shared=shared, skip_nonfinite=skip_nonfinite, seed=seed)


def mgda_weighting() -> Weighting:
    """The weights of `mgda`, from the Gramian of the gradients."""
    return of_directions(mgda_weights)


def mgda_weights(gradients: Directions) -> jax.Array:
    """Weights of the gradients `terms`, which sum to 1; gradients of 0 share it where there are."""
    zero = gradients.present & ~gradients.active
    count = jnp.sum(zero, dtype=gradients.norms.dtype)
    found = shortest(gradients.cosines, gradients.norms, gradients.active)
    return jnp.where(count > 0, zero / jnp.maximum(count, 1), found)
