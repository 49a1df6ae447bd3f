"""What region losses share: sums of overlap, pooled; ratios, smoothed; a mean over classes."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from lossbench import _checks
from lossbench.losses._inputs import Inputs, Number, class_weighting, divide, read
from lossbench.ops.classes import apart
from lossbench.ops.probabilities import sigmoid, softmax
from lossbench.ops.sums import class_sums, truth

# What the labels may be compared with; "identity" takes the values for probabilities.
ACTIVATE = {"softmax": softmax, "sigmoid": sigmoid, "identity": apart}
POOLS = ("example", "batch")
ABSENT = ("smooth", "skip", "suppress")
OVERLAPS = ("l1", "product")
FORMS = ("ratio", "log", "log_cosh")


class Regions(NamedTuple):
    """Sums over the pixels that count, one an example (or one for the batch) and class.

    Attributes:
        intersection: I, the sum of the overlap of prediction and truth.
        predicted: P, the sum of p.
        true: T, the sum of t.
        pixels: their number.
        cost: the sum over the pixels of a cost that was asked for besides.
    """

    intersection: Float[Array, "rows classes"]
    predicted: Float[Array, "rows classes"]
    true: Float[Array, "rows classes"]
    pixels: Float[Array, "rows 1"]
    cost: Float[Array, " rows"] | None = None


def product(p: Array, t: Array) -> tuple[Array, ...]:
    """The overlap of hard labels: both."""
    return p * t, p, t


def least(p: Array, t: Array) -> tuple[Array, ...]:
    """The overlap of soft labels, `(p + t - |p - t|) / 2`: a prediction equal to t covers it."""
    return jnp.minimum(p, t), p, t


def product_of_squares(p: Array, t: Array) -> tuple[Array, ...]:
    """`(p^2 + t^2 - (p - t)^2) / 2`, which is the product."""
    return p * t, p * p, t * t


def read_region(
    logits: Array, labels: Array, where: Array | None, *, activation: str, pool: str
) -> Inputs:
    """Checks and flattens the arrays of a region loss."""
    _checks.choice("pool", pool, POOLS)
    return read(logits, labels, where, activation=activation, activations=tuple(ACTIVATE))


def totals(
    x: Inputs,
    function: Callable[[Array, Array], tuple[Array, ...]],
    *,
    activation: str,
    pool: str,
    cost: Callable[[Array, Array], Array] | None = None,
) -> tuple[Float[Array, "rows ..."], ...]:
    """Sums over the pool of functions of prediction and truth, one a class; a cost's comes last."""

    def columns(logits: Array, labels: Array) -> list[tuple[Array, ...]]:
        true = truth(labels, x.classes, logits.dtype)
        return [function(p, t) for p, t in zip(ACTIVATE[activation](logits), true, strict=True)]

    sums = class_sums(columns, x.logits, x.labels, x.counted(), also=cost)
    return tuple(pooled(total, pool) for total in sums)


def pooled(total: Shaped[Array, "batch ..."], pool: str) -> Shaped[Array, "rows ..."]:
    """Sums of examples, or of the batch as one row."""
    return jnp.sum(total, axis=0, keepdims=True) if pool == "batch" else total


def count(x: Inputs, pool: str) -> Float[Array, "rows 1"]:
    """The number of pixels of each pool."""
    return pooled(x.pixel_count()[:, None], pool)


def measure(
    logits: Array,
    labels: Array,
    where: Array | None,
    *,
    activation: str,
    pool: str,
    overlap: str,
    squared: bool = False,
) -> Regions:
    """The sums that overlap losses are made of.

    With `squared` the sums of predictions and truth are those of their squares.
    """
    x = read_region(logits, labels, where, activation=activation, pool=pool)
    return regions_of(x, activation=activation, pool=pool, overlap=overlap, squared=squared)


def regions_of(
    x: Inputs,
    *,
    activation: str,
    pool: str,
    overlap: str,
    squared: bool = False,
    cost: Callable[[Array, Array], Array] | None = None,
) -> Regions:
    """The sums, and besides that of a `cost` of logits and labels, one a pixel."""
    _checks.choice("overlap", overlap, OVERLAPS)
    function = least if x.soft and overlap == "l1" else product
    function = product_of_squares if squared else function
    both, predicted, true, *costs = totals(x, function, activation=activation, pool=pool, cost=cost)
    return Regions(both, predicted, true, count(x, pool), *costs)


def smoothing(smooth: Number | tuple[Number, ...], dtype) -> tuple[Array, Array]:
    """What is added to the numerator and to the denominator: one number for both, or a pair."""
    s = jnp.asarray(smooth, dtype)
    if s.shape not in ((), (2,)):
        raise ValueError(
            "smooth: expected a number, or a pair of them for numerator and denominator; "
            f"got shape {s.shape}"
        )
    return (s, s) if s.ndim == 0 else (s[0], s[1])


def score(overlap: Array, size: Array, smooth: Number | tuple) -> Array:
    """`(2 I + s) / (size + s)`; an empty truth that is predicted empty scores 1 without s."""
    above, below = smoothing(smooth, overlap.dtype)
    return divide(2 * overlap + above, size + below, empty=1.0)


def shape_of(form: str, score: Array) -> Array:
    """The cost of a score in [0, 1]."""
    _checks.choice("form", form, FORMS)
    if form == "ratio":
        return 1 - score
    if form == "log":
        return -jnp.log(jnp.maximum(score, jnp.finfo(score.dtype).tiny))
    half = jnp.sinh((1 - score) / 2)  # log cosh x, without loss of digits at 0
    return jnp.log1p(2 * half * half)


def power(base: Array, exponent: Number) -> Array:
    """`base^exponent`, and 0 with gradient 0 where the base is 0 (or below, by rounding)."""
    positive = ~(base <= 0)  # NaN stays NaN
    safe = jnp.where(positive, base, 1)
    raised = jnp.exp(jnp.asarray(exponent, base.dtype) * jnp.log(safe))
    return jnp.where(positive, raised, 0)


def mean_over_classes(
    costs: Float[Array, "rows classes"],
    regions: Regions,
    *,
    class_weights: Array | None,
    include_background: bool,
    absent: str,
    pool: str,
) -> Float[Array, "..."]:
    """The weighted mean of the classes' costs; what an absent class does is said by `absent`."""
    _checks.choice("absent", absent, ABSENT)
    weights = weights_of_classes(class_weights, costs, include_background)
    if absent == "skip":
        weights = jnp.where(regions.true > 0, weights, 0)
    if absent == "suppress":
        given = divide(regions.predicted, regions.pixels)
        costs = jnp.where(regions.true > 0, costs, given)
    value = divide(jnp.sum(weights * costs, axis=1), jnp.sum(weights, axis=1))
    value = jnp.where(regions.pixels[:, 0] > 0, value, 0)
    return value[0] if pool == "batch" else value


def weights_of_classes(
    class_weights: Array | None, costs: Float[Array, "rows classes"], include_background: bool
) -> Float[Array, "rows classes"]:
    """The weight of each class, 0 for a background that is left out."""
    classes = costs.shape[1]
    if not include_background and classes == 1:
        raise ValueError("include_background=False: there is only one class, nothing would be left")
    weights = class_weighting(class_weights, classes, costs.dtype)
    weights = weights if include_background else weights.at[0].set(0)
    return jnp.broadcast_to(weights[None], costs.shape)
