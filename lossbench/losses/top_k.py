"""Top-k cross entropy: only the hardest pixels count."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

from lossbench import _checks
from lossbench.losses._inputs import Number, divide, given_weights, read
from lossbench.losses._pixelwise import REDUCTIONS, cross_entropies, sided_costs
from lossbench.losses.cross_entropy import negative_log
from lossbench.ops.classes import apart, together
from lossbench.ops.hardest import largest
from lossbench.ops.sums import sum_pixels

# .1 of 30 pixels are 3 of them, though .1 in float32 is a little more.
_ROUNDING = 1e-7


def top_k_cross_entropy(
    logits: Float[Array, "batch *space classes"],
    labels: Shaped[Array, "batch ..."],
    *,
    where: Bool[Array, " batch *space"] | None = None,
    activation: str = "softmax",
    class_weights: Float[Array, " classes"] | None = None,
    k: Number = 0.1,
    reduction: str = "mean",
) -> Float[Array, "batch ..."]:
    r"""Cross entropy of the hardest pixels of each example.

    .. math::
        L = \frac{1}{K} \sum_{i \in \text{top } K} w_{y_i} (-\log p_{iy}), \qquad
        K = \lceil k\, n \rceil

    over the K pixels, of the n that count, that cost most. Under a sigmoid each class at each pixel
    is one of n C. Pixels tied for the last place share it. A label of probabilities costs the mean
    over its classes.

    Args:
        logits: raw scores.
        labels: class ids (integer, `batch *space`), a mask (bool, `batch *space`, for one class, or
            for two under a softmax), one mask a class (bool) or class probabilities (floating),
            `batch *space classes`.
        where: true = counted.
        activation: "softmax" over exclusive classes, or "sigmoid" for each class by itself; the
            mean is then over classes too.
        class_weights: one weight a class; may be traced. The mean does not divide by it.
        k: the share of the pixels that are kept, above 0 and at most 1, rounded up to a whole
            number of them; may be traced.
        reduction: "mean" over the pixels kept, "sum" of them, or "none": the pixels' costs, 0 where
            not kept or masked (`batch *space`, or the logits' shape under a sigmoid).

    Returns:
        One value per example, `batch`, at least 0; 0 for an example that is masked whole.

    Gradient: that of the cross entropy for the pixels kept, 0 for the others: which ones are kept
    counts as constant. Every order and both modes of differentiation work.

    Raises:
        ValueError: for shapes, dtypes or options outside the contract, and for a softmax over one
            class.

    Example:
        >>> import jax.numpy as jnp
        >>> logits = jnp.array([[[2.0, 0.0], [0.0, 2.0]]])  # 1 example, 2 pixels, 2 classes
        >>> print(f"{top_k_cross_entropy(logits, jnp.array([[0, 0]]), k=0.5)[0]:.3f}")
        2.127

    Reference: Wu, Shen, van den Hengel, Bridging Category-level and Instance-level Semantic Image
    Segmentation, 2016 (online hard pixels); the share k = 10 % is that of nnU-Net's variant.
    """
    _checks.choice("reduction", reduction, REDUCTIONS)
    x = read(logits, labels, where, activation=activation)
    weights = given_weights(class_weights, x.classes, x.logits.dtype)
    counted, elements = x.where, x.pixel_count()

    if activation == "softmax":
        costs, shape = cross_entropies(x, weights), logits.shape[:-1]
    else:
        parts = sided_costs(apart(x.logits), x.labels, negative_log, weights)
        every = together(parts, x.classes)
        costs, shape = every.reshape(every.shape[0], -1), logits.shape
        elements = elements * x.classes
        if counted is not None:
            counted = jnp.repeat(counted, x.classes, axis=1)
    number = jnp.ceil(
        jnp.asarray(k, costs.dtype) * elements - jnp.minimum(_ROUNDING * elements, 0.5)
    )
    number = jnp.clip(number, jnp.minimum(1, elements), elements)
    kept = largest(costs, counted, number.astype(jnp.int32)) * costs
    if reduction == "none":
        return kept.reshape(shape)
    value = sum_pixels(kept)
    return value if reduction == "sum" else divide(value, number)
