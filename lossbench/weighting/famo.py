"""FAMO: weights with which all losses fall at the same relative rate."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from lossbench.weighting import _options, _terms
from lossbench.weighting._options import Number, Numbers, Rate
from lossbench.weighting._weighting import Weighting


class Famo(NamedTuple):
    """The state of `famo`.

    Attributes:
        weights: of the last step.
        logits: xi, what is learned.
        last: the last value of each loss, less its ideal; 0 before there is one.
        optimizer: Adam's state, for each term by itself.
    """

    weights: jax.Array
    logits: jax.Array
    last: jax.Array
    optimizer: Any


def famo(
    learning_rate: Rate = 0.025,
    *,
    gamma: Number = 1e-3,
    ideal: Numbers | None = None,
    epsilon: Number = 1e-8,
) -> Weighting:
    r"""FAMO: all losses fall at the same relative rate, with one backward pass.

    .. math::
        w_i = c\, \frac{z_i}{L_i}, \qquad z = \mathrm{softmax}(\xi), \qquad
        c = \Big(\sum_j \frac{z_j}{L_j}\Big)^{-1}, \qquad
        \xi \leftarrow \xi - \eta\, \mathrm{Adam}\big(J_z^\top \delta + \gamma \xi\big)

    with :math:`\delta_i = \log L_i(t) - \log L_i(t+1)`, how much a loss fell. The weights sum to 1.

    **The evidence of the fall is the next step's batch.** In the paper, and in the official code
    and LibMTL, the same batch is evaluated again after the model's step, a second forward pass
    that tells the effect of the step from the difference between batches. Here, `update` takes the
    losses of the next batch instead, and moves :math:`\xi` before it weighs that batch. It costs
    nothing and is unbiased over batches drawn alike, but noisier: take a smaller learning rate for
    small batches.

    Args:
        learning_rate: Adam's for xi, a number or a schedule of optax's.
        gamma: decay of xi towards equal shares; it enters the gradient, as PyTorch's Adam has it.
        ideal: what each loss can come down to, one number for each term; it is taken off first.
        epsilon: a loss counts as no less than this, so that its logarithm is finite; the official
            code adds it.

    Returns:
        A weighting that refuses losses that may be negative: it takes logarithms. With `ideal` it
        takes them, on your word that none falls below.

    Raises:
        ValueError: for options outside of these ranges; by `init`, for another number of ideals.

    Example:
        >>> import jax.numpy as jnp
        >>> from lossbench import weighting
        >>> init, update, *_ = weighting.famo()
        >>> weights, state = update(jnp.array([1.0, 3.0]), init(2))
        >>> print(weights.round(2))
        [0.75 0.25]

    Reference: Liu et al., FAMO, NeurIPS 2023.
    """
    _options.rate(learning_rate)
    _options.not_negative(gamma=gamma)
    _options.above_zero(epsilon=epsilon)
    if ideal is not None:
        _options.numbers("ideal", ideal)
    optimizer = optax.adam(learning_rate)

    def init(terms: int, seed: int | jax.Array = 0) -> Famo:
        del seed
        if ideal is not None:
            _options.of_each("ideal", ideal, terms)
        logits, last = jnp.zeros(terms, jnp.float32), jnp.zeros(terms, jnp.float32)
        weights = jnp.full(terms, 1 / terms, jnp.float32)
        return Famo(weights, logits, last, _terms.optimizer_state(optimizer, logits))

    def update(
        values: jax.Array, state: Famo, gramian: jax.Array | None = None
    ) -> tuple[jax.Array, Famo]:
        del gramian
        values, present = _terms.observed(values, state.weights)
        if ideal is not None:
            values = jnp.where(present, values - _options.of_each("ideal", ideal, values.size), 1)
        values = jnp.maximum(values, epsilon)
        compared = present & (state.last > 0)
        # Relative to one of them: what all have in common is exactly 0, which Adam would not see
        # in its rounding.
        fell = jnp.where(compared, jnp.log(state.last / values), 0)
        fell = jnp.where(compared, fell - jnp.max(jnp.where(compared, fell, -jnp.inf)), 0)
        share = _terms.shares(state.logits, compared)
        gradient = share * (fell - jnp.sum(share * fell))
        logits, moments = _terms.optimizer_step(
            optimizer, gradient + gamma * state.logits, state.optimizer, state.logits, compared
        )
        # c makes them sum to 1: a softmax, which no small loss can overflow.
        weights = _terms.shares(jax.nn.log_softmax(logits) - jnp.log(values), present)
        new = Famo(weights, logits, jnp.where(present, values, state.last), moments)
        return _terms.float32(weights, new)

    return Weighting(init, update, positive=ideal is None)
