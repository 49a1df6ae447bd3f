"""What losses per connected component share: sums over components, and the mean of their Dice."""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Num

from lossbench import _checks
from lossbench.losses._inputs import Inputs, Number, divide
from lossbench.losses._maps import class_weights_of, labeled, refuse_soft
from lossbench.losses._region import ACTIVATE, smoothing
from lossbench.ops.classes import apart, are_few
from lossbench.ops.components import connected_components
from lossbench.ops.sums import class_sums, sum_pixels

ABSENT = ("skip", "smooth", "suppress")
# Neighbors that are added up before their sum meets that of others.
BLOCK = 16


class Cut(NamedTuple):
    """How the pixels of a class are shared among its components.

    Attributes:
        segment: what a pixel adds to: the component k >= 1 that it is in; with surroundings of
            their own, `most + 1 + k` if it is around k; anything beyond adds to nothing.
        around: the pixels around all components, where these share one surrounding; else None.
    """

    segment: Int[Array, "rows pixels"]
    around: Bool[Array, "rows pixels"] | None


class How(NamedTuple):
    """What a loss is made of, all of it static.

    Attributes:
        activation: see the losses.
        absent: see the losses.
        first: the first class that counts.
        most: the largest number that a component can have.
        cut: from the pixels of a class, those that count, and what is given, to its cut.
    """

    activation: str
    absent: str
    first: int
    most: int
    cut: Callable[[Array, Array, "Given"], Cut]


class Given(NamedTuple):
    """What the user gives besides logits and labels.

    Attributes:
        ids: of components or regions, one map for all classes or one a class; None to find them.
        steps: the size of a pixel along each axis of space, if it matters.
    """

    ids: Int[Array, "batch pixels *classes"] | None
    steps: tuple[Float[Array, ""], ...] = ()


def most_components(space: tuple[int, ...]) -> int:
    """No more components than this: of two pixels side by side, at most one begins a new one."""
    return (math.prod(space) + 1) // 2


def neighbors(space: tuple[int, ...], connectivity: int | None) -> int:
    """The connectivity in an image; all neighbors by default, and one pixel has a single axis."""
    axes = max(len(space), 1)
    if connectivity is None:
        return axes
    if not 1 <= connectivity <= axes:
        raise ValueError(f"connectivity: expected 1 to {axes} or None, got {connectivity}")
    return connectivity


def numbered(
    mask: Bool[Array, "rows pixels"], space: tuple[int, ...], connectivity: int
) -> Int[Array, "rows pixels"]:
    """The components of masks, 1 to n; 0 outside."""
    grid = mask.reshape(len(mask), *(space or (1,)))
    return connected_components(grid, connectivity=connectivity)[0].reshape(mask.shape)


def of_every_class(
    x: Inputs, space: tuple[int, ...], function: Callable[[Array], Int[Array, "rows pixels"]]
) -> Int[Array, "batch *space classes"]:
    """A map of ids for each class: `function` of the pixels labeled with it."""
    batch, pixels, classes = x.logits.shape
    member = labeled(x)
    if are_few(classes):
        rows = function(jnp.concatenate([member(c) for c in range(classes)]))
        maps = rows.reshape(classes, batch, pixels)
    else:
        maps = lax.map(lambda c: function(member(c)), jnp.arange(classes))
    return jnp.moveaxis(maps, 0, -1).reshape(batch, *space, classes)


def read_ids(
    name: str, ids: Array, x: Inputs, space: tuple[int, ...]
) -> Int[Array, "batch pixels *classes"]:
    """Ids that were computed before, one map for all classes or one a class; 0 out of range."""
    ids = jnp.asarray(ids)
    batch, pixels, classes = x.logits.shape
    if not jnp.issubdtype(ids.dtype, jnp.integer):
        raise ValueError(f"{name}: expected an integer dtype, got {ids.dtype}")
    shapes = [(batch, *space, classes), (batch, *space)]
    if ids.shape not in shapes:
        raise ValueError(
            f"{name}: expected shape {shapes[1]} (batch, *space) or {shapes[0]} (and classes), "
            f"got {ids.shape}"
        )
    known = (ids >= 0) & (ids <= min(pixels, jnp.iinfo(ids.dtype).max))
    seen = known
    if x.where is not None:  # what is masked may have any id
        seen = known | ~x.where.reshape(batch, *space, *[1] * (ids.ndim - len(shapes[1])))
    _checks.value(jnp.all(seen), f"{name}: an id is outside 0..{pixels}, the number of pixels")
    ids = jnp.where(known, ids, jnp.zeros((), ids.dtype)).astype(jnp.int32)
    return ids.reshape(batch, pixels, *ids.shape[len(shapes[1]) :])


def mean_over_components(
    x: Inputs,
    how: How,
    given: Given,
    *,
    smooth: Number | tuple[Number, Number],
    class_weights: Array | None,
    include_background: bool,
    name: str,
) -> Float[Array, " batch"]:
    """The weighted mean over classes of the mean over components of one minus their Dice."""
    _checks.choice("absent", how.absent, ABSENT)
    refuse_soft(x, name)
    batch, _, classes = x.logits.shape
    pair = tuple(jnp.broadcast_to(s, (batch,)) for s in smoothing(smooth, x.logits.dtype))
    of_classes = _side_by_side if are_few(classes) else _one_by_one
    costs, present = of_classes(how, x, given, *pair)
    present = present if how.absent == "skip" else jnp.ones_like(present)
    weights = present * class_weights_of(x, class_weights, include_background)[None]
    return divide(jnp.sum(weights * costs, axis=1), jnp.sum(weights, axis=1))


def _side_by_side(
    how: How, x: Inputs, given: Given, above: Array, below: Array
) -> tuple[Array, Array]:
    """The cost of each class and whether it is present, `batch classes`; all in one pass."""
    batch, _, classes = x.logits.shape
    of_class, count = range(how.first, classes), classes - how.first
    p = jnp.concatenate(ACTIVATE[how.activation](x.logits)[how.first :])
    member = labeled(x)
    masks = jnp.concatenate([member(c) for c in of_class])
    if given.ids is not None:
        ids = [_of_class(given.ids, c) for c in of_class]
        given = given._replace(ids=jnp.concatenate(ids))
    counted = jnp.concatenate([_counted(x)] * count)
    cut = how.cut(masks, counted, given)
    cost, present = _cost(how, cut, p, counted, jnp.tile(above, count), jnp.tile(below, count))
    shape = (count, batch)
    return _every_class(cost.reshape(shape), how), _every_class(present.reshape(shape), how)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _one_by_one(
    how: How, x: Inputs, given: Given, above: Array, below: Array
) -> tuple[Array, Array]:
    """The same, one class after the other: nothing of the logits' size is held."""
    of_class = _class_by_class(how, x, given)

    def one(c: Array) -> tuple[Array, Array]:
        p, cut, counted = of_class(c)
        return _cost(how, cut, p, counted, above, below)

    costs, present = lax.map(one, jnp.arange(how.first, x.classes))
    return _every_class(costs, how), _every_class(present, how)


@_one_by_one.defjvp
def _one_by_one_jvp(how, primals, tangents):
    """The slope with respect to each probability, kept as one map; then one pass over the logits.

    The slopes are functions of the logits again, so derivatives of any order follow.
    """
    x, given, above, below = primals
    change, changes = tangents[0].logits, tangents[2:]
    of_class = _class_by_class(how, x, given)

    def fill(c: Array, state: tuple[Array, ...]) -> tuple[Array, ...]:
        p, cut, counted = of_class(c)
        cost = functools.partial(_cost, how, cut)
        value, pull, here = jax.vjp(
            lambda p, a, b: cost(p, counted, a, b), p, above, below, has_aux=True
        )
        found = (*pull(jnp.ones_like(value)), value, here)
        return tuple(all_.at[..., c].set(one) for all_, one in zip(state, found, strict=True))

    nothing = jnp.zeros((len(x.logits), x.classes), x.logits.dtype)
    start = (jnp.zeros_like(x.logits), *[nothing] * 4)
    slopes, by_above, by_below, costs, present = lax.fori_loop(how.first, x.classes, fill, start)

    def columns(logits: Array, labels: Array, slopes: Array) -> list[tuple[Array, ...]]:
        parts = zip(ACTIVATE[how.activation](logits), apart(slopes), strict=True)
        return [(p * slope,) for p, slope in parts]

    def linear(logits: Array) -> Array:
        return class_sums(columns, logits, x.labels, None, slopes)[0]

    _, moved = jax.jvp(linear, (x.logits,), (change,))
    for slope, smoothed in zip((by_above, by_below), changes, strict=True):
        moved = moved + slope * smoothed[:, None]
    return (costs, present), (moved, jnp.zeros_like(present))


def _every_class(values: Float[Array, "some batch"], how: How) -> Float[Array, "batch classes"]:
    """What was computed for the classes that count, with 0 for those before them."""
    return jnp.pad(values.T, ((0, 0), (how.first, 0)))


def _class_by_class(
    how: How, x: Inputs, given: Given
) -> Callable[[Array], tuple[Array, Cut, Array]]:
    """From the number of a class to its probabilities, its cut and the pixels that count."""
    member, counted = labeled(x), _counted(x)
    if how.activation == "softmax":
        log_sum = jax.nn.logsumexp(x.logits, axis=-1)
        probability = lambda logit: jnp.exp(logit - log_sum)  # noqa: E731
    else:
        probability = jax.nn.sigmoid if how.activation == "sigmoid" else lambda p: p

    def of_class(c: Array) -> tuple[Array, Cut, Array]:
        ids = None if given.ids is None else _of_class(given.ids, c)
        cut = how.cut(member(c), counted, given._replace(ids=ids))
        return probability(x.logits[..., c]), cut, counted

    return of_class


def _of_class(ids: Int[Array, "batch pixels *classes"], c: int | Array) -> Array:
    return ids if ids.ndim == 2 else ids[..., c]


def _counted(x: Inputs) -> Bool[Array, "batch pixels"]:
    return jnp.ones(x.logits.shape[:2], bool) if x.where is None else x.where


def _cost(
    how: How,
    cut: Cut,
    p: Float[Array, "rows pixels"],
    counted: Bool[Array, "rows pixels"],
    above: Float[Array, " rows"],
    below: Float[Array, " rows"],
) -> tuple[Float[Array, " rows"], Float[Array, " rows"]]:
    """The mean over components of one minus their Dice, and whether there is one."""
    own, size = how.most + 1, (1 if cut.around is not None else 2) * (how.most + 1)
    sums, counts = _segment_sums(p, cut.segment, size)
    true, inside = counts[:, 1:own], sums[:, 1:own]
    if cut.around is None:
        nobody, around = sums[:, own], sums[:, own + 1 :]
    else:
        nobody = sum_pixels(jnp.where(cut.around, p, 0))
        around = nobody[:, None]
    above, below = above[:, None], below[:, None]
    score = divide(2 * inside + above, inside + around + true + below, empty=1.0)
    each = jnp.where(true > 0, 1 - score, 0)
    number = sum_pixels(true > 0).astype(p.dtype)
    present = number > 0
    pixels = sum_pixels(counted).astype(p.dtype)
    if how.absent == "suppress":
        alone = divide(nobody, pixels)
    else:  # what is around nobody is all there is
        alone = 1 - divide(above, nobody[:, None] + below, empty=1.0)[:, 0]
    alone = jnp.where(pixels > 0, alone, 0)
    cost = jnp.where(present, divide(sum_pixels(each), number), alone)
    return cost, present.astype(p.dtype)


def _segment_sums(
    p: Float[Array, "rows pixels"], segment: Int[Array, "rows pixels"], size: int
) -> tuple[Float[Array, "rows size"], Float[Array, "rows size"]]:
    """The sum of p over each segment below `size`, and the number of its pixels.

    A running sum of millions of values loses digits. So it is taken for a first estimate of the
    mean, and what the values differ from that is summed again.
    """
    counts = _scattered(jnp.ones(segment.shape, jnp.int32), segment, size).astype(p.dtype)
    mean = lax.stop_gradient(_add_up(p, segment, size)) / jnp.maximum(counts, 1)
    of_pixel = jax.vmap(lambda values, at: values.at[at].get(mode="fill", fill_value=0))
    return mean * counts + _add_up(p - of_pixel(mean, segment), segment, size), counts


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def _add_up(values: Array, segment: Array, size: int) -> Float[Array, "rows size"]:
    """Sums over segments, neighbors first."""
    levels = min(3, (segment.shape[1] // BLOCK).bit_length() // 4)
    sums = _scattered(_gathered(values, segment, levels), segment, size)
    # Else XLA might add the values one by one to what the sums are added to.
    return lax.optimization_barrier(sums)


@_add_up.defjvp
def _add_up_jvp(size, primals, tangents):
    # Linear; the transpose of one plain sum is one look-up.
    return _add_up(*primals, size), _scattered(tangents[0], primals[1], size)


def _gathered(values: Array, segment: Array, levels: int) -> Float[Array, "rows pixels"]:
    """What the pixels of a block add to the segment of its first is added there, 0 elsewhere.

    So are the first pixels of blocks, again in blocks of their own.
    """
    if levels == 0:
        return values
    rows, pixels = values.shape
    padding = ((0, 0), (0, -pixels % BLOCK))
    blocks = jnp.pad(values, padding).reshape(rows, -1, BLOCK)
    segments = jnp.pad(segment, padding).reshape(rows, -1, BLOCK)
    same = segments == segments[..., :1]
    firsts = jnp.sum(jnp.where(same, blocks, 0), axis=-1)
    firsts = _gathered(firsts, segments[..., 0], levels - 1)
    rest = jnp.where(same, 0, blocks)[..., 1:]
    return jnp.concatenate([firsts[..., None], rest], axis=-1).reshape(rows, -1)[:, :pixels]


def _scattered(values: Array, segment: Array, size: int) -> Num[Array, "rows size"]:
    add = lambda x, at: jnp.zeros((size,), x.dtype).at[at].add(x, mode="drop")  # noqa: E731
    return jax.vmap(add)(values, segment)
