"""ReLoBRaLo: weights from relative losses, with a look back at random."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from lossbench.weighting import _options, _terms
from lossbench.weighting._draws import DrawState, first_draw
from lossbench.weighting._options import Number
from lossbench.weighting._weighting import Weighting


class Lookback(NamedTuple):
    """The state of `relobralo`.

    Attributes:
        weights: of the last step.
        smoothed: the weights that the next step's are drawn towards.
        first: the first value of each loss.
        last: the last one.
        seen: how many values each loss had.
        draws: the seed, and how many steps there were.
    """

    weights: jax.Array
    smoothed: jax.Array
    first: jax.Array
    last: jax.Array
    seen: jax.Array
    draws: DrawState


def relobralo(
    temperature: Number = 0.1, *, alpha: Number = 0.999, rho: Number = 0.999
) -> Weighting:
    r"""ReLoBRaLo: relative losses, smoothed, that look back to the first step at random.

    .. math::
        w(t) = \alpha \big(\rho_t\, w(t-1) + (1 - \rho_t)\, \hat w(t; 0)\big)
             + (1 - \alpha)\, \hat w(t; t-1), \qquad
        \hat w_i(t; t') = T\, \mathrm{softmax}\left(\frac{L_i(t)}{\tau L_i(t')}\right)

    with :math:`\rho_t` drawn anew in each step, 1 with probability :math:`\rho`, and weights of 1
    in the first step.

    Args:
        temperature: :math:`\tau`; the larger, the more equal.
        alpha: how much is kept of the weights before, in [0, 1].
        rho: how often that is the step before, and not the first one, in [0, 1].

    Returns:
        A weighting that refuses losses that may be negative: it takes ratios. What it draws follows
        from the seed and the number of steps.

    Raises:
        ValueError: for options outside of these ranges.

    The official code takes :math:`\alpha = 0` in the second step, so that it begins from
    :math:`\hat w(1; 0)`; the paper has no such exception. A ratio is at most 1e6.

    Example:
        >>> import jax.numpy as jnp
        >>> from lossbench import weighting
        >>> init, update, *_ = weighting.relobralo(1.0, alpha=0.5, rho=1.0)
        >>> _, state = update(jnp.array([4.0, 4.0]), init(2))
        >>> weights, _ = update(jnp.array([2.0, 4.0]), state)
        >>> print(*(f"{w:.3f}" for w in weights))  # half of [1, 1], half of 2 softmax([0.5, 1])
        0.878 1.122

    Reference: Bischof, Kraus, Multi-Objective Loss Balancing for Physics-Informed Deep Learning,
    2021.
    """
    _options.above_zero(temperature=temperature)
    _options.share(alpha=alpha, rho=rho)

    def init(terms: int, seed: int | jax.Array = 0) -> Lookback:
        none = [jnp.zeros(terms, jnp.float32) for _ in range(3)]
        ones = [jnp.ones(terms, jnp.float32) for _ in range(2)]
        return Lookback(ones[0], ones[1], none[0], none[1], none[2], first_draw(seed))

    def update(
        values: jax.Array, state: Lookback, gramian: jax.Array | None = None
    ) -> tuple[jax.Array, Lookback]:
        del gramian
        values, present = _terms.observed(values, state.weights)
        terms = _terms.count(present)
        known = state.seen > 0
        first = jnp.where(known, state.first, values)

        def relative(past: jax.Array) -> jax.Array:
            return terms * _terms.shares(_terms.ratio(values, past) / temperature, present)

        near = jax.random.bernoulli(state.draws.key(), jnp.asarray(rho, jnp.float32))
        kept = jnp.where(near, state.smoothed, relative(first))
        last = jnp.where(known, state.last, values)
        smoothed = alpha * kept + (1 - alpha) * relative(last)
        smoothed = jnp.where(known, smoothed, 1)
        weights = jnp.where(present, smoothed, 0)
        new = Lookback(weights, smoothed, first, values, state.seen + 1, state.draws)
        new = _terms.where_present(present, new, state)
        new = new._replace(weights=weights, draws=state.draws.next())
        return _terms.float32(weights, new)

    return Weighting(init, update, positive=True)
