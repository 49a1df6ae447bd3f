"""The sigmoid focal loss of single elements, as optax and torchvision have it."""

import jax
import jax.numpy as jnp
from jaxtyping import Array

from lossbench import losses
from lossbench.compat._numbers import number, number_or_none


def as_pixels(x: Array) -> Array:
    """Elements of any shape as `batch pixels 1`: one class, the first axis stays the batch."""
    return x.reshape(x.shape[0] if x.ndim else 1, -1, 1)


def elementwise(
    logits: Array, labels: Array, *, alpha: float | Array | None, gamma: float | Array
) -> Array:
    """Focal loss of each element; labels that are neither 0 nor 1 as in these two libraries.

    There the cost is `(1 - p_t)^gamma` times the cross entropy of the label, with
    `p_t = t p + (1 - t) (1 - p)`, and balanced by `alpha t + (1 - alpha) (1 - t)`.
    """
    alpha, gamma = number_or_none(alpha), number(gamma)
    x, t = as_pixels(logits), as_pixels(labels)
    if not jnp.issubdtype(t.dtype, jnp.floating):
        t = t.astype(x.dtype)
        costs = losses.sigmoid_focal(x, t, alpha=alpha, gamma=gamma, reduction="none")
        return costs.reshape(logits.shape)
    costs = losses.binary_cross_entropy(x, t, reduction="none")
    t = t.astype(costs.dtype)
    x = x.astype(costs.dtype)
    # log(1 - p_t), whose two parts are exact for the largest logits.
    sides = jnp.stack([jax.nn.log_sigmoid(x), jax.nn.log_sigmoid(-x)])
    miss = jax.scipy.special.logsumexp(sides, axis=0, b=jnp.stack([1 - t, t]))
    costs = costs * jnp.exp(jnp.asarray(gamma, costs.dtype) * miss)
    if alpha is not None:
        balance = jnp.asarray(alpha, costs.dtype)
        costs = costs * (balance * t + (1 - balance) * (1 - t))
    return costs.reshape(logits.shape)
