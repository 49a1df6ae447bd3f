"""MoCo: gradients tracked over the steps, weighted towards the shortest sum."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from lossbench.weighting import _options
from lossbench.weighting._combination import check_stacked, losses, shown, without_nonfinite
from lossbench.weighting._options import Number, Rate
from lossbench.weighting.gradients import combined, gramian, part


class MocoState(NamedTuple):
    """What MoCo keeps.

    Attributes:
        step: how many steps there were.
        weights: of the tracked gradients, `terms`.
        seen: which terms have had a finite gradient, `terms`.
        tracked: gradients, stacked, at least float32.
    """

    step: jax.Array
    weights: jax.Array
    seen: jax.Array
    tracked: Any


def moco(
    terms: int = 2,
    *,
    beta: Rate = 0.5,
    gamma: Rate = 0.1,
    rho: Number = 0.0,
    shared: str | Sequence[str] = (),
    skip_nonfinite: bool = False,
) -> optax.GradientTransformationExtraArgs:
    r"""MoCo: gradients tracked over the steps, weighted towards the shortest sum.

    .. math::
        y_i \leftarrow y_i - \beta\, (y_i - g_i), \qquad
        \lambda \leftarrow \Pi_\Delta\big(\lambda - \gamma\, (Y^\top Y + \rho I)\, \lambda\big),
        \qquad d = \sum_i \lambda_i y_i

    with :math:`\Pi_\Delta` the nearest point of the simplex. It follows the gradients of batches to
    what MGDA does with the gradients of all data.

    Args:
        terms: how many gradients are stacked. `optax.inject_hyperparams` must be told
            `static_args="terms"`.
        beta: how fast gradients are tracked, between 0 and 1: a number, or an optax schedule of
            the step.
        gamma: the step of :math:`\lambda`: a number, or an optax schedule of the step. It is for
            gradients of norm about 1: those of norm n move :math:`\lambda` :math:`n^2` times as
            far.
        rho: pulls :math:`\lambda` towards equal weights.
        shared: patterns of the names of parameters whose gradients make :math:`Y^\top Y`; all by
            default.
        skip_nonfinite: true leaves a term out of a step in which its gradient, or its loss in
            `values=`, is not finite; if no term is left, the result is not finite.

    Returns:
        An optax transformation of gradients stacked on a leading axis of terms; its state holds as
        many gradients, and `weights`, :math:`\lambda`. The first gradient of a term begins its
        :math:`y_i` (the paper leaves that open; LibMTL begins with 0), and :math:`\lambda` begins
        at 1 / T. In a step without a term its :math:`y_i` and its share stay, and the others share
        the whole of d. A gradient that is not finite makes d not finite, but not the state.

    LibMTL has a softmax where the paper projects, which keeps :math:`\lambda` near 1 / T; divides
    each gradient by its norm and multiplies it by the loss; and has :math:`\beta = 0.5 / \sqrt{k}`,
    :math:`\gamma = 0.1 / \sqrt{k}` in step k. The paper also cuts :math:`y_i` to the Lipschitz
    constant of its loss, which is rarely known.

    Raises:
        ValueError: for options out of range, or another number of gradients.

    Example:
        >>> import jax.numpy as jnp
        >>> from lossbench import weighting
        >>> correction = weighting.moco(gamma=0.1)
        >>> gradients = jnp.array([[2.0, 0.0], [0.0, 1.0]])
        >>> update, state = correction.update(gradients, correction.init(gradients[0]))
        >>> print(state.weights, update)
        [0.425 0.575] [0.85  0.575]

    Reference: Fernando et al., Mitigating Gradient Bias in Multi-objective Learning, ICLR 2023.
    """
    _options.whole(1, terms=terms)
    if not callable(beta):
        _options.share(beta=beta)
    if not callable(gamma):
        _options.not_negative(gamma=gamma)
    _options.not_negative(rho=rho)

    def init(params: Any) -> MocoState:
        if shared and jax.tree.leaves(params):
            part(params, shared)
        return MocoState(
            step=jnp.zeros((), jnp.int32),
            weights=jnp.full((terms,), 1 / terms, jnp.float32),
            seen=jnp.zeros((terms,), bool),
            tracked=jax.tree.map(
                lambda leaf: jnp.zeros((terms, *jnp.shape(leaf)), _wide(leaf)), params
            ),
        )

    def update(
        updates: Any,
        state: Any,
        params: Any = None,
        *,
        values: Any = None,
        **_: Any,
    ) -> tuple[Any, MocoState]:
        if not jax.tree.leaves(updates):
            return updates, state
        got = check_stacked(updates, params)
        if got != len(state.weights):
            raise ValueError(
                f"moco keeps the gradients of {len(state.weights)} terms, got {got} gradients: "
                f"moco(terms={got})"
            )
        clean, finite = without_nonfinite(updates)
        present = finite & jnp.isfinite(losses(values, got))
        rate = jnp.where(state.seen, _at(beta, state.step), 1) * present
        tracked = jax.tree.map(lambda y, g: _toward(y, g, rate), state.tracked, clean)
        products = gramian(part(tracked, shared) if shared else tracked)
        shares = moved(state.weights, products, present, _at(gamma, state.step), rho)
        rest = jnp.sum(jnp.where(present, state.weights, 0))
        used = shown(shares, present, skip_nonfinite)
        state = MocoState(
            step=jnp.asarray(optax.safe_increment(state.step)),
            weights=jnp.where(present, rest * shares, state.weights).astype(state.weights.dtype),
            seen=state.seen | present,
            tracked=tracked,
        )
        result = combined(tracked, used)
        return jax.tree.map(lambda d, g: d.astype(g.dtype), result, updates), state

    return optax.GradientTransformationExtraArgs(init, update)


def moved(
    weights: jax.Array, gramian: jax.Array, present: jax.Array, rate: jax.Array, rho: Number
) -> jax.Array:
    """The weights after a step, as though the terms that are not present did not exist."""
    count = jnp.maximum(jnp.sum(present, dtype=weights.dtype), 1)
    rest = jnp.sum(jnp.where(present, weights, 0))
    even = jnp.full_like(weights, 1 / count)
    weights = jnp.where(present, jnp.where(rest > 0, weights / rest, even), 0)
    slope = jnp.matmul(gramian, weights, precision="highest") + rho * weights
    return onto_simplex(weights - rate * slope, present)


def onto_simplex(point: jax.Array, present: jax.Array) -> jax.Array:
    """The nearest point of the simplex of the terms that are present; 0 if none is."""
    # From the largest one: the 1 that is shared out would be lost beside large numbers.
    point = point - jnp.max(jnp.where(present, point, -jnp.inf))
    falling = jnp.sort(jnp.where(present, point, -jnp.inf))[::-1]
    finite = jnp.isfinite(falling)
    ranks = jnp.arange(1, len(point) + 1, dtype=point.dtype)
    cuts = (jnp.cumsum(jnp.where(finite, falling, 0)) - 1) / ranks
    cut = cuts[jnp.maximum(jnp.sum(finite & (falling > cuts)) - 1, 0)]
    return jnp.where(present, jnp.maximum(point - cut, 0), 0)


def _wide(leaf: Any) -> Any:
    return jnp.promote_types(jnp.result_type(leaf), jnp.float32)


def _at(rate: Rate, step: jax.Array) -> Any:
    return rate(step) if callable(rate) else rate


def _toward(tracked: jax.Array, gradient: jax.Array, rate: jax.Array) -> jax.Array:
    """Tracked gradients, moved towards those of this step, each at its rate."""
    rate = jnp.expand_dims(rate.astype(tracked.dtype), range(1, tracked.ndim))
    return tracked - rate * (tracked - gradient.astype(tracked.dtype))
