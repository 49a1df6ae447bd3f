"""The class axis: probabilities, log probabilities and margins.

A segmentation has few classes and many pixels. XLA's CPU backend does not vectorize a reduction
over an axis of three elements, so up to `UNROLLED_CLASSES` classes are written out one by one, on
arrays of pixels; beyond that the plain formula over the axis is faster and smaller to compile. Each
function here has both forms, and a test ties them.

Derivatives are written by hand, as `custom_jvp`, so that a backward pass is one elementwise pass
that reuses what the forward pass computed. Both modes of differentiation and their compositions
work.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, Shaped

UNROLLED_CLASSES = 16


def _unrolled(x: Array) -> bool:
    return x.shape[-1] <= UNROLLED_CLASSES


def split_classes(x: Shaped[Array, "*leading classes"]) -> list[Shaped[Array, "*leading"]]:
    """The classes of a channels-last array, one by one."""
    return [x[..., c] for c in range(x.shape[-1])]


def class_major(x: Shaped[Array, "batch pixels classes"]) -> Shaped[Array, "batch classes pixels"]:
    """Moves the class axis from the last place to the second."""
    if not _unrolled(x):
        return jnp.moveaxis(x, -1, 1)
    return jnp.stack(split_classes(x), axis=1)


def _sum(arrays: list[Array]) -> Array:
    return functools.reduce(jnp.add, arrays)


def _log_sum_exp(arrays: list[Array]) -> Array:
    largest = functools.reduce(jnp.maximum, arrays)
    return largest + jnp.log(_sum([jnp.exp(x - largest) for x in arrays]))


@jax.custom_jvp
def softmax(logits: Float[Array, "batch pixels classes"]) -> Float[Array, "batch classes pixels"]:
    """Class probabilities, classes second: `p_c = exp(x_c) / sum_k exp(x_k)`.

    Its derivative is `dp_c = p_c (dx_c - sum_k p_k dx_k)`. The barrier keeps XLA from computing the
    exponentials anew for each sum that reads the probabilities.
    """
    if not _unrolled(logits):
        return lax.optimization_barrier(class_major(jax.nn.softmax(logits, axis=-1)))
    classes = split_classes(logits)
    largest = functools.reduce(jnp.maximum, classes)
    exponentials = [jnp.exp(x - largest) for x in classes]
    total = _sum(exponentials)
    return lax.optimization_barrier(jnp.stack([e / total for e in exponentials], axis=1))


@softmax.defjvp
def _softmax_jvp(primals, tangents):
    probabilities, (tangent,) = softmax(*primals), tangents
    if not _unrolled(tangent):
        moved = class_major(tangent)
        mean = jnp.sum(probabilities * moved, axis=1, keepdims=True)
        return probabilities, probabilities * (moved - mean)
    p = [probabilities[:, c] for c in range(tangent.shape[-1])]
    dx = split_classes(tangent)
    mean = _sum([p_c * dx_c for p_c, dx_c in zip(p, dx, strict=True)])
    dp = [p_c * (dx_c - mean) for p_c, dx_c in zip(p, dx, strict=True)]
    return probabilities, jnp.stack(dp, axis=1)


@jax.custom_jvp
def log_softmax(
    logits: Float[Array, "batch pixels classes"],
) -> Float[Array, "batch classes pixels"]:
    """Log probabilities, classes second: `x_c - log sum_k exp(x_k)`.

    Its derivative is `dx_c - sum_k p_k dx_k`.
    """
    if not _unrolled(logits):
        return class_major(jax.nn.log_softmax(logits, axis=-1))
    classes = split_classes(logits)
    total = _log_sum_exp(classes)
    return jnp.stack([x - total for x in classes], axis=1)


@log_softmax.defjvp
def _log_softmax_jvp(primals, tangents):
    value, (tangent,) = log_softmax(*primals), tangents
    if not _unrolled(tangent):
        moved = class_major(tangent)
        return value, moved - jnp.sum(jnp.exp(value) * moved, axis=1, keepdims=True)
    dx = split_classes(tangent)
    mean = _sum([jnp.exp(value[:, c]) * dx_c for c, dx_c in enumerate(dx)])
    return value, jnp.stack([dx_c - mean for dx_c in dx], axis=1)


@jax.custom_jvp
def margin(
    logits: Float[Array, "batch pixels classes"], ids: Int[Array, "batch pixels"]
) -> Float[Array, "batch pixels"]:
    """By how much the other classes beat class `y`: `m = log sum_{k != y} exp(x_k) - x_y`.

    It turns a softmax into a sigmoid without loss of digits: `log p_y = -softplus(m)` and
    `log(1 - p_y) = -softplus(-m)`, both exact however saturated the logits are. Its derivative is
    `dm = sum_{k != y} r_k dx_k - dx_y`, with `r` the softmax over the other classes. An id outside
    the classes gives a finite value without meaning.
    """
    others, own = _others(logits, ids), lookup(logits, ids)
    if not _unrolled(logits):
        return jax.nn.logsumexp(others, axis=-1) - own
    return _log_sum_exp(split_classes(others)) - own


@margin.defjvp
def _margin_jvp(primals, tangents):
    (logits, ids), (tangent, _) = primals, tangents
    others = _others(logits, ids)
    if not _unrolled(logits):
        shares = jax.nn.softmax(others, axis=-1)
        change = jnp.sum(shares * tangent, axis=-1) - lookup(tangent, ids)
        return margin(logits, ids), change
    # Of `others`, not of the logits: exp would overflow for a class that wins by far, unseen here
    # but not in the next derivative.
    rest = split_classes(others)
    total = _log_sum_exp(rest)
    change = _sum(
        [
            jnp.where(ids == c, -1.0, jnp.exp(x - total)) * dx_c
            for c, (x, dx_c) in enumerate(zip(rest, split_classes(tangent), strict=True))
        ]
    )
    return margin(logits, ids), change


def _others(logits: Array, ids: Array) -> Array:
    """The logits with that of class `ids` taken out of every sum of exponentials."""
    own = ids[..., None] == jnp.arange(logits.shape[-1], dtype=ids.dtype)[None, None]
    return jnp.where(own, jnp.finfo(logits.dtype).min, logits)


def margins(logits: Float[Array, "batch pixels classes"]) -> Float[Array, "batch classes pixels"]:
    """The margin of every class: `margin(logits, c)` for c = 0, 1, ...

    Written out, it grows with the square of the number of classes, and so does the time to compile
    it: beyond a few classes it is a loop.
    """
    ids = jnp.zeros(logits.shape[:2], jnp.int32)
    if logits.shape[-1] ** 2 > 2 * UNROLLED_CLASSES:
        classes = jnp.arange(logits.shape[-1])
        return jnp.moveaxis(lax.map(lambda c: margin(logits, ids + c), classes), 0, 1)
    return jnp.stack([margin(logits, ids + c) for c in range(logits.shape[-1])], axis=1)


def lookup(
    x: Shaped[Array, "batch pixels classes"], ids: Int[Array, "batch pixels"]
) -> Shaped[Array, "batch pixels"]:
    """`x[b, i, ids[b, i]]`; a chain of selections where that beats a gather."""
    if not _unrolled(x):
        return jnp.take_along_axis(x, ids[..., None], axis=-1, mode="clip")[..., 0]
    first, *rest = split_classes(x)
    for c, x_c in enumerate(rest, start=1):
        first = jnp.where(ids == c, x_c, first)
    return first
