"""Boundary loss: every misplaced pixel costs its distance to the boundary."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

from lossbench import _checks
from lossbench.losses._inputs import Inputs, read
from lossbench.losses._maps import (
    ABSENT,
    INSIDE,
    OUTSIDE,
    class_maps,
    diagonals,
    first_class,
    given_maps,
    labeled,
    mean_over_classes,
    read_labels,
    refuse_soft,
    signed_distance,
    steps_of,
)
from lossbench.losses._region import ACTIVATE
from lossbench.ops.classes import apart
from lossbench.ops.distance import Spacing
from lossbench.ops.sums import class_sums


class _Map(NamedTuple):
    """How distances are measured; see `boundary`."""

    spacing: Spacing | None
    normalize: bool
    inside: str
    outside: str
    absent: str


def boundary(
    logits: Float[Array, "batch *space classes"],
    labels: Shaped[Array, "batch ..."],
    *,
    where: Bool[Array, " batch *space"] | None = None,
    activation: str = "softmax",
    class_weights: Float[Array, " classes"] | None = None,
    include_background: bool = False,
    spacing: Spacing | None = None,
    normalize: bool = True,
    inside: str = "paper",
    outside: str = "ignored",
    absent: str = "zero",
    distance_map: Float[Array, "batch *space classes"] | None = None,
) -> Float[Array, " batch"]:
    r"""Boundary loss, averaged over classes; to be added to a region loss.

    .. math::
        L = \frac{\sum_c w_c L_c}{\sum_c w_c}, \qquad
        L_c = \frac{1}{n D} \sum_i p_{ic}\, \varphi_{ic}

    over the n pixels that count, with :math:`\varphi_c` the signed distance of a pixel to the
    boundary of class c, negative inside, and D the length of the image's diagonal in the same unit.
    The least value is negative: see `boundary_optimum`, and `boundary_schedule` for the paper's way
    to shift weight from a region loss.

    Args:
        logits: raw scores.
        labels: class ids (integer, `batch *space`), a mask (bool, `batch *space`, for one class, or
            for two under a softmax) or one mask a class (bool, `batch *space classes`).
        where: true = counted. What is masked is as if it were not there: on neither side of a
            boundary, and D is that of the box of what counts.
        activation: "softmax" over exclusive classes, "sigmoid" for each class by itself, or
            "identity" if `logits` holds probabilities already.
        class_weights: one weight a class, background included; may be traced.
        include_background: false gives class 0 the weight 0 (after the softmax) and spares its map;
            a single class is foreground and counts always.
        spacing: the size of a pixel along each axis of space, 1 by default; may be traced.
        normalize: divides by D, so that a picture at another scale or in another unit has the same
            value and one weight transfers; false is the paper's form, in the unit of `spacing`.
        inside: "paper" has 0 on the innermost layer of the boundary, as MONAI: minus the distance
            to the nearest pixel outside, plus the smallest spacing; "plain" adds nothing, as
            exacta.
        outside: of the image: "ignored", as the paper and MONAI, or "background", as exacta.
        absent: what the map of a class without a labeled pixel is: "zero", so that the class costs
            nothing, as the paper and MONAI; or "diagonal", D everywhere, as exacta: all of its
            probability costs. A class that has all pixels has the map 0 (with `outside="ignored"`).
        distance_map: the maps, computed before by `signed_distance_map`, in the unit of `spacing`;
            the labels are only checked then, and `inside`, `outside`, `absent` do nothing. They are
            most of the cost: at 64^3 voxels, one class and two CPU cores value and gradient take
            4 ms, 1 ms with them given; at 128^3 47 and 9.

    Returns:
        One value per example, `batch`, between -1 and 1 with `normalize=True`; 0 for an example
        that is masked whole.

    Gradient: smooth; that of p, since the maps are constants. It does not depend on p itself, so a
    class far too large stays so: that is why a region loss goes with it. 0 for a class whose map is
    0. Every order and both modes of differentiation work.

    Raises:
        ValueError: for shapes, dtypes or options outside the contract; for a softmax over one
            class; for labels that are probabilities.

    Example:
        >>> import jax.numpy as jnp
        >>> p = jnp.array([[[0.0], [1.0], [1.0], [1.0], [1.0]]])  # one pixel too many on the right
        >>> labels = jnp.array([[False, True, True, True, False]])
        >>> options = {"activation": "identity", "normalize": False}
        >>> print(f"{boundary(p, labels, **options)[0]:.3f}")  # (0 - 1 + 0 + 1) / 5
        0.000
        >>> print(f"{boundary_optimum(p, labels, **options)[0]:.3f}")
        -0.200

    Reference: Kervadec et al., Boundary Loss for Highly Unbalanced Segmentation, MIDL 2019.
    """
    how = _Map(spacing, normalize, inside, outside, absent)
    x, maps, unit = _read(logits, labels, where, activation, include_background, distance_map, how)

    def columns(logits: Array, labels: Array, maps: Array) -> list[tuple[Array, ...]]:
        parts = zip(ACTIVATE[activation](logits), apart(maps), strict=True)
        return [(p * phi,) for p, phi in parts]

    (sums,) = class_sums(columns, x.logits, x.labels, x.counted(), maps)
    return mean_over_classes(sums, x, class_weights, include_background) / unit


def boundary_optimum(
    logits: Float[Array, "batch *space classes"],
    labels: Shaped[Array, "batch ..."],
    *,
    where: Bool[Array, " batch *space"] | None = None,
    activation: str = "softmax",
    class_weights: Float[Array, " classes"] | None = None,
    include_background: bool = False,
    spacing: Spacing | None = None,
    normalize: bool = True,
    inside: str = "paper",
    outside: str = "ignored",
    absent: str = "zero",
    distance_map: Float[Array, "batch *space classes"] | None = None,
) -> Float[Array, " batch"]:
    r"""The least value of `boundary`, that of a perfect prediction; at most 0.

    .. math::
        L^* = \frac{\sum_c w_c L^*_c}{\sum_c w_c}, \qquad
        L^*_c = \frac{1}{n D} \sum_i \min(0, \varphi_{ic})

    Take it from the loss before you compare examples, or before anything that needs a loss of at
    least 0, such as a weighting with logarithms: the gradient stays the same.

    Args:
        logits: as in `boundary`, like everything here; only their shape and dtype matter.
        labels: see `boundary`.
        where: see `boundary`.
        activation: see `boundary`.
        class_weights: see `boundary`.
        include_background: see `boundary`.
        spacing: see `boundary`.
        normalize: see `boundary`.
        inside: see `boundary`.
        outside: see `boundary`.
        absent: see `boundary`.
        distance_map: see `boundary`.

    Returns:
        One value per example, `batch`.

    Gradient: 0, it depends on the labels alone.

    Raises:
        ValueError: as `boundary`.

    Example:
        >>> import jax.numpy as jnp
        >>> labels = jnp.array([[0, 1, 1, 1, 0]])
        >>> print(f"{boundary_optimum(jnp.zeros((1, 5, 2)), labels, normalize=False)[0]:.3f}")
        -0.200

    Reference: Kervadec et al., Boundary Loss for Highly Unbalanced Segmentation, MIDL 2019.
    """
    how = _Map(spacing, normalize, inside, outside, absent)
    x, maps, unit = _read(logits, labels, where, activation, include_background, distance_map, how)
    least = jnp.minimum(maps, 0)
    least = least if x.where is None else jnp.where(x.where[..., None], least, 0)
    return mean_over_classes(jnp.sum(least, axis=1), x, class_weights, include_background) / unit


def _read(
    logits: Array,
    labels: Array,
    where: Array | None,
    activation: str,
    include_background: bool,
    distance_map: Array | None,
    how: _Map,
) -> tuple[Inputs, Float[Array, "batch pixels classes"], Float[Array, " batch"]]:
    """The inputs, the maps of the classes that count, and the length that is 1 in each value."""
    _choices(how)
    x = read(logits, labels, where, activation=activation, activations=tuple(ACTIVATE))
    refuse_soft(x, "the boundary loss")
    space = logits.shape[1:-1]
    steps = steps_of(how.spacing, space)
    if distance_map is None:
        maps = _signed_maps(x, space, steps, how, first_class(x, include_background))
    else:
        maps = given_maps(distance_map, logits, x)
    return x, maps, diagonals(x, space, steps) if how.normalize else jnp.ones(len(logits))


def _choices(how: _Map) -> None:
    _checks.choice("inside", how.inside, INSIDE)
    _checks.choice("outside", how.outside, OUTSIDE)
    _checks.choice("absent", how.absent, ABSENT)


def _signed_maps(
    x: Inputs, space: tuple[int, ...], steps: list[Array], how: _Map, first: int
) -> Float[Array, "batch pixels classes"]:
    function = functools.partial(
        signed_distance,
        steps=steps,
        inside=how.inside,
        outside=how.outside,
        absent=how.absent,
        far=diagonals(x, space, steps),
    )
    return class_maps(x, [labeled(x)], function, space=space, first=first)


def signed_distance_map(
    labels: Shaped[Array, "batch ..."],
    *,
    classes: int,
    where: Bool[Array, " batch *space"] | None = None,
    spacing: Spacing | None = None,
    inside: str = "paper",
    outside: str = "ignored",
    absent: str = "zero",
) -> Float[Array, "batch *space classes"]:
    r"""The signed distance of each pixel to the boundary of each class, negative inside.

    .. math::
        \varphi_i = \min_{j \in G} |i - j| \;\text{outside of } G, \qquad
        \varphi_i = -\min_{j \notin G} |i - j| \;\text{inside}

    with G the pixels of the class. Computed once for an image that does not change, it can be given
    to `boundary` and, with `inside="plain"`, to `hausdorff_dt` as `distance_map`.

    Args:
        labels: class ids (integer, `batch *space`), one mask a class (bool, `batch *space classes`)
            or, for one class, a mask (bool, `batch *space`).
        classes: their number.
        where: true = counted. A masked pixel is on neither side of a boundary.
        spacing: the size of a pixel along each axis of space, 1 by default; may be traced.
        inside: see `boundary`, like the rest.
        outside: see `boundary`.
        absent: see `boundary`.

    Returns:
        The maps, `batch *space classes`, in the unit of `spacing`.

    Raises:
        ValueError: for shapes, dtypes or options outside the contract.

    Example:
        >>> import jax.numpy as jnp
        >>> labels = jnp.array([[0, 1, 1, 1, 0]])
        >>> maps = signed_distance_map(labels, classes=2, inside="plain")
        >>> [float(phi) for phi in maps[0, :, 1]]
        [1.0, -1.0, -2.0, -1.0, 1.0]

    Reference: Kervadec et al., Boundary Loss for Highly Unbalanced Segmentation, MIDL 2019.
    """
    how = _Map(spacing, False, inside, outside, absent)
    _choices(how)
    x, space = read_labels(labels, classes, where)
    maps = _signed_maps(x, space, steps_of(spacing, space), how, 0)
    return maps.reshape(len(maps), *space, classes)


class Shift(NamedTuple):
    """Weights that shift from one loss to another, each a function of the step.

    Attributes:
        region: the weight of the region loss.
        boundary: the weight of the boundary loss; both sum to 1.
    """

    region: Callable[[int | Array], Float[Array, ""]]
    boundary: Callable[[int | Array], Float[Array, ""]]


def boundary_schedule(
    interval: int, *, start: float = 1.0, decrement: float = 0.01, end: float = 0.01
) -> Shift:
    r"""The paper's shift of weight from a region loss to the boundary loss.

    .. math::
        L = \alpha\, L_R + (1 - \alpha)\, L_B, \qquad
        \alpha = \max(\alpha_1,\; \alpha_0 - \delta \lfloor s / m \rfloor)

    at step s: the region loss comes first, since the boundary loss alone may end in an empty
    prediction.

    Args:
        interval: m, the steps between two changes; the paper's is an epoch.
        start: the first weight of the region loss.
        decrement: what it loses at each change.
        end: its last weight.

    Returns:
        The weights of the region loss and of the boundary loss, as schedules (of a step that may be
        traced): an objective's terms take them as their `weight`.

    Raises:
        ValueError: for an interval below 1, a negative decrement, or weights that are not
            `0 <= end <= start <= 1`.

    Example:
        >>> weight = boundary_schedule(100)
        >>> [f"{float(weight.boundary(step)):.2f}" for step in (0, 99, 100, 250, 10_000)]
        ['0.00', '0.00', '0.01', '0.02', '0.99']

    Reference: Kervadec et al., Boundary Loss for Highly Unbalanced Segmentation, MIDL 2019.
    """
    if interval < 1:
        raise ValueError(f"interval: expected at least 1 step, got {interval}")
    if not decrement >= 0:
        raise ValueError(f"decrement: expected at least 0, got {decrement}")
    if not 0 <= end <= start <= 1:
        raise ValueError(
            f"start, end: expected weights with 0 <= end <= start <= 1, got {start} and {end}"
        )

    def region(step: int | Array) -> Float[Array, ""]:
        changes = (jnp.asarray(step, jnp.int32) // interval).astype(jnp.float32)
        return jnp.maximum(start - decrement * changes, end)

    return Shift(region, lambda step: 1 - region(step))
