"""The class axis: taken apart, or side by side.

A segmentation has few classes and many pixels. XLA's CPU backend does not vectorize a reduction
over an axis of three elements, so the values of up to `UNROLLED_CLASSES` classes are computed
apart: written out one by one, on arrays of pixels. Each class then repeats the exponentials of all,
so that more of them are faster side by side on the last axis, with the plain formula over it. What
has a value a class is therefore a list of *parts*: one array `batch pixels` a class if the classes
are apart, else a single `batch pixels classes`. A formula that holds for each class by itself is
written once and holds for either kind.

A gradient is another matter: it is wanted in the layout of the logits, and arrays of single classes
would have to be interleaved into it, which takes longer than all the rest. So derivatives are taken
side by side, whatever the number of classes, as one pass over the logits: see
`ops.derivatives.side_by_side_derivative`, which traces the same formula a second time with
`side_by_side()`. What a derivative must sum over few classes is still written out, by
`sum_of_classes` and `spread`.
"""

import contextlib
import contextvars
import functools
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Int, Shaped

UNROLLED_CLASSES = 5

# One array `batch pixels` a class, or one `batch pixels classes`.
Parts = list[Array]

_side_by_side = contextvars.ContextVar("side by side", default=False)


@contextlib.contextmanager
def side_by_side() -> Iterator[None]:
    """While tracing within it, few classes are side by side too."""
    token = _side_by_side.set(True)
    try:
        yield
    finally:
        _side_by_side.reset(token)


def are_few(classes: int) -> bool:
    """Whether reductions over this many classes are written out."""
    return classes <= UNROLLED_CLASSES


def are_apart(classes: int) -> bool:
    """Whether this many classes are taken apart here."""
    return are_few(classes) and not _side_by_side.get()


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
    return [is_member(ids, classes)]


def is_member(ids: Int[Array, "batch pixels"], classes: int) -> Bool[Array, "batch pixels classes"]:
    """Which pixel belongs to which class, side by side."""
    return ids[..., None] == jnp.arange(classes, dtype=ids.dtype)[None, None]


def total(parts: Parts) -> Array:
    """The sum over classes, `batch pixels`."""
    if parts[0].ndim == 3:
        return sum_of_classes(parts[0])
    return functools.reduce(jnp.add, parts)


@jax.custom_jvp
def sum_of_classes(x: Shaped[Array, "*leading classes"]) -> Shaped[Array, "*leading"]:
    """The sum over the last axis, written out if the classes are few; its derivative never is."""
    return over_classes(jnp.sum, jnp.add, x)


@sum_of_classes.defjvp
def _sum_of_classes_jvp(primals, tangents):
    # The transpose of a sum is one broadcast, that of sums written out as many paddings.
    return sum_of_classes(*primals), jnp.sum(tangents[0], axis=-1)


def spread(x: Shaped[Array, "*leading"], classes: int) -> Shaped[Array, "*leading classes"]:
    """The same value for every class, to be used in derivatives.

    Copies of few classes are put together, because the transpose of that is a sum written out.
    """
    if are_few(classes):
        return lax.concatenate([x[..., None]] * classes, x.ndim)
    return jnp.broadcast_to(x[..., None], (*x.shape, classes))


def stored(change: Array, never: Bool[Array, "..."]) -> Array:
    """`change`, in a derivative, whose transpose is stored before it is spread over an axis.

    XLA's CPU backend repeats for each element what it deems cheap, and stores instead every costly
    operand of it. It never repeats a division, so this divides by ones that it does not know to be
    ones: nowhere is `never` true.
    """
    return change / jnp.where(never, 2, 1).astype(change.dtype)


def over_classes(
    reduce: Callable, combine: Callable, x: Shaped[Array, "*leading classes"]
) -> Shaped[Array, "*leading"]:
    """A reduction over the last axis, or the same written out if the classes are few."""
    if are_few(x.shape[-1]):
        return functools.reduce(combine, split_classes(x))
    return reduce(x, axis=-1)


@jax.custom_jvp
def max_of_classes(x: Shaped[Array, "*leading classes"]) -> Shaped[Array, "*leading"]:
    """The largest value; its derivative is the mean of those of the classes that have it."""
    return over_classes(jnp.max, jnp.maximum, x)


@max_of_classes.defjvp
def _max_of_classes_jvp(primals, tangents):
    largest, x = max_of_classes(*primals), primals[0]
    has_it = x == largest[..., None]
    share = 1 / over_classes(jnp.sum, jnp.add, has_it.astype(x.dtype))
    return largest, jnp.sum(jnp.where(has_it, share[..., None], 0) * tangents[0], axis=-1)


def largest_of_classes(
    x: Shaped[Array, "batch pixels classes"],
) -> tuple[Shaped[Array, "batch pixels"], Int[Array, "batch pixels"]]:
    """The largest value, and the first class that has it."""
    if not are_few(x.shape[-1]):
        return jnp.max(x, axis=-1), jnp.argmax(x, axis=-1).astype(jnp.int32)
    first, *rest = split_classes(x)
    largest, top = first, jnp.zeros(first.shape, jnp.int32)
    for c, value in enumerate(rest, start=1):
        top = jnp.where(value > largest, c, top)
        largest = jnp.maximum(largest, value)
    return largest, top


def lookup(
    x: Shaped[Array, "batch pixels classes"], ids: Int[Array, "batch pixels"]
) -> Shaped[Array, "batch pixels"]:
    """`x[b, i, ids[b, i]]`; a chain of selections where that beats a gather."""
    if not are_few(x.shape[-1]):
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
    if are_few(values.shape[-1]):
        return choose(split_classes(values), ids)
    return jnp.take(values, ids, mode="clip")
