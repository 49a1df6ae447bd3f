"""Matthews correlation coefficient as a loss."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

from lossbench import _checks
from lossbench.losses._inputs import Number
from lossbench.losses._region import (
    OVERLAPS,
    Regions,
    count,
    mean_over_classes,
    read_region,
    smoothing,
    totals,
)


def mcc(
    logits: Float[Array, "batch *space classes"],
    labels: Shaped[Array, "batch ..."],
    *,
    where: Bool[Array, " batch *space"] | None = None,
    activation: str = "softmax",
    class_weights: Float[Array, " classes"] | None = None,
    include_background: bool = True,
    pool: str = "example",
    absent: str = "smooth",
    smooth: Number | tuple[Number, Number] = 1e-5,
    overlap: str = "l1",
) -> Float[Array, "..."]:
    r"""Matthews correlation loss: one minus the correlation of prediction and truth.

    .. math::
        L = \frac{\sum_c w_c L_c}{\sum_c w_c}, \qquad L_c = 1 - \frac{TP\, TN - FP\, FN + s}
            {\sqrt{(TP + FP)(TP + FN)(TN + FP)(TN + FN) + s}}

    with the soft counts :math:`TP = \sum p t`, :math:`FP = \sum p (1 - t)`, :math:`FN = \sum (1 -
    p) t`, :math:`TN = \sum (1 - p)(1 - t)` of each class. Background counts as much as foreground.
    Where FP = FN = 0 the class costs 0, also if it is absent or everywhere.

    Args:
        logits: raw scores.
        labels: class ids (integer, `batch *space`), a mask (bool, `batch *space`, for one class, or
            for two under a softmax), one mask a class (bool) or class probabilities (floating),
            `batch *space classes`.
        where: true = counted.
        activation: "softmax" over exclusive classes, "sigmoid" for each class by itself, or
            "identity" if `logits` holds probabilities already.
        class_weights: one weight a class, background included; may be traced.
        include_background: false gives class 0 the weight 0 (after the softmax).
        pool: where the sums run: "example", or "batch" (one ratio a class for the whole batch; the
            value is then a scalar).
        absent: what a class without a labeled pixel in the pool does: "smooth" keeps the formula;
            "skip" leaves it out of the mean; "suppress" costs the mean probability given to it.
        smooth: s, added to the numerator and under the root; may be 0 and may be traced. A pair
            gives one each.

        overlap: of soft labels: "l1" counts :math:`\min(p, t)` as true positive and
            :math:`1 - \max(p, t)` as true negative, with which a prediction equal to the label
            costs 0; "product" is as above. They are the same for hard labels.

    Returns:
        One value per example, `batch` (a scalar with `pool="batch"`), in [0, 2]; 1 is no
        correlation. An example that is masked whole, or whose classes are all skipped, costs 0.

    Gradient: smooth wherever the root is; where a factor under it is 0 the correlation counts as 0,
    with gradient 0 but for s. So an absent class exerts no pull with `absent="smooth"`; "suppress"
    gives it one. Finite for every finite logit. Every order and both modes of differentiation work.

    Raises:
        ValueError: for shapes, dtypes or options outside the contract; for a softmax over one
            class; for one class without background.

    Example:
        >>> import jax.numpy as jnp
        >>> logits = jnp.array([[[9.0, -9.0], [9.0, -9.0], [-9.0, 9.0], [9.0, -9.0]]])
        >>> labels = jnp.array([[0, 0, 1, 1]])  # class 1: one pixel found, one missed
        >>> print(f"{mcc(logits, labels)[0]:.3f}")
        0.423

    Reference: Abhishek and Hamarneh, Matthews Correlation Coefficient Loss for Deep Convolutional
    Networks, ISBI 2021.
    """
    x = read_region(logits, labels, where, activation=activation, pool=pool)
    _checks.choice("overlap", overlap, OVERLAPS)
    cells = _soft_cells if x.soft and overlap == "l1" else _cells
    tp, fp, true = totals(x, cells, activation=activation, pool=pool)
    pixels = count(x, pool)
    fn, tn = true - tp, (pixels - true) - fp
    above, below = smoothing(smooth, tp.dtype)
    product = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn) + below
    defined = ~(product <= 0)  # NaN is
    root = jnp.sqrt(jnp.where(defined, product, 1))
    correlation = jnp.where(defined, (tp * tn - fp * fn + above) / root, 0)
    costs = jnp.where((fp == 0) & (fn == 0), 0, 1 - correlation)
    regions = Regions(tp, tp + fp, true, pixels)
    return mean_over_classes(
        costs,
        regions,
        class_weights=class_weights,
        include_background=include_background,
        absent=absent,
        pool=pool,
    )


def _cells(p: Array, t: Array) -> tuple[Array, ...]:
    """False positives by themselves: as P - TP they would lose the digits of a rare class."""
    both = p * t
    return both, p - both, t


def _soft_cells(p: Array, t: Array) -> tuple[Array, ...]:
    """With the overlap `min(p, t)`, so that a prediction equal to a soft label has no errors."""
    both = jnp.minimum(p, t)
    return both, p - both, t
