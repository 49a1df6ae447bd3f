"""Dilation, erosion, surface and skeleton of masks and of probabilities."""

import functools
import itertools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Shaped

BORDERS = ("background", "neutral")


def dilate(
    x: Shaped[Array, " batch *space"], *, connectivity: int = 1, iterations: int = 1
) -> Shaped[Array, " batch *space"]:
    r"""Dilation: the largest value in the neighborhood of every pixel.

    .. math::
        y_i = \max_{j \in N(i)} x_j

    Args:
        x: masks (bool), or probabilities or other soft values (floating).
        connectivity: what N is, besides the pixel itself: pixels that differ by one step along at
            most so many axes; 1 is a cross, the number of spatial axes a full cube (as in
            `scipy.ndimage.generate_binary_structure`).
        iterations: how often, at least 0; static.

    Returns:
        An array like `x`. What lies beyond the border adds nothing, as in
        `scipy.ndimage.binary_dilation` and in a max-pooling.

    The gradient goes to the pixel the value came from. Equal values share it: alike along an axis,
    as `jnp.maximum` does it, and the shares of a pixel's value always sum to 1.

    Raises:
        ValueError: for another dtype, no spatial axis, or numbers out of range.

    Example:
        >>> import jax.numpy as jnp
        >>> print(dilate(jnp.array([[0.0, 0.0, 0.9, 0.2, 0.1]])))
        [[0.  0.9 0.9 0.9 0.2]]

    Reference: Serra, Image Analysis and Mathematical Morphology, 1982.
    """
    _check(x, connectivity, iterations)
    return _repeat(lambda y: neighborhood(lax.max, y, connectivity), x, iterations)


def erode(
    x: Shaped[Array, " batch *space"],
    *,
    connectivity: int = 1,
    iterations: int = 1,
    border: str | None = None,
) -> Shaped[Array, " batch *space"]:
    r"""Erosion: the smallest value in the neighborhood of every pixel.

    .. math::
        y_i = \min_{j \in N(i)} x_j

    Args:
        x: masks (bool), or probabilities or other soft values (floating).
        connectivity: what N is, as in `dilate`.
        iterations: how often, at least 0; static.
        border: what lies beyond the border: "background" is false or 0, so that a mask is eroded
            from the border too (as in `scipy.ndimage.binary_erosion`); "neutral" takes no part (as
            in the min-pooling of clDice and in `scipy.ndimage.grey_erosion`). None is "background"
            for masks and "neutral" for soft values.

    Returns:
        An array like `x`. With a neutral border, `~dilate(~x)` for masks and `-dilate(-x)` for soft
        values.

    The gradient goes to the pixel the value came from. Equal values share it, as in `dilate`; a
    background beyond the border takes its share too.

    Raises:
        ValueError: for another dtype, no spatial axis, numbers out of range, or another border.

    Example:
        >>> import jax.numpy as jnp
        >>> mask = jnp.array([[True, True, True, False]])
        >>> print(erode(mask))
        [[False  True False False]]
        >>> print(erode(mask, border="neutral"))
        [[ True  True False False]]

    Reference: Serra, Image Analysis and Mathematical Morphology, 1982.
    """
    _check(x, connectivity, iterations)
    if border not in (None, *BORDERS):
        allowed = ", ".join(map(repr, BORDERS))
        raise ValueError(f"border: expected one of {allowed} or None, got {border!r}")
    if border is None:
        border = "background" if x.dtype == jnp.bool_ else "neutral"
    outside = 0 if border == "background" else None
    return _repeat(lambda y: neighborhood(lax.min, y, connectivity, outside), x, iterations)


def surface(
    mask: Bool[Array, " batch *space"], *, connectivity: int = 1
) -> Bool[Array, " batch *space"]:
    """The pixels of a mask that touch background: `mask & ~erode(mask)`.

    Args:
        mask: true = inside.
        connectivity: which neighbors count as touching, as in `dilate`: 1 asks for a common face.

    Returns:
        A mask like `mask`. What lies beyond the border is background, so a full mask has the
        border of the image as its surface.

    Raises:
        ValueError: for no spatial axis or a connectivity out of range.

    Example:
        >>> import jax.numpy as jnp
        >>> print(surface(jnp.array([[False, True, True, True, False]])))
        [[False  True False  True False]]
    """
    check_mask(mask)
    check_connectivity(mask.ndim - 1, connectivity, "mask")
    return mask & ~erode(mask, connectivity=connectivity, border="background")


def soft_skeleton(
    x: Float[Array, " batch *space"],
    *,
    iterations: int,
    where: Bool[Array, " batch *space"] | None = None,
) -> Float[Array, " batch *space"]:
    r"""Soft skeleton of probabilities, as in clDice.

    .. math::
        x_{k+1} = \mathrm{erode}(x_k), \qquad
        d_k = \mathrm{relu}(x_k - \mathrm{dilate}(x_{k+1})), \qquad
        s_k = s_{k-1} + \mathrm{relu}(d_k - s_{k-1} d_k), \qquad s_0 = d_0

    with the erosion by a cross, the dilation by a full cube, and a border that takes no part.

    Args:
        x: probabilities; of a hard mask as floats it is Lantuejoul's skeleton.
        iterations: the last k, at least 0: the largest half width, in pixels, of what has a
            skeleton. Static.
        where: true = there; the others take no part, as if they were beyond the border.

    Returns:
        :math:`s` after all iterations, between 0 and x if x is between 0 and 1; 0 where there is
        nothing.

    The gradient of a relu is 0 at 0; ties of minima and maxima share it as in `erode` and `dilate`.
    The backward pass keeps about :math:`4 \sqrt{k}` arrays of the size of x, besides some 15 for
    one iteration at a time, and computes the others again.

    Raises:
        ValueError: for another dtype, no spatial axis or a negative number of iterations.

    Example:
        >>> import jax.numpy as jnp
        >>> print(soft_skeleton(jnp.array([[0.0, 0.5, 1.0, 0.5, 0.0]]), iterations=1))
        [[0.   0.   0.75 0.   0.  ]]

    Reference: Shit et al., clDice - a Novel Topology-Preserving Loss Function for Tubular
    Structure Segmentation, CVPR 2021.
    """
    _check(x, 1, iterations)
    cube = x.ndim - 1

    def there(image: Array, instead: float | Array) -> Array:
        return image if where is None else jnp.where(where, image, instead)

    def thinner(state: tuple[Array, Array]) -> tuple[Array, Array]:
        image, skeleton = state
        eroded = neighborhood(lax.min, there(image, jnp.inf), 1)
        opened = neighborhood(lax.max, there(eroded, -jnp.inf), cube)
        lost = jax.nn.relu(image - there(opened, image))
        return there(eroded, 0.0), skeleton + jax.nn.relu(lost - skeleton * lost)

    return _repeat(thinner, (there(x, 0.0), jnp.zeros_like(x)), iterations + 1)[1]


def neighborhood(
    pick: Callable[..., Array],
    x: Shaped[Array, " batch *space"],
    connectivity: int,
    outside: int | None = None,
) -> Shaped[Array, " batch *space"]:
    """The smallest or largest value in the neighborhood of every pixel.

    Args:
        pick: `lax.min` or `lax.max`.
        x: any array.
        connectivity: along how many axes at once a neighbor may differ.
        outside: the value beyond the border; None takes no part.

    A neighborhood is the union of the boxes along each choice of `connectivity` axes, and a box is
    gone through axis by axis.
    """

    def box(axes: tuple[int, ...]) -> Array:
        return functools.reduce(lambda y, axis: _along(pick, axis, outside, y), axes, x)

    boxes = [box(axes) for axes in itertools.combinations(range(1, x.ndim), connectivity)]
    return boxes[0] if len(boxes) == 1 else _of_all(pick, boxes)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1, 2))
def _along(pick: Callable[..., Array], axis: int, outside: int | None, x: Array) -> Array:
    """`pick` of every pixel and the two beside it along an axis."""
    neutral = _neutral(pick, x.dtype)
    padded = _pad(x, axis, neutral if outside is None else outside)
    window = [1] * x.ndim
    window[axis] = 3
    return lax.reduce_window(padded, neutral, pick, window, [1] * x.ndim, "VALID")


@_along.defjvp
def _along_jvp(pick, axis, outside, primals, tangents):
    """The mean change of the pixels that the value may have come from.

    XLA's own derivative of a window is slow on the CPU. So is a fusion of several of these, which
    computes each again for every pixel that looks at it: hence the barriers.
    """
    (x,), (change,) = primals, tangents
    y = _along(pick, axis, outside, x)
    beside = _windows(_pad(x, axis, jnp.nan if outside is None else outside), axis)
    change = lax.optimization_barrier(change)
    changes = _windows(_pad(change, axis, 0), axis)
    return y, lax.optimization_barrier(_mean_change(y, beside, changes))


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _of_all(pick: Callable[..., Array], arrays: list[Array]) -> Array:
    return functools.reduce(pick, arrays)


@_of_all.defjvp
def _of_all_jvp(pick, primals, tangents):
    y = _of_all(pick, *primals)
    return y, _mean_change(y, *primals, *tangents)


def _mean_change(y: Array, candidates: list[Array], changes: list[Array]) -> Array:
    """The change of y: the mean over those candidates that are equal to it."""
    equal = [(one == y).astype(y.dtype) for one in candidates]
    moved = [e * change for e, change in zip(equal, changes, strict=True)]
    return functools.reduce(jnp.add, moved) / functools.reduce(jnp.add, equal)


def _pad(x: Array, axis: int, value) -> Array:
    return jnp.pad(x, [(int(i == axis),) * 2 for i in range(x.ndim)], constant_values=value)


def _windows(padded: Array, axis: int) -> list[Array]:
    size = padded.shape[axis] - 2
    return [lax.slice_in_dim(padded, i, i + size, axis=axis) for i in range(3)]


def _neutral(pick: Callable[..., Array], dtype: jnp.dtype) -> Any:
    """The value that is never picked unless there is no other.

    No array, which a loop would trace: XLA knows a window's derivative for known values only.
    """
    if dtype == jnp.bool_:
        return dtype.type(pick is lax.min)
    if jnp.issubdtype(dtype, jnp.floating):
        return dtype.type(jnp.inf if pick is lax.min else -jnp.inf)
    limits = jnp.iinfo(dtype)
    return dtype.type(limits.max if pick is lax.min else limits.min)


def _repeat(step: Callable, state, times: int):
    """`step` so many times; differentiated, it keeps about 2 sqrt(times) states.

    Within runs of sqrt(times) steps each, only the first state is kept until the gradient gets to
    the run.
    """
    if times <= 1:  # a loop would be compiled anew for each call outside of `jit`
        return step(state) if times else state
    length = math.isqrt(times)
    runs, rest = divmod(times, length)
    # A loop keeps its body apart, so nothing else has to.
    checkpoint = functools.partial(jax.checkpoint, prevent_cse=False)
    once = checkpoint(lambda state, _: (step(state), None))
    run = checkpoint(lambda state, _: lax.scan(once, state, length=length))
    state, _ = lax.scan(run if length > 1 else once, state, length=runs)
    return lax.scan(once, state, length=rest)[0] if rest else state


def _check(x: Array, connectivity: int, iterations: int) -> None:
    if x.dtype != jnp.bool_ and not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(f"x: expected a bool or floating dtype, got {x.dtype}")
    check_connectivity(x.ndim - 1, connectivity)
    if iterations < 0:
        raise ValueError(f"iterations: expected at least 0, got {iterations}")


def check_mask(mask: Array) -> None:
    """Raises unless it is a mask: whole numbers would be taken apart into their bits."""
    if mask.dtype != jnp.bool_:
        raise ValueError(f"mask: expected a boolean array, got {mask.dtype}")


def check_connectivity(space: int, connectivity: int, name: str = "x") -> None:
    """Raises unless a neighbor may differ along so many of the spatial axes."""
    if space < 1:
        raise ValueError(f"{name}: expected shape (batch, *space) with a spatial axis, got none")
    if not 1 <= connectivity <= space:
        raise ValueError(f"connectivity: expected 1 to {space}, got {connectivity}")
