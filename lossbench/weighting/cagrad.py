"""CAGrad: the direction near the mean gradient under which the worst loss falls fastest."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import optax

from lossbench.weighting import _options
from lossbench.weighting._combination import combination
from lossbench.weighting._cone import dual_cone
from lossbench.weighting._directions import Directions, of_directions
from lossbench.weighting._options import Number
from lossbench.weighting._simplex import conflict_averse
from lossbench.weighting._weighting import Weighting


def cagrad(
    *,
    c: Number = 0.5,
    shared: str | Sequence[str] = (),
    skip_nonfinite: bool = False,
    seed: int = 0,
) -> optax.GradientTransformationExtraArgs:
    r"""CAGrad: of all directions near the mean gradient, the best for the loss that falls least.

    .. math::
        d = \arg\max_{\lVert d - g_0 \rVert \le c \lVert g_0 \rVert} \min_i g_i \cdot d
          = g_0 + \frac{\sqrt\varphi}{\lVert g_w \rVert} g_w, \qquad
        w = \arg\min_{w \ge 0,\; \sum_i w_i = 1} g_w \cdot g_0 + \sqrt\varphi\, \lVert g_w \rVert

    with :math:`g_0` the mean of the gradients, :math:`g_w = \sum_i w_i g_i` and
    :math:`\varphi = c^2 \lVert g_0 \rVert^2`.

    Args:
        c: how far from the mean gradient it may go, in lengths of it; 0 is the mean itself. Below 1
            the method converges to a minimum of the mean loss. May be traced.
        shared: patterns of the names of parameters whose gradients make the Gramian; all by
            default.
        skip_nonfinite: true leaves a term out of a step in which its gradient is not finite.
        seed: not used.

    Returns:
        An optax transformation of gradients stacked on a leading axis of terms. Where the best
        :math:`g_w` is 0 the formula divides by it, and many directions serve the worst loss
        equally well: d is then the one nearest to :math:`g_0`, its projection to where it
        conflicts with no gradient. Under a gradient of 0 no direction is better than another for
        the worst loss; it counts in the mean, and the direction is the best for the others.

    TorchJD returns 0 where :math:`g_w` is (a `norm_eps` of 1e-4 decides), which is further than c
    from the mean; the paper's code divides by :math:`\lVert g_w \rVert + 10^{-8}`. The paper's code
    (and LibMTL's) also divides d by :math:`1 + c^2` by default; TorchJD and the paper do not, nor
    does this.

    Raises:
        ValueError: for a c below 0.

    Example:
        >>> import jax.numpy as jnp
        >>> from lossbench import weighting
        >>> averse = weighting.cagrad(c=0.5)
        >>> gradients = jnp.array([[3.0, 0.0], [0.0, 1.0]])
        >>> update, _ = averse.update(gradients, averse.init(gradients[0]))
        >>> print(jnp.round(update, 4))
        [1.5    1.2906]

    Reference: Liu et al., Conflict-Averse Gradient Descent for Multi-task Learning, NeurIPS 2021.
    """
    return combination(
        cagrad_weighting(c=c), shared=shared, skip_nonfinite=skip_nonfinite, seed=seed
    )


def cagrad_weighting(*, c: Number = 0.5) -> Weighting:
    """The weights of `cagrad`, from the Gramian of the gradients."""
    _options.not_negative(c=c)

    return of_directions(lambda gradients: cagrad_weights(gradients, c))


def cagrad_weights(gradients: Directions, c: Number) -> jax.Array:
    """Weights of the gradients `terms`."""
    norms, cosines, active = gradients.norms, gradients.cosines, gradients.active
    radius = jnp.asarray(c, norms.dtype)
    mean = gradients.mean()
    # The mean gradient in coefficients of unit gradients; everything below is in its lengths.
    start = jnp.where(active, mean * norms, 0)
    size = jnp.max(start)
    start = start / jnp.where(size > 0, size, 1)
    along = jnp.matmul(cosines, start, precision="highest")
    length = jnp.sqrt(jnp.maximum(jnp.dot(start, along, precision="highest"), 0))
    divisor = jnp.where(length > 0, length, 1)
    step = conflict_averse(cosines, norms, along / divisor, radius, active)
    # A step whose length is mostly what was added against rounding has none of its own.
    no_step = gradients.lift * jnp.sum(jnp.square(step)) > jnp.square(radius) / 2
    nearest = dual_cone(cosines, start / divisor, active) - start / divisor
    reach = jnp.dot(nearest, jnp.matmul(cosines, nearest, precision="highest"), precision="highest")
    step = jnp.where(no_step & (reach <= jnp.square(radius)), nearest, step)
    return mean + size * length * step / norms
