"""Skeleton recall loss: how much of the widened centerline of the truth is found."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

from lossbench import _checks
from lossbench.losses._inputs import Inputs, Number, divide
from lossbench.losses._maps import first_class, is_single, read_labels, refuse_soft
from lossbench.losses._region import (
    Regions,
    count,
    mean_over_classes,
    read_region,
    smoothing,
    totals,
)
from lossbench.ops import morphology, thinning


def skeleton_recall(
    logits: Float[Array, "batch *space classes"],
    labels: Shaped[Array, "batch ..."],
    *,
    where: Bool[Array, " batch *space"] | None = None,
    activation: str = "softmax",
    class_weights: Float[Array, " classes"] | None = None,
    include_background: bool = False,
    pool: str = "example",
    absent: str = "skip",
    radius: int = 2,
    smooth: Number | tuple[Number, Number] = 1.0,
    skeleton: Bool[Array, " batch *space"] | None = None,
) -> Float[Array, "..."]:
    r"""Skeleton recall loss, averaged over classes; to be added to a region loss.

    .. math::
        L = \frac{\sum_c w_c L_c}{\sum_c w_c}, \qquad
        L_c = 1 - \frac{\sum_{i \in S} p_{ic}\, t_{ic} + s}{\sum_{i \in S} t_{ic} + s}

    over the pixels i of the tube S that count, with p the activated logits and t the labels. The
    tube is the skeleton of the foreground, of all classes together, widened: see `tubed_skeleton`.
    Only labels are thinned, so the gradient is that of a recall, and nothing of a skeleton is kept
    for it. What is predicted beside the tube costs nothing: the region loss has to see to that.

    Args:
        logits: raw scores.
        labels: class ids (integer, `batch *space`), a mask (bool, `batch *space`, for one class, or
            for two under a softmax) or one mask a class (bool, `batch *space classes`).
        where: true = counted. A masked pixel belongs to no class, so that objects end there.
        activation: "softmax" over exclusive classes, "sigmoid" for each class by itself, or
            "identity" if `logits` holds probabilities already.
        class_weights: one weight a class, background included; may be traced.
        include_background: false gives class 0 the weight 0 (after the softmax); true makes it a
            class like the others, part of the foreground. A single class is foreground always.
        pool: where the sums run: "example", or "batch" (one ratio a class for the whole batch; the
            value is then a scalar).
        absent: what a class does of which no pixel of the pool is in the tube: "skip" leaves it out
            of the mean; "smooth" keeps the formula, which costs 0 with any s that is the same above
            and below; "suppress", for a class without a labeled pixel, costs the mean probability
            given to it.
        radius: how often the skeleton is dilated along the axes, static; the paper's is 2.
        smooth: s, in pixels of the tube, 1 in the authors' code; may be 0 and may be traced. A pair
            gives numerator and denominator one each.
        skeleton: the tube itself, of an image that does not change, computed once by
            `tubed_skeleton` and cropped and turned with the labels; `radius` is not used then.
            Computed in the step, it takes passes over the image for each layer of the widest
            object, see `ops.skeleton`: for thin vessels in 64^3 voxels 6 ms on two cores of a CPU,
            ten times the rest of the loss. Given, it takes a byte a pixel to load.

    Returns:
        One value per example, `batch` (a scalar with `pool="batch"`), in [0, 1]. An example that is
        masked whole, or whose classes are all skipped, costs 0. With `smooth=0` a class of which
        nothing is in the tube costs 0.

    Gradient: linear in the probabilities; 0 in the undefined cases named above; finite for every
    finite logit. Every order and both modes of differentiation work.

    Raises:
        ValueError: for shapes, dtypes or options outside the contract; for a softmax over one
            class; for labels that are probabilities; for more than three axes of space.

    Example:
        >>> import jax.numpy as jnp
        >>> vessel = jnp.zeros((1, 9, 12), bool).at[0, 2:7].set(True)
        >>> broken = vessel.at[0, :, 4:7].set(False).astype(float)[..., None]
        >>> loss = skeleton_recall(broken, vessel, activation="identity", smooth=0.0)
        >>> print(f"{loss[0]:.3f}")  # of 48 pixels of the tube 15 are missing
        0.312

    Reference: Kirchhoff et al., Skeleton Recall Loss for Connectivity Conserving and Resource
    Efficient Segmentation of Thin Tubular Structures, ECCV 2024.
    """
    x = read_region(logits, labels, where, activation=activation, pool=pool)
    refuse_soft(x, "the skeleton recall loss")
    if skeleton is None:
        inside = _tube(x, logits.shape[1:-1], radius, first_class(x, include_background))
    else:
        inside = _given(skeleton, logits.shape[:-1], x)
    in_tube = x._replace(where=inside)
    found, whole = totals(in_tube, lambda p, t: (p * t, t), activation=activation, pool=pool)
    above, below = smoothing(smooth, found.dtype)
    regions = Regions(found, found, whole, count(x, pool))
    if absent == "suppress":
        predicted, true = totals(x, lambda p, t: (p, t), activation=activation, pool=pool)
        regions = regions._replace(predicted=predicted, true=true)
    return mean_over_classes(
        1 - divide(found + above, whole + below, empty=1.0),
        regions,
        class_weights=class_weights,
        include_background=include_background or is_single(x),
        absent=absent,
        pool=pool,
    )


def tubed_skeleton(
    labels: Shaped[Array, "batch ..."],
    *,
    classes: int,
    where: Bool[Array, " batch *space"] | None = None,
    include_background: bool = False,
    radius: int = 2,
) -> Bool[Array, " batch *space"]:
    """The skeleton of the foreground, widened.

    Of an image that does not change it is computed once, for `skeleton_recall` to take it as its
    `skeleton`.

    Args:
        labels: class ids (integer, `batch *space`), one mask a class (bool, `batch *space classes`)
            or, for one class, a mask (bool, `batch *space`).
        classes: their number.
        where: true = counted. A masked pixel belongs to no class.
        include_background: true makes class 0 part of the foreground, as a single class is always.
        radius: how often the skeleton is dilated along the axes, static; at least 0.

    Returns:
        A mask, `batch *space`; it goes beyond a foreground that is thinner than the tube.

    Raises:
        ValueError: for shapes or dtypes outside the contract, a negative radius, or more than three
            axes of space.

    Example:
        >>> import jax.numpy as jnp
        >>> labels = jnp.zeros((1, 5, 7), int).at[0, 1:4].set(2)
        >>> print(tubed_skeleton(labels, classes=3, radius=1)[0].astype(int))
        [[0 0 0 0 0 0 0]
         [0 1 1 1 1 1 0]
         [1 1 1 1 1 1 1]
         [0 1 1 1 1 1 0]
         [0 0 0 0 0 0 0]]

    Reference: Kirchhoff et al., Skeleton Recall Loss for Connectivity Conserving and Resource
    Efficient Segmentation of Thin Tubular Structures, ECCV 2024.
    """
    x, space = read_labels(labels, classes, where)
    inside = _tube(x, space, radius, first_class(x, include_background))
    return inside.reshape(len(inside), *space)


def _tube(
    x: Inputs, space: tuple[int, ...], radius: int, first: int
) -> Bool[Array, "batch pixels"]:
    """The widened skeleton of the classes from `first` on; nothing that is masked."""
    if radius < 0:
        raise ValueError(f"radius: expected at least 0, got {radius}")
    if len(space) > 3:
        raise ValueError(f"labels: expected at most three axes of space, got {len(space)}")
    if x.ids is not None:
        foreground = x.ids >= first
    else:
        assert x.dense is not None
        foreground = jnp.any(x.dense[..., first:], axis=-1)
    foreground = foreground if x.where is None else foreground & x.where
    # A pixel without space is its own skeleton.
    volume = foreground.reshape(len(foreground), *(space or (1,)))
    tube = morphology.dilate(thinning.skeleton(volume), iterations=radius)
    tube = tube.reshape(foreground.shape)
    return tube if x.where is None else tube & x.where


def _given(skeleton: Array, leading: tuple[int, ...], x: Inputs) -> Bool[Array, "batch pixels"]:
    tube = jnp.asarray(skeleton)
    if tube.dtype != jnp.bool_:
        raise ValueError(f"skeleton: expected bool (true = in the tube), got {tube.dtype}")
    _checks.shape("skeleton", tube, leading, "batch, *space")
    inside = tube.reshape(x.logits.shape[:2])
    return inside if x.where is None else inside & x.where
