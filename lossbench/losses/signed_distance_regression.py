"""Signed distance regression: a network that predicts distance maps instead of classes."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

from lossbench import _checks
from lossbench.losses._inputs import divide, read
from lossbench.losses._maps import (
    class_maps,
    class_weights_of,
    diagonals,
    each_row,
    first_class,
    labeled,
    mean_over_classes,
    refuse_soft,
    signed_distance,
    steps_of,
)
from lossbench.ops.classes import apart
from lossbench.ops.distance import Spacing
from lossbench.ops.sums import class_sums

ACTIVATIONS = ("tanh", "linear")
SCALES = ("sides", "diagonal", "none")
FORMS = ("l1", "l2", "product", "l1_product")


def signed_distance_regression(
    logits: Float[Array, "batch *space classes"],
    labels: Shaped[Array, "batch ..."],
    *,
    where: Bool[Array, " batch *space"] | None = None,
    activation: str = "tanh",
    class_weights: Float[Array, " classes"] | None = None,
    include_background: bool = False,
    spacing: Spacing | None = None,
    scale: str = "sides",
    form: str = "l1_product",
) -> Float[Array, " batch"]:
    r"""Error of a predicted signed distance map, averaged over classes.

    .. math::
        L = \frac{\sum_c w_c L_c}{\sum_c w_c}, \qquad
        L_c^{l1} = \frac{1}{n} \sum_i |f_{ic} - y_{ic}|, \qquad
        L_c^{product} = \frac{1}{3} -
            \frac{\sum_i f_{ic} y_{ic}}{\sum_i (f_{ic} y_{ic} + f_{ic}^2 + y_{ic}^2)}

    over the n pixels that count, with f the predicted map and y that of the labels: inside a class
    the distance to the nearest pixel outside, outside minus the distance to the nearest one inside.
    So the output is a score as that of any other loss, larger inside: the class of a pixel is the
    largest f, or where f is above 0. The paper has the opposite sign, and 0 on the boundary.

    Args:
        logits: the network's output, one map a class.
        labels: class ids (integer, `batch *space`), a mask (bool, `batch *space`, for one class) or
            one mask a class (bool, `batch *space classes`).
        where: true = counted. A masked pixel is on neither side of a boundary.
        activation: "tanh", as in the paper, or "linear": f is the output itself.
        class_weights: one weight a class, background included; may be traced.
        include_background: false gives class 0 the weight 0; a single class is foreground and
            counts always.
        spacing: the size of a pixel along each axis of space, 1 by default; may be traced.
        scale: what y is divided by: "sides", as in the paper, on each side of the boundary the
            largest distance there, so that y goes from -1 to 1; "diagonal", the length of the
            image; "none": y is in the unit of `spacing` (then take "linear").
        form: "l1"; "l2", the mean of squared errors; "product", the paper's second term, here plus
            1/3, with which a perfect map costs 0; "l1_product", their sum, the paper's loss.

    Returns:
        One value per example, `batch`, at least 0; 0 for an example that is masked whole. A class
        without a pixel has y = -1 everywhere, one that has all of them 1 (with `scale="none"` the
        length of the diagonal instead of 1).

    Gradient: smooth, but for f = y with "l1", where it is 0. Every order and both modes of
    differentiation work.

    Raises:
        ValueError: for shapes, dtypes or options outside the contract; for labels that are
            probabilities.

    Example:
        >>> import jax.numpy as jnp
        >>> labels = jnp.array([[False, False, True, True, False]])
        >>> options = {"activation": "linear", "scale": "none", "form": "l1"}
        >>> perfect = jnp.array([[[-2.0], [-1.0], [1.0], [1.0], [-1.0]]])
        >>> print(f"{signed_distance_regression(perfect, labels, **options)[0]:.3f}")
        0.000

    Reference: Xue et al., Shape-Aware Organ Segmentation by Predicting Signed Distance Maps, AAAI
    2020.
    """
    _checks.choice("scale", scale, SCALES)
    _checks.choice("form", form, FORMS)
    x = read(logits, labels, where, activation=activation, activations=ACTIVATIONS)
    refuse_soft(x, "a signed distance")
    space = logits.shape[1:-1]
    steps = steps_of(spacing, space)
    far = diagonals(x, space, steps)

    def target(masks: Array, counted: Array | None) -> Float[Array, " rows *space"]:
        phi = signed_distance(
            masks, counted, steps, inside="plain", outside="ignored", absent="zero", far=far
        )
        return _scaled(-phi, masks, counted, scale, each_row(far, masks))

    first = first_class(x, include_background)
    maps = class_maps(x, [labeled(x)], target, space=space, first=first)

    def columns(logits: Array, labels: Array, maps: Array) -> list[tuple[Array, ...]]:
        parts = apart(jnp.tanh(logits) if activation == "tanh" else logits)
        return [_terms(f, y) for f, y in zip(parts, apart(maps), strict=True)]

    sums = class_sums(columns, x.logits, x.labels, x.counted(), maps)
    absolute, squared, both, sizes = sums
    value = jnp.zeros_like(x.pixel_count())
    if form in ("l1", "l1_product"):
        value = value + mean_over_classes(absolute, x, class_weights, include_background)
    if form == "l2":
        value = value + mean_over_classes(squared, x, class_weights, include_background)
    if form in ("product", "l1_product"):
        alike = 1 / 3 - divide(both, both + sizes, empty=1 / 3)
        weights = class_weights_of(x, class_weights, include_background)
        value = value + divide(jnp.sum(weights[None] * alike, axis=1), jnp.sum(weights))
    return value


def _terms(f: Array, y: Array) -> tuple[Array, ...]:
    """What is summed: the absolute and the squared error, the product, and both squares."""
    error = f - y
    return jnp.abs(error), error * error, f * y, f * f + y * y


def _scaled(
    phi: Float[Array, " rows *space"],
    masks: Bool[Array, " rows *space"],
    counted: Bool[Array, " rows *space"] | None,
    scale: str,
    far: Float[Array, " rows *space"],
) -> Float[Array, " rows *space"]:
    """The map in the unit that is asked for; a mask that is empty or full has the largest value."""
    others = ~masks if counted is None else counted & ~masks
    over = {"axis": tuple(range(1, masks.ndim)), "keepdims": True}
    if scale == "sides":
        inner = jnp.max(phi, where=masks, initial=0, **over)
        outer = jnp.max(-phi, where=others, initial=0, **over)
        phi = divide(phi, jnp.where(masks, inner, outer))
    elif scale == "diagonal":
        phi = phi / far
    has_both = jnp.any(masks, **over) & jnp.any(others, **over)
    largest = far if scale == "none" else jnp.ones_like(far)
    return jnp.where(has_both, phi, jnp.where(masks, largest, -largest))
