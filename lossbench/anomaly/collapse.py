"""The collapse of a one-class network: what tells it, and when a training had better stop.

A network that maps everything to the center has a loss of 0 and has learned nothing. Its ranking of
what lies within rounding of a point may even look alright for a while, so it must be watched.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


class Spread(NamedTuple):
    """How embeddings are spread.

    Attributes:
        mean: of each component.
        spread: root of the mean variance of a component.
        effective_rank: exponential of the entropy of the covariance's eigenvalues, from 1, all on a
            line, to the number of features; 0 if they are all the same.
        distinct: distinct distances to the center, as a share of all.
    """

    mean: Float[Array, " features"]
    spread: Float[Array, ""]
    effective_rank: Float[Array, ""]
    distinct: Float[Array, ""]


class Limits(NamedTuple):
    """Where a training is stopped.

    Attributes:
        spread: least share of the spread that the embeddings had before training.
        distinct: least share of the distinct scores that there were before training.
        drift: how far a moving center may go, in lengths of the center that it began as.
    """

    spread: float = 5e-3
    distinct: float = 1e-2
    drift: float = 0.5


def spread(
    embeddings: Float[Array, "*batch features"],
    distances: Float[Array, " *batch"],
    where: Bool[Array, " *batch"] | None = None,
) -> Spread:
    """How the embeddings are spread that count.

    Args:
        embeddings: any number of them, in any shape.
        distances: squared, to the center.
        where: true = counted.

    Example:
        >>> import jax.numpy as jnp
        >>> line = jnp.array([[0.0, 0.0], [2.0, 0.0]])
        >>> found = spread(line, jnp.array([0.0, 4.0]))
        >>> print(f"{found.spread:.3f} {found.effective_rank:.1f} {found.distinct:.1f}")
        0.707 1.0 1.0

    Reference: Roy and Vetterli, The Effective Rank, EUSIPCO 2007.
    """
    rows = embeddings.reshape(-1, embeddings.shape[-1]).astype(jnp.float32)
    counted = jnp.ones(rows.shape[:1], bool) if where is None else where.reshape(-1)
    n = jnp.maximum(jnp.sum(counted), 1)
    mean = jnp.sum(jnp.where(counted[:, None], rows, 0), axis=0) / n
    apart = jnp.where(counted[:, None], rows - mean[None], 0)
    covariance = apart.T @ apart / n
    variance = jnp.trace(covariance)
    # Divided by its trace: the eigenvalues are shares, and no embedding is too small.
    shares = jnp.maximum(jnp.linalg.eigvalsh(covariance / _nonzero(variance)), 0)
    shares = shares / _nonzero(jnp.sum(shares))
    entropy = -jnp.sum(jnp.where(shares > 0, shares * jnp.log(_nonzero(shares)), 0))
    rank = jnp.where(variance > 0, jnp.exp(entropy), 0)
    rising = jnp.sort(jnp.where(counted, distances.reshape(-1), jnp.inf))
    new = jnp.concatenate([jnp.ones(1, bool), rising[1:] != rising[:-1]])
    distinct = jnp.sum(new & (jnp.arange(rising.size) < n)) / n
    return Spread(mean, jnp.sqrt(variance / rows.shape[1]), rank, distinct)


def _nonzero(x: Array) -> Array:
    return jnp.where(x > 0, x, 1)


def collapsed(facts: Mapping[str, float], limits: Limits) -> str:
    """A sentence on why a training has collapsed; empty if it has not.

    Args:
        facts: "spread", "distinct" and "drift", relative to what they were before training.
        limits: beyond which it has.

    Example:
        >>> facts = {"spread": 2e-4, "distinct": 0.9, "drift": 0.0}
        >>> print(collapsed(facts, Limits()).partition(";")[0])
        the embeddings have collapsed: their spread is 0.0002 of what it was before training
    """
    if not facts["spread"] >= limits.spread:
        what = f"their spread is {facts['spread']:.2g} of what it was before training"
        limit = f"limit {limits.spread:g}"
    elif not facts["distinct"] >= limits.distinct:
        what = f"of the distinct scores before training {facts['distinct']:.2%} are left"
        limit = f"limit {limits.distinct:.0%}"
    elif not facts["drift"] <= limits.drift:
        return (
            "the center has run away: it moved by "
            f"{facts['drift']:.2g} times its own length (limit {limits.drift:g}); a center that "
            "follows the network lets it shrink everything to one point. Keep it fixed "
            "(svdd.center='fixed'), or lower svdd.center_rate or the learning rate; "
            "svdd.monitor='warn' goes on all the same"
        )
    else:
        return ""
    return (
        f"the embeddings have collapsed: {what}; {limit}. A network that maps everything to one "
        "point has the loss 0 and tells nothing apart. Remove biases (use_bias=False) and bounded "
        "activations, keep the center fixed (svdd.center='fixed'), train for fewer steps or at a "
        "lower learning rate; svdd.monitor='warn' goes on all the same"
    )
