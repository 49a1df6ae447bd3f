"""Weights that are learned with the model: a softmax of logits, and Kendall's uncertainties."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.core import Tracer

from lossbench.weighting import _options, _terms
from lossbench.weighting._options import Number, Numbers, Rate
from lossbench.weighting._weighting import Weighting

# Squares of what the weights learn from stay far from the largest float32.
LARGEST = 1e15


class Softmax(NamedTuple):
    """The state of `softmax`.

    Attributes:
        weights: of the next step.
        logits: what is learned.
        reference: what each value is divided by for the learning; 0 where it is not known yet.
        optimizer: Adam's state, for each term by itself.
    """

    weights: jax.Array
    logits: jax.Array
    reference: jax.Array
    optimizer: Any


class Uncertainty(NamedTuple):
    """The state of `uncertainty`.

    Attributes:
        weights: of the next step.
        log_variances: s, what is learned.
        optimizer: Adam's state, for each term by itself.
    """

    weights: jax.Array
    log_variances: jax.Array
    optimizer: Any


def softmax(
    learning_rate: Rate = 1e-2,
    *,
    floor: Number = 0.1,
    reference: str | Numbers | None = "first",
    initial: Numbers | None = None,
    total: Number = 1.0,
) -> Weighting:
    r"""Weights that are learned, and sum to a total.

    .. math::
        w_i = \mathrm{total} \left( \frac{f}{T} + (1 - f)\, \mathrm{softmax}(z)_i \right), \qquad
        z \leftarrow z - \eta\, \mathrm{Adam}\left(\nabla_z \sum_i w_i(z) \frac{L_i}{r_i}\right)

    The weighted sum itself is :math:`\sum_i w_i L_i`: the reference r scales only what the weights
    learn from.

    **Learned weights fall for whatever is smallest.** The least of a weighted mean is all weight on
    the least loss: with `floor=0` and `reference=None` the weights drift to the loss of the
    smallest values, whatever it is worth, and the others are no longer trained. Adam takes steps
    of the same size for small differences as for large ones, so this takes about
    :math:`5 / \eta` steps. With a reference the smallest is the loss that fell most since it began,
    not the one that has the smallest unit; the floor bounds the drift. Neither makes learned
    weights a measure of importance.

    Args:
        learning_rate: Adam's, a number or a schedule of optax's.
        floor: f, in [0, 1): no weight falls below `floor * total / T`.
        reference: r: "first" is the size of each loss's first value that is not 0; one number above
            0 for each term; None divides by nothing.
        initial: weights to begin with, scaled to the total; all the same by default.
        total: what the weights of the terms that are there sum to.

    Returns:
        A weighting for losses of any sign.

    Raises:
        ValueError: for options outside of these ranges, and initial weights below the floor.

    Example:
        >>> import jax.numpy as jnp
        >>> from lossbench import weighting
        >>> init, update, *_ = weighting.softmax(0.1, initial=[0.7, 0.3])
        >>> weights, state = update(jnp.array([2.0, 1.0]), init(2))
        >>> print(*(f"{weight:.2f}" for weight in weights))
        0.70 0.30
        >>> _, state = update(jnp.array([2.0, 0.5]), state)
        >>> print(*(f"{weight:.2f}" for weight in weighting.get_weights(state)))
        0.67 0.33
    """
    _options.rate(learning_rate)
    _options.share_below_one(floor=floor)
    _options.above_zero(total=total)
    if isinstance(reference, str):
        if reference != "first":
            raise ValueError(f"reference: expected 'first', numbers or None, got {reference!r}")
    elif reference is not None:
        _options.numbers("reference", reference, "a number above 0", lambda value: value > 0)
    if initial is not None:
        _options.numbers("initial", initial, "a number above 0", lambda value: value > 0)
    optimizer = optax.adam(learning_rate)

    def weights_of(logits: jax.Array, present: jax.Array) -> jax.Array:
        least = jnp.where(present, floor / jnp.maximum(_terms.count(present), 1), 0)
        return total * (least + (1 - floor) * _terms.shares(logits, present))

    def init(terms: int, seed: int | jax.Array = 0) -> Softmax:
        del seed
        logits = jnp.zeros(terms, jnp.float32)
        if initial is not None:
            weights = _options.of_each("initial", initial, terms)
            of_sum = weights / jnp.sum(weights)
            _above_floor(of_sum, floor)
            logits = jnp.log(of_sum - jnp.asarray(floor / terms, jnp.float32))
        if reference is None:
            scale = jnp.ones(terms, jnp.float32)
        elif isinstance(reference, str):
            scale = jnp.zeros(terms, jnp.float32)
        else:
            scale = _options.of_each("reference", reference, terms)
        everywhere = jnp.ones(terms, bool)
        weights, moments = weights_of(logits, everywhere), _terms.optimizer_state(optimizer, logits)
        return _terms.float32(weights, Softmax(weights, logits, scale, moments))[1]

    def update(
        values: jax.Array, state: Softmax, gramian: jax.Array | None = None
    ) -> tuple[jax.Array, Softmax]:
        del gramian
        values, present = _terms.observed(values, state.weights)
        unknown = present & (state.reference == 0)
        scale = jnp.where(unknown, jnp.abs(values), state.reference)
        relative = jnp.clip(values / jnp.where(scale > 0, scale, 1), -LARGEST, LARGEST)
        # What is the same for all moves no weight; left in, Adam would make steps of its rounding.
        relative = relative - jnp.min(jnp.where(present, relative, LARGEST))

        def mean(logits: jax.Array) -> jax.Array:
            return jnp.sum(weights_of(logits, present) * relative)

        logits, moments = _terms.optimizer_step(
            optimizer, jax.grad(mean)(state.logits), state.optimizer, state.logits, present
        )
        everywhere = jnp.ones(present.shape, bool)
        new = Softmax(weights_of(logits, everywhere), logits, scale, moments)
        return _terms.float32(weights_of(state.logits, present), new)

    return Weighting(init, update)


def uncertainty(
    learning_rate: Rate = 1e-2, *, initial: Number = 0.0, limit: Number = 10.0
) -> Weighting:
    r"""Kendall's weights: each loss is divided by a variance that is learned.

    .. math::
        F = \sum_i \frac{L_i}{2 e^{s_i}} + \frac{s_i}{2}, \qquad
        w_i = \frac{\partial F}{\partial L_i} = \frac{1}{2 e^{s_i}}, \qquad
        \frac{\partial F}{\partial s_i} = \frac12 - \frac{L_i}{2 e^{s_i}}

    For constant losses the least is at :math:`s_i = \log L_i`, that is :math:`w_i = 1 / (2 L_i)`:
    a loss of smaller values gets the larger weight.

    Args:
        learning_rate: Adam's for s, a number or a schedule of optax's.
        initial: s to begin with; 0 is a weight of 1/2.
        limit: s stays within it, on both sides. F has no least for a loss of 0: its weight would
            grow without end. 10 lets weights be from 2e-5 to 1e4.

    Returns:
        A weighting that refuses losses that may be negative: below 0, F has no least, and the
        weight grows as fast as it can.

    Raises:
        ValueError: for options outside of these ranges.

    LibMTL begins at s = -1/2 and lets the model's optimizer move s; the paper has one s for
    regression and doubles the weight for classification, which here is the term's own weight.

    Example:
        >>> import jax.numpy as jnp
        >>> from lossbench import weighting
        >>> init, update, *_ = weighting.uncertainty(0.1)
        >>> state = init(2)
        >>> for _ in range(200):
        ...     weights, state = update(jnp.array([1.0, 4.0]), state)
        >>> print(weights.round(3))
        [0.5   0.125]

    Reference: Kendall, Gal, Cipolla, Multi-Task Learning Using Uncertainty, CVPR 2018.
    """
    _options.rate(learning_rate)
    _options.number("initial", initial, "a finite number", lambda value: True)
    _options.above_zero(limit=limit)
    optimizer = optax.adam(learning_rate)

    def bounded(log_variances: jax.Array) -> jax.Array:
        return jnp.clip(log_variances, -limit, limit)

    def init(terms: int, seed: int | jax.Array = 0) -> Uncertainty:
        del seed
        log_variances = bounded(jnp.full(terms, initial, jnp.float32))
        moments = _terms.optimizer_state(optimizer, log_variances)
        weights = jnp.exp(-log_variances) / 2
        return _terms.float32(weights, Uncertainty(weights, log_variances, moments))[1]

    def update(
        values: jax.Array, state: Uncertainty, gramian: jax.Array | None = None
    ) -> tuple[jax.Array, Uncertainty]:
        del gramian
        values, present = _terms.observed(values, state.weights)
        weights = jnp.exp(-state.log_variances) / 2
        gradient = jnp.clip(0.5 - weights * values, -LARGEST, LARGEST)
        moved, moments = _terms.optimizer_step(
            optimizer, gradient, state.optimizer, state.log_variances, present
        )
        log_variances = bounded(moved)
        new = Uncertainty(jnp.exp(-log_variances) / 2, log_variances, moments)
        return _terms.float32(jnp.where(present, weights, 0), new)

    return Weighting(init, update, positive=True)


def _above_floor(weights: jax.Array, floor: Number) -> None:
    """Raises for weights that sum to 1 and begin where `softmax` cannot bring them."""
    least = jnp.min(weights)
    if isinstance(least, Tracer) or isinstance(floor, Tracer):
        return
    bound = float(floor) / weights.size
    if float(least) <= bound:
        raise ValueError(
            f"initial: expected weights above floor / {weights.size} = {bound:.3g} of their sum, "
            f"got {float(least):.3g}; give a smaller floor"
        )
