"""What distance losses share: a map of distances for each class, and a mean over classes."""

import math
from collections.abc import Callable, Sequence

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from lossbench import _checks
from lossbench.losses._inputs import Inputs, class_weighting, divide
from lossbench.ops.classes import are_few, largest_of_classes
from lossbench.ops.distance import distance_transform
from lossbench.ops.probabilities import surprise

INSIDE = ("paper", "plain")
OUTSIDE = ("ignored", "background")
ABSENT = ("zero", "diagonal")

# Which pixels belong to a class; its number may be traced.
Member = Callable[[int | Array], Bool[Array, "batch pixels"]]


def steps_of(spacing: Sequence[float] | None, space: tuple[int, ...]) -> list[float]:
    """The size of a pixel along each axis of space, 1 by default."""
    if spacing is None:
        return [1.0] * len(space)
    steps = [float(step) for step in spacing]
    if len(steps) != len(space) or not all(0 < step < math.inf for step in steps):
        raise ValueError(
            f"spacing: expected {len(space)} numbers above 0, one for each axis of space, "
            f"got {spacing}"
        )
    return steps


def diagonal(space: tuple[int, ...], steps: Sequence[float]) -> float:
    """The length of the image from corner to corner; 1 for a single pixel without space."""
    return math.hypot(*(size * step for size, step in zip(space, steps, strict=True))) or 1.0


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
    function: Callable[[Bool[Array, "rows *space"]], Float[Array, "rows *space"]],
    *,
    space: tuple[int, ...],
    first: int,
) -> Float[Array, "batch pixels classes"]:
    """The sum over `members` of `function(mask)`, for each class from `first` on; 0 before it.

    Few classes are transformed side by side; many of them one by one, each into its place, so that
    no more than the maps themselves is held of all classes.
    """
    batch, pixels, classes = x.logits.shape
    grid = space or (1,)

    def of_class(c: int | Array) -> list[Array]:
        return [member(c) for member in members]

    def mapped(masks: list[Array]) -> Float[Array, "rows pixels"]:
        rows = jnp.concatenate(masks)
        maps = function(rows.reshape(len(rows), *grid)).astype(x.logits.dtype)
        return maps.reshape(-1, len(members), batch, pixels).sum(axis=1).reshape(-1, pixels)

    if are_few(classes):
        masks = [mask for c in range(first, classes) for mask in of_class(c)]
        maps = mapped(masks).reshape(-1, batch, pixels)
        before = [jnp.zeros((batch, pixels), x.logits.dtype)] * first
        return jnp.stack([*before, *maps], axis=-1)

    def fill(c: Array, maps: Array) -> Array:
        return maps.at[..., c].set(mapped(of_class(c)))

    return lax.fori_loop(first, classes, fill, jnp.zeros_like(x.logits))


def signed_distance(
    masks: Bool[Array, "rows *space"],
    steps: Sequence[float],
    *,
    inside: str,
    outside: str,
    absent: str,
    far: float,
) -> Float[Array, "rows *space"]:
    """Positive outside of a mask, negative inside, as the options say; finite everywhere.

    Args:
        masks: true = inside.
        steps: the size of a pixel along each axis.
        inside: "plain" is minus the distance to the nearest pixel outside; "paper" adds a step (the
            smallest), so that the innermost layer of the boundary has 0.
        outside: what is beyond the border of the image: "ignored", or "background".
        absent: what a mask without any pixel has everywhere: "zero", or "diagonal", `far`.
        far: the length of the image's diagonal.
    """
    axes = range(1, masks.ndim)
    if outside == "background":
        padded = jnp.pad(masks, [(0, 0), *[(1, 1)] * len(axes)])
        phi = distance_transform(padded, spacing=steps or None, signed=True)
        phi = phi[(slice(None), *[slice(1, -1)] * len(axes))]
    else:
        phi = distance_transform(masks, spacing=steps or None, signed=True)
    if inside == "paper":
        phi = jnp.where(masks, jnp.minimum(phi + min(steps, default=1.0), 0), phi)
    without = far if absent == "diagonal" else 0.0
    return jnp.where(jnp.isfinite(phi), phi, jnp.where(masks, 0.0, without))


def squared_distance(
    masks: Bool[Array, "rows *space"], steps: Sequence[float]
) -> Float[Array, "rows *space"]:
    """The squared distance to the nearest pixel of the other side; 0 if there is none."""
    phi = distance_transform(masks, spacing=steps or None, squared=True, signed=True)
    return jnp.where(jnp.isfinite(phi), jnp.abs(phi), 0.0)


def given_maps(distance_map: Array, logits: Array, x: Inputs) -> Float[Array, "batch pixels classes"]:
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
