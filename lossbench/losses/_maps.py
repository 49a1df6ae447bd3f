"""What distance losses share: a map of distances for each class, and a mean over classes."""

import functools
import math
from collections.abc import Callable, Sequence

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from lossbench import _checks
from lossbench.losses._inputs import Inputs, class_weighting, divide, read
from lossbench.ops.classes import are_few, largest_of_classes
from lossbench.ops.distance import Spacing, distance_transform
from lossbench.ops.probabilities import surprise

INSIDE = ("paper", "plain")
OUTSIDE = ("ignored", "background")
ABSENT = ("zero", "diagonal")

# Which pixels belong to a class; its number may be traced.
Member = Callable[[int | Array], Bool[Array, "batch pixels"]]
# A map of each mask, `rows *space`. The rows are those of the batch, over and over; so are those of
# the pixels that count, which come second, None for all.
OfMasks = Callable[[Bool[Array, "..."], Bool[Array, "..."] | None], Float[Array, "..."]]


def steps_of(spacing: Spacing | None, space: tuple[int, ...]) -> list[Float[Array, ""]]:
    """The size of a pixel along each axis of space, 1 by default; a constant."""
    sizes = _checks.spacing(spacing, len(space))
    return [lax.stop_gradient(jnp.asarray(size, jnp.float32)) for size in sizes]


def diagonals(x: Inputs, space: tuple[int, ...], steps: Sequence[Array]) -> Float[Array, " batch"]:
    """The length of each image from corner to corner, without masked margins; 1 without space."""
    batch = len(x.logits)
    if not space:
        return jnp.ones(batch)
    if x.where is None:
        sides = [jnp.full(batch, size) for size in space]
    else:
        counted = x.where.reshape(batch, *space)
        axes = range(1, counted.ndim)
        sides = [_extent(jnp.any(counted, tuple(a for a in axes if a != axis))) for axis in axes]
    squares = (jnp.square(side * step) for side, step in zip(sides, steps, strict=True))
    return jnp.sqrt(functools.reduce(jnp.add, squares))


def _extent(used: Bool[Array, "batch length"]) -> Float[Array, " batch"]:
    """The length from the first that is used to the last; 1 if none is."""
    length = used.shape[1]
    first, after = jnp.argmax(used, axis=1), length - jnp.argmax(used[:, ::-1], axis=1)
    return jnp.where(jnp.any(used, axis=1), after - first, 1).astype(jnp.float32)


def read_labels(labels: Array, classes: int, where: Array | None) -> tuple[Inputs, tuple[int, ...]]:
    """Labels without logits, for what is computed of them once; and their space.

    Without a softmax nothing says that a mask is one of two classes: it is of a single one.
    """
    labels = jnp.asarray(labels)
    if classes < 1:
        raise ValueError(f"classes: expected at least 1, got {classes}")
    if labels.ndim < 1:
        raise ValueError("labels: expected shape (batch, *space), got ()")
    one_a_class = labels.dtype == jnp.bool_ and classes > 1
    if one_a_class and (labels.ndim < 2 or labels.shape[-1] != classes):
        raise ValueError(
            f"labels: expected one mask a class, (batch, *space, {classes}), got bool "
            f"{labels.shape}; of a mask of two classes give labels.astype(int)"
        )
    leading = labels.shape[:-1] if one_a_class else labels.shape
    x = read(jnp.zeros((*leading, classes)), labels, where, activation="sigmoid")
    return x, leading[1:]


def is_single(x: Inputs) -> bool:
    """Whether the one class there is is the foreground itself."""
    return x.classes == 1


def first_class(x: Inputs, include_background: bool) -> int:
    """The first class that counts."""
    return 0 if include_background or is_single(x) else 1


def refuse_soft(x: Inputs, name: str) -> None:
    """Raises for labels that are probabilities: they have no boundary."""
    if x.soft:
        raise ValueError(
            f"labels: {name} needs hard labels, class ids or one bool mask a class; "
            f"got probabilities ({x.labels.dtype})"
        )


def labeled(x: Inputs) -> Member:
    """The pixels labeled with a class (its probability above 1/2); none that is masked."""

    def member(c: int | Array) -> Bool[Array, "batch pixels"]:
        if x.ids is not None:
            mask = x.ids == jnp.asarray(c, x.ids.dtype)
        else:
            assert x.dense is not None
            dense = x.dense[..., c]
            mask = dense if dense.dtype == jnp.bool_ else dense > 0.5
        return mask if x.where is None else mask & x.where

    return member


def predicted(x: Inputs, activation: str) -> Member:
    """The pixels that give a class a probability above 1/2; none that is masked."""
    logits = lax.stop_gradient(x.logits)
    winner = None
    if activation == "softmax":  # one class at most: no mask of every class is held
        _, top = largest_of_classes(logits)
        winner = jnp.where(surprise(logits, top) < math.log(2), top, -1)

    def member(c: int | Array) -> Bool[Array, "batch pixels"]:
        if winner is not None:
            mask = winner == jnp.asarray(c, winner.dtype)
        else:
            mask = logits[..., c] > (0 if activation == "sigmoid" else 0.5)
        return mask if x.where is None else mask & x.where

    return member


def class_maps(
    x: Inputs,
    members: Sequence[Member],
    function: OfMasks,
    *,
    space: tuple[int, ...],
    first: int,
) -> Float[Array, "batch pixels classes"]:
    """The sum over `members` of the maps of their masks, for each class from `first` on, else 0.

    Few classes are transformed side by side; many of them one by one, each into its place, so that
    no more than the maps themselves is held of all classes.
    """
    batch, pixels, classes = x.logits.shape
    grid = space or (1,)

    def of_class(c: int | Array) -> list[Array]:
        return [member(c) for member in members]

    def mapped(masks: list[Array]) -> Float[Array, "rows pixels"]:
        rows = jnp.concatenate(masks).reshape(-1, *grid)
        counted = None
        if x.where is not None:
            counted = jnp.tile(x.where, (len(masks), 1)).reshape(rows.shape)
        maps = function(rows, counted).astype(x.logits.dtype)
        return maps.reshape(-1, len(members), batch, pixels).sum(axis=1).reshape(-1, pixels)

    if are_few(classes):
        masks = [mask for c in range(first, classes) for mask in of_class(c)]
        maps = mapped(masks).reshape(-1, batch, pixels)
        before = [jnp.zeros((batch, pixels), x.logits.dtype)] * first
        return jnp.stack([*before, *maps], axis=-1)

    def fill(c: Array, maps: Array) -> Array:
        return maps.at[..., c].set(mapped(of_class(c)))

    return lax.fori_loop(first, classes, fill, jnp.zeros_like(x.logits))


def to_other_side(
    masks: Bool[Array, " rows *space"],
    counted: Bool[Array, " rows *space"] | None,
    steps: Sequence[Array],
    *,
    squared: bool = False,
) -> Float[Array, " rows *space"]:
    """The distance to the nearest pixel of the other side, negative inside; infinite without one.

    A pixel that does not count is on neither side: what is masked is as if it were not there.
    """
    transform = functools.partial(distance_transform, spacing=steps or None, squared=squared)
    if counted is None:
        return transform(masks, signed=True)
    return jnp.where(masks, -transform(masks | ~counted), transform(~masks))


def signed_distance(
    masks: Bool[Array, " rows *space"],
    counted: Bool[Array, " rows *space"] | None,
    steps: Sequence[Array],
    *,
    inside: str,
    outside: str,
    absent: str,
    far: Float[Array, " batch"],
) -> Float[Array, " rows *space"]:
    """Positive outside of a mask, negative inside, as the options say; finite everywhere.

    Args:
        masks: true = inside.
        counted: what there is of the image; None for all.
        steps: the size of a pixel along each axis.
        inside: "plain" is minus the distance to the nearest pixel outside; "paper" adds a step (the
            smallest), so that the innermost layer of the boundary has 0.
        outside: what is beyond the border of the image: "ignored", or "background".
        absent: what a mask without any pixel has everywhere: "zero", or "diagonal", `far`.
        far: the length of each image's diagonal.
    """
    axes = range(1, masks.ndim)
    if outside == "background":  # and what is masked is not of the image
        padded = jnp.pad(masks, [(0, 0), *[(1, 1)] * len(axes)])
        phi = to_other_side(padded, None, steps)
        phi = phi[(slice(None), *[slice(1, -1)] * len(axes))]
    else:
        phi = to_other_side(masks, counted, steps)
    if inside == "paper":
        smallest = functools.reduce(jnp.minimum, steps) if steps else jnp.ones(())
        phi = jnp.where(masks, jnp.minimum(phi + smallest, 0), phi)
    without = each_row(far, masks) if absent == "diagonal" else jnp.zeros_like(phi)
    return jnp.where(jnp.isfinite(phi), phi, jnp.where(masks, 0.0, without))


def each_row(of_image: Float[Array, " batch"], masks: Array) -> Float[Array, " rows *space"]:
    """A number of each image in all of its pixels, in the rows of `masks`."""
    rows = jnp.tile(of_image.astype(jnp.float32), len(masks) // len(of_image))
    return jnp.broadcast_to(jnp.expand_dims(rows, tuple(range(1, masks.ndim))), masks.shape)


def given_maps(
    distance_map: Array, logits: Array, x: Inputs
) -> Float[Array, "batch pixels classes"]:
    """Maps that were computed before, as constants; 0 where masked."""
    maps = jnp.asarray(distance_map)
    _checks.floating(distance_map=maps)
    _checks.shape("distance_map", maps, logits.shape, "batch, *space, classes")
    maps = lax.stop_gradient(maps.astype(x.logits.dtype)).reshape(x.logits.shape)
    return maps if x.where is None else jnp.where(x.where[..., None], maps, 0)


def mean_over_classes(
    sums: Float[Array, "batch classes"],
    x: Inputs,
    class_weights: Array | None,
    include_background: bool,
) -> Float[Array, " batch"]:
    """The weighted mean over classes of means over pixels; a single class always counts."""
    weights = class_weights_of(x, class_weights, include_background)
    means = divide(sums, x.pixel_count()[:, None])
    return divide(jnp.sum(weights[None] * means, axis=1), jnp.sum(weights))


def class_weights_of(
    x: Inputs, class_weights: Array | None, include_background: bool
) -> Float[Array, " classes"]:
    """The weight of each class, 0 for a background that is left out."""
    weights = class_weighting(class_weights, x.classes, x.logits.dtype)
    return weights.at[: first_class(x, include_background)].set(0)
