"""Weights that are the derivatives of one function of the losses: their geometric mean, STCH."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from lossbench.weighting import _options, _terms
from lossbench.weighting._options import Number, Numbers
from lossbench.weighting._weighting import Weighting


class Geometric(NamedTuple):
    """The state of `geometric`.

    Attributes:
        weights: of the last step; 1/T before the first.
    """

    weights: jax.Array


class Stch(NamedTuple):
    """The state of `stch`.

    Attributes:
        weights: of the last step; the preference before the first.
        sums: of each loss, less its ideal, over the steps of the warm-up.
        seen: in how many of those steps each loss was finite.
        step: how many steps there were.
    """

    weights: jax.Array
    sums: jax.Array
    seen: jax.Array
    step: jax.Array


def geometric(epsilon: Number = 1e-8) -> Weighting:
    r"""The geometric mean of the losses (GLS).

    .. math::
        F = \Big(\prod_i L_i\Big)^{1/T}, \qquad
        w_i = \frac{\partial F}{\partial L_i} = \frac{F}{T L_i}

    The direction does not depend on the units of the losses.

    Args:
        epsilon: a loss counts as no less than this. A loss of 0 makes the mean 0 and its own
            derivative infinite; with this all weights are finite.

    Returns:
        A weighting that refuses losses that may be negative: it takes a root.

    Raises:
        ValueError: for an epsilon that is not above 0.

    LibMTL multiplies the losses before it takes the root, which under- or overflows for many of
    them, and reports :math:`L_i / (T \prod_j L_j)` as weights, which is not the derivative. Here
    all goes through logarithms.

    Example:
        >>> import jax.numpy as jnp
        >>> from lossbench import weighting
        >>> init, update, *_ = weighting.geometric()
        >>> weights, _ = update(jnp.array([4.0, 1.0]), init(2))
        >>> print(weights.round(3))
        [0.25 1.  ]

    Reference: Chennupati et al., MultiNet++, CVPR Workshops 2019.
    """
    _options.above_zero(epsilon=epsilon)

    def init(terms: int, seed: int | jax.Array = 0) -> Geometric:
        del seed
        return Geometric(jnp.full(terms, 1 / terms, jnp.float32))

    def update(
        values: jax.Array, state: Geometric, gramian: jax.Array | None = None
    ) -> tuple[jax.Array, Geometric]:
        del gramian
        values, present = _terms.observed(values, state.weights)
        logs = jnp.log(jnp.maximum(values, epsilon))
        powers = jnp.exp(jnp.where(present, _terms.mean(logs, present) - logs, 0))
        weights = jnp.where(present, powers / jnp.maximum(_terms.count(present), 1), 0)
        return _terms.float32(weights, Geometric(weights))

    return Weighting(init, update, positive=True)


def stch(
    preference: Numbers | None = None,
    *,
    mu: Number = 1.0,
    ideal: Numbers | None = None,
    logarithmic: bool = False,
    warmup: int = 0,
    epsilon: Number = 1e-8,
) -> Weighting:
    r"""Smooth Chebyshev scalarization: a smooth largest of the losses.

    .. math::
        F = \mu \log \sum_i \exp\frac{\lambda_i x_i}{\mu}, \qquad
        w_i = \frac{\partial F}{\partial L_i}
            = \lambda_i\, \mathrm{softmax}\!\left(\frac{\lambda x}{\mu}\right)_i
              \frac{\partial x_i}{\partial L_i}

    with :math:`x_i = L_i - z_i`, as in the paper; divided by its mean over the steps of the warm-up
    if there is one; and of that the logarithm with `logarithmic=True`. With a small :math:`\mu`
    only the largest :math:`\lambda_i x_i` is trained.

    Args:
        preference: :math:`\lambda`, one number, 0 or above, for each term; 1/T each by default.
        mu: how smooth, in the unit of the losses (without one after a warm-up or a logarithm).
        ideal: z, what each loss can come down to; 0 by default.
        logarithmic: takes logarithms.
        warmup: the first steps, in which F is :math:`\sum_i \lambda_i x_i` and x not yet divided.
        epsilon: what logarithms are taken of, and what is divided by, counts as no less than this.

    Returns:
        A weighting that takes losses of any sign as long as it takes no logarithms and has no
        warm-up, whose means it divides by.

    Raises:
        ValueError: for options outside of these ranges, or preferences that are all 0; by `init`,
            for another number of them.

    The official code, and LibMTL, are T times `stch([1, ..., 1], logarithmic=True, warmup=...)`,
    with means over the last epoch of the warm-up instead of all of it.

    Example:
        >>> import jax.numpy as jnp
        >>> from lossbench import weighting
        >>> init, update, *_ = weighting.stch([1.0, 1.0], mu=0.5)
        >>> weights, _ = update(jnp.array([1.0, 2.0]), init(2))
        >>> print(weights.round(2))
        [0.12 0.88]

    Reference: Lin et al., Smooth Tchebycheff Scalarization, ICML 2024.
    """
    _options.preference(preference)
    if ideal is not None:
        _options.numbers("ideal", ideal, "a finite number", math.isfinite)
    _options.above_zero(mu=mu, epsilon=epsilon)
    _options.whole(0, warmup=warmup)

    def preferred(present: jax.Array) -> jax.Array:
        if preference is None:
            return jnp.where(present, 1 / jnp.maximum(_terms.count(present), 1), 0)
        return jnp.where(present, _options.of_each("preference", preference, present.size), 0)

    def init(terms: int, seed: int | jax.Array = 0) -> Stch:
        del seed
        weights = preferred(jnp.ones(terms, bool))
        if ideal is not None:
            _options.of_each("ideal", ideal, terms)
        none = jnp.zeros((), jnp.int32)
        return Stch(weights, jnp.zeros(terms, jnp.float32), jnp.zeros(terms, jnp.float32), none)

    def update(
        values: jax.Array, state: Stch, gramian: jax.Array | None = None
    ) -> tuple[jax.Array, Stch]:
        del gramian
        values, present = _terms.observed(values, state.weights)
        if ideal is not None:
            values = jnp.where(present, values - _options.of_each("ideal", ideal, values.size), 1)
        warming = state.step < warmup
        scale = jnp.maximum(state.sums / jnp.maximum(state.seen, 1), epsilon)
        scale = jnp.where(warming | (state.seen == 0), 1, scale)
        if logarithmic:
            known = jnp.maximum(values, epsilon)
            x, slope = jnp.log(known) - jnp.log(scale), 1 / known
        else:
            x, slope = values / scale, 1 / scale
        weights = preferred(present)
        softened = weights * _terms.shares(weights * x / mu, present)
        weights = jnp.where(warming, weights, softened) * slope
        counted = warming & present
        sums = state.sums + jnp.where(counted, values, 0)
        new = Stch(weights, sums, state.seen + counted, state.step + 1)
        return _terms.float32(weights, new)

    return Weighting(init, update, positive=logarithmic or warmup > 0)
