"""Deep SAD: Deep SVDD with a few labels."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from lossbench import _checks
from lossbench.losses._inputs import Number, number
from lossbench.losses._space import over_space, positive, read_mask
from lossbench.losses.svdd import distances


def deep_sad(
    embeddings: Float[Array, "batch *space features"],
    center: Float[Array, " features"],
    labels: Bool[Array, "batch ..."] | Int[Array, "batch ..."],
    *,
    eta: Number = 1.0,
    eps: Number = 1e-6,
    where: Bool[Array, " batch *space"] | None = None,
    reduction: str = "mean",
) -> Float[Array, "batch ..."]:
    r"""Deep SAD: what is normal near the center, known anomalies far from it.

    .. math::
        L = \frac{1}{n} \sum_i \begin{cases}
            d_i & \text{unlabeled} \\
            \eta (d_i + \epsilon) & \text{known to be normal} \\
            \eta / (d_i + \epsilon) & \text{known to be an anomaly}
        \end{cases}
        \qquad d_i = \lVert z_i - c \rVert^2

    over the n pixels that count. Without a label it is `svdd_one_class`: what has none is taken for
    normal.

    Args:
        embeddings: what the network makes of each pixel, or of each example if there is no space.
        center: of the sphere, fixed: see `svdd_one_class`.
        labels: `batch *space`. Bool: true = a known anomaly, false = unlabeled. Integers, as in the
            paper: -1 = a known anomaly, 0 = unlabeled, 1 = known to be normal. Class ids, where 1
            would be the anomaly, are something else: give `ids == 1`.
        eta: weight of what is labeled against what is not; may be traced.
        eps: keeps an anomaly at the center finite; may be traced.
        where: true = counted.
        reduction: over space: "mean", "sum", "none" (`batch *space`; 0 if masked). The score of an
            embedding is `svdd_distance`.

    Returns:
        One value per example, `batch`, at least 0; 0 for an example that is masked whole.

    Gradient: smooth everywhere. An anomaly at the very center costs `eta / eps` and has the
    gradient 0; the largest, nearby, is `0.65 eta eps**-1.5` (6.5e8 for the default, beyond what
    float16 holds: raise eps for that). 0 under the mask, and always for the center. Every order and
    both modes of differentiation work.

    Raises:
        ValueError: for shapes, dtypes or options outside the contract, unsigned integers among
            them, and for an eta or eps that is known while tracing and not above 0.

    Example:
        >>> import jax.numpy as jnp
        >>> embeddings = jnp.array([[[3.0, 4.0], [0.0, 1.0]]])  # squared distances of 25 and 1
        >>> center, labels = jnp.array([0.0, 0.0]), jnp.array([[True, False]])
        >>> print(f"{deep_sad(embeddings, center, labels)[0]:.3f}")  # (1 / 25 + 1) / 2
        0.520

    Reference: Ruff et al., Deep Semi-Supervised Anomaly Detection, ICLR 2020.
    """
    positive("eta", eta)
    positive("eps", eps)
    d, where = distances(embeddings, center, where)
    anomalous, normal = _known(jnp.asarray(labels), d.shape, where)
    weight, small = number(eta, d), number(eps, d)
    # Where nothing is divided the divisor is 1: the derivative of the side not taken is finite.
    far = weight / jnp.where(anomalous, d + small, 1)
    near = d if normal is None else jnp.where(normal, weight * (d + small), d)
    return over_space(jnp.where(anomalous, far, near), where, reduction)


def _known(
    labels: Array, leading: tuple[int, ...], where: Array | None
) -> tuple[Array, Array | None]:
    """Which pixels are known to be anomalous, and which to be normal (None for none)."""
    if labels.dtype == jnp.bool_:
        return read_mask(labels, leading, "a known anomaly"), None
    if not jnp.issubdtype(labels.dtype, jnp.signedinteger):
        raise ValueError(
            "labels: expected bool (true = a known anomaly), or signed integers (-1 = a known "
            f"anomaly, 0 = unlabeled, 1 = known to be normal), got {labels.dtype}"
        )
    labels = labels[..., 0] if labels.shape == (*leading, 1) else labels
    _checks.shape("labels", labels, leading, "batch, *space")
    if _checks.of_values():
        fits = (labels >= -1) & (labels <= 1)
        fits = fits if where is None else fits | ~where
        _checks.value(jnp.all(fits), "labels: an integer is none of -1, 0 and 1")
    return labels < 0, labels > 0
