"""Weights from the norms of the terms' gradients: GradNorm, and VQGAN's ratio at the last layer."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from lossbench.weighting import _options, _terms
from lossbench.weighting._options import Number, Rate
from lossbench.weighting._weighting import Weighting

# Of a weight in `gradnorm`, whose mean is 1: a step of Adam's could take it below 0.
SMALLEST_WEIGHT = 1e-3
# Of a rate to the power alpha, which is multiplied by a norm that may be 0.
LARGEST_POWER = 1e30
# Of float32, relative, with some room.
ROUNDING = 1e-6


class GradNorm(NamedTuple):
    """The state of `gradnorm`.

    Attributes:
        weights: of the next step.
        first: the first value of each loss that is not 0; 0 until there is one.
        optimizer: Adam's state, for each term by itself.
    """

    weights: jax.Array
    first: jax.Array
    optimizer: Any


class LastLayerRatio(NamedTuple):
    """The state of `last_layer_ratio`.

    Attributes:
        weights: of the last step; 1 for the reference and 0 for the others before the first.
        step: how many steps there were.
    """

    weights: jax.Array
    step: jax.Array


def gradnorm(alpha: Number = 1.5, learning_rate: Rate = 0.025) -> Weighting:
    r"""GradNorm: weights that bring the terms' gradients to norms that follow their progress.

    .. math::
        G_i = w_i \|\nabla L_i\|, \qquad
        r_i = \frac{L_i / L_i(0)}{\mathrm{mean}_j\, L_j / L_j(0)}, \qquad
        w \leftarrow w - \eta\, \mathrm{Adam}\Big(\nabla_w \sum_i
            \big| G_i - \bar G\, r_i^\alpha \big|\Big)

    with :math:`\bar G r_i^\alpha` held fixed; then the weights are scaled back to the sum that they
    had, T. A step uses the weights from before it, as in the paper.

    Args:
        alpha: how strongly a term that has come less far than the others is drawn on; 0 or above.
        learning_rate: Adam's for w, a number or a schedule of optax's.

    Returns:
        A weighting that needs the Gramian, of the gradients of the last shared layer in the paper,
        and refuses losses that may be negative: it takes ratios of values.

    Raises:
        ValueError: for options outside of these ranges; by `update`, if there is no Gramian.

    Before Adam sees the norms they are divided by their mean, so that their unit does not matter.
    Its steps are about as long as the learning rate, so weights smaller than that jitter: gradients
    of very different lengths want a smaller one. No weight falls below 0.001 before the scaling.
    LibMTL has T softmax(w), moves w by the model's optimizer and begins after the first epoch,
    whose mean values are its L(0).

    Example:
        >>> import jax.numpy as jnp
        >>> from lossbench import weighting
        >>> init, update, *_ = weighting.gradnorm()
        >>> gramian = jnp.diag(jnp.array([100.0, 1.0]))  # the first gradient is ten times as long
        >>> _, state = update(jnp.array([1.0, 1.0]), init(2), gramian)
        >>> print(*(f"{weight:.3f}" for weight in weighting.get_weights(state)))
        0.975 1.025

    Reference: Chen et al., GradNorm, ICML 2018.
    """
    _options.not_negative(alpha=alpha)
    _options.rate(learning_rate)
    # The smallest gradients here are norms over their mean, which may be as small as 1e-12.
    optimizer = optax.adam(learning_rate, eps=1e-16)

    def init(terms: int, seed: int | jax.Array = 0) -> GradNorm:
        del seed
        weights = jnp.ones(terms, jnp.float32)
        first = jnp.zeros(terms, jnp.float32)
        return GradNorm(weights, first, _terms.optimizer_state(optimizer, weights))

    def update(
        values: jax.Array, state: GradNorm, gramian: jax.Array | None = None
    ) -> tuple[jax.Array, GradNorm]:
        values, present = _terms.observed(values, state.weights)
        norms, present = _norms("gradnorm", gramian, present)
        first = jnp.where(present & (state.first == 0), values, state.first)
        progress = _terms.ratio(values, first)
        rates = _terms.ratio(progress, jnp.full_like(first, _terms.mean(progress, present)))
        norms = norms / _positive(_terms.mean(norms, present))
        weighted = state.weights * norms
        goal = _terms.mean(weighted, present) * jnp.minimum(rates**alpha, LARGEST_POWER)
        # Adam makes a whole step of any difference, so one of rounding must be none.
        differs = jnp.abs(weighted - goal) > ROUNDING * (weighted + goal)
        slope = jnp.where(differs, jnp.sign(weighted - goal), 0)
        moved, moments = _terms.optimizer_step(
            optimizer, slope * norms, state.optimizer, state.weights, present
        )
        moved = jnp.maximum(moved, SMALLEST_WEIGHT)
        # The terms that are there keep their sum, so that one that is away keeps its weight.
        scale = _terms.mean(state.weights, present) / _positive(_terms.mean(moved, present))
        new = GradNorm(jnp.where(present, moved * scale, state.weights), first, moments)
        return _terms.float32(jnp.where(present, state.weights, 0), new)

    return Weighting(init, update, needs_gramian=True, positive=True)


def last_layer_ratio(
    reference: int = 0, *, maximum: Number = 1e4, epsilon: Number = 1e-4, start: int = 0
) -> Weighting:
    r"""VQGAN's weight: each gradient as long as that of a term of reference.

    .. math::
        w_j = \min\left(\frac{\|\nabla L_r\|}{\|\nabla L_j\| + \epsilon},\; \mathrm{maximum}\right),
        \qquad w_r = 1

    Args:
        reference: r, which term, from 0.
        maximum: no weight is above it.
        epsilon: in the unit of the norms, as in VQGAN; a gradient much shorter than that is not
            made longer to the full. With 0 the weights do not depend on that unit.
        start: the step from which the other terms count; before it their weights are 0.

    Returns:
        A weighting that needs the Gramian, of the gradients of the last layer in VQGAN, for losses
        of any sign. In a step in which the reference is not finite, the others keep the weights of
        the last step.

    Raises:
        ValueError: for options outside of these ranges; by `init`, for a reference that is none of
            the terms; by `update`, if there is no Gramian.

    VQGAN multiplies by a further number (0.8), which here is the term's own weight.

    Example:
        >>> import jax.numpy as jnp
        >>> from lossbench import weighting
        >>> init, update, *_ = weighting.last_layer_ratio()
        >>> gramian = jnp.diag(jnp.array([100.0, 1.0]))
        >>> weights, _ = update(jnp.array([1.0, 1.0]), init(2), gramian)
        >>> print(weights.round(2))
        [ 1. 10.]

    Reference: Esser, Rombach, Ommer, Taming Transformers, CVPR 2021.
    """
    _options.whole(0, reference=reference, start=start)
    _options.above_zero(maximum=maximum)
    _options.not_negative(epsilon=epsilon)

    def init(terms: int, seed: int | jax.Array = 0) -> LastLayerRatio:
        del seed
        if reference >= terms:
            raise ValueError(f"reference: expected a term from 0 to {terms - 1}, got {reference}")
        weights = jnp.where(jnp.arange(terms) == reference, 1.0, 0.0).astype(jnp.float32)
        return LastLayerRatio(weights, jnp.zeros((), jnp.int32))

    def update(
        values: jax.Array, state: LastLayerRatio, gramian: jax.Array | None = None
    ) -> tuple[jax.Array, LastLayerRatio]:
        _, present = _terms.observed(values, state.weights)
        norms, present = _norms("last_layer_ratio", gramian, present)
        lengths = norms + epsilon
        balanced = jnp.minimum(norms[reference] / _positive(lengths), maximum)
        both_zero = (lengths == 0) & (norms[reference] == 0)
        balanced = jnp.where(lengths > 0, balanced, jnp.where(both_zero, 1, maximum))
        balanced = jnp.where(present[reference], balanced, state.weights)
        balanced = jnp.where(state.step >= start, balanced, 0)
        balanced = jnp.where(jnp.arange(present.size) == reference, 1, balanced)
        kept = jnp.where(present, balanced, state.weights)
        new = LastLayerRatio(kept, state.step + 1)
        return _terms.float32(jnp.where(present, balanced, 0), new)

    return Weighting(init, update, needs_gramian=True)


def _norms(name: str, gramian: jax.Array | None, present: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The norms of the gradients, 0 where they are not finite, and which terms are there."""
    if gramian is None:
        raise ValueError(
            f"{name} needs the Gramian of the gradients: update(values, state, gramian)"
        )
    squares = jnp.diagonal(jnp.asarray(gramian, jnp.float32))
    if squares.shape != present.shape:
        raise ValueError(
            f"gramian: expected shape {present.shape * 2} (terms terms), got {jnp.shape(gramian)}"
        )
    present = present & jnp.isfinite(squares)
    return jnp.sqrt(jnp.where(present, jnp.maximum(squares, 0), 0)), present


def _positive(number: jax.Array) -> jax.Array:
    """A number to divide by: 1 in place of 0."""
    return jnp.where(number > 0, number, 1)
