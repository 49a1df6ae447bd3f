"""Selectors of channels: whether one has decided for few of them or weighs all alike."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.special import xlogy
from jaxtyping import Array, Bool, Float, Int

from lossbench import _checks


class Entropy(NamedTuple):
    """The entropy of each selector.

    Attributes:
        nats: from 0 for a single channel to `log channels` for all alike.
        normalized: the same over `log channels`, from 0 to 1.
        undefined: number of selectors that have none, which are NaN.
    """

    nats: Float[Array, " *selectors"]
    normalized: Float[Array, " *selectors"]
    undefined: Int[Array, ""]


class Concentration(NamedTuple):
    """The Gini coefficient of each selector.

    Attributes:
        gini: from 0 for all channels alike to `1 - 1 / channels` for a single one.
        normalized: the same over `1 - 1 / channels`, from 0 to 1.
        undefined: number of selectors that have none, which are NaN.
    """

    gini: Float[Array, " *selectors"]
    normalized: Float[Array, " *selectors"]
    undefined: Int[Array, ""]


def selector_entropy(weights: Float[Array, "*selectors channels"]) -> Entropy:
    """Entropy of the channels that a selector weighs: high if it has not decided, 0 if it has.

    `-sum_c p_c log p_c` with `p = w / sum(w)`, and 0 for a weight of 0, exactly.

    Args:
        weights: at least 0, one a channel, of at least 2 channels; their scale does not matter.

    Returns:
        The entropy in nats and normalized, one of each selector; and how many are undefined, which
        are NaN: those of which all weights are 0, or one is negative, NaN or infinite.

    Raises:
        ValueError: for shapes or dtypes that do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> found = selector_entropy(jnp.array([[1.0, 1, 1, 1], [0, 0, 1, 1], [0, 0, 5, 0]]))
        >>> print(found.normalized)
        [1.  0.5 0. ]

    Reference: Shannon, A Mathematical Theory of Communication, Bell System Technical Journal 1948.
    """
    _check_weights(weights)
    return _selector_entropy(weights)


def selector_concentration(weights: Float[Array, "*selectors channels"]) -> Concentration:
    """Concentration of a selector on few channels, by the Gini coefficient: 0 if all are alike.

    `sum_i (2 i - n - 1) w_(i) / (n sum(w))` over the n weights in rising order. Higher is more
    concentrated: it is the opposite of diversity.

    Args:
        weights: at least 0, one a channel, of at least 2 channels; their scale does not matter.

    Returns:
        The coefficient and its normalized form, one of each selector; and how many are undefined,
        which are NaN: those of which all weights are 0, or one is negative, NaN or infinite.

    Raises:
        ValueError: for shapes or dtypes that do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> found = selector_concentration(jnp.array([[1.0, 1, 1, 1], [0, 0, 1, 1], [0, 0, 5, 0]]))
        >>> print(found.gini, found.normalized)
        [0.   0.5  0.75] [0.        0.6666667 1.       ]

    Reference: Gini, Variabilità e Mutabilità, 1912; Hurley and Rickard, Comparing Measures of
    Sparsity, IEEE Transactions on Information Theory 2009.
    """
    _check_weights(weights)
    return _selector_concentration(weights)


def _check_weights(weights: Array) -> None:
    _checks.floating(weights=weights)
    if weights.ndim == 0 or weights.shape[-1] < 2:
        raise ValueError(
            f"weights: expected shape (*selectors, channels), 2 channels or more, got "
            f"{weights.shape}"
        )


def _shares(weights: Array) -> tuple[Float[Array, "*selectors channels"], Bool[Array, "..."]]:
    """Weights that sum to 1, and the selectors that have none."""
    weights = weights.astype(jnp.float32)
    largest = jnp.max(weights, axis=-1, keepdims=True)
    usable = jnp.all((weights >= 0) & (weights < jnp.inf), axis=-1, keepdims=True) & (largest > 0)
    # Nearly relative to the largest: neither the sum nor a reciprocal overflows or vanishes.
    weights = jnp.where(usable, weights / jnp.clip(largest, 1e-30, 1e30), 1)
    return weights / jnp.sum(weights, axis=-1, keepdims=True), ~usable[..., 0]


@jax.jit
def _selector_entropy(weights) -> Entropy:
    shares, undefined = _shares(weights)
    most = jnp.log(jnp.float32(weights.shape[-1]))
    # No term is above 0. The sign is taken off so that a single channel has 0 and not -0.
    nats = jnp.minimum(jnp.abs(jnp.sum(xlogy(shares, shares), axis=-1)), most)
    nats = jnp.where(undefined, jnp.nan, nats)
    return Entropy(nats, nats / most, jnp.sum(undefined, dtype=jnp.int32))


@jax.jit
def _selector_concentration(weights) -> Concentration:
    shares, undefined = _shares(weights)
    channels = weights.shape[-1]
    rising = jnp.sort(shares, axis=-1)
    place = 2 * lax.broadcasted_iota(jnp.float32, shares.shape, shares.ndim - 1) + 1 - channels
    # Two at a time, the i-th and the i-th from the end: no term is below 0, and of equal weights
    # all are 0.
    above = jnp.maximum(place, 0) * (rising - jnp.flip(rising, axis=-1))
    gini = jnp.sum(above, axis=-1) / channels
    gini = jnp.where(undefined, jnp.nan, jnp.clip(gini, 0, 1 - 1 / channels))
    normalized = gini / (1 - 1 / channels)
    return Concentration(gini, normalized, jnp.sum(undefined, dtype=jnp.int32))
