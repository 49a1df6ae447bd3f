"""What pixel-wise losses share: a cost for each pixel from its surprise, weighed, masked, reduced.

The surprise of an answer is `-log p`. With it, and that of its opposite, `-log(1 - p)`, one formula
serves a softmax, where the cost is that of the true class, and a sigmoid, where each class by
itself is true or not.
"""

import functools
from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from lossbench import _checks
from lossbench.losses._inputs import Inputs, divide, given_weights, read
from lossbench.ops.blocks import blockwise, sums_blockwise
from lossbench.ops.classes import (
    Parts,
    apart,
    are_few,
    is_member,
    members,
    per_class,
    together,
    total,
    value_of,
)
from lossbench.ops.derivatives import differentiated_as, side_by_side_derivative
from lossbench.ops.probabilities import log_softmax, margins, softplus_both, surprise, surprises
from lossbench.ops.sums import in_one_pass, sum_pixels

REDUCTIONS = ("mean", "sum", "none")
# Classes beyond which a vector register is full of them most of the time.
LONGEST_VECTOR = 16

# Of the surprise of the right answer, that of the wrong one, and whether the right one is
# foreground: any but the first class of a softmax, or the positive side of a sigmoid.
Cost = Callable[[Array, Array, Array | bool], Array]


def pixelwise(
    logits: Array,
    labels: Array,
    where: Array | None,
    cost: Cost,
    *,
    activation: str,
    class_weights: Array | None,
    reduction: str,
) -> Float[Array, "batch ..."]:
    """The mean (or sum) over pixels, and under a sigmoid over classes too, of `cost`.

    The mean does not divide by the class weights. A label of probabilities costs the mean over its
    classes.
    """
    x = read(logits, labels, where, activation=activation)
    weights = given_weights(class_weights, x.classes, x.logits.dtype)
    if activation == "sigmoid" and weights is None:
        x = flattened(x)

    def costs(logits: Array, labels: Array) -> Parts:
        if activation == "softmax":
            return [softmax_costs(logits, labels, cost, weights)]
        return sided_costs(apart(logits), labels, cost, weights)

    return reduce_costs(costs, x, activation, reduction=reduction, shape=logits.shape)


def reduce_costs(
    costs: Callable[..., Parts],
    x: Inputs,
    activation: str,
    *more: Array,
    reduction: str,
    shape: tuple[int, ...],
) -> Float[Array, "batch ..."]:
    """Reduces costs of logits, labels and more: one a pixel, or one a class under a sigmoid."""
    _checks.choice("reduction", reduction, REDUCTIONS)
    elements = x.pixel_count() * (x.classes if activation == "sigmoid" else 1)
    if reduction == "none":
        parts = costs(x.logits, x.labels, *more)
        return reduce_pixels(parts, x, elements, reduction=reduction, shape=shape)
    if activation == "sigmoid" and not are_few(x.classes):
        # One sum over pixels and classes: sums over the classes of a pixel would be slow. Each
        # class is by itself, so a gradient is one pass and needs no blocks.
        plain = functools.partial(_sum_of_all, costs)
        in_blocks = functools.partial(sums_blockwise, plain)
        arrays = (x.logits, x.labels, x.counted(), *more)
        (value,) = differentiated_as(plain, in_blocks, *arrays)
        return value if reduction == "sum" else divide(value, elements)
    parts = [per_pixel(lambda *arrays: total(costs(*arrays)), x, *more)]
    return reduce_pixels(parts, x, elements, reduction=reduction, shape=shape)


def flattened(x: Inputs) -> Inputs:
    """Classes that are too many to be apart and too few for a vector, as pixels of one class.

    Under a sigmoid all are treated alike, and one long axis is what XLA's CPU backend does best.
    """
    batch, pixels, classes = x.logits.shape
    if are_few(classes) or classes > LONGEST_VECTOR:
        return x
    true = is_member(x.ids, classes) if x.ids is not None else x.labels
    where = None if x.where is None else jnp.repeat(x.where, classes, axis=1)
    one = (batch, pixels * classes, 1)
    return Inputs(x.logits.reshape(one), None, true.reshape(one), where)


def _sum_of_all(costs, logits, labels, counted, *more) -> tuple[Array]:
    (cost,) = costs(logits, labels, *more)
    cost = cost if counted is None else cost * counted[..., None]
    return (jnp.sum(cost, axis=(1, 2)),)


def per_pixel(
    function: Callable[..., Array], x: Inputs, *more: Array
) -> Float[Array, "batch pixels"]:
    """A function of logits, labels and more arrays of pixels: whole, or many classes by blocks."""
    evaluate = side_by_side_derivative if are_few(x.classes) else blockwise
    return evaluate(function, x.logits, x.labels, *more)


def cross_entropies(x: Inputs, weights: Array | None) -> Float[Array, "batch pixels"]:
    """The cross entropy of each pixel; that of class ids holds nothing of the logits' size."""
    if x.ids is not None:
        return softmax_surprises(x.logits, x.ids, weights)
    return per_pixel(lambda logits, labels: softmax_surprises(logits, labels, weights), x)


def softmax_surprises(
    logits: Float[Array, "batch pixels classes"],
    labels: Shaped[Array, "batch pixels *classes"],
    weights: Array | None,
) -> Float[Array, "batch pixels"]:
    """The cross entropy of each pixel: `-log p` of its true class, times its weight."""
    if labels.ndim == 2:
        costs = surprise(logits, labels)
        return costs if weights is None else costs * value_of(weights, labels)
    true = [part.astype(logits.dtype) for part in apart(labels)]
    costs = [-t * log_p for t, log_p in zip(true, log_softmax(logits), strict=True)]
    return total(costs if weights is None else times(per_class(weights), costs))


def softmax_costs(
    logits: Float[Array, "batch pixels classes"],
    labels: Shaped[Array, "batch pixels *classes"],
    cost: Cost,
    weights: Array | None,
) -> Float[Array, "batch pixels"]:
    """The cost of each pixel's true class, times its weight."""
    if labels.ndim == 2:
        costs = cost(*surprises(logits, labels), labels > 0)
        return costs if weights is None else costs * value_of(weights, labels)
    foreground = per_class(jnp.arange(logits.shape[-1]) > 0)
    true = [part.astype(logits.dtype) for part in apart(labels)]
    costs = [
        t * cost(*softplus_both(m), is_foreground)
        for t, m, is_foreground in zip(true, margins(logits), foreground, strict=True)
    ]
    return total(costs if weights is None else times(per_class(weights), costs))


def sided_costs(
    logits: Parts,
    labels: Shaped[Array, "batch pixels *classes"],
    cost: Cost,
    weights: Array | None,
    sides: tuple[Array, Array] | None = None,
) -> Parts:
    """The cost of every class as a question of yes and no.

    Args:
        logits: that of the answer yes, as parts.
        labels: class ids, or one value a class.
        cost: see `Cost`.
        weights: one a class; None = 1.
        sides: the weights of yes and of no, a number or one a class each; None = 1.
    """
    classes = len(logits) if logits[0].ndim == 2 else logits[0].shape[-1]
    true = members(labels, classes) if labels.ndim == 2 else apart(labels)
    ones = jnp.ones((), logits[0].dtype)
    yes, no = (per_class(jnp.broadcast_to(side, (classes,))) for side in sides or (ones, ones))
    costs = []
    for logit, t, yes_weight, no_weight in zip(logits, true, yes, no, strict=True):
        no_surprise, yes_surprise = softplus_both(logit)
        if jnp.issubdtype(t.dtype, jnp.floating):
            is_true = t * cost(yes_surprise, no_surprise, True)
            is_false = (1 - t) * cost(no_surprise, yes_surprise, False)
            one = (
                is_true + is_false if sides is None else yes_weight * is_true + no_weight * is_false
            )
        else:
            right = jnp.where(t, yes_surprise, no_surprise)
            wrong = jnp.where(t, no_surprise, yes_surprise)
            one = cost(right, wrong, t)
            one = one if sides is None else one * jnp.where(t, yes_weight, no_weight)
        costs.append(one)
    return costs if weights is None else times(per_class(weights), costs)


def times(weights: Parts, costs: Parts) -> Parts:
    """Part by part."""
    return [w * c for w, c in zip(weights, costs, strict=True)]


def reduce_pixels(
    costs: Parts,
    x: Inputs,
    divisor: Float[Array, " batch"],
    *,
    reduction: str,
    shape: tuple[int, ...],
) -> Float[Array, "batch ..."]:
    """Masks the costs and reduces them over space, and over classes if there is a part for each.

    Args:
        costs: the costs, `batch pixels` or parts, finite also where masked.
        x: the inputs, for their mask.
        divisor: what a mean divides by; the mean is 0 where it is 0.
        reduction: "mean", "sum", or "none", which keeps the pixels.
        shape: the shape of the logits as given.
    """
    _checks.choice("reduction", reduction, REDUCTIONS)
    if reduction == "none":
        kept = masked(costs, x)
        one_a_class = costs[0].ndim == 3 or len(costs) == x.classes
        if one_a_class:
            return together(kept, x.classes).reshape(shape)
        return kept[0].reshape(shape[:-1])
    value = sum_pixels(in_one_pass(masked([total(costs)], x)[0]))
    return value if reduction == "sum" else divide(value, divisor)


def masked(costs: Parts, x: Inputs) -> Parts:
    """Costs times 1 or 0; the inputs are finite under the mask, so this removes them exactly."""
    counted = x.counted()
    if counted is None:
        return costs
    return [cost * (counted if cost.ndim == 2 else counted[..., None]) for cost in costs]
