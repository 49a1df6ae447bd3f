"""Deep supervision: one loss on several outputs of a network."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

WEIGHTS = ("uniform", "linear", "exponential")


def deep_supervision(
    loss: Callable[..., Array], *, weights: str | Sequence[float] | Array = "exponential"
) -> Callable[..., Float[Array, "..."]]:
    r"""Turns a loss of one output into a loss of a list of outputs.

    .. math::
        L = \sum_l w_l\, L(x_l, y_l), \qquad \sum_l w_l = 1

    over the levels l = 0, 1, ... of outputs, which may be resolutions, the full one first, or the
    steps of an iteration, the last one first.

    Args:
        loss: any loss of `logits` and `labels`.
        weights: falling along the list: "uniform" is 1, "linear" N - l for N levels, "exponential"
            :math:`2^{-l}`, each divided by their sum; or numbers, one a level, taken as they are.

    Returns:
        The loss of a list or tuple of `logits`, with the arguments of the given one. Arrays by
        pixel (`labels`, `where`) are those of the first level; a coarser level takes the nearest
        pixel (the center of each of its own).

    Gradient: that of the loss, for every level.

    Raises:
        ValueError: for an unknown name, a wrong number of weights, or no list of outputs.

    Example:
        >>> import jax.numpy as jnp
        >>> from lossbench import losses
        >>> logits = [jnp.zeros((1, 4, 4, 2)), jnp.zeros((1, 2, 2, 2))]
        >>> loss = deep_supervision(losses.cross_entropy, weights="linear")
        >>> print(f"{loss(logits, jnp.zeros((1, 4, 4), int))[0]:.3f}")
        0.693

    Reference: Lee et al., Deeply-Supervised Nets, AISTATS 2015; Isensee et al., nnU-Net, Nature
    Methods 2021, for the weights 1, 1/2, 1/4.
    """
    named = isinstance(weights, str) and weights in WEIGHTS
    numbers = isinstance(weights, list | tuple) and all(isinstance(w, int | float) for w in weights)
    if not (named or numbers or isinstance(weights, jax.Array)):
        raise ValueError(
            f"weights: expected one of {WEIGHTS} or one number a level, got {weights!r}"
        )

    @functools.wraps(loss)
    def of_levels(logits: Sequence[Array], labels: Array, **options: Any) -> Array:
        if not isinstance(logits, list | tuple) or not logits:
            raise ValueError(
                "logits: deep supervision needs a list of outputs, the finest first; "
                f"got {type(logits).__name__}"
            )
        fine = logits[0].shape[1:-1]
        values = []
        for level in logits:
            coarse = level.shape[1:-1]
            here = {k: _nearest(v, fine, coarse) for k, v in options.items() if k == "where"}
            values.append(loss(level, _nearest(labels, fine, coarse), **{**options, **here}))
        shares = _shares(weights, len(values))
        return functools.reduce(jnp.add, [w * v for w, v in zip(shares, values, strict=True)])

    return of_levels


def _shares(weights: str | Sequence[float] | Array, levels: int) -> list[float | Array]:
    if isinstance(weights, str):
        numbers = {
            "uniform": [1.0] * levels,
            "linear": [float(levels - level) for level in range(levels)],
            "exponential": [0.5**level for level in range(levels)],
        }[weights]
        return [number / sum(numbers) for number in numbers]
    if len(weights) != levels:
        raise ValueError(f"weights: expected one number a level, {levels}, got {len(weights)}")
    return list(weights)


def _nearest(x: Any, fine: tuple[int, ...], coarse: tuple[int, ...]) -> Any:
    """The pixel of the fine grid at the center of each pixel of the coarse one."""
    if x is None or fine == coarse:
        return x
    if len(fine) != len(coarse):
        raise ValueError(f"logits: levels of one rank expected, got {fine} and {coarse}")
    for axis, (size, wanted) in enumerate(zip(fine, coarse, strict=True), start=1):
        if size != wanted:
            centers = [int((i + 0.5) * size / wanted) for i in range(wanted)]
            x = jnp.take(x, jnp.asarray(centers), axis=axis)
    return x
