"""Boundary difference over union: the errors against the union, with less of what is right."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Shaped

from lossbench.losses._inputs import Number, divide, number
from lossbench.losses._maps import labeled
from lossbench.losses._region import (
    mean_over_classes,
    pooled,
    read_region,
    regions_of,
    smoothing,
)
from lossbench.ops.morphology import surface
from lossbench.ops.sums import sum_pixels


def boundary_dou(
    logits: Float[Array, "batch *space classes"],
    labels: Shaped[Array, "batch ..."],
    *,
    where: Bool[Array, " batch *space"] | None = None,
    activation: str = "softmax",
    class_weights: Float[Array, " classes"] | None = None,
    include_background: bool = True,
    pool: str = "example",
    absent: str = "smooth",
    smooth: Number | tuple[Number, Number] = (0.0, 1e-5),
    limit: Number = 0.8,
) -> Float[Array, "..."]:
    r"""Boundary difference over union loss, averaged over classes.

    .. math::
        L = \frac{\sum_c w_c L_c}{\sum_c w_c}, \qquad
        L_c = \frac{P_c + T_c - 2 I_c + s_n}{P_c + T_c - (1 + \alpha_c) I_c + s_d}, \qquad
        \alpha_c = \min\!\left(1 - \frac{2 B_c}{S_c},\; a\right)

    over the pixels that count, with :math:`I = \sum p t,\; P = \sum p^2,\; T = \sum t^2`, S the
    number of pixels of the class and B that of those which touch another class or the border of the
    image. The larger and rounder an object, the more of its inside leaves the union: what is left
    is about its boundary. With :math:`\alpha = -1` it is the squared Dice loss, with 0 the Jaccard
    loss, with 1 it would be 1 whatever is predicted.

    Args:
        logits: raw scores.
        labels: class ids (integer, `batch *space`), a mask (bool, `batch *space`, for one class, or
            for two under a softmax), one mask a class (bool) or class probabilities (floating),
            `batch *space classes`; the pixels of a class are then those with more than 1/2.
        where: true = counted. A masked pixel belongs to no class and makes a boundary, as the
            border of the image does.
        activation: "softmax" over exclusive classes, "sigmoid" for each class by itself, or
            "identity" if `logits` holds probabilities already.
        class_weights: one weight a class, background included; may be traced.
        include_background: false gives class 0 the weight 0 (after the softmax).
        pool: where the sums run: "example", or "batch" as in the published code (one ratio a class
            for the whole batch; the value is then a scalar).
        absent: what a class without a labeled pixel in the pool does: "smooth" keeps the formula,
            so any probability given to it costs nearly 1; "skip" leaves it out of the mean;
            "suppress" costs the mean squared probability given to it.
        smooth: a number, or a pair for numerator and denominator, in pixels; may be 0 and may be
            traced. The published code has 1e-5 in both, with which an absent class costs 1 whatever
            is predicted.
        limit: a, the largest alpha, below 1; may be traced.

    Returns:
        One value per example, `batch` (a scalar with `pool="batch"`), in [0, 1]. An example that is
        masked whole, or whose classes are all skipped, costs 0. With `smooth=0` a class without
        label and prediction costs 0.

    Gradient: smooth wherever the ratio is; 0 in the undefined cases named above. Every order and
    both modes of differentiation work.

    Raises:
        ValueError: for shapes, dtypes or options outside the contract; for a softmax over one
            class; for one class without background.

    Example:
        >>> import jax.numpy as jnp
        >>> logits = jnp.array([[[9.0, -9.0], [9.0, -9.0], [-9.0, 9.0], [9.0, -9.0]]])
        >>> labels = jnp.array([[0, 0, 1, 1]])  # class 1: one pixel found, one missed
        >>> print(f"{boundary_dou(logits, labels)[0]:.3f}")
        0.267

    Reference: Sun, Luo, Li, Boundary Difference Over Union Loss for Medical Image Segmentation,
    MICCAI 2023.
    """
    x = read_region(logits, labels, where, activation=activation, pool=pool)
    regions = regions_of(x, activation=activation, pool=pool, overlap="product", squared=True)
    member, grid = labeled(x), (logits.shape[0], *(logits.shape[1:-1] or (1,)))

    def sizes(c: Array) -> tuple[Array, Array]:
        mask = member(c)
        edge = surface(mask.reshape(grid)).reshape(mask.shape)
        return sum_pixels(edge), sum_pixels(mask)

    edge, size = (
        pooled(counts.T.astype(x.logits.dtype), pool)
        for counts in lax.map(sizes, jnp.arange(x.classes))
    )
    alpha = jnp.minimum(1 - 2 * divide(edge, size, empty=1.0), number(limit, x.logits))
    above, below = smoothing(smooth, x.logits.dtype)
    sizes_of_both = regions.predicted + regions.true
    difference = jnp.maximum(sizes_of_both - 2 * regions.intersection, 0)
    union = sizes_of_both - (1 + alpha) * regions.intersection
    return mean_over_classes(
        divide(difference + above, union + below),
        regions,
        class_weights=class_weights,
        include_background=include_background,
        absent=absent,
        pool=pool,
    )
