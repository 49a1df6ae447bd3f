"""Many classes: the same formulas, one block of pixels at a time.

With a hundred classes an array of probabilities is as large as the logits, and writing it costs
more than computing it. A loop over blocks of pixels keeps each in the cache, in the forward pass
and again in the backward pass, which computes the block anew instead of reading it back.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from lossbench.ops.derivatives import Values, change, change_along

# Pixels times classes of a block: what a core's cache holds. An accelerator is fed with longer
# ones. There are always enough blocks for one to be small beside the whole.
BLOCK = 2**18
BLOCK_ON_ACCELERATOR = 2**25
FEWEST = 32


def blockwise(function: Callable[..., Values], *arrays: Array | None) -> Values:
    """`function(*arrays)`, computed block of pixels by block of pixels.

    Args:
        function: of arrays `batch pixels ...` to one value a pixel or several, `batch pixels ...`,
            each pixel by itself. It may close over traced floating values.
        arrays: the logits first, `batch pixels classes`. None is passed on.

    The derivative holds for both modes and any order.
    """
    return _run(function, _stacked, arrays)


def sums_blockwise(
    function: Callable[..., tuple[Array, ...]], *arrays: Array | None
) -> tuple[Array, ...]:
    """`function(*arrays)`, where `function` sums over the pixels; otherwise as `blockwise`."""
    return _run(function, _summed, arrays)


def _run(function, combine, arrays):
    def on(block: int):
        # What the function closes over becomes an argument, as the rule of a derivative needs it.
        examples = jax.eval_shape(lambda arrays: _parts(arrays, block)[0](0), arrays)
        closed, hoisted = jax.closure_convert(function, *examples)
        return lambda arrays: _evaluate(closed, combine, block, arrays, tuple(hoisted))

    return lax.platform_dependent(arrays, cpu=on(BLOCK), default=on(BLOCK_ON_ACCELERATOR))


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1, 2))
def _evaluate(function, combine, block: int, arrays, shared):
    batch, pixels, _ = arrays[0].shape
    part, count = _parts(arrays, block)
    turns = lax.map(lambda k: function(*part(k), *shared), jnp.arange(count))
    return combine(turns, batch, pixels)


def _evaluate_jvp(function, combine, block: int, primals, tangents):
    """The derivative along the changes of the floating arrays, again block by block."""
    (arrays, shared), (changes, shared_changes) = primals, tangents
    value = _evaluate(function, combine, block, arrays, shared)
    batch, pixels, _ = arrays[0].shape
    part, count = _parts(arrays, block)
    along = [change(x, t) for x, t in zip(arrays, changes, strict=True)]
    along_shared = [change(x, t) for x, t in zip(shared, shared_changes, strict=True)]
    turning = [None if c is None else jnp.moveaxis(_cut(c, count), 1, 0) for c in along]

    # The backward pass computes the block anew: what its derivative needs is as large as the block.
    @jax.checkpoint
    def change_in(k, turning):
        return change_along(function, [*part(k), *shared], [*turning, *along_shared])

    if all(c is None for c in (*along, *along_shared)):
        return value, jax.tree.map(jnp.zeros_like, value)
    turns = lax.map(lambda turn: change_in(*turn), (jnp.arange(count), turning))
    return value, combine(turns, batch, pixels)


_evaluate.defjvp(_evaluate_jvp, symbolic_zeros=True)


def _parts(arrays, block: int):
    """Block number k of every array, as a function of k, and how many there are."""
    _, pixels, classes = arrays[0].shape
    wanted = max(FEWEST, pixels * classes // block)
    # Blocks of equal size: the next number of them that divides the pixels.
    divisors = (k for k in range(wanted, min(pixels, 64 * wanted) + 1) if pixels % k == 0)
    count = next(divisors, 1)
    whole = [None if x is None else _cut(x, count) for x in arrays]
    return lambda k: [None if x is None else x[:, k] for x in whole], count


def _cut(x: Array, count: int) -> Array:
    return x.reshape(x.shape[0], count, x.shape[1] // count, *x.shape[2:])


def _stacked(turns, batch: int, pixels: int):
    """Blocks first to pixels in their order."""
    return jax.tree.map(lambda x: jnp.moveaxis(x, 0, 1).reshape(batch, pixels, *x.shape[3:]), turns)


def _summed(turns, batch: int, pixels: int):
    return jax.tree.map(lambda x: jnp.sum(x, axis=0), turns)
