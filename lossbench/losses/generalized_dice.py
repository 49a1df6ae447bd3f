"""Generalized Dice loss: one ratio for all classes, the rare ones weighing more."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

from lossbench import _checks
from lossbench.losses._inputs import Number, divide
from lossbench.losses._region import measure, score, weights_of_classes

WEIGHTING = ("square", "simple", "uniform")
ABSENT = ("skip", "rarest")


def generalized_dice(
    logits: Float[Array, "batch *space classes"],
    labels: Shaped[Array, "batch ..."],
    *,
    where: Bool[Array, " batch *space"] | None = None,
    activation: str = "softmax",
    class_weights: Float[Array, " classes"] | None = None,
    include_background: bool = True,
    pool: str = "example",
    absent: str = "skip",
    smooth: Number | tuple[Number, Number] = 1e-5,
    overlap: str = "l1",
    weighting: str = "square",
    normalize: bool = True,
) -> Float[Array, "..."]:
    r"""Generalized Dice loss: one ratio of weighted sums over classes.

    .. math::
        L = 1 - \frac{2 \sum_c w_c I_c + s}{\sum_c w_c (P_c + T_c) + s}, \qquad
        w_c = \frac{u_c / T_c^2}{\sum_k u_k / T_k^2}

    with I, P and T as in `dice` and u the given class weights. A class that is absent has weight 0
    unless `absent` says otherwise: false positives of it still cost, as what other classes miss.

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
        absent: the weight of a class without a labeled pixel in the pool: "skip" is 0; "rarest"
            that of the rarest class that is there (1 if none is).
        smooth: s, in pixels; may be 0 and may be traced. A pair gives numerator and denominator one
            each.
        overlap: of soft labels: "l1" is :math:`(p + t - |p - t|) / 2`, with which a prediction
            equal to the label costs 0; "product" is p t. They are the same for hard labels.
        weighting: "square" is :math:`1 / T^2`, "simple" :math:`1 / T`, "uniform" 1.
        normalize: divide the weights by their sum, so that s counts pixels. False leaves them as in
            the paper: with weights like :math:`1 / T^2` even a small s then swallows the loss of a
            large image.

    Returns:
        One value per example, `batch` (a scalar with `pool="batch"`), in [0, 1]; 0 where no class
        has a weight, as for an example that is masked whole.

    Gradient: smooth; the weights depend on labels only. Finite for every finite logit. Every order
    and both modes of differentiation work.

    Raises:
        ValueError: for shapes, dtypes or options outside the contract; for a softmax over one
            class; for one class without background.

    Example:
        >>> import jax.numpy as jnp
        >>> logits = jnp.array([[[9.0, -9.0], [9.0, -9.0], [-9.0, 9.0], [9.0, -9.0]]])
        >>> labels = jnp.array([[0, 0, 1, 1]])  # class 1: one pixel found, one missed
        >>> print(f"{generalized_dice(logits, labels)[0]:.3f}")
        0.250

    Reference: Sudre et al., Generalised Dice Overlap as a Deep Learning Loss Function for Highly
    Unbalanced Segmentations, DLMIA 2017.
    """
    _checks.choice("weighting", weighting, WEIGHTING)
    _checks.choice("absent", absent, ABSENT)
    regions = measure(logits, labels, where, activation=activation, pool=pool, overlap=overlap)
    given = weights_of_classes(class_weights, regions.true, include_background)
    # The rarest class first: 1 / T^2 of a large class is too small a number by itself.
    present = (regions.true > 0) & (given > 0)
    rarest = jnp.min(regions.true, axis=1, keepdims=True, where=present, initial=jnp.inf)
    rarest = jnp.where(jnp.isfinite(rarest), rarest, 1)
    share = divide(rarest, jnp.where(present, regions.true, 0), empty=float(absent == "rarest"))
    relative = {"square": share * share, "simple": share, "uniform": jnp.sign(share)}[weighting]
    weights = given * relative
    if normalize:
        weights = divide(weights, jnp.sum(weights, axis=1, keepdims=True))
    elif weighting != "uniform":
        weights = weights / (rarest * rarest if weighting == "square" else rarest)
    overlap_of_all = jnp.sum(weights * regions.intersection, axis=1)
    size_of_all = jnp.sum(weights * (regions.predicted + regions.true), axis=1)
    value = 1 - score(overlap_of_all, size_of_all, smooth)
    value = jnp.where(jnp.any(weights > 0, axis=1) & (regions.pixels[:, 0] > 0), value, 0)
    return value[0] if pool == "batch" else value
