"""Combo loss: a cross entropy that prices misses and false alarms, and Dice."""

from jaxtyping import Array, Bool, Float, Shaped

from lossbench import _checks
from lossbench.losses._inputs import Number, class_weighting, divide, number
from lossbench.losses._pixelwise import sided_costs
from lossbench.losses._region import mean_over_classes, read_region, regions_of, score
from lossbench.losses.cross_entropy import negative_log
from lossbench.ops.classes import apart, total
from lossbench.ops.probabilities import margins


def combo(
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
    alpha: Number = 0.5,
    fn_weight: Number = 0.5,
) -> Float[Array, "..."]:
    r"""Combo loss: weighted cross entropy and Dice loss.

    .. math::
        L = \alpha \frac{1}{n C} \sum_{i,c} w_c \left[ b\, t_{ic} (-\log p_{ic})
            + (1 - b)(1 - t_{ic}) (-\log(1 - p_{ic})) \right] + (1 - \alpha)\, L_{Dice}

    over the n pixels that count and the C classes. The paper subtracts the Dice score; this adds
    the Dice loss, which is larger by the constant :math:`1 - \alpha` and never negative.
    Background, pooling, absent classes, smoothing and overlap concern the Dice part, as they do in
    `dice`; `include_background=False` takes class 0 out of both, and C is then the number of the
    others.

    Args:
        logits: raw scores.
        labels: class ids (integer, `batch *space`), a mask (bool, `batch *space`, for one class, or
            for two under a softmax), one mask a class (bool) or class probabilities (floating),
            `batch *space classes`.
        where: true = counted.
        activation: "softmax" over exclusive classes, or "sigmoid" for each class by itself.
        class_weights: one weight a class, background included; may be traced.
        include_background: false gives class 0 the weight 0 (after the softmax).
        pool: where the sums run: "example", or "batch" (one ratio a class for the whole batch; the
            value is then a scalar).
        absent: what a class without a labeled pixel in the pool does: "smooth" keeps the formula;
            "skip" leaves it out of the mean; "suppress" costs the mean probability given to it.
        smooth: s, in pixels; may be 0 and may be traced. A pair gives numerator and denominator one
            each.
        overlap: of soft labels: "l1" is :math:`(p + t - |p - t|) / 2`, with which a prediction
            equal to the label costs 0; "product" is p t. They are the same for hard labels.
        alpha: share of the cross entropy, in [0, 1]; may be traced.
        fn_weight: weight b of misses in the cross entropy, false alarms have 1 - b; in [0, 1]. May
            be traced.

    Returns:
        One value per example, `batch` (a scalar with `pool="batch"`), at least 0. An example that
        is masked whole costs 0; one whose classes are all skipped costs its pixels only.

    Gradient: smooth; finite for every finite logit. Every order and both modes of differentiation
    work.

    Raises:
        ValueError: for shapes, dtypes or options outside the contract; for a softmax over one
            class; for one class without background.

    Example:
        >>> import jax.numpy as jnp
        >>> logits = jnp.array([[[2.0, 0.0], [0.0, 2.0]]])  # 1 example, 2 pixels, 2 classes
        >>> print(f"{combo(logits, jnp.array([[0, 0]]))[0]:.3f}")
        0.615

    Reference: Taghanaki et al., Combo Loss: Handling Input and Output Imbalance in Multi-organ
    Segmentation, Computerized Medical Imaging and Graphics 2019.
    """
    _checks.choice("activation", activation, ("softmax", "sigmoid"))
    x = read_region(logits, labels, where, activation=activation, pool=pool)
    dtype = x.logits.dtype
    weights = class_weighting(class_weights, x.classes, dtype)
    weights = weights if include_background else weights.at[0].set(0)
    price, part = number(fn_weight, x.logits), number(alpha, x.logits)

    def both_sides(logits: Array, labels: Array) -> Array:
        """The cross entropy of every class as a question of yes and no, summed over them."""
        of_class = apart(logits) if activation == "sigmoid" else [-m for m in margins(logits)]
        return total(sided_costs(of_class, labels, negative_log, weights, (price, 1 - price)))

    regions = regions_of(
        x,
        activation=activation,
        pool=pool,
        overlap=overlap,
        cost=both_sides,
    )
    ratio = score(regions.intersection, regions.predicted + regions.true, smooth)
    of_regions = mean_over_classes(
        1 - ratio,
        regions,
        class_weights=class_weights,
        include_background=include_background,
        absent=absent,
        pool=pool,
    )
    assert regions.cost is not None
    classes = x.classes if include_background else x.classes - 1
    of_pixels = divide(regions.cost, regions.pixels[:, 0] * classes)
    of_pixels = of_pixels[0] if pool == "batch" else of_pixels
    return part * of_pixels + (1 - part) * of_regions
