"""clDice loss: how much of the centerlines of prediction and truth lies within the other."""

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Shaped

from lossbench.losses._inputs import Inputs, Number, divide, number
from lossbench.losses._maps import first_class, is_single
from lossbench.losses._region import (
    ACTIVATE,
    Regions,
    count,
    mean_over_classes,
    pooled,
    read_region,
    smoothing,
)
from lossbench.ops.classes import are_few
from lossbench.ops.morphology import soft_skeleton
from lossbench.ops.sums import sum_pixels


def cl_dice(
    logits: Float[Array, "batch *space classes"],
    labels: Shaped[Array, "batch ..."],
    *,
    where: Bool[Array, " batch *space"] | None = None,
    activation: str = "softmax",
    class_weights: Float[Array, " classes"] | None = None,
    include_background: bool = False,
    pool: str = "example",
    absent: str = "smooth",
    iterations: int = 10,
    smooth: Number | tuple[Number, Number] = 1.0,
    harmonic_smooth: Number = 0.0,
) -> Float[Array, "..."]:
    r"""Soft clDice loss, averaged over classes; to be added to a region loss.

    .. math::
        L = \frac{\sum_c w_c L_c}{\sum_c w_c}, \qquad
        L_c = 1 - \frac{2\, U_c V_c}{U_c + V_c + h}, \qquad
        U_c = \frac{\sum_i \sigma(p)_{ic}\, t_{ic} + s}{\sum_i \sigma(p)_{ic} + s}, \quad
        V_c = \frac{\sum_i \sigma(t)_{ic}\, p_{ic} + s}{\sum_i \sigma(t)_{ic} + s}

    over the pixels i that count, with p the activated logits, t the labels and :math:`\sigma` the
    soft skeleton of each class, `ops.soft_skeleton`. U is the precision of the predicted
    centerline, V the sensitivity to the true one. A vessel that is broken, missed or made up costs
    by its length, whatever its width.

    Args:
        logits: raw scores.
        labels: class ids (integer, `batch *space`), a mask (bool, `batch *space`, for one class, or
            for two under a softmax), one mask a class (bool) or class probabilities (floating),
            `batch *space classes`.
        where: true = counted. What is masked is like what lies beyond the border of the image: it
            takes no part in a skeleton, which neither ends nor goes on there.
        activation: "softmax" over exclusive classes, "sigmoid" for each class by itself, or
            "identity" if `logits` holds probabilities already.
        class_weights: one weight a class, background included; may be traced.
        include_background: false gives class 0 the weight 0 (after the softmax) and spares its
            skeleton; a single class is foreground and counts always.
        pool: where the sums run: "example", or "batch" (one ratio a class for the whole batch, as
            in the authors' code; the value is then a scalar). MONAI pools the classes of an
            example instead, so that long vessels decide; for one class it is the same.
        absent: what a class without a labeled pixel in the pool does: "smooth" keeps the formula,
            in which V is 1, so any centerline that is predicted costs; "skip" leaves it out of the
            mean; "suppress" costs the mean probability given to it.
        iterations: of the skeleton, static: at least half the width of the thickest object, in
            pixels. What is thicker has no centerline and costs nothing, silently; more iterations
            than are needed cost time only.
        smooth: s, in pixels of the centerline; may be 0 and may be traced. A pair gives numerator
            and denominator one each.
        harmonic_smooth: h, which MONAI sets to 1e-4; a perfect prediction then costs h / (2 + h).
            May be traced.

    Returns:
        One value per example, `batch` (a scalar with `pool="batch"`), in [0, 1]. An example that is
        masked whole, or whose classes are all skipped, costs 0. Where there is no skeleton (a
        constant map has none, nor has what is thicker than `iterations`), with s = 0, U or V is 1;
        it is so with any s that is the same above and below. If both U and V are 0, the cost is 1.
        Without an axis of space a pixel is its own skeleton; along one axis, the middle of a run of
        pixels is.

    Gradient: of the sums and of the minima and maxima within the skeleton, whose ties share it; 0
    in the undefined cases named above; finite for every finite logit. The backward pass keeps some
    :math:`4 \sqrt{k} + 15` arrays of the size of the probabilities for k iterations, of up to five
    classes side by side, of more classes one by one. Every order and both modes of differentiation
    work.

    Raises:
        ValueError: for shapes, dtypes or options outside the contract; for a softmax over one
            class; for a negative number of iterations.

    Example:
        >>> import jax.numpy as jnp
        >>> vessel = jnp.zeros((1, 5, 12), bool).at[0, 1:4].set(True)
        >>> broken = vessel.at[0, :, 4:8].set(False).astype(float)[..., None]
        >>> loss = cl_dice(broken, vessel, activation="identity", smooth=0.0)
        >>> print(f"{loss[0]:.3f}")  # 8 of 12 pixels of the centerline are found, none is made up
        0.200

    Reference: Shit et al., clDice - a Novel Topology-Preserving Loss Function for Tubular Structure
    Segmentation, CVPR 2021.
    """
    if not isinstance(iterations, int) or iterations < 0:
        raise ValueError(f"iterations: expected a whole number of at least 0, got {iterations}")
    x = read_region(logits, labels, where, activation=activation, pool=pool)
    first = first_class(x, include_background)
    totals = _totals(x, logits.shape[1:-1], activation, iterations, first)
    # The classes before the first have weight 0.
    totals = [jnp.pad(pooled(total.T, pool), ((0, 0), (first, 0))) for total in totals]
    right, predicted_line, found, true_line, predicted, true = totals
    above, below = smoothing(smooth, right.dtype)
    precision = divide(right + above, predicted_line + below, empty=1.0)
    sensitivity = divide(found + above, true_line + below, empty=1.0)
    both = precision + sensitivity + number(harmonic_smooth, right)
    return mean_over_classes(
        1 - divide(2 * precision * sensitivity, both),
        Regions(right, predicted, true, count(x, pool)),
        class_weights=class_weights,
        include_background=include_background or is_single(x),
        absent=absent,
        pool=pool,
    )


def _totals(
    x: Inputs, space: tuple[int, ...], activation: str, iterations: int, first: int
) -> list[Float[Array, "classes batch"]]:
    """Sums over the pixels of each class from `first` on: what `_sums` returns."""
    probabilities = ACTIVATE[activation](x.logits)
    sums = functools.partial(_sums, space=space, iterations=iterations)

    def truth(c: int | Int[Array, ""]) -> Float[Array, "batch pixels"]:
        if x.dense is not None:
            return x.dense[..., c].astype(x.logits.dtype)
        assert x.ids is not None
        return (x.ids == jnp.asarray(c, x.ids.dtype)).astype(x.logits.dtype)

    if are_few(x.classes):
        few = range(first, x.classes)
        p = jnp.concatenate([probabilities[c] for c in few])
        t = jnp.concatenate([truth(c) for c in few])
        where = None if x.where is None else jnp.concatenate([x.where] * len(few))
        return [total.reshape(len(few), -1) for total in sums(p, t, where)]
    # One after the other, and again for the gradient: the skeleton of one class is held at a time.
    one = jax.checkpoint(lambda p_c: sums(p_c[0], truth(p_c[1]), x.where), prevent_cse=False)
    (p,) = probabilities
    return lax.map(one, (jnp.moveaxis(p, -1, 0)[first:], jnp.arange(first, x.classes)))


def _sums(
    p: Float[Array, "rows pixels"],
    t: Float[Array, "rows pixels"],
    where: Bool[Array, "rows pixels"] | None,
    *,
    space: tuple[int, ...],
    iterations: int,
) -> list[Float[Array, " rows"]]:
    """The sums of both skeletons, each after that of its overlap, and of p and of t."""

    def line(of_class: Array) -> Array:
        if not space:
            return of_class
        grid = of_class.reshape(-1, *space)
        there = None if where is None else where.reshape(grid.shape)
        return soft_skeleton(grid, iterations=iterations, where=there).reshape(of_class.shape)

    predicted, true = line(p), line(t)
    sums = (predicted * t, predicted, true * p, true, p, t)
    return [sum_pixels(a if where is None else jnp.where(where, a, 0)) for a in sums]
