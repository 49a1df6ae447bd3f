"""Dice loss: one minus the overlap of prediction and truth."""

from jaxtyping import Array, Bool, Float, Shaped

from lossbench import _checks
from lossbench.losses._inputs import Number
from lossbench.losses._region import mean_over_classes, measure, score, shape_of

DENOMINATORS = ("linear", "squared")


def dice(
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
    denominator: str = "linear",
    form: str = "ratio",
) -> Float[Array, "..."]:
    r"""Soft Dice loss, averaged over classes.

    .. math::
        L = \frac{\sum_c w_c L_c}{\sum_c w_c}, \qquad
        L_c = 1 - D_c, \qquad D_c = \frac{2 I_c + s}{P_c + T_c + s}, \qquad
        I_c = \sum_i p_{ic} t_{ic},\; P_c = \sum_i p_{ic},\; T_c = \sum_i t_{ic}

    over the pixels i that count, with p the activated logits and t the labels.

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
        pool: where the sums run: "example", or "batch" (one ratio a class for the whole batch;
            the value is then a scalar).
        absent: what a class without a labeled pixel in the pool does: "smooth" keeps the formula,
            so any probability given to it costs nearly 1; "skip" leaves it out of the mean;
            "suppress" costs the mean probability given to it (of its square, with
            `denominator="squared"`).
        smooth: s, in pixels; may be 0 and may be traced. A pair gives numerator and denominator
            one each.
        overlap: of soft labels: "l1" is :math:`(p + t - |p - t|) / 2`, with which a prediction
            equal to the label costs 0; "product" is p t, as in most libraries, whose optimum is
            not the label. They are the same for hard labels.
        denominator: "linear", or "squared": :math:`P_c = \sum p^2,\; T_c = \sum t^2` (V-Net's;
            its overlap is the product, with which the label is the optimum).
        form: of the loss of a class: "ratio" is :math:`1 - D`; "log" :math:`-\log D`;
            "log_cosh" :math:`\log \cosh(1 - D)`.

    Returns:
        One value per example, `batch` (a scalar with `pool="batch"`), in [0, 1] (unbounded above
        with `form="log"`). An example that is masked whole, or whose classes are all skipped, costs
        0. With `smooth=0` a class without label and prediction costs 0.

    Gradient: smooth wherever the ratio is; 0 in the undefined cases named above; at p = t of a soft
    label the mean of both sides, 0 in all; finite for every finite logit (a saturated softmax has
    gradient 0). Every order and both modes of differentiation work.

    Raises:
        ValueError: for shapes, dtypes or options outside the contract; for a softmax over one
            class; for one class without background.

    Example:
        >>> import jax.numpy as jnp
        >>> logits = jnp.array([[[9.0, -9.0], [9.0, -9.0], [-9.0, 9.0], [9.0, -9.0]]])
        >>> labels = jnp.array([[0, 0, 1, 1]])  # class 1: one pixel found, one missed
        >>> print(f"{dice(logits, labels)[0]:.3f}")
        0.267

    Reference: Milletari, Navab, Ahmadi, V-Net, 3DV 2016 (squared); Drozdzal et al., 2016 (linear);
    soft labels: Wang et al., Dice Semimetric Losses, MICCAI 2023; log-cosh: Jadon, CIBCB 2020.
    """
    _checks.choice("denominator", denominator, DENOMINATORS)
    regions = measure(
        logits,
        labels,
        where,
        activation=activation,
        pool=pool,
        overlap=overlap,
        squared=denominator == "squared",
    )
    ratio = score(regions.intersection, regions.predicted + regions.true, smooth)
    return mean_over_classes(
        shape_of(form, ratio),
        regions,
        class_weights=class_weights,
        include_background=include_background,
        absent=absent,
        pool=pool,
    )
