"""From one value a pixel to one value an example."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from lossbench import _checks
from lossbench.losses._inputs import divide
from lossbench.ops.sums import sum_pixels

REDUCTIONS = ("mean", "sum", "none")


def reduce_pixels(
    costs: Float[Array, "batch pixels"],
    weights: Float[Array, "*pixels"],
    *,
    reduction: str,
    space: tuple[int, ...],
) -> Float[Array, "batch ..."]:
    """Reduces costs (weighted and masked already) over space.

    Args:
        costs: cost of each pixel, 0 where masked.
        weights: what a mean divides by, summed over the pixels: `batch pixels`, or `batch`
            if the sums are known.
        reduction: "mean" is `sum(costs) / sum(weights)`, 0 if nothing counts; "sum"; "none" keeps
            the pixels, in the shape `batch *space`.
        space: the spatial shape.
    """
    _checks.choice("reduction", reduction, REDUCTIONS)
    if reduction == "none":
        return costs.reshape(costs.shape[0], *space)
    total = sum_pixels(costs)
    if reduction == "sum":
        return total
    return divide(total, weights if weights.ndim == 1 else sum_pixels(weights))


def is_zero(x: object) -> bool:
    """True for a plain Python 0, known while tracing; an array is never zero in this sense."""
    return isinstance(x, int | float) and x == 0


def masked(costs: Float[Array, "batch pixels"], counted: Array) -> Float[Array, "batch pixels"]:
    """Costs times 1 or 0; the inputs are finite under the mask, so this removes them exactly."""
    return costs * counted if counted.ndim else jnp.asarray(costs)
