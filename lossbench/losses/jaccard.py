"""Jaccard loss: one minus intersection over union."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

from lossbench import _checks
from lossbench.losses._inputs import Inputs, Number
from lossbench.losses._region import (
    mean_over_classes,
    measure,
    read_region,
    regions_of,
    score,
    shape_of,
)

NORMALIZE = ("sigmoid", "clamp", "minmax")


def jaccard(
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
    form: str = "ratio",
    normalize: str | None = None,
) -> Float[Array, "..."]:
    r"""Soft Jaccard (intersection over union) loss, averaged over classes.

    .. math::
        L = \frac{\sum_c w_c L_c}{\sum_c w_c}, \qquad
        L_c = 1 - J_c, \qquad J_c = \frac{2 I_c + s}{2 (P_c + T_c - I_c) + s}

    with I, P and T as in `dice`; the smoothing counts as it does there, so :math:`J = D / (2 - D)`
    holds without it only.

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
        form: of the loss of a class: "ratio" is :math:`1 - J`; "log" :math:`-\log J`; "log_cosh"
            :math:`\log \cosh(1 - J)`.
        normalize: for score maps, where higher means more of a class but the scale is not that of a
            logit; it takes the place of `activation`: "sigmoid"; "clamp", the score cut to [0, 1];
            "minmax", :math:`(x - \min x) / (\max x - \min x)` over the pixels of the pool that
            count, for each class; a constant map gives 1/2.

    Returns:
        One value per example, `batch` (a scalar with `pool="batch"`), in [0, 1] (unbounded above
        with `form="log"`). An example that is masked whole, or whose classes are all skipped, costs
        0.

    Gradient: smooth wherever the ratio is; finite for every finite logit. A clamped score outside
    [0, 1] has gradient 0; the extremes of "minmax" take part, a constant map has gradient 0. Every
    order and both modes of differentiation work.

    Raises:
        ValueError: for shapes, dtypes or options outside the contract; for a softmax over one
            class; for one class without background.

    Example:
        >>> import jax.numpy as jnp
        >>> logits = jnp.array([[[9.0, -9.0], [9.0, -9.0], [-9.0, 9.0], [9.0, -9.0]]])
        >>> labels = jnp.array([[0, 0, 1, 1]])  # class 1: one pixel found, one missed
        >>> print(f"{jaccard(logits, labels)[0]:.3f}")
        0.417

    Reference: Rahman and Wang, Optimizing Intersection-Over-Union in Deep Neural Networks, ISVC
    2016; soft labels: Wang et al., Jaccard Metric Losses, NeurIPS 2023.
    """
    if normalize is None:
        regions = measure(logits, labels, where, activation=activation, pool=pool, overlap=overlap)
    else:
        _checks.choice("normalize", normalize, NORMALIZE)
        x = read_region(logits, labels, where, activation="sigmoid", pool=pool)
        if normalize != "sigmoid":
            x = x._replace(logits=_normalized(x, normalize, pool))
        activation = "sigmoid" if normalize == "sigmoid" else "identity"
        regions = regions_of(x, activation=activation, pool=pool, overlap=overlap)
    union = regions.predicted + regions.true - regions.intersection
    costs = shape_of(form, score(regions.intersection, 2 * union, smooth))
    return mean_over_classes(
        costs,
        regions,
        class_weights=class_weights,
        include_background=include_background,
        absent=absent,
        pool=pool,
    )


def _normalized(x: Inputs, normalize: str, pool: str) -> Float[Array, "batch pixels classes"]:
    """Scores brought to [0, 1]; what lies under the mask is 0 already and has no say."""
    scores = x.logits
    if normalize == "clamp":
        return jnp.clip(scores, 0, 1)
    axes = (0, 1) if pool == "batch" else (1,)
    counted = None if x.where is None else x.where[..., None]
    low = jnp.min(scores, axes, keepdims=True, where=counted, initial=jnp.inf)
    high = jnp.max(scores, axes, keepdims=True, where=counted, initial=-jnp.inf)
    varies = high > low
    span = jnp.where(varies, high - low, 1)
    return jnp.where(varies, (scores - jnp.where(varies, low, 0)) / span, 0.5)
