"""Distances carried on along one axis: the least over all shifts, a few shifts at a time.

Along an axis the distance transform is `min_j f(i + j) + cost(j)`. Shifts are taken in blocks:
after `done` steps in earlier blocks, `a` steps more cost `cost(done + a) - cost(done)`. As every
further step costs at least as much as the one before, no sum of moves is cheaper than the straight
way, and the straight way is among them: whole blocks first, the rest in the last one. So the
result is exact, each block reads a fixed neighborhood, and one goes on only while a further step
costs less than the largest distance.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Shaped

# Steps per block: enough to write memory seldom, few enough to stop early.
_STEPS = 6
_GAP = 16

Carried = tuple[Array, ...]
# Takes the arrays as seen so many steps away, the steps done, and how many more to take.
Block = Callable[[Callable[[int], Carried], Array, int], Carried]


class Metric(NamedTuple):
    """How the steps along one axis count."""

    cost: Callable[[Array, Array], Array]  # of so many steps of such a size from a site
    extend: Callable[[Array, Array, int, Array], Array]  # value, steps done, steps more, step size


def _euclidean_extend(value, done, more, step):
    return value + more * (more + 2 * done) * jnp.square(step)


METRICS = {
    # Squared distances.
    "euclidean": Metric(lambda n, step: jnp.square(n * step), _euclidean_extend),
    "taxicab": Metric(lambda n, step: n * step, lambda v, done, more, step: v + more * step),
    "chessboard": Metric(
        lambda n, step: n * step, lambda v, done, more, step: _larger(v, (done + more) * step)
    ),
}


def unsigned_along(
    field: Float[Array, " batch *space"], axis: int, step: Float[Array, ""], metric: Metric
) -> Float[Array, " batch *space"]:
    """The least distance by way of any pixel of the line along `axis`.

    Args:
        field: distances at least 0, infinite where none is known yet; squared if the metric's are.
        axis: the axis to go along, not 0.
        step: its spacing.
        metric: how steps count.
    """

    def block(cut, done, reach):
        (best,) = cut(0)
        for more in range(1, reach + 1):
            nearer = _smaller(cut(more)[0], cut(-more)[0])
            best = _smaller(metric.extend(nearer, done, more, step), best)
        return (best,)

    return _go_along((field,), axis, step, metric, block)[0]


def signed_along(
    field: Float[Array, " batch *space"], axis: int, step: Float[Array, ""], metric: Metric
) -> Float[Array, " batch *space"]:
    """The same for two kinds of pixels at once, told apart by the sign.

    Args:
        field: distances to the nearest pixel of the other sign, never 0.
        axis: the axis to go along, not 0.
        step: its spacing.
        metric: how steps count.
    """

    def block(cut, done, reach):
        (own,) = cut(0)
        sign = jnp.where(own < 0, -1.0, 1.0).astype(own.dtype)
        best = jnp.abs(own)
        for more in range(1, reach + 1):
            # A pixel of the other sign is a site itself.
            nearer = _larger(_smaller(sign * cut(more)[0], sign * cut(-more)[0]), 0.0)
            best = _smaller(metric.extend(nearer, done, more, step), best)
        return (sign * best,)

    return _go_along((field,), axis, step, metric, block)[0]


def sites_along(
    field: Float[Array, " batch *space"],
    sites: Int[Array, " batch *space"],
    axis: int,
    step: Float[Array, ""],
    metric: Metric,
) -> tuple[Float[Array, " batch *space"], Int[Array, " batch *space"]]:
    """The least distance along `axis`, and the site it is to."""

    def block(cut, done, reach):
        best, site = cut(0)
        for more in range(1, reach + 1):
            for shift in (-more, more):
                other, other_site = cut(shift)
                other = metric.extend(other, done, more, step)
                best, site = (
                    _smaller(other, best),
                    jnp.where(other < best, other_site, site),
                )
        return best, site

    field, sites = _go_along((field, sites), axis, step, metric, block)
    return field, sites


def _go_along(carried: Carried, axis: int, step: Array, metric: Metric, block: Block) -> Carried:
    """Takes blocks of shifts until no further one can bring anything nearer."""
    shape = carried[0].shape
    size, inner = shape[axis], math.prod(shape[axis + 1 :])
    if size == 1:
        return carried
    reach = min(_STEPS, size - 1)
    # Pixels a large power of two apart share a cache line's place and drive each other out.
    pitch = inner + (_GAP if inner % 256 == 0 else 0)
    margin, length = reach * pitch, size * pitch - (pitch - inner)
    lines = tuple(x.reshape(-1, size, inner) for x in carried)
    # A line infinite with one sign throughout stays so: it must not be waited for.
    is_open = _any(lines[0] < jnp.inf) & _any(lines[0] > -jnp.inf)

    def further(field: Array, done: Array) -> Array:
        """Whether one step more costs less than some distance that can still shrink."""
        largest = jnp.max(jnp.where(is_open, jnp.abs(field), 0.0))
        return (done < size - 1) & (metric.cost(done + 1, step) < largest)

    def take_blocks(state):
        here, there, done, _ = state
        # Each block is read from one copy and written to the other, in place.
        for _ in range(2):

            def cut(steps, here=here):
                start = margin + steps * pitch
                return tuple(wide[:, start : start + length] for wide in here)

            new = block(cut, done, reach)
            there = tuple(
                lax.dynamic_update_slice(wide, core, (0, margin))
                for wide, core in zip(there, new, strict=True)
            )
            here, there, done = lax.optimization_barrier(there), here, done + reach
        return here, there, done, further(_narrow(here[0], size, inner, reach), done)

    wide = tuple(_widened(x, reach, pitch) for x in lines)
    done = jnp.float32(0)
    state = wide, wide, done, further(lines[0], done)
    here = lax.while_loop(lambda state: state[3], take_blocks, state)[0]
    return tuple(_narrow(x, size, inner, reach).reshape(shape) for x in here)


def _any(holds: Bool[Array, "outer size inner"]) -> Bool[Array, "outer 1 inner"]:
    return jnp.any(holds, axis=1, keepdims=True)


def _widened(
    lines: Shaped[Array, "outer size inner"], reach: int, pitch: int
) -> Shaped[Array, "outer wide"]:
    """Repeats the ends of every line, so that a shift of a block never leaves it.

    What is read there is a pixel of the line, at more than its cost: it never wins wrongly, and
    need not be kept up to date.
    """
    before, after = (jnp.repeat(end, reach, axis=1) for end in (lines[:, :1], lines[:, -1:]))
    wide = jnp.concatenate([before, lines, after], axis=1)
    outer, size, inner = wide.shape
    if pitch > inner:
        gap = jnp.zeros((outer, size, pitch - inner), wide.dtype)
        wide = jnp.concatenate([wide, gap], axis=2)
    return lax.optimization_barrier(wide.reshape(outer, size * pitch))


def _narrow(
    wide: Shaped[Array, "outer wide"], size: int, inner: int, reach: int
) -> Shaped[Array, "outer size inner"]:
    return wide.reshape(len(wide), size + 2 * reach, -1)[:, reach : reach + size, :inner]


def _smaller(x: Array, y: Array) -> Array:
    """The minimum as one machine instruction: `jnp.minimum` takes several to pass NaN on."""
    return jnp.where(x < y, x, y)


def _larger(x: Array, y) -> Array:
    return jnp.where(x > y, x, y)
