"""Aligned-MTL: the principal components of the gradients, all made equally long."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from lossbench import _checks
from lossbench.weighting import _options
from lossbench.weighting._combination import combination
from lossbench.weighting._gramians import preferred, present_terms
from lossbench.weighting._jacobi import components
from lossbench.weighting._options import Numbers
from lossbench.weighting._weighting import Weighting

SCALE_MODES = ("min", "median", "rmse")


def aligned_mtl(
    *,
    scale_mode: str = "min",
    preference: Numbers | None = None,
    shared: str | Sequence[str] = (),
    skip_nonfinite: bool = False,
    seed: int = 0,
) -> optax.GradientTransformationExtraArgs:
    r"""Aligned-MTL: the nearest gradients that are orthogonal and equally long, averaged.

    .. math::
        d = \sum_i w_i g_i, \qquad
        w = \sqrt{\sigma}\; V \Sigma^{-1/2} V^\top p, \qquad
        G = V \Sigma V^\top

    with G the Gramian, whose rank says how many eigenvalues are used, and p the preference.

    Args:
        scale_mode: :math:`\sigma`, how long they are made: "min" as the shortest component (the
            paper's), "median" as the one in the middle (the lower of two), "rmse" as the mean of
            the eigenvalues.
        preference: p, one number for each term; 1 / T by default.
        shared: patterns of the names of parameters whose gradients make the Gramian; all by
            default.
        skip_nonfinite: true leaves a term out of a step in which its gradient is not finite.
        seed: not used.

    Returns:
        An optax transformation of gradients stacked on a leading axis of terms. Gradients of the
        same direction are one component. An eigenvalue counts as 0 if it is no more than rounding;
        d jumps there, because with "min" the shortest component is the scale of all. Gradients
        whose cosine is c have one that float32 knows to about :math:`10^{-7} / (1 - |c|)` of
        itself, however large one gradient is beside the other.

    The paper's code, and LibMTL after it, has p = 1, so T times the step; TorchJD has 1 / T. LibMTL
    calls `torch.symeig`, which PyTorch 2 does not have. All three take an eigenvalue for 0 beside
    the largest one, and so drop a gradient because it is small: in float32 one whose norm is below
    about 5e-4 of another's, in float64 below 2e-8.

    Raises:
        ValueError: for another scale mode, preferences that are all 0, or another number of them.

    Example:
        >>> import jax.numpy as jnp
        >>> from lossbench import weighting
        >>> aligned = weighting.aligned_mtl()
        >>> gradients = jnp.array([[4.0, 0.0], [0.0, 1.0]])
        >>> update, _ = aligned.update(gradients, aligned.init(gradients[0]))
        >>> print(update)
        [0.5 0.5]

    Reference: Senushkin et al., Independent Component Alignment for Multi-Task Learning, CVPR 2023.
    """
    return combination(
        aligned_mtl_weighting(scale_mode=scale_mode, preference=preference),
        shared=shared,
        skip_nonfinite=skip_nonfinite,
        seed=seed,
    )


def aligned_mtl_weighting(
    *, scale_mode: str = "min", preference: Numbers | None = None
) -> Weighting:
    """The weights of `aligned_mtl`, from the Gramian of the gradients."""
    _checks.choice("scale_mode", scale_mode, SCALE_MODES)
    _options.preference(preference, negative=True)

    def init(terms: int, seed: int | jax.Array = 0) -> tuple[()]:
        return ()

    def update(
        values: jax.Array, state: Any, gramian: jax.Array | None = None
    ) -> tuple[jax.Array, Any]:
        present, products = present_terms(values, gramian)
        mean = present / jnp.maximum(jnp.sum(present, dtype=products.dtype), 1)
        wanted = preferred(preference, mean) * present
        return aligned_mtl_weights(products, present, wanted, scale_mode), state

    return Weighting(init, update, needs_gramian=True)


def aligned_mtl_weights(
    gramian: jax.Array, present: jax.Array, preference: jax.Array, scale_mode: str
) -> jax.Array:
    """Weights of the gradients `terms`; the Gramian is 0 for those that are not present."""
    largest = jnp.max(jnp.diagonal(gramian))
    values, vectors, used = components(gramian / jnp.where(largest > 0, largest, 1))
    rank = jnp.sum(used)
    rising = jnp.sort(jnp.where(used, values, jnp.inf))
    if scale_mode == "min":
        scale = rising[0]
    elif scale_mode == "median":
        scale = rising[jnp.maximum(rank - 1, 0) // 2]
    else:
        scale = jnp.sum(jnp.where(used, values, 0)) / jnp.maximum(rank, 1)
    shrink = jnp.where(used, jnp.sqrt(scale / jnp.where(used, values, 1)), 0)
    along = jnp.matmul(preference, vectors, precision="highest")
    weights = jnp.matmul(vectors, shrink * along, precision="highest")
    return jnp.where(rank > 0, weights, preference) * present
