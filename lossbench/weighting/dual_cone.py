"""UPGrad and dual projection: gradients projected to where they conflict with no other."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import optax

from lossbench.weighting import _options
from lossbench.weighting._combination import combination
from lossbench.weighting._cone import dual_cone
from lossbench.weighting._directions import Directions, of_directions
from lossbench.weighting._gramians import preferred
from lossbench.weighting._options import Number, Numbers
from lossbench.weighting._weighting import Weighting


def upgrad(
    *,
    preference: Numbers | None = None,
    regularization: Number = 0.0,
    shared: str | Sequence[str] = (),
    skip_nonfinite: bool = False,
    seed: int = 0,
) -> optax.GradientTransformationExtraArgs:
    r"""UPGrad: each gradient is projected to where it conflicts with no other; then their mean.

    .. math::
        d = \sum_i p_i\, \pi(g_i), \qquad
        \pi(x) = \arg\min_{y:\; g_j \cdot y \ge 0 \;\forall j} \lVert y - x \rVert

    Args:
        preference: p, one number for each term, 0 or above; 1 / T by default.
        regularization: this share of the sum of the gradients' squared norms is added to the
            diagonal of the Gramian; 1e-4 gives TorchJD's d, which conflicts a little. May be
            traced.
        shared: patterns of the names of parameters whose gradients make the Gramian; all by
            default.
        skip_nonfinite: true leaves a term out of a step in which its gradient is not finite.
        seed: not used.

    Returns:
        An optax transformation of gradients stacked on a leading axis of terms. d has no negative
        inner product with a gradient; it is the weighted sum where no two conflict, and 0 where no
        direction lowers all losses. A gradient of 0 conflicts with none. Twice a gradient is twice
        its part of d, so a large loss has a large say. A term that is left out takes its
        preference with it; the others keep theirs.

    The projections are exact, by an active set. TorchJD adds `reg_eps` = 1e-4 times its trace to
    the diagonal of the Gramian, which moves d in its fourth digit, in the first where some
    gradients are short beside others or conflict much; and takes gradients whose squares sum to
    less than `norm_eps` = 1e-4 as though none conflicted.

    Raises:
        ValueError: for a preference below 0, all of them 0, or another number of them.

    Example:
        >>> import jax.numpy as jnp
        >>> from lossbench import weighting
        >>> unconflicting = weighting.upgrad()
        >>> gradients = jnp.array([[-4.0, 1.0, 1.0], [6.0, 1.0, 1.0]])
        >>> update, _ = unconflicting.update(gradients, unconflicting.init(gradients[0]))
        >>> print(jnp.round(update, 4))
        [0.2924 1.9006 1.9006]

    Reference: Quinton and Rey, Jacobian Descent for Multi-Objective Optimization, 2024
    (arXiv 2406.16232).
    """
    return combination(
        upgrad_weighting(preference=preference, regularization=regularization),
        shared=shared,
        skip_nonfinite=skip_nonfinite,
        seed=seed,
    )


def dual_projection(
    *,
    preference: Numbers | None = None,
    regularization: Number = 0.0,
    shared: str | Sequence[str] = (),
    skip_nonfinite: bool = False,
    seed: int = 0,
) -> optax.GradientTransformationExtraArgs:
    r"""Dual projection: the mean gradient, projected to where it conflicts with no gradient.

    .. math::
        d = \arg\min_{y:\; g_j \cdot y \ge 0 \;\forall j} \Big\lVert y - \sum_i p_i g_i \Big\rVert

    Args:
        preference: p, one number for each term, 0 or above; 1 / T by default.
        regularization: this share of the sum of the gradients' squared norms is added to the
            diagonal of the Gramian; 1e-4 gives TorchJD's d, which conflicts a little. May be
            traced.
        shared: patterns of the names of parameters whose gradients make the Gramian; all by
            default.
        skip_nonfinite: true leaves a term out of a step in which its gradient is not finite.
        seed: not used.

    Returns:
        An optax transformation of gradients stacked on a leading axis of terms. d has no negative
        inner product with a gradient, is the weighted sum where that conflicts with none, and 0
        where no direction lowers all losses. A term that is left out takes its preference with it.

    Exact, where TorchJD's `DualProj` adds to the diagonal; see `upgrad`. The paper projects
    the gradient of one task, that of the present, so that the others' losses do not rise.

    Raises:
        ValueError: for a preference below 0, all of them 0, or another number of them.

    Example:
        >>> import jax.numpy as jnp
        >>> from lossbench import weighting
        >>> projection = weighting.dual_projection()
        >>> gradients = jnp.array([[-4.0, 1.0, 1.0], [6.0, 1.0, 1.0]])
        >>> update, _ = projection.update(gradients, projection.init(gradients[0]))
        >>> print(jnp.round(update, 4))
        [0.5556 1.1111 1.1111]

    Reference: Lopez-Paz and Ranzato, Gradient Episodic Memory for Continual Learning, NeurIPS 2017.
    """
    return combination(
        dual_projection_weighting(preference=preference, regularization=regularization),
        shared=shared,
        skip_nonfinite=skip_nonfinite,
        seed=seed,
    )


def upgrad_weighting(
    *, preference: Numbers | None = None, regularization: Number = 0.0
) -> Weighting:
    """The weights of `upgrad`, from the Gramian of the gradients."""
    return _of_cone(upgrad_weights, preference, regularization)


def dual_projection_weighting(
    *, preference: Numbers | None = None, regularization: Number = 0.0
) -> Weighting:
    """The weights of `dual_projection`, from the Gramian of the gradients."""
    return _of_cone(dual_projection_weights, preference, regularization)


def upgrad_weights(gradients: Directions, preference: jax.Array) -> jax.Array:
    """Weights of the gradients `terms`."""
    each = jnp.diag(preference * gradients.norms)
    found = jax.vmap(lambda one: dual_cone(gradients.cosines, one, gradients.active))(each)
    return jnp.sum(found, axis=0) / gradients.norms


def dual_projection_weights(gradients: Directions, preference: jax.Array) -> jax.Array:
    """Weights of the gradients `terms`."""
    lower = preference * gradients.norms
    return dual_cone(gradients.cosines, lower, gradients.active) / gradients.norms


def _of_cone(
    weights: Callable[[Directions, jax.Array], jax.Array],
    preference: Numbers | None,
    regularization: Number,
) -> Weighting:
    """The weighting whose weights follow from directions and a preference."""
    _options.not_negative(regularization=regularization)
    _options.preference(preference)

    def preferring(gradients: Directions) -> jax.Array:
        return weights(gradients, preferred(preference, gradients.mean()) * gradients.present)

    return of_directions(preferring, regularization=regularization)
