"""The class axis: probabilities, log probabilities and margins.

A segmentation has few classes and many pixels. XLA's CPU backend does not vectorize a reduction
over an axis of three elements, so up to `UNROLLED_CLASSES` classes are taken apart and written out
one by one, on arrays of pixels. Each class then repeats the exponentials of all, so that more of
them are faster side by side on the last axis, with the plain formula over it. What has a value a
class is therefore a list of *parts*: one array `batch pixels` a class if the classes are apart,
else a single `batch pixels classes`. A formula that holds for each class by itself is written once
and holds for either kind. Each function here has both forms, and a test ties them.

Derivatives are written by hand, as `custom_jvp`, so that a backward pass is one elementwise pass
that reuses what the forward pass computed. Both modes of differentiation and their compositions
work.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Shaped

UNROLLED_CLASSES = 5

# One array `batch pixels` a class, or one `batch pixels classes`.
Parts = list[Array]


def are_apart(classes: int) -> bool:
    """Whether this many classes are taken apart."""
    return classes <= UNROLLED_CLASSES


def split_classes(x: Shaped[Array, "*leading classes"]) -> list[Shaped[Array, "*leading"]]:
    """The classes of a channels-last array, one by one."""
    return [x[..., c] for c in range(x.shape[-1])]


def apart(x: Shaped[Array, "batch pixels classes"]) -> Parts:
    """The parts of a channels-last array."""
    return split_classes(x) if are_apart(x.shape[-1]) else [x]


def together(parts: Parts, classes: int) -> Array:
    """Parts, or sums of parts, with the classes last."""
    return jnp.stack(parts, axis=-1) if are_apart(classes) else parts[0]


def per_class(values: Shaped[Array, " classes"]) -> Parts:
    """One number a class, to be combined with parts: scalars, or `1 1 classes`."""
    return split_classes(values) if are_apart(values.shape[-1]) else [values[None, None]]


def members(
    ids: Int[Array, "batch pixels"], classes: int
) -> list[Bool[Array, "batch pixels *classes"]]:
    """Which pixel belongs to which class, as parts."""
    if are_apart(classes):
        return [ids == c for c in range(classes)]
    return [ids[..., None] == jnp.arange(classes, dtype=ids.dtype)[None, None]]


def total(parts: Parts) -> Array:
    """The sum over classes, `batch pixels`."""
    if parts[0].ndim == 3:
        return jnp.sum(parts[0], axis=-1)
    return functools.reduce(jnp.add, parts)


def softmax(logits: Float[Array, "batch pixels classes"]) -> Parts:
    """Class probabilities: `p_c = exp(x_c) / sum_k exp(x_k)`.

    Its derivative is `dp_c = p_c (dx_c - sum_k p_k dx_k)`.
    """
    if are_apart(logits.shape[-1]):
        return _softmax_apart(logits)
    return [_softmax_side_by_side(logits)]


@jax.custom_jvp
def _softmax_side_by_side(logits: Array) -> Array:
    return jax.nn.softmax(logits, axis=-1)


@_softmax_side_by_side.defjvp
def _softmax_side_by_side_jvp(primals, tangents):
    p, (dx,) = _softmax_side_by_side(*primals), tangents
    return p, p * (dx - jnp.sum(p * dx, axis=-1, keepdims=True))


@jax.custom_jvp
def _softmax_apart(logits: Array) -> Parts:
    """Stored once, in one array: XLA would compute the exponentials anew for each of several."""
    classes = split_classes(logits)
    largest = functools.reduce(jnp.maximum, classes)
    exponentials = [jnp.exp(x - largest) for x in classes]
    whole = total(exponentials)
    p = lax.optimization_barrier(jnp.stack([e / whole for e in exponentials], axis=1))
    return [p[:, c] for c in range(len(classes))]


@_softmax_apart.defjvp
def _softmax_apart_jvp(primals, tangents):
    p, dx = _softmax_apart(*primals), split_classes(tangents[0])
    mean = total([p_c * dx_c for p_c, dx_c in zip(p, dx, strict=True)])
    return p, [p_c * (dx_c - mean) for p_c, dx_c in zip(p, dx, strict=True)]


def sigmoid(logits: Float[Array, "batch pixels classes"]) -> Parts:
    """The probability of each class by itself: `1 / (1 + exp(-x_c))`."""
    if are_apart(logits.shape[-1]):
        return _sigmoid_apart(logits)
    return [jax.nn.sigmoid(logits)]


@jax.custom_jvp
def _sigmoid_apart(logits: Array) -> Parts:
    p = [jax.nn.sigmoid(x) for x in split_classes(logits)]
    return list(lax.optimization_barrier(tuple(p)))


@_sigmoid_apart.defjvp
def _sigmoid_apart_jvp(primals, tangents):
    p, dx = _sigmoid_apart(*primals), split_classes(tangents[0])
    return p, [p_c * (1 - p_c) * dx_c for p_c, dx_c in zip(p, dx, strict=True)]


def log_softmax(logits: Float[Array, "batch pixels classes"]) -> Parts:
    """Log probabilities: `x_c - log sum_k exp(x_k)`.

    Its derivative is `dx_c - sum_k p_k dx_k`.
    """
    if are_apart(logits.shape[-1]):
        return _log_softmax_apart(logits)
    return [jax.nn.log_softmax(logits, axis=-1)]


@jax.custom_jvp
def _log_softmax_apart(logits: Array) -> Parts:
    classes = split_classes(logits)
    largest = functools.reduce(jnp.maximum, classes)
    log_sum = jnp.log(total([jnp.exp(x - largest) for x in classes]))
    # The largest logit first: a common offset of all takes no digits.
    return [(x - largest) - log_sum for x in classes]


@_log_softmax_apart.defjvp
def _log_softmax_apart_jvp(primals, tangents):
    value, dx = _log_softmax_apart(*primals), split_classes(tangents[0])
    mean = total([jnp.exp(value_c) * dx_c for value_c, dx_c in zip(value, dx, strict=True)])
    return value, [dx_c - mean for dx_c in dx]


def surprises(
    logits: Float[Array, "batch pixels classes"], ids: Int[Array, "batch pixels"]
) -> tuple[Float[Array, "batch pixels"], Float[Array, "batch pixels"]]:
    """`-log p_y` and `-log(1 - p_y)` of the class y = ids at each pixel, p the softmax.

    The first keeps its digits however saturated the logits are. The second is for exponents: it is
    exact to 1e-7, and ends where 1 - p_y has no normal number any more. An id outside the classes
    gives finite values without meaning. The derivatives are

        sum_{k != y} p_k dx_k - (1 - p_y) dx_y    and    -p_y (sum_{k != y} r_k dx_k - dx_y)

    with r the softmax over the other classes.
    """
    if are_apart(logits.shape[-1]):
        return _surprises_apart(logits, ids)
    return softplus_both(_margin(logits, ids))


@jax.custom_jvp
def _surprises_apart(logits: Array, ids: Array) -> tuple[Array, Array]:
    """From the stored probabilities: a region loss beside it reads the same ones."""
    x, p = split_classes(logits), softmax(logits)
    largest = functools.reduce(jnp.maximum, x)
    most = functools.reduce(jnp.maximum, p)  # 1 / sum_k exp(x_k - largest)
    others = _sum_of_others(p, ids)
    # Above 1/2, p_y is known by what is missing to 1; a small one by its logit.
    likely = -jnp.log1p(-jnp.minimum(others, 0.5))
    unlikely = (largest - choose(x, ids)) - jnp.log(most)
    tiny = jnp.finfo(logits.dtype).tiny
    return jnp.where(others < 0.5, likely, unlikely), -jnp.log(jnp.maximum(others, tiny))


@_surprises_apart.defjvp
def _surprises_apart_jvp(primals, tangents):
    (logits, ids), (tangent, _) = primals, tangents
    p, dx = softmax(logits), split_classes(tangent)
    pull = [jnp.where(ids == c, -_sum_of_others(p, ids), p_c) for c, p_c in enumerate(p)]
    margin = [jnp.where(ids == c, -1, r_c) for c, r_c in enumerate(_shares_of_others(logits, ids))]
    right = total([pull_c * dx_c for pull_c, dx_c in zip(pull, dx, strict=True)])
    wrong = -choose(p, ids) * total([m_c * dx_c for m_c, dx_c in zip(margin, dx, strict=True)])
    return _surprises_apart(logits, ids), (right, wrong)


@jax.custom_jvp
def _shares_of_others(logits: Array, ids: Array) -> Parts:
    """The softmax over all classes but y; 0 for y, and for all where 1 - p_y is 0."""
    p = softmax(logits)
    others = _sum_of_others(p, ids)
    defined = others >= jnp.finfo(logits.dtype).tiny
    safe = jnp.where(defined, others, 1)
    return [jnp.where(defined & (ids != c), p_c, 0) / safe for c, p_c in enumerate(p)]


@_shares_of_others.defjvp
def _shares_of_others_jvp(primals, tangents):
    shares, dx = _shares_of_others(*primals), split_classes(tangents[0])
    mean = total([r_c * dx_c for r_c, dx_c in zip(shares, dx, strict=True)])
    return shares, [r_c * (dx_c - mean) for r_c, dx_c in zip(shares, dx, strict=True)]


def _sum_of_others(p: Parts, ids: Array) -> Array:
    """`1 - p_y`, from the other classes: it keeps its digits where p_y is almost 1."""
    return total([jnp.where(ids == c, 0, p_c) for c, p_c in enumerate(p)])


@jax.custom_jvp
def _margin(logits: Array, ids: Array) -> Array:
    """By how much the other classes beat y: `log sum_{k != y} exp(x_k) - x_y`."""
    return jax.nn.logsumexp(_others(logits, ids), axis=-1) - lookup(logits, ids)


@_margin.defjvp
def _margin_jvp(primals, tangents):
    (logits, ids), (tangent, _) = primals, tangents
    shares = jax.nn.softmax(_others(logits, ids), axis=-1)
    return _margin(logits, ids), jnp.sum(shares * tangent, axis=-1) - lookup(tangent, ids)


def _others(logits: Array, ids: Array) -> Array:
    """The logits with that of class `ids` taken out of every sum of exponentials."""
    (own,) = members(ids, logits.shape[-1])
    return jnp.where(own, jnp.finfo(logits.dtype).min, logits)


def margins(logits: Float[Array, "batch pixels classes"]) -> Parts:
    """By how much the others beat each class: `m_c = log sum_{k != c} exp(x_k) - x_c`.

    The margin turns a softmax into a sigmoid without loss of digits: `log p_c = -softplus(m_c)` and
    `log(1 - p_c) = -softplus(-m_c)`, exact however saturated the logits are.

    All from two sums of exponentials. Of a class that is not the largest, the others sum to
    `total - exp(x_c)`: the largest is among them, so no digit is lost. The largest class itself
    takes the sum over the others.
    """
    return _margins(logits)


@jax.custom_jvp
def _margins(logits: Array) -> Parts:
    x, is_top, largest, second, rest = _largest_and_rest(logits)
    exponentials = [jnp.exp(x_c - largest) for x_c in x]
    whole = _over_classes(jnp.sum, jnp.add, exponentials)
    others = [jnp.where(t, rest, whole - e) for t, e in zip(is_top, exponentials, strict=True)]
    return [
        (jnp.where(t, second, largest) - x_c) + jnp.log(o)
        for x_c, t, o in zip(x, is_top, others, strict=True)
    ]


@_margins.defjvp
def _margins_jvp(primals, tangents):
    """`dm_c = sum_{k != c} r_k dx_k - dx_c`, r the softmax over the others of c."""
    values, dx = _margins(*primals), apart(tangents[0])
    x, is_top, _, second, rest = _largest_and_rest(*primals)
    p = [jax.nn.sigmoid(-value) for value in values]
    mean = _over_classes(jnp.sum, jnp.add, [p_c * dx_c for p_c, dx_c in zip(p, dx, strict=True)])
    lowest = jnp.finfo(rest.dtype).min
    shares = [jnp.exp(jnp.where(t, lowest, x_c) - second) for x_c, t in zip(x, is_top, strict=True)]
    of_top = [share / rest * dx_c for share, dx_c in zip(shares, dx, strict=True)]
    of_top = _over_classes(jnp.sum, jnp.add, of_top)
    return values, [
        jnp.where(t, of_top, (mean - p_c * dx_c) / jnp.where(t, 1, 1 - p_c)) - dx_c
        for p_c, dx_c, t in zip(p, dx, is_top, strict=True)
    ]


def _largest_and_rest(logits: Array) -> tuple[Parts, Parts, Array, Array, Array]:
    """The logits as parts, which class is the largest, its logit, the second largest, and the rest.

    Of equally large classes the first counts. The rest is the sum over all but the largest class of
    the exponentials of what they lie below the second.
    """
    x = apart(logits)
    largest = _over_classes(jnp.max, jnp.maximum, x)
    if are_apart(logits.shape[-1]):
        is_top, found = [], jnp.zeros(largest.shape, bool)
        for x_c in x:
            is_top.append((x_c == largest) & ~found)
            found = found | is_top[-1]
    else:
        is_top = members(jnp.argmax(logits, axis=-1), logits.shape[-1])
    lowest = jnp.finfo(logits.dtype).min
    others = [jnp.where(t, lowest, x_c) for x_c, t in zip(x, is_top, strict=True)]
    second = _over_classes(jnp.max, jnp.maximum, others)
    rest = _over_classes(jnp.sum, jnp.add, [jnp.exp(o - second) for o in others])
    return x, is_top, largest, second, rest


def _over_classes(reduce: Callable, combine: Callable, parts: Parts) -> Array:
    """A reduction over classes that can be combined with parts again."""
    if parts[0].ndim == 3:
        return reduce(parts[0], axis=-1, keepdims=True)
    return functools.reduce(combine, parts)


def lookup(
    x: Shaped[Array, "batch pixels classes"], ids: Int[Array, "batch pixels"]
) -> Shaped[Array, "batch pixels"]:
    """`x[b, i, ids[b, i]]`; a chain of selections where that beats a gather."""
    if not are_apart(x.shape[-1]):
        return jnp.take_along_axis(x, ids[..., None], axis=-1, mode="clip")[..., 0]
    return choose(split_classes(x), ids)


def choose(parts: list[Array], ids: Int[Array, "batch pixels"]) -> Shaped[Array, "batch pixels"]:
    """`parts[ids]` at each pixel; the parts may be scalars."""
    first, *rest = parts
    chosen = jnp.broadcast_to(first, ids.shape)
    for c, part in enumerate(rest, start=1):
        chosen = jnp.where(ids == c, part, chosen)
    return chosen


def value_of(values: Shaped[Array, " classes"], ids: Int[Array, "batch pixels"]) -> Array:
    """`values[ids]` at each pixel."""
    if are_apart(values.shape[-1]):
        return choose(split_classes(values), ids)
    return jnp.take(values, ids, mode="clip")


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
