"""Tversky losses: overlap with a price of its own for each kind of error."""

from jaxtyping import Array, Bool, Float, Shaped

from lossbench.losses._inputs import Number, number
from lossbench.losses._region import (
    Regions,
    mean_over_classes,
    measure,
    power,
    score,
    shape_of,
)


def tversky(
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
    fp_weight: Number = 0.3,
    fn_weight: Number = 0.7,
    form: str = "ratio",
) -> Float[Array, "..."]:
    r"""Tversky loss, averaged over classes.

    .. math::
        L = \frac{\sum_c w_c L_c}{\sum_c w_c}, \qquad
        L_c = 1 - Q_c, \qquad
        Q_c = \frac{2 I_c + s}{2 (I_c + a\, (P_c - I_c) + b\, (T_c - I_c)) + s}

    with I, P and T as in `dice`: :math:`P - I` are the false positives, :math:`T - I` the false
    negatives. The smoothing counts as in `dice`, so a = b = 1/2 is the Dice loss and a = b = 1 the
    Jaccard loss exactly. The letters of the papers contradict one another, hence the names.

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
        smooth: s, in pixels; may be 0 and may be traced. A pair gives numerator and denominator one
            each.
        overlap: of soft labels: "l1" is :math:`(p + t - |p - t|) / 2`, with which a prediction
            equal to the label costs 0; "product" is p t. They are the same for hard labels.
        fp_weight: weight a of false positives (predicted, not there); may be traced.
        fn_weight: weight b of false negatives (there, not predicted); may be traced.
        form: of the loss of a class: "ratio" is :math:`1 - Q`; "log" :math:`-\log Q`; "log_cosh"
            :math:`\log \cosh(1 - Q)`.

    Returns:
        One value per example, `batch` (a scalar with `pool="batch"`), in [0, 1] (unbounded above
        with `form="log"`). An example that is masked whole, or whose classes are all skipped, costs
        0.

    Gradient: smooth wherever the ratio is; finite for every finite logit. Every order and both
    modes of differentiation work.

    Raises:
        ValueError: for shapes, dtypes or options outside the contract; for a softmax over one
            class; for one class without background.

    Example:
        >>> import jax.numpy as jnp
        >>> logits = jnp.array([[[9.0, -9.0], [9.0, -9.0], [-9.0, 9.0], [9.0, -9.0]]])
        >>> labels = jnp.array([[0, 0, 1, 1]])  # class 1: one pixel found, one missed
        >>> print(f"{tversky(logits, labels, fp_weight=0.3, fn_weight=0.7)[0]:.3f}")
        0.271

    Reference: Salehi, Erdogmus, Gholipour, Tversky Loss Function for Image Segmentation, MLMI 2017
    (a = .3, b = .7 there too).
    """
    regions = measure(logits, labels, where, activation=activation, pool=pool, overlap=overlap)
    costs = shape_of(form, _index(regions, fp_weight, fn_weight, smooth))
    return mean_over_classes(
        costs,
        regions,
        class_weights=class_weights,
        include_background=include_background,
        absent=absent,
        pool=pool,
    )


def focal_tversky(
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
    fp_weight: Number = 0.3,
    fn_weight: Number = 0.7,
    gamma: Number = 0.75,
) -> Float[Array, "..."]:
    r"""Focal Tversky loss: a power of each class's Tversky loss, averaged over classes.

    .. math::
        L = \frac{\sum_c w_c\, (1 - Q_c)^\gamma}{\sum_c w_c}

    with Q the index of `tversky`. The paper writes the exponent as :math:`1 / \gamma` with
    :math:`\gamma = 4/3`: .75 here.

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
        smooth: s, in pixels; may be 0 and may be traced. A pair gives numerator and denominator one
            each.
        overlap: of soft labels: "l1" is :math:`(p + t - |p - t|) / 2`, with which a prediction
            equal to the label costs 0; "product" is p t. They are the same for hard labels.
        fp_weight: weight a of false positives (predicted, not there); may be traced.
        fn_weight: weight b of false negatives (there, not predicted); may be traced.
        gamma: exponent; below 1 it lifts the cost, and the gradient, of classes nearly solved;
            above 1 it looks away from them. May be traced.

    Returns:
        One value per example, `batch` (a scalar with `pool="batch"`), in [0, 1]. An example that is
        masked whole, or whose classes are all skipped, costs 0.

    Gradient: as that of `tversky` times :math:`\gamma (1 - Q)^{\gamma - 1}`, which for gamma below
    1 grows without bound as a class nears perfection; at 1 - Q = 0 it is set to 0. Every order and
    both modes of differentiation work.

    Raises:
        ValueError: for shapes, dtypes or options outside the contract; for a softmax over one
            class; for one class without background.

    Example:
        >>> import jax.numpy as jnp
        >>> logits = jnp.array([[[9.0, -9.0], [9.0, -9.0], [-9.0, 9.0], [9.0, -9.0]]])
        >>> labels = jnp.array([[0, 0, 1, 1]])  # class 1: one pixel found, one missed
        >>> print(f"{focal_tversky(logits, labels)[0]:.3f}")
        0.366

    Reference: Abraham and Khan, A Novel Focal Tversky Loss Function, ISBI 2019.
    """
    regions = measure(logits, labels, where, activation=activation, pool=pool, overlap=overlap)
    costs = power(1 - _index(regions, fp_weight, fn_weight, smooth), gamma)
    return mean_over_classes(
        costs,
        regions,
        class_weights=class_weights,
        include_background=include_background,
        absent=absent,
        pool=pool,
    )


def _index(
    regions: Regions,
    fp_weight: Number,
    fn_weight: Number,
    smooth: Number | tuple[Number, Number],
) -> Array:
    """Tversky's index of each class."""
    false_positive = regions.predicted - regions.intersection
    false_negative = regions.true - regions.intersection
    fp, fn = number(fp_weight, false_positive), number(fn_weight, false_positive)
    errors = fp * false_positive + fn * false_negative
    return score(regions.intersection, 2 * (regions.intersection + errors), smooth)
