"""Regularizers of selectors: of the weights that one gives to each channel, as of a soft choice.

`lossbench.metrics` has what tells how far a selector has decided; these push it to one side.
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from lossbench import _checks
from lossbench.losses._inputs import Number, number
from lossbench.losses._space import SHORTEST, unit

GOALS = ("maximize", "minimize")


def distinctness(selector_weights: Float[Array, "*groups channels"]) -> Float[Array, ""]:
    r"""Distinctness: the mean cosine of pairs of selectors, so that they choose different channels.

    .. math::
        L = \frac{2}{K (K - 1)} \sum_{i < j}
        \frac{w_i \cdot w_j}{\lVert w_i \rVert \lVert w_j \rVert}

    over all pairs of the K selectors: pairs that have nothing in common count, with their 0.

    Args:
        selector_weights: `selectors channels`, a selector a row. Axes before these are groups of
            selectors, each with pairs of its own.

    Returns:
        A scalar: 1 if all selectors are alike, 0 if no two share a channel, at least 0 if no weight
        is negative, and at least -1. 0 for fewer than two selectors: there is no pair.

    Gradient: smooth, also where every selector has chosen one channel; it is orthogonal to each
    row, as lengths change nothing. A selector of nothing but 0 has no direction: its cosines are 0,
    with gradient 0. Every order and both modes of differentiation work.

    Raises:
        ValueError: for shapes or dtypes outside the contract.

    Example:
        >>> import jax.numpy as jnp
        >>> weights = jnp.array([[1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 5.0]])
        >>> print(f"{distinctness(weights):.4f}")  # cosines of 0.7071, 0 and 0
        0.2357

    Reference: the formula is that of cuvis-ai's `DistinctnessLoss`, which leaves out pairs of
    cosine 0 and so is NaN where it has succeeded; Bansal et al., Can We Gain More from
    Orthogonality Regularizations in Training Deep Networks?, NeurIPS 2018.
    """
    w = _read(selector_weights)
    selectors = w.shape[-2] if w.ndim > 1 else 1
    if selectors < 2:
        return jnp.sum(w * 0)
    u = unit(w)[0].reshape(-1, selectors, w.shape[-1])
    # Accelerators would round the factors to fewer digits by default.
    cosines = jnp.einsum("gic,gjc->gij", u, u, precision=lax.Precision.HIGHEST)
    first, second = jnp.triu_indices(selectors, k=1)
    return jnp.mean(cosines[:, first, second])


def selector_entropy(
    selector_weights: Float[Array, "*selectors channels"],
    *,
    goal: str = "maximize",
    target: Number | None = None,
) -> Float[Array, ""]:
    r"""Entropy of a selector: to be made large (undecided), small (decided), or equal to a target.

    .. math::
        H = -\sum_c p_c \log p_c, \quad p_c = \frac{w_c}{\sum_k w_k}, \qquad
        L = -H, \quad L = H \quad\text{or}\quad L = (H - \text{target})^2

    in nats: from 0 for a single channel to the logarithm of their number for all alike.

    Args:
        selector_weights: at least 0, `channels` or, of several selectors, `*selectors channels`;
            their scale does not matter.
        goal: "maximize" or "minimize"; without effect if there is a target.
        target: in nats; may be traced.

    Returns:
        A scalar, the mean over selectors. With "maximize" it is negative, down to minus the
        logarithm of the number of channels; otherwise at least 0. A selector of nothing but 0 has
        an entropy of 0; one with a negative weight has none, NaN.

    Gradient: it grows without bound towards a weight of 0, where that channel's slope is taken at
    the least normal number instead: 87 over the sum of the weights. A selector that has decided can
    so be opened again. For a selector of nothing but 0 it is 0. Every order and both modes of
    differentiation work where no weight is 0.

    Raises:
        ValueError: for shapes, dtypes or options outside the contract.

    Example:
        >>> import jax.numpy as jnp
        >>> weights = jnp.array([3.0, 3.0, 0.0, 0.0])
        >>> print(f"{selector_entropy(weights):.4f}")  # minus the logarithm of 2
        -0.6931

    Reference: Shannon, A Mathematical Theory of Communication, Bell System Technical Journal 1948;
    Grandvalet and Bengio, Semi-supervised Learning by Entropy Minimization, NeurIPS 2004.
    """
    _checks.choice("goal", goal, GOALS)
    if target is not None and jnp.ndim(target) != 0:
        raise ValueError(f"target: expected one number, got shape {jnp.shape(target)}")
    w = _read(selector_weights)
    if _checks.of_values():
        _checks.value(jnp.all(w >= 0), "selector_weights: a weight is negative or NaN")
    # A constant, as it cancels out: the sum neither overflows nor vanishes.
    largest = lax.stop_gradient(jnp.max(jnp.abs(w), axis=-1, keepdims=True))
    there = ~(largest <= SHORTEST)
    w = jnp.where(there, w, 0) / jnp.where(there, largest, 1)
    p = w / jnp.where(there, jnp.sum(w, axis=-1, keepdims=True), 1)
    tiny = float(jnp.finfo(p.dtype).tiny)
    is_zero = (p >= 0) & (p < tiny)
    logarithm = jnp.log(jnp.where(is_zero, tiny, p))
    # Of nothing but 0 there is no share whose slope could count.
    entropy = -jnp.sum(jnp.where(there, p * logarithm, 0), axis=-1)
    if target is not None:
        return jnp.mean(jnp.square(entropy - number(target, p)))
    return jnp.mean(entropy if goal == "minimize" else -entropy)


def selector_diversity(
    selector_weights: Float[Array, "*selectors channels"],
) -> Float[Array, ""]:
    r"""Selector diversity: minus the variance of a selector's weights. It rewards concentration.

    .. math::
        L = -\frac{1}{C} \sum_c (w_c - \bar{w})^2

    Whatever its name says, it is least where all weight is on one channel: of four weights that
    sum to 1 it is -0.1875 then, and 0 where all are alike. It so works against `selector_entropy`
    with "maximize", and with "minimize" in the same direction. Nothing bounds it but the weights:
    give it those of a softmax.

    Args:
        selector_weights: `channels` or, of several selectors, `*selectors channels`; as they are,
            their scale counts.

    Returns:
        A scalar, at most 0: the mean over selectors.

    Gradient: smooth everywhere, `-2 (w - mean) / C`; 0 where all weights are alike, so a selector
    that begins there stays there. Every order and both modes of differentiation work.

    Raises:
        ValueError: for shapes or dtypes outside the contract.

    Example:
        >>> import jax.numpy as jnp
        >>> for weights in ([1.0, 0.0, 0.0, 0.0], [0.25, 0.25, 0.25, 0.25]):
        ...     print(abs(selector_diversity(jnp.array(weights))))
        0.1875
        0.0

    Reference: the formula is that of cuvis-ai's `SelectorDiversityRegularizer`.
    """
    w = _read(selector_weights)
    return -jnp.mean(jnp.var(w, axis=-1))


def _read(selector_weights: Array) -> Float[Array, "*groups channels"]:
    w = jnp.asarray(selector_weights)
    _checks.floating(selector_weights=w)
    if w.ndim == 0 or w.size == 0:
        raise ValueError(
            f"selector_weights: expected shape (*selectors, channels), not empty, got {w.shape}"
        )
    return w.astype(_checks.compute_dtype(w))
