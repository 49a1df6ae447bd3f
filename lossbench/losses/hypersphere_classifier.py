"""Hypersphere classification: normal inside of a sphere, anomalous outside, both labeled."""

import math

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from lossbench.losses._inputs import Number, number
from lossbench.losses._space import over_space, positive, read_mask
from lossbench.losses.svdd import distances


def hypersphere_classifier(
    embeddings: Float[Array, "batch *space features"],
    center: Float[Array, " features"],
    labels: Bool[Array, "batch ..."],
    *,
    eps: Number = 1e-6,
    where: Bool[Array, " batch *space"] | None = None,
    reduction: str = "mean",
) -> Float[Array, "batch ..."]:
    r"""Hypersphere classification: cross entropy where `exp(-h)` is the probability of normal.

    .. math::
        L = \frac{1}{n} \sum_i (1 - y_i) h_i - y_i \log(1 - e^{-(h_i + \epsilon)}), \qquad
        h_i = \sqrt{\lVert z_i - c \rVert^2 + 1} - 1

    over the n pixels that count, with y = 1 for an anomaly and the pseudo-Huber distance h: a
    square near the center, a length far from it, so that no outlier decides alone. Anomalies may be
    other images altogether (outlier exposure).

    Args:
        embeddings: what the network makes of each pixel, or of each example if there is no space.
        center: of the sphere, fixed: see `svdd_one_class`.
        labels: `batch *space`, true = anomalous.
        eps: keeps an anomaly at the center finite, where the paper's formula, with 0, is infinite;
            may be traced.
        where: true = counted.
        reduction: over space: "mean", "sum", "none" (`batch *space`; 0 if masked). The score of an
            embedding is `svdd_distance`.

    Returns:
        One value per example, `batch`, at least 0; 0 for an example that is masked whole.

    Gradient: smooth everywhere; at most 1 for a normal pixel. An anomaly at the very center costs
    `-log(eps)` (13.8 for the default) and has the gradient 0; the largest, nearby, is
    `1 / sqrt(2 eps)` (707). 0 under the mask, and always for the center. Every order and both modes
    of differentiation work.

    Raises:
        ValueError: for shapes, dtypes or options outside the contract, and for an eps that is known
            while tracing and not above 0.

    Example:
        >>> import jax.numpy as jnp
        >>> embeddings = jnp.array([[[0.0, 0.0], [4.0, 8.0]]])  # h = 0 and 8
        >>> center, labels = jnp.array([0.0, 0.0]), jnp.array([[False, True]])
        >>> for y in (labels, ~labels):  # all right: 3.4e-4 / 2; and all wrong: (8 + 13.8) / 2
        ...     print(f"{hypersphere_classifier(embeddings, center, y)[0]:.4f}")
        0.0002
        10.9078

    Reference: Ruff et al., Rethinking Assumptions in Deep Anomaly Detection, arXiv 2006.00339,
    2020.
    """
    positive("eps", eps)
    d, where = distances(embeddings, center, where)
    anomalous = read_mask(labels, d.shape, "anomalous")
    h = d / (jnp.sqrt(d + 1) + 1)  # the same as sqrt(d + 1) - 1, which has no digits near 0
    far = _surprise_of_distance(jnp.where(anomalous, h, 1) + number(eps, d))
    return over_space(jnp.where(anomalous, far, h), where, reduction)


def _surprise_of_distance(h: Float[Array, "..."]) -> Float[Array, "..."]:
    """`-log(1 - exp(-h))` for h above 0, to the last digits where it is large and where small."""
    is_near = h < math.log(2)
    near = -jnp.log(-jnp.expm1(-jnp.where(is_near, h, 1)))
    far = -jnp.log1p(-jnp.exp(-jnp.where(is_near, 1, h)))
    return jnp.where(is_near, near, far)
