"""Deep SVDD: embeddings of what is normal in a small sphere."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from lossbench import _checks
from lossbench.losses._inputs import Number, divide, number
from lossbench.losses._space import count, flat, over_space, positive, read_vectors
from lossbench.ops.sums import sum_pixels


def svdd_distance(
    embeddings: Float[Array, "batch *space features"], center: Float[Array, " features"]
) -> Float[Array, " batch *space"]:
    r"""The squared distance of embeddings to the center: the anomaly score of Deep SVDD.

    .. math::
        d = \lVert z - c \rVert^2

    Higher is more anomalous. The paper's score of the soft-boundary form is `d - radius**2`, whose
    order is the same and whose threshold is 0.

    Args:
        embeddings: what the network makes of each pixel, or of each example if there is no space.
        center: held constant, see `svdd_one_class`.

    Returns:
        `batch *space`, float32 (float64 for float64 embeddings), at least 0.

    Raises:
        ValueError: for shapes or dtypes outside the contract.

    Example:
        >>> import jax.numpy as jnp
        >>> embeddings = jnp.array([[[3.0, 4.0], [0.0, 1.0]]])  # 1 example, 2 pixels, 2 features
        >>> print(svdd_distance(embeddings, jnp.array([0.0, 0.0])))
        [[25.  1.]]
    """
    return distances(embeddings, center, None)[0]


def distances(
    embeddings: Array, center: Array, where: Array | None
) -> tuple[Float[Array, " batch *space"], Bool[Array, " batch *space"] | None]:
    """Squared distances to a center that is constant; finite where masked; and the mask."""
    x, where = read_vectors("embeddings", embeddings, where, "features")
    center = jnp.asarray(center)
    _checks.floating(center=center)
    _checks.shape("center", center, x.shape[-1:], "the features of embeddings")
    c = lax.stop_gradient(center.astype(x.dtype))
    if _checks.of_values():
        _checks.value(jnp.all(jnp.isfinite(x)), "embeddings: a value is NaN or infinite")
        _checks.value(jnp.all(jnp.isfinite(c)), "center: a value is NaN or infinite")
    difference = x - c.reshape((1,) * (x.ndim - 1) + c.shape)
    return jnp.sum(jnp.square(difference), axis=-1), where


def svdd_one_class(
    embeddings: Float[Array, "batch *space features"],
    center: Float[Array, " features"],
    *,
    where: Bool[Array, " batch *space"] | None = None,
    reduction: str = "mean",
) -> Float[Array, "batch ..."]:
    r"""One-class Deep SVDD: the mean squared distance to a center that is given.

    .. math::
        L = \frac{1}{n} \sum_i \lVert z_i - c \rVert^2

    over the n pixels that count. It has no radius, and is the form for training data that are
    normal, or nearly. `where` leaves out anomalies that are known: every pixel that counts is
    taken for normal.

    The center is a constant. A center that were trained with the network would let both agree on
    one point for all data, at a loss of 0 (Proposition 1 of the paper); so would biases in the
    network (Proposition 2). Take the mean of the embeddings before the training.

    Args:
        embeddings: what the network makes of each pixel, or of each example if there is no space.
        center: of the sphere, fixed.
        where: true = counted.
        reduction: over space: "mean", "sum", "none" (`batch *space`; 0 if masked), which is the
            anomaly score.

    Returns:
        One value per example, `batch`, at least 0; 0 for an example that is masked whole.

    Gradient: smooth everywhere, `2 (z - c) / n`; 0 under the mask, and always 0 for the center.
    Every order and both modes of differentiation work.

    Raises:
        ValueError: for shapes, dtypes or options outside the contract.

    Example:
        >>> import jax.numpy as jnp
        >>> embeddings = jnp.array([[[3.0, 4.0], [0.0, 1.0]]])  # 1 example, 2 pixels, 2 features
        >>> print(svdd_one_class(embeddings, jnp.array([0.0, 0.0])))
        [13.]

    Reference: Ruff et al., Deep One-Class Classification, ICML 2018 (equation 4).
    """
    d, where = distances(embeddings, center, where)
    return over_space(d, where, reduction)


def svdd_soft_boundary(
    embeddings: Float[Array, "batch *space features"],
    center: Float[Array, " features"],
    radius: Number,
    *,
    nu: Number,
    where: Bool[Array, " batch *space"] | None = None,
) -> Float[Array, " batch"]:
    r"""Soft-boundary Deep SVDD: a small sphere, and a price for what lies outside.

    .. math::
        L = R^2 + \frac{1}{\nu n} \sum_i \max(0, \lVert z_i - c \rVert^2 - R^2)

    over the n pixels that count: the paper's formula without its weight decay. Where the loss is
    least in R, at most a share nu of the pixels lies outside, and at least that share outside or
    on the sphere. That R is the (1 - nu)-quantile of the distances `|z - c|`, so nothing needs to
    be learned; `learned_radius` is for those who do it all the same.

    Args:
        embeddings: what the network makes of each pixel, or of each example if there is no space.
        center: of the sphere, fixed: see `svdd_one_class`.
        radius: R, a distance and not its square, at least 0; a number or an array without axes.
        nu: the share of the pixels that may lie outside, in (0, 1]; may be traced.
        where: true = counted.

    Returns:
        One value per example, `batch`, at least 0; 0 for an example that is masked whole, R^2
        included.

    Gradient: `2 (z - c) / (nu n)` for a pixel outside, 0 for one inside. On the sphere, where the
    slope jumps, it is 0: such a pixel is inside. For the radius it is `2 R (1 - share outside /
    nu)`, which is 0 at R = 0: a radius that is learned must not begin there. Under the mask it is
    0, and always for the center. Every order and both modes of differentiation work.

    Raises:
        ValueError: for shapes or dtypes outside the contract, and for a nu outside (0, 1] that is
            known while tracing.

    Example:
        >>> import jax.numpy as jnp
        >>> embeddings = jnp.array([[[3.0, 4.0], [0.0, 1.0]]])  # squared distances of 25 and 1
        >>> center = jnp.array([0.0, 0.0])
        >>> print(svdd_soft_boundary(embeddings, center, 3.0, nu=0.5))  # 9 + (25 - 9) / 2 / nu
        [25.]

    Reference: Ruff et al., Deep One-Class Classification, ICML 2018 (equation 3).
    """
    positive("nu", nu, at_most=1.0)
    if jnp.ndim(radius) != 0:
        raise ValueError(f"radius: expected one number, got shape {jnp.shape(radius)}")
    d, where = distances(embeddings, center, where)
    r, share = number(radius, d), number(nu, d)
    if _checks.of_values():
        _checks.value(r >= 0, "radius: {r} is below 0", r=r)
        _checks.value((share > 0) & (share <= 1), "nu: {share} is outside (0, 1]", share=share)
    square = r * r
    # The derivative of `jax.nn.relu` at 0 is 0; that of a maximum would be a half.
    outside = jax.nn.relu(d - square)
    if where is not None:
        outside = jnp.where(where, outside, 0)
    pixels = count(d, where)
    price = divide(sum_pixels(flat(outside)), pixels) / share
    return jnp.where(pixels > 0, square + price, 0)


def learned_radius(raw: Number, *, beta: Number = 10.0) -> Float[Array, "..."]:
    r"""A radius above 0 from a parameter without bounds, for a radius that is learned.

    .. math::
        R = \log(1 + e^{\beta r}) / \beta

    It is `log(2) / beta` for a parameter of 0, and the parameter itself for a large one. A learned
    radius does not keep what `svdd_soft_boundary` promises of nu while it is not at its optimum;
    keep weight decay away from it.

    Args:
        raw: the parameter.
        beta: how sharp the bend at 0 is.

    Returns:
        The radius, in the shape of `raw`, above 0.

    Raises:
        ValueError: for a beta that is known while tracing and not above 0.

    Example:
        >>> print(f"{learned_radius(0.0):.4f} {learned_radius(2.0):.4f}")
        0.0693 2.0000
    """
    positive("beta", beta)
    x = jnp.asarray(raw)
    x = x.astype(_checks.compute_dtype(x))
    sharpness = number(beta, x)
    return jax.nn.softplus(sharpness * x) / sharpness
