"""Probabilities, log probabilities, surprises and margins of logits.

Values and derivatives are written for both ways of holding a class axis, see `ops.classes`: sums
over few classes are written out, and every derivative, as a `custom_jvp`, is one elementwise pass
side by side. Both modes of differentiation and their compositions work.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from lossbench.ops.classes import (
    Parts,
    apart,
    are_few,
    is_member,
    largest_of_classes,
    lookup,
    over_classes,
    split_classes,
    spread,
    stored,
    total,
)


def softmax(logits: Float[Array, "batch pixels classes"]) -> Parts:
    """Class probabilities: `p_c = exp(x_c) / sum_k exp(x_k)`.

    Its derivative is `dp_c = p_c (dx_c - sum_k p_k dx_k)`.
    """
    return apart(_softmax(logits))


@jax.custom_jvp
def _softmax(logits: Array) -> Array:
    if not are_few(logits.shape[-1]):
        return jax.nn.softmax(logits, axis=-1)
    return jnp.exp(_log_probabilities(logits))


@_softmax.defjvp
def _softmax_jvp(primals, tangents):
    p = _softmax(*primals)
    return p, _change_of_softmax(p, tangents[0])


def _change_of_softmax(p: Array, dx: Array) -> Array:
    return p * (dx - spread(jnp.sum(p * dx, axis=-1), p.shape[-1]))


def sigmoid(logits: Float[Array, "batch pixels classes"]) -> Parts:
    """The probability of each class by itself: `1 / (1 + exp(-x_c))`."""
    return apart(_sigmoid(logits))


@jax.custom_jvp
def _sigmoid(logits: Array) -> Array:
    p = jax.nn.sigmoid(logits)
    return lax.optimization_barrier(p) if are_few(logits.shape[-1]) else p


@_sigmoid.defjvp
def _sigmoid_jvp(primals, tangents):
    p = _sigmoid(*primals)
    return p, p * (1 - p) * tangents[0]


def log_softmax(logits: Float[Array, "batch pixels classes"]) -> Parts:
    """Log probabilities: `x_c - log sum_k exp(x_k)`.

    Its derivative is `dx_c - sum_k p_k dx_k`.
    """
    return apart(_log_softmax(logits))


@jax.custom_jvp
def _log_softmax(logits: Array) -> Array:
    if not are_few(logits.shape[-1]):
        return jax.nn.log_softmax(logits, axis=-1)
    return _log_probabilities(logits)


@_log_softmax.defjvp
def _log_softmax_jvp(primals, tangents):
    (logits,), (dx,) = primals, tangents
    mean = jnp.sum(_softmax(logits) * dx, axis=-1)
    return _log_softmax(logits), dx - spread(mean, logits.shape[-1])


def _log_probabilities(logits: Array) -> Array:
    """The largest logit first: a common offset of all takes no digits."""
    largest, log_sum = _log_sum_exp(logits)
    return (logits - largest[..., None]) - log_sum[..., None]


def _log_sum_exp(logits: Array) -> tuple[Array, Array]:
    """The largest x, and `log sum_k exp(x_k - largest)`."""
    if are_few(logits.shape[-1]):
        largest, rest = _largest_and_rest(logits)
        return largest, jnp.log1p(rest)
    largest = jnp.max(logits, axis=-1)
    return largest, jnp.log(jnp.sum(jnp.exp(logits - largest[..., None]), axis=-1))


def _largest_and_rest(logits: Array) -> tuple[Array, Array]:
    """The largest x of few classes, and the sum of `exp(x_k - largest)` over all but one such k.

    The exponentials of all sum to 1 and the rest, which keeps its digits however small it is.
    """
    largest, *rest = split_classes(logits)
    for c, x in enumerate(rest):
        largest, rest[c] = jnp.maximum(largest, x), jnp.minimum(largest, x)
    return largest, total([jnp.exp(x - largest) for x in rest])


@jax.custom_jvp
def surprise(
    logits: Float[Array, "batch pixels classes"], ids: Int[Array, "batch pixels"]
) -> Float[Array, "batch pixels"]:
    """`-log p_y` of the class y = ids at each pixel, p the softmax.

    Of few classes it keeps its digits however saturated the logits are; of many it is exact to
    1e-7. An id outside the classes gives a finite value without meaning. Its derivative is
    `sum_k p_k dx_k - dx_y`.
    """
    largest, log_sum = _log_sum_exp(logits)
    return (largest - lookup(logits, ids)) + log_sum


@surprise.defjvp
def _surprise_jvp(primals, tangents):
    (logits, ids), (dx, _) = primals, tangents
    p = _probabilities(logits)
    pull = jnp.where(is_member(ids, logits.shape[-1]), p - 1, p)
    return surprise(logits, ids), jnp.sum(pull * dx, axis=-1)


@jax.custom_jvp
def _probabilities(logits: Array) -> Array:
    """The softmax; of many classes from the largest and the sum that the surprise has, too."""
    if are_few(logits.shape[-1]):
        return _softmax(logits)
    return jnp.exp(_log_probabilities(logits))


@_probabilities.defjvp
def _probabilities_jvp(primals, tangents):
    p = _probabilities(*primals)
    return p, _change_of_softmax(p, tangents[0])


def surprises(
    logits: Float[Array, "batch pixels classes"], ids: Int[Array, "batch pixels"]
) -> tuple[Float[Array, "batch pixels"], Float[Array, "batch pixels"]]:
    """`-log p_y` and `-log(1 - p_y)` of the class y = ids at each pixel, p the softmax.

    Both keep their digits however saturated the logits are. An id outside the classes gives finite
    values without meaning.
    """
    return softplus_both(_margin(logits, ids))


@jax.custom_jvp
def _margin(logits: Array, ids: Array) -> Array:
    """By how much the other classes beat y: `log sum_{k != y} exp(x_k) - x_y`.

    Its derivative is `sum_{k != y} r_k dx_k - dx_y`, with r the softmax over the other classes.
    """
    largest, log_sum = _log_sum_exp_of_others(logits, ids)
    return (largest - lookup(logits, ids)) + log_sum


@_margin.defjvp
def _margin_jvp(primals, tangents):
    (logits, ids), (dx, _) = primals, tangents
    pull = jnp.where(is_member(ids, logits.shape[-1]), -1, _shares_of_others(logits, ids))
    # The logarithm of a sum that holds a 1 is at least 0, also where a device rounds it.
    _, log_sum = _log_sum_exp_of_others(logits, ids)
    return _margin(logits, ids), stored(jnp.sum(pull * dx, axis=-1), log_sum < -1)


@jax.custom_jvp
def _shares_of_others(logits: Array, ids: Array) -> Array:
    """The softmax over all classes but y; 0 for y."""
    largest, log_sum = _log_sum_exp_of_others(logits, ids)
    return jnp.exp((_others(logits, ids) - largest[..., None]) - log_sum[..., None])


@_shares_of_others.defjvp
def _shares_of_others_jvp(primals, tangents):
    r = _shares_of_others(*primals)
    return r, _change_of_softmax(r, tangents[0])


def _log_sum_exp_of_others(logits: Array, ids: Array) -> tuple[Array, Array]:
    """The largest x of the other classes, and `log sum_{k != y} exp(x_k - largest)`."""
    if not are_few(logits.shape[-1]):
        x = _others(logits, ids)
        largest = jnp.max(x, axis=-1)
        return largest, jnp.log(jnp.sum(jnp.exp(x - largest[..., None]), axis=-1))
    lowest = jnp.finfo(logits.dtype).min
    others = [jnp.where(ids == c, lowest, x) for c, x in enumerate(split_classes(logits))]
    largest = functools.reduce(jnp.maximum, others)
    return largest, jnp.log(total([jnp.exp(x - largest) for x in others]))


def _others(logits: Array, ids: Array) -> Array:
    """The logits with that of class `ids` taken out of every sum of exponentials."""
    return jnp.where(is_member(ids, logits.shape[-1]), jnp.finfo(logits.dtype).min, logits)


def margins(logits: Float[Array, "batch pixels classes"]) -> Parts:
    """By how much the others beat each class: `m_c = log sum_{k != c} exp(x_k) - x_c`.

    The margin turns a softmax into a sigmoid without loss of digits: `log p_c = -softplus(m_c)` and
    `log(1 - p_c) = -softplus(-m_c)`, exact however saturated the logits are.

    All from two sums of exponentials. Of a class that is not the largest, the others sum to
    `total - exp(x_c)`: the largest is among them, so no digit is lost. The largest class itself
    takes the sum over the others.
    """
    return apart(_margins(logits))


@jax.custom_jvp
def _margins(logits: Array) -> Array:
    classes = logits.shape[-1]
    largest, top = largest_of_classes(logits)
    second, log_rest = _log_sum_exp_of_others(logits, top)
    shares = jnp.exp(logits - largest[..., None])
    others = jnp.log(over_classes(jnp.sum, jnp.add, shares)[..., None] - shares)
    of_top = (second - largest) + log_rest
    return jnp.where(
        is_member(top, classes), of_top[..., None], (largest[..., None] - logits) + others
    )


@_margins.defjvp
def _margins_jvp(primals, tangents):
    """`dm_c = sum_{k != c} r_k dx_k - dx_c`, r the softmax over the others of c."""
    (logits,), (dx,) = primals, tangents
    values, classes = _margins(logits), logits.shape[-1]
    _, top = largest_of_classes(logits)
    is_top, r = is_member(top, classes), _shares_of_others(logits, top)
    p = jax.nn.sigmoid(-values)
    mean = spread(jnp.sum(p * dx, axis=-1), classes)
    of_top = spread(jnp.sum(r * dx, axis=-1), classes)
    of_others = (mean - p * dx) / jnp.where(is_top, 1, 1 - p)
    return values, jnp.where(is_top, of_top, of_others) - dx


@jax.custom_jvp
def softplus_both(x: Array) -> tuple[Array, Array]:
    """`log(1 + exp(x))` and `log(1 + exp(-x))`, from one exponential and one logarithm.

    With x a margin they are `-log p` and `-log(1 - p)`.
    """
    small = jnp.log1p(jnp.exp(-jnp.abs(x)))
    return jnp.maximum(x, 0) + small, jnp.maximum(-x, 0) + small


@softplus_both.defjvp
def _softplus_both_jvp(primals, tangents):
    (x,), (dx,) = primals, tangents
    return softplus_both(x), (jax.nn.sigmoid(x) * dx, -jax.nn.sigmoid(-x) * dx)
