"""Asymmetric focal and unified focal loss: one treatment for foreground, one for background."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

from lossbench import _checks
from lossbench.losses._inputs import Number, divide, given_weights, number
from lossbench.losses._pixelwise import Cost, pixelwise, sided_costs, softmax_costs
from lossbench.losses._region import mean_over_classes, power, read_region, regions_of, score
from lossbench.losses.focal import focused
from lossbench.ops.classes import apart, total

FORMS = ("asymmetric", "symmetric")


def asymmetric_focal(
    logits: Float[Array, "batch *space classes"],
    labels: Shaped[Array, "batch ..."],
    *,
    where: Bool[Array, " batch *space"] | None = None,
    activation: str = "softmax",
    class_weights: Float[Array, " classes"] | None = None,
    gamma: Number = 2.0,
    delta: Number = 0.7,
    reduction: str = "mean",
) -> Float[Array, "batch ..."]:
    r"""Asymmetric focal loss: background is focused, foreground is not.

    .. math::
        L = \frac{1}{n} \sum_i \begin{cases}
            (1 - \delta) (1 - p_{iy})^\gamma (-\log p_{iy}) & y = 0 \\
            \delta\, (-\log p_{iy}) & y > 0 \end{cases}

    over the n pixels that count, with :math:`p_y` the probability of the true class; class 0 is the
    background. Under a sigmoid, the background of a class is its negative side. Easy background
    loses its weight, no foreground pixel does. A label of probabilities costs the mean over its
    classes.

    Args:
        logits: raw scores.
        labels: class ids (integer, `batch *space`), a mask (bool, `batch *space`, for one class, or
            for two under a softmax), one mask a class (bool) or class probabilities (floating),
            `batch *space classes`.
        where: true = counted.
        activation: "softmax" over exclusive classes, or "sigmoid" for each class by itself; the
            mean is then over classes too.
        class_weights: one weight a class; may be traced. The mean does not divide by it.
        gamma: how fast the weight of won background falls, at least 0; may be traced.
        delta: weight of the foreground, in [0, 1]; background has 1 - delta. May be traced.
        reduction: over space: "mean", "sum", "none" (`batch *space`, or the logits' shape under a
            sigmoid; 0 if masked).

    Returns:
        One value per example, `batch`, at least 0; 0 for an example that is masked whole.

    Gradient: smooth everywhere; finite for every finite logit, 0 under the mask. Every order and
    both modes of differentiation work.

    Raises:
        ValueError: for shapes, dtypes or options outside the contract, and for a softmax over one
            class.

    Example:
        >>> import jax.numpy as jnp
        >>> logits = jnp.array([[[2.0, 0.0], [0.0, 2.0]]])  # 1 example, 2 pixels, 2 classes
        >>> print(f"{asymmetric_focal(logits, jnp.array([[0, 1]]))[0]:.4f}")
        0.0447

    Reference: Yeung et al., Unified Focal Loss, Computerized Medical Imaging and Graphics 2022.
    """
    return pixelwise(
        logits,
        labels,
        where,
        _asymmetric(number(delta, logits), number(gamma, logits)),
        activation=activation,
        class_weights=class_weights,
        reduction=reduction,
    )


def _asymmetric(share: Array, gamma: Array) -> Cost:
    def cost(right: Array, wrong: Array, foreground: Array | bool) -> Array:
        of_background = (1 - share) * focused(right, wrong, gamma)
        return jnp.where(foreground, share * right, of_background)

    return cost


def _symmetric(share: Array, gamma: Array) -> Cost:
    def cost(right: Array, wrong: Array, foreground: Array | bool) -> Array:
        return jnp.where(foreground, share, 1 - share) * focused(right, wrong, gamma)

    return cost


def unified_focal(
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
    weight: Number = 0.5,
    delta: Number = 0.6,
    gamma: Number = 0.5,
    form: str = "asymmetric",
) -> Float[Array, "..."]:
    r"""Unified focal loss: a focal cross entropy and a focal Tversky loss with common parameters.

    .. math::
        L = \lambda L_{F} + (1 - \lambda) L_{FT}

    with the focal Tversky part the mean over classes of :math:`(1 - Q_c)^{1 - \gamma}`, false
    negatives weighing :math:`\delta` and false positives :math:`1 - \delta`. Asymmetric:
    :math:`L_F` is `asymmetric_focal`, and class 0 has the exponent 1. Symmetric: :math:`L_F` is the
    mean over pixels of :math:`\delta' (1 - p_y)^\gamma (-\log p_y)`, :math:`\delta'` being :math:`1
    - \delta` for class 0 and :math:`\delta` for the others. Under a sigmoid every class is
    foreground of the Tversky part. Class weights, background, pooling and absent classes concern
    the Tversky part as they do in `tversky`; the class weights also weigh the pixels of the other
    part. The exponents are those of the authors' code: their paper's symmetric form swaps
    :math:`\gamma` and :math:`1 - \gamma`, which are the same at the default.

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
        weight: :math:`\lambda`, the share of the cross entropy part, in [0, 1]; may be traced.
        delta: weight of foreground and of false negatives, in [0, 1]; may be traced.
        gamma: in [0, 1): 0 focuses nothing; may be traced.
        form: "asymmetric" focuses class 0 alone; "symmetric" focuses all classes alike.

    Returns:
        One value per example, `batch` (a scalar with `pool="batch"`), at least 0. An example that
        is masked whole costs 0; one whose classes are all skipped costs its pixels only.

    Gradient: as those of `asymmetric_focal` and `focal_tversky`; finite for every finite logit.
    Every order and both modes of differentiation work.

    Raises:
        ValueError: for shapes, dtypes or options outside the contract; for a softmax over one
            class; for one class without background.

    Example:
        >>> import jax.numpy as jnp
        >>> logits = jnp.array([[[2.0, 0.0], [0.0, 2.0]]])  # 1 example, 2 pixels, 2 classes
        >>> print(f"{unified_focal(logits, jnp.array([[0, 1]]))[0]:.3f}")
        0.140

    Reference: Yeung et al., Unified Focal Loss: Generalising Dice and Cross Entropy-Based Losses to
    Handle Class Imbalanced Medical Image Segmentation, Computerized Medical Imaging and Graphics
    2022.
    """
    _checks.choice("form", form, FORMS)
    _checks.choice("activation", activation, ("softmax", "sigmoid"))
    x = read_region(logits, labels, where, activation=activation, pool=pool)
    dtype = x.logits.dtype
    share, focus, part = (number(v, logits) for v in (delta, gamma, weight))
    exponent = 1 - focus
    cost = _symmetric(share, focus) if form == "symmetric" else _asymmetric(share, focus)
    weights = given_weights(class_weights, x.classes, dtype)

    def costs(logits: Array, labels: Array) -> Array:
        if activation == "softmax":
            return softmax_costs(logits, labels, cost, weights)
        return total(sided_costs(apart(logits), labels, cost, weights))

    regions = regions_of(
        x,
        activation=activation,
        pool=pool,
        overlap=overlap,
        cost=costs,
    )
    errors = (1 - share) * (regions.predicted - regions.intersection)
    errors = errors + share * (regions.true - regions.intersection)
    missing = 1 - score(regions.intersection, 2 * (regions.intersection + errors), smooth)
    of_class = power(missing, exponent)
    if form == "asymmetric" and activation == "softmax":
        of_class = of_class.at[:, 0].set(missing[:, 0])
    of_regions = mean_over_classes(
        of_class,
        regions,
        class_weights=class_weights,
        include_background=include_background,
        absent=absent,
        pool=pool,
    )
    assert regions.cost is not None
    elements = regions.pixels[:, 0] * (1 if activation == "softmax" else x.classes)
    of_pixels = divide(regions.cost, elements)
    of_pixels = of_pixels[0] if pool == "batch" else of_pixels
    return part * of_pixels + (1 - part) * of_regions
