"""Directions that are fair to the terms: IMTL-G, Nash-MTL and FairGrad."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import optax

from lossbench.weighting import _options
from lossbench.weighting._active_set import solve
from lossbench.weighting._bargain import bargain
from lossbench.weighting._combination import combination
from lossbench.weighting._directions import Directions, of_directions
from lossbench.weighting._options import Number
from lossbench.weighting._weighting import Weighting


def imtl_g(
    *, shared: str | Sequence[str] = (), skip_nonfinite: bool = False, seed: int = 0
) -> optax.GradientTransformationExtraArgs:
    r"""IMTL-G: the combination that reaches equally far along each gradient.

    .. math::
        d = \sum_i a_i g_i, \qquad \sum_i a_i = 1, \qquad
        \frac{g_i \cdot d}{\lVert g_i \rVert} \text{ the same for all } i

    Args:
        shared: patterns of the names of parameters whose gradients make the Gramian; all by
            default.
        skip_nonfinite: true leaves a term out of a step in which its gradient is not finite.
        seed: not used.

    Returns:
        An optax transformation of gradients stacked on a leading axis of terms. Weights may be
        negative, and so may the common reach, with conflicts of gradients of very different
        length: the paper's formula then raises all losses alike. d is 0 for opposite gradients
        and wherever else equal reach means none at all, as for three gradients in a plane, and
        where the weights that the equations give sum to 0. A gradient of 0 is left out.

    For gradients that depend on each other TorchJD takes the pseudoinverse of the Gramian, which
    solves the equations in the least squares only: of the opposite gradients g and -2g it makes
    -5g, where the paper's formula makes 0.

    Example:
        >>> import jax.numpy as jnp
        >>> from lossbench import weighting
        >>> impartial = weighting.imtl_g()
        >>> gradients = jnp.array([[3.0, 0.0], [0.0, 1.0]])
        >>> update, _ = impartial.update(gradients, impartial.init(gradients[0]))
        >>> print(update)
        [0.75 0.75]

    Reference: Liu et al., Towards Impartial Multi-task Learning, ICLR 2021.
    """
    return combination(imtl_g_weighting(), shared=shared, skip_nonfinite=skip_nonfinite, seed=seed)


def nash_mtl(
    *,
    max_norm: Number | None = 1.0,
    shared: str | Sequence[str] = (),
    skip_nonfinite: bool = False,
    seed: int = 0,
) -> optax.GradientTransformationExtraArgs:
    r"""Nash-MTL: the bargaining solution, which raises the product of the gains most.

    .. math::
        d = \sum_i a_i g_i, \qquad a_i \, (g_i \cdot d) = 1, \quad a_i > 0

    Args:
        max_norm: the most that d may be long; it is scaled down to that. None is no limit. May be
            traced.
        shared: patterns of the names of parameters whose gradients make the Gramian; all by
            default.
        skip_nonfinite: true leaves a term out of a step in which its gradient is not finite.
        seed: not used.

    Returns:
        An optax transformation of gradients stacked on a leading axis of terms. The sum of the T
        equations says :math:`\lVert d \rVert^2 = T`: whatever the gradients are, d has the length
        :math:`\sqrt T`, or `max_norm` if that is less. So the learning rate alone says how far a
        step goes, and multiplying a loss by a number changes nothing. Where no direction lowers
        all losses the equations have no solution: the norms of the gradients are then taken to be
        about 1e-6 larger than they are, and d becomes short, 0 for opposite gradients. A gradient
        of 0 is left out.

    The solution is exact, the minimum of :math:`\tfrac12 a^\top G a - \sum_i \log a_i` by damped
    Newton steps. The paper's code, and TorchJD and LibMTL after it, divide the Gramian by its norm,
    which makes a longer by the root of that norm (so `max_norm` all but always decides the
    length), and solve a row of convex problems, 20 at most, each from the last one's solution and
    the first from the last step's: their a depends on the steps before, and stays as it was where
    the solver fails, as for a gradient of 0.

    Raises:
        ValueError: for a `max_norm` that is not above 0.

    Example:
        >>> import jax.numpy as jnp
        >>> from lossbench import weighting
        >>> bargaining = weighting.nash_mtl(max_norm=None)
        >>> gradients = jnp.array([[3.0, 0.0], [0.0, 1.0]])
        >>> update, _ = bargaining.update(gradients, bargaining.init(gradients[0]))
        >>> print(update)
        [1. 1.]

    Reference: Navon et al., Multi-Task Learning as a Bargaining Game, ICML 2022.
    """
    return combination(
        nash_mtl_weighting(max_norm=max_norm),
        shared=shared,
        skip_nonfinite=skip_nonfinite,
        seed=seed,
    )


def fairgrad(
    *,
    alpha: Number = 1.0,
    shared: str | Sequence[str] = (),
    skip_nonfinite: bool = False,
    seed: int = 0,
) -> optax.GradientTransformationExtraArgs:
    r"""FairGrad: the direction with the alpha-fair gains.

    .. math::
        d = \sum_i a_i g_i, \qquad g_i \cdot d = a_i^{-1 / \alpha}, \quad a_i > 0

    which maximizes :math:`\sum_i (g_i \cdot d)^{1 - \alpha} / (1 - \alpha)` among the directions
    of its length.

    Args:
        alpha: above 0. 1 is proportional fairness (`nash_mtl` without its limit on the length), 2
            the least potential delay, and towards infinity the least gain is raised alone. Towards
            0 it becomes the sum of the gradients. May be traced.
        shared: patterns of the names of parameters whose gradients make the Gramian; all by
            default.
        skip_nonfinite: true leaves a term out of a step in which its gradient is not finite.
        seed: not used.

    Returns:
        An optax transformation of gradients stacked on a leading axis of terms. Gradients that are
        all s times as long make d :math:`s^{(1 - \alpha) / (1 + \alpha)}` times as long. Where no
        direction lowers all losses there is no solution, and d is small, as `nash_mtl`'s. A
        gradient of 0 is left out.

    The solution is exact, by Newton steps on a convex function, on the device. The paper's code,
    TorchJD and LibMTL call SciPy's `least_squares` on the host, which finds the same; TorchJD takes
    an alpha of 0 for the mean of the gradients, which is refused here.

    Raises:
        ValueError: for an alpha that is not above 0.

    Example:
        >>> import jax.numpy as jnp
        >>> from lossbench import weighting
        >>> fair = weighting.fairgrad(alpha=2.0)
        >>> gradients = jnp.array([[8.0, 0.0], [0.0, 1.0]])
        >>> update, _ = fair.update(gradients, fair.init(gradients[0]))
        >>> print(update)
        [0.5 1. ]

    Reference: Ban and Ji, Fair Resource Allocation in Multi-Task Learning, ICML 2024.
    """
    return combination(
        fairgrad_weighting(alpha=alpha),
        shared=shared,
        skip_nonfinite=skip_nonfinite,
        seed=seed,
    )


def imtl_g_weighting() -> Weighting:
    """The weights of `imtl_g`, from the Gramian of the gradients."""
    return of_directions(imtl_g_weights)


def nash_mtl_weighting(*, max_norm: Number | None = 1.0) -> Weighting:
    """The weights of `nash_mtl`, from the Gramian of the gradients."""
    if max_norm is not None:
        _options.above_zero(max_norm=max_norm)
    return of_directions(lambda gradients: nash_mtl_weights(gradients, max_norm))


def fairgrad_weighting(*, alpha: Number = 1.0) -> Weighting:
    """The weights of `fairgrad`, from the Gramian of the gradients."""
    _options.above_zero(alpha=alpha)
    return of_directions(lambda gradients: fairgrad_weights(gradients, alpha))


def imtl_g_weights(gradients: Directions) -> jax.Array:
    """Weights of the gradients `terms`, which sum to 1."""
    active = gradients.active
    found = solve(gradients.cosines, active.astype(gradients.norms.dtype), active)
    least = jnp.min(jnp.where(active, gradients.norms, jnp.inf))
    weights = jnp.where(active, found * (least / gradients.norms), 0)
    total = jnp.sum(weights)
    noise = 8 * jnp.finfo(weights.dtype).eps * jnp.sum(jnp.abs(weights))
    return jnp.where(jnp.abs(total) > noise, weights / jnp.where(total == 0, 1, total), 0)


def nash_mtl_weights(gradients: Directions, max_norm: Number | None) -> jax.Array:
    """Weights of the gradients `terms`, 0 or more."""
    ones = jnp.ones_like(gradients.norms)
    steps = jnp.where(gradients.active, bargain(gradients.cosines, ones, ones[0]), 0)
    if max_norm is not None:
        squared = jnp.dot(
            steps, jnp.matmul(gradients.cosines, steps, precision="highest"), precision="highest"
        )
        squared = squared - gradients.lift * jnp.sum(jnp.square(steps))
        most = jnp.asarray(max_norm, steps.dtype)
        steps = steps * (most / jnp.maximum(jnp.sqrt(jnp.maximum(squared, 0)), most))
    return steps / gradients.norms


def fairgrad_weights(gradients: Directions, alpha: Number) -> jax.Array:
    """Weights of the gradients `terms`, 0 or more."""
    power = 1 / jnp.asarray(alpha, gradients.norms.dtype)
    scale = gradients.norms ** ((power - 1) / (power + 1))
    steps = bargain(gradients.cosines, scale, power)
    return jnp.where(gradients.active, steps / gradients.norms, 0)
