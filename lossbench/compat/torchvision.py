"""torchvision's losses for segmentation, which is one: `torchvision.ops.sigmoid_focal_loss`.

Not reproduced: its box losses (`generalized_box_iou_loss`, `distance_box_iou_loss`,
`complete_box_iou_loss`), which compare boxes, not pixels; half precision as the result's dtype,
which is float32 here; with `gamma < 1`, a gradient that is not finite where an element is won
outright.
"""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike

from lossbench import _checks
from lossbench.compat import _focal

REDUCTIONS = ("none", "mean", "sum")


def sigmoid_focal_loss(
    inputs: ArrayLike,
    targets: ArrayLike,
    alpha: float | Array = 0.25,
    gamma: float | Array = 2,
    reduction: str = "none",
) -> Array:
    """Focal loss of a sigmoid for each element by itself.

    = `losses.sigmoid_focal(inputs, targets, alpha=alpha, gamma=gamma)` for targets of 0 and 1. A
    target between them costs, as in torchvision, its cross entropy times `(1 - p_t) ** gamma` with
    `p_t = t p + (1 - t) (1 - p)`; ours mixes the costs of 1 and 0.

    Args:
        inputs: logits of any shape.
        targets: 0 and 1, of the same shape.
        alpha: weight of the positives, the negatives get 1 - alpha; -1 (a Python number) is no
            balance.
        gamma: how fast the weight of a won element falls.
        reduction: "none" (the shape of inputs), "mean" or "sum" over everything.

    Raises:
        ValueError: for another reduction, shapes that differ, or an alpha outside -1 and 0 to 1.

    Example:
        >>> import jax.numpy as jnp
        >>> loss = sigmoid_focal_loss(jnp.array([2.0, 2.0]), jnp.array([1.0, 0.0]))
        >>> print(f"{loss[0]:.3f} {loss[1]:.2f}")
        0.000 1.24
    """
    inputs, targets = jnp.asarray(inputs), jnp.asarray(targets)
    _checks.choice("reduction", reduction, REDUCTIONS)
    _checks.shape("targets", targets, inputs.shape, "the shape of inputs")
    balance = alpha
    if isinstance(alpha, int | float):
        if alpha != -1 and not 0 <= alpha <= 1:
            raise ValueError(f"alpha: expected a number from 0 to 1, or -1 for none, got {alpha}")
        balance = None if alpha == -1 else alpha
    costs = _focal.elementwise(inputs, targets, alpha=balance, gamma=gamma)
    if reduction == "none":
        return costs
    return jnp.mean(costs) if reduction == "mean" else jnp.sum(costs)
