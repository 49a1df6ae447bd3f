"""Lovász losses: the Jaccard index itself, extended to errors between 0 and 1."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Shaped

from lossbench.losses._inputs import Inputs
from lossbench.losses._region import (
    ACTIVATE,
    Regions,
    count,
    mean_over_classes,
    pooled,
    read_region,
)
from lossbench.ops.blocks import blockwise
from lossbench.ops.classes import Parts, apart, are_apart, members, split_classes, together
from lossbench.ops.lovasz import lovasz_weights
from lossbench.ops.sums import class_sums

# Sorts of different classes run side by side on the cores, and each takes memory of its own.
SORTED_AT_ONCE = 16


def lovasz_softmax(
    logits: Float[Array, "batch *space classes"],
    labels: Shaped[Array, "batch ..."],
    *,
    where: Bool[Array, " batch *space"] | None = None,
    activation: str = "softmax",
    class_weights: Float[Array, " classes"] | None = None,
    include_background: bool = True,
    pool: str = "example",
    absent: str = "skip",
) -> Float[Array, "..."]:
    r"""Lovász-softmax loss, averaged over classes.

    .. math::
        L = \frac{\sum_c w_c\, \overline{\Delta_c}(e_c)}{\sum_c w_c}, \qquad
        e_{ic} = |t_{ic} - p_{ic}|

    with :math:`\overline{\Delta_c}` the Lovász extension of the Jaccard loss of class c: the
    errors, sorted, weighed by how much each one more would lower the intersection over union. On
    hard predictions it is one minus the Jaccard index.

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
        absent: what a class without a labeled pixel in the pool does: "skip" leaves it out of the
            mean (the paper's classes present); "smooth" keeps the formula, the largest probability
            given to it; "suppress" costs the mean probability given to it.

    Returns:
        One value per example, `batch` (a scalar with `pool="batch"`), in [0, 1]. An example that is
        masked whole, or whose classes are all skipped, costs 0.

    Gradient: that of the errors with the weights of the ranks held constant; among equal errors the
    mean weight. Finite for every finite logit; 0 for saturated pixels. Every order and both modes
    of differentiation work.

    Raises:
        ValueError: for shapes, dtypes or options outside the contract; for a softmax over one
            class; for one class without background; for labels that are probabilities.

    Example:
        >>> import jax.numpy as jnp
        >>> logits = jnp.array([[[9.0, -9.0], [9.0, -9.0], [-9.0, 9.0], [9.0, -9.0]]])
        >>> labels = jnp.array([[0, 0, 1, 1]])  # class 1: one pixel found, one missed
        >>> print(f"{lovasz_softmax(logits, labels)[0]:.3f}")
        0.417

    Reference: Berman, Rannen Triki, Blaschko, The Lovász-Softmax Loss, CVPR 2018.
    """
    x = read_region(logits, labels, where, activation=activation, pool=pool)
    return _mean_over_classes(
        x,
        ACTIVATE[activation],
        _distance,
        None,
        class_weights=class_weights,
        include_background=include_background,
        absent=absent,
        pool=pool,
    )


def _distance(p: Array, t: Array) -> Array:
    return jnp.where(t, 1 - p, p)


def lovasz_hinge(
    logits: Float[Array, "batch *space classes"],
    labels: Shaped[Array, "batch ..."],
    *,
    where: Bool[Array, " batch *space"] | None = None,
    class_weights: Float[Array, " classes"] | None = None,
    include_background: bool = True,
    pool: str = "example",
    absent: str = "smooth",
) -> Float[Array, "..."]:
    r"""Lovász hinge loss of each class by itself, averaged over classes.

    .. math::
        L = \frac{\sum_c w_c\, \overline{\Delta_c}(e_c)}{\sum_c w_c}, \qquad
        e_{ic} = \max(0,\; 1 - x_{ic}\, s_{ic}), \quad s_{ic} = \pm 1

    with s the sign of the label and :math:`\overline{\Delta_c}` the Lovász extension of the Jaccard
    loss of class c, as in `lovasz_softmax`. It takes raw scores: no sigmoid.

    Args:
        logits: raw scores.
        labels: class ids (integer, `batch *space`), a mask (bool, `batch *space`, for one class, or
            for two under a softmax), one mask a class (bool) or class probabilities (floating),
            `batch *space classes`.
        where: true = counted.
        class_weights: one weight a class, background included; may be traced.
        include_background: false gives class 0 the weight 0 (after the softmax).
        pool: where the sums run: "example", or "batch" (one ratio a class for the whole batch; the
            value is then a scalar).
        absent: what a class without a labeled pixel in the pool does: "smooth" keeps the formula,
            the largest error; "skip" leaves it out of the mean; "suppress" costs the mean
            probability :math:`\sigma(x)` given to it.

    Returns:
        One value per example, `batch` (a scalar with `pool="batch"`), at least 0. An example that
        is masked whole, or whose classes are all skipped, costs 0.

    Gradient: that of the errors with the weights of the ranks held constant, among equal errors the
    mean weight; 0 beyond the margin, and at its kink. Every order and both modes of differentiation
    work.

    Raises:
        ValueError: for shapes, dtypes or options outside the contract; for one class without
            background; for labels that are probabilities.

    Example:
        >>> import jax.numpy as jnp
        >>> logits = jnp.array([[[2.0], [0.5], [-2.0]]])  # 1 example, 3 pixels, 1 class
        >>> print(f"{lovasz_hinge(logits, jnp.array([[True, True, False]]))[0]:.3f}")
        0.250

    Reference: Yu and Blaschko, Learning Submodular Losses with the Lovász Hinge, ICML 2015; Berman,
    Rannen Triki, Blaschko, CVPR 2018, for the Jaccard loss.
    """
    x = read_region(logits, labels, where, activation="sigmoid", pool=pool)
    return _mean_over_classes(
        x,
        apart,
        _shortfall,
        jax.nn.sigmoid,
        class_weights=class_weights,
        include_background=include_background,
        absent=absent,
        pool=pool,
    )


def _shortfall(score: Array, t: Array) -> Array:
    return jax.nn.relu(1 + jnp.where(t, -score, score))


def _mean_over_classes(
    x: Inputs,
    activate: Callable[[Array], Parts],
    error: Callable[[Array, Array], Array],
    probability: Callable[[Array], Array] | None,
    *,
    class_weights: Array | None,
    include_background: bool,
    absent: str,
    pool: str,
) -> Float[Array, "..."]:
    """The mean over classes of the extension of each class's errors.

    Args:
        x: the inputs.
        activate: of the logits to the scores that errors are made of.
        error: of a score, and whether the pixel is of the class.
        probability: of a score; None if it is one.
        class_weights: see the losses, as the rest.
        include_background: see there.
        absent: see there.
        pool: see there.
    """
    if x.soft:
        raise ValueError(
            "labels: a Lovász loss needs hard labels, class ids or one bool mask a class; "
            f"got probabilities ({x.labels.dtype})"
        )

    def columns(logits: Array, labels: Array, weights: Array) -> list[tuple[Array, ...]]:
        """What is summed for each class: weighted errors, probabilities, members."""
        parts = zip(activate(logits), _true(labels, x), apart(weights), strict=True)
        values = []
        for score, t, weight in parts:
            p = score if probability is None else probability(score)
            values.append((weight * error(score, t), p, t.astype(p.dtype)))
        return values

    weights = lax.stop_gradient(_rank_weights(x, activate, error, pool))
    costs, given, true = class_sums(columns, x.logits, x.labels, x.counted(), weights)
    given, true = pooled(given, pool), pooled(true, pool)
    return mean_over_classes(
        pooled(costs, pool),
        Regions(given, given, true, count(x, pool)),
        class_weights=class_weights,
        include_background=include_background,
        absent=absent,
        pool=pool,
    )


def _true(labels: Array, x: Inputs) -> Parts:
    return members(labels, x.classes) if labels.ndim == 2 else apart(labels)


def _rank_weights(
    x: Inputs, activate: Callable[[Array], Parts], error: Callable, pool: str
) -> Float[Array, "batch pixels classes"]:
    """The weight of each pixel's rank among the errors of each class."""

    def of_class(score: Array, t: Array) -> Array:
        errors = error(score, t)
        if x.where is not None:
            errors, t = errors * x.where.astype(errors.dtype), t & x.where
        rows = (1, -1) if pool == "batch" else errors.shape
        return lovasz_weights(errors.reshape(rows), t.reshape(rows)).reshape(errors.shape)

    scores = _scores(x, activate)
    if x.classes <= SORTED_AT_ONCE:
        true = together(_true(x.labels, x), x.classes)
        pairs = zip(split_classes(scores), split_classes(true), strict=True)
        return jnp.stack([of_class(score, t) for score, t in pairs], axis=-1)

    # One class after the other, into its place: no more than the weights is held of all classes.

    def fill(c: Array, weights: Array) -> Array:
        t = x.labels == c if x.labels.ndim == 2 else jnp.take(x.labels, c, axis=-1)
        of_this = of_class(jnp.take(weights, c, axis=-1), t)
        return weights.at[..., c].set(of_this)

    return lax.fori_loop(0, x.classes, fill, scores)


def _scores(x: Inputs, activate: Callable[[Array], Parts]) -> Float[Array, "batch pixels classes"]:
    if are_apart(x.classes):
        return together(activate(x.logits), x.classes)
    return blockwise(lambda logits: activate(logits)[0], x.logits)
