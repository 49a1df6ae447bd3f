"""Weights from how the losses went so far: DWA, SoftAdapt, CoV-Weighting."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from lossbench.weighting import _options, _terms
from lossbench.weighting._options import Number
from lossbench.weighting._weighting import Weighting


class Windows(NamedTuple):
    """The state of `dwa` and `soft_adapt`: means of the losses over windows of steps.

    Attributes:
        weights: of the last step.
        sums: of each loss in the window that is open.
        seen: in how many steps of it each loss was finite.
        last: each loss's mean over the last window in which it was finite.
        before: the same for the window before that one.
        windows: how many such windows each loss had.
        step: how many steps there were.
    """

    weights: jax.Array
    sums: jax.Array
    seen: jax.Array
    last: jax.Array
    before: jax.Array
    windows: jax.Array
    step: jax.Array


class Variation(NamedTuple):
    """The state of `coefficient_of_variation`.

    Attributes:
        weights: of the last step.
        mean: of each loss.
        mean_ratio: of each loss over its mean before.
        squares: of the ratios, the sum of squared distances from their mean.
        seen: how many values each loss had.
    """

    weights: jax.Array
    mean: jax.Array
    mean_ratio: jax.Array
    squares: jax.Array
    seen: jax.Array


def dwa(temperature: Number = 2.0, *, window: int = 1) -> Weighting:
    r"""Dynamic weight average: more weight for what falls more slowly.

    .. math::
        w_i(t) = T\, \mathrm{softmax}\left(\frac{r_i}{\tau}\right), \qquad
        r_i = \frac{L_i(t-1)}{L_i(t-2)}

    where t counts windows of steps, and L(t) are means over a window; r is 1 in the first two.

    Args:
        temperature: :math:`\tau`; the larger, the more equal.
        window: how many steps. In the paper it is an epoch: give the number of steps of one.
            With 1, the ratio is one of two batches, and mostly noise.

    Returns:
        A weighting that refuses losses that may be negative: it takes ratios.

    Raises:
        ValueError: for options outside of these ranges.

    A ratio is at most 1e6. LibMTL and the official code have epochs, as the paper.

    Example:
        >>> import jax.numpy as jnp
        >>> from lossbench import weighting
        >>> init, update, *_ = weighting.dwa()
        >>> state = init(2)
        >>> for values in ([4.0, 4.0], [2.0, 4.0], [1.0, 4.0]):
        ...     weights, state = update(jnp.array(values), state)
        >>> print(*(f"{weight:.3f}" for weight in weights))  # one halved, the other stood still
        0.876 1.124

    Reference: Liu, Johns, Davison, End-to-End Multi-Task Learning with Attention, CVPR 2019.
    """
    _options.above_zero(temperature=temperature)
    _options.whole(1, window=window)

    def init(terms: int, seed: int | jax.Array = 0) -> Windows:
        del seed
        return _no_windows(jnp.ones(terms, jnp.float32))

    def update(
        values: jax.Array, state: Windows, gramian: jax.Array | None = None
    ) -> tuple[jax.Array, Windows]:
        del gramian
        values, present = _terms.observed(values, state.weights)
        ratios = jnp.where(state.windows > 1, _terms.ratio(state.last, state.before), 1)
        weights = _terms.count(present) * _terms.shares(ratios / temperature, present)
        state = _seen(values, present, state, window)
        return _terms.float32(weights, state._replace(weights=weights))

    return Weighting(init, update, positive=True)


def soft_adapt(
    beta: Number = 0.1,
    *,
    normalized: bool = False,
    loss_weighted: bool = False,
    window: int = 1,
) -> Weighting:
    r"""SoftAdapt: more weight for what falls more slowly, by differences.

    .. math::
        w_i = \frac{f_i e^{\beta s_i}}{\sum_j f_j e^{\beta s_j}}, \qquad s_i = L_i(t) - L_i(t-1)

    where t counts windows of steps, and L(t) are means over a window; s is 0 in the first one.

    Args:
        beta: below 0 it is the other way round: more weight for what falls faster.
        normalized: divides s by :math:`\sum_j |s_j|`; otherwise beta has the losses' unit, and the
            loss of the largest values decides.
        loss_weighted: :math:`f_i = L_i(t)` instead of 1.
        window: how many steps.

    Returns:
        A weighting for losses of any sign; with `loss_weighted=True` it refuses losses that may be
        negative, whose weights would be.

    Raises:
        ValueError: for options outside of these ranges.

    The official code of today divides by the plain sum of the slopes, which turns their signs where
    it is negative, as it is when all losses fall; the first one by the sum of their sizes, as here.
    It takes slopes through several points, too; here they are through two, means over windows.

    Example:
        >>> import jax.numpy as jnp
        >>> from lossbench import weighting
        >>> init, update, *_ = weighting.soft_adapt(beta=1.0)
        >>> _, state = update(jnp.array([2.0, 1.0]), init(2))
        >>> weights, _ = update(jnp.array([1.0, 1.0]), state)
        >>> print(*(f"{weight:.2f}" for weight in weights))
        0.27 0.73

    Reference: Heydari, Thompson, Mehmood, SoftAdapt, 2019.
    """
    _options.number("beta", beta, "a finite number", math.isfinite)
    _options.whole(1, window=window)

    def init(terms: int, seed: int | jax.Array = 0) -> Windows:
        del seed
        return _no_windows(jnp.full(terms, 1 / terms, jnp.float32))

    def update(
        values: jax.Array, state: Windows, gramian: jax.Array | None = None
    ) -> tuple[jax.Array, Windows]:
        del gramian
        values, present = _terms.observed(values, state.weights)
        state = _seen(values, present, state, window)
        slopes = jnp.where(present & (state.windows > 1), state.last - state.before, 0)
        if normalized:
            sizes = jnp.sum(jnp.abs(slopes))
            slopes = slopes / jnp.where(sizes > 0, sizes, 1)
        weights = _terms.shares(beta * slopes, present)
        if loss_weighted:
            factors = jnp.where(state.windows > 0, state.last, values)
            largest = jnp.max(jnp.where(present, factors, 0))
            weighted = weights * factors / jnp.where(largest > 0, largest, 1)
            total = jnp.sum(weighted)
            weights = jnp.where(total > 0, weighted / jnp.where(total > 0, total, 1), weights)
        return _terms.float32(weights, state._replace(weights=weights))

    return Weighting(init, update, positive=loss_weighted)


def coefficient_of_variation(decay: Number | None = None, epsilon: Number = 1e-8) -> Weighting:
    r"""CoV-Weighting: more weight for what still varies.

    .. math::
        w_i = \frac{c_i}{\sum_j c_j}, \qquad
        c_i = \frac{\sigma(\ell_i)}{\mu(\ell_i)}, \qquad
        \ell_i(t) = \frac{L_i(t)}{\mu(L_i)(t-1)}

    with means and deviations over the steps before this one, by Welford's sums. A loss of which
    fewer than two values are known counts as the mean of the others; so all are equal at first.

    Args:
        decay: of the means, in [0, 1): :math:`\mu \leftarrow d \mu + (1 - d) x`; None takes all
            values alike. The sums of squares do not decay, as in the official code.
        epsilon: is added to the variance; losses that stand still get equal weights by it.

    Returns:
        A weighting that refuses losses that may be negative: it takes ratios.

    Raises:
        ValueError: for options outside of these ranges.

    Example:
        >>> import jax.numpy as jnp
        >>> from lossbench import weighting
        >>> init, update, *_ = weighting.coefficient_of_variation()
        >>> state = init(2)
        >>> for values in ([4.0, 1.0], [2.0, 0.9], [1.0, 0.8]):
        ...     weights, state = update(jnp.array(values), state)
        >>> print(*(f"{weight:.2f}" for weight in weights))
        0.86 0.14

    Reference: Groenendijk et al., Multi-Loss Weighting with Coefficient of Variations, WACV 2021.
    """
    if decay is not None:
        _options.share_below_one(decay=decay)
    _options.above_zero(epsilon=epsilon)

    def init(terms: int, seed: int | jax.Array = 0) -> Variation:
        del seed
        first = Variation(*(jnp.zeros(terms, jnp.float32) for _ in Variation._fields))
        return first._replace(weights=jnp.full(terms, 1 / terms, jnp.float32))

    def update(
        values: jax.Array, state: Variation, gramian: jax.Array | None = None
    ) -> tuple[jax.Array, Variation]:
        del gramian
        values, present = _terms.observed(values, state.weights)
        known = state.seen > 1
        deviation = jnp.sqrt(state.squares / jnp.maximum(state.seen, 1) + epsilon)
        varies = deviation / jnp.where(state.mean_ratio > 0, state.mean_ratio, 1)
        average = _terms.mean(varies, present & known)
        varies = jnp.where(known, varies, jnp.where(average > 0, average, 1))
        weights = jnp.where(present, varies, 0)
        weights = weights / jnp.where(jnp.any(present), jnp.sum(weights), 1)
        ratios = jnp.where(state.seen > 0, _terms.ratio(values, state.mean), 1)
        seen = state.seen + 1
        kept = 1 - 1 / seen if decay is None else jnp.where(seen > 1, decay, 0)
        mean_ratio = kept * state.mean_ratio + (1 - kept) * ratios
        squares = state.squares + (ratios - state.mean_ratio) * (ratios - mean_ratio)
        new = Variation(weights, kept * state.mean + (1 - kept) * values, mean_ratio, squares, seen)
        return _terms.float32(weights, _terms.where_present(present, new, state))

    return Weighting(init, update, positive=True)


def _no_windows(weights: jax.Array) -> Windows:
    """Before the first step."""
    first = Windows(*(jnp.zeros(weights.shape, jnp.float32) for _ in Windows._fields))
    return first._replace(weights=weights, step=jnp.zeros((), jnp.int32))


def _seen(values: jax.Array, present: jax.Array, state: Windows, window: int) -> Windows:
    """The windows with the values of a step; the last step of a window closes it."""
    sums = state.sums + jnp.where(present, values, 0)
    seen = state.seen + present
    closes = (state.step + 1) % window == 0
    # A loss that was not finite in all of a window keeps what it had before.
    moves = closes & (seen > 0)
    return Windows(
        state.weights,
        jnp.where(closes, 0, sums),
        jnp.where(closes, 0, seen),
        jnp.where(moves, sums / jnp.maximum(seen, 1), state.last),
        jnp.where(moves, state.last, state.before),
        state.windows + moves,
        state.step + 1,
    )
