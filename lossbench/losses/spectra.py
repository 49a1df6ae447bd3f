"""Losses of spectra that see their shape: an angle, a divergence."""

import math
from collections.abc import Callable

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Shaped

from lossbench.losses._inputs import Number, number
from lossbench.losses._space import SHORTEST, length, over_space, positive, unit
from lossbench.losses.reconstruction import read_pair
from lossbench.ops.blocks import blockwise
from lossbench.ops.classes import are_few


def spectral_angle(
    reconstructed: Float[Array, "batch *space channels"],
    image: Shaped[Array, "batch *space channels"],
    *,
    where: Bool[Array, " batch *space"] | None = None,
    reduction: str = "mean",
) -> Float[Array, "batch ..."]:
    r"""Spectral angle: the mean angle between spectra, blind to how bright they are.

    .. math::
        L = \frac{1}{n} \sum_i \arccos
        \frac{x_i \cdot t_i}{\lVert x_i \rVert \lVert t_i \rVert}

    over the n pixels that count, in radians. It is computed as `2 arctan(|u - v| / |u + v|)` of the
    spectra u and v of length 1: the arccos of a float32 has no digits near 0, and an infinite slope
    there.

    Args:
        reconstructed: what the network gives back.
        image: the spectra to be reached, `batch *space channels`, of any integer or floating dtype.
        where: true = counted.
        reduction: over space: "mean", "sum", "none" (`batch *space`; 0 if masked), which is an
            anomaly score.

    Returns:
        One value per example, `batch`, in [0, pi], at most pi / 2 if nothing is negative; 0 for an
        example that is masked whole. A spectrum of nothing but 0 has no direction, and pi / 2 from
        every other: mask the pixels that have none with `where`.

    Gradient: `1 / |x|` in length, away from the target, and orthogonal to x. Where both point the
    same way, or opposite ways, the slope jumps; it is 0 there, and so it is for a spectrum of
    nothing but 0 (below 1e-30 in every channel). Finite everywhere else; 0 under the mask. Every
    order and both modes of differentiation work.

    Raises:
        ValueError: for shapes, dtypes or options outside the contract.

    Example:
        >>> import jax.numpy as jnp
        >>> image = jnp.array([[[1.0, 1.0], [0.0, 3.0]]])  # 1 example, 2 pixels, 2 channels
        >>> reconstructed = jnp.array([[[0.0, 5.0], [0.0, 0.1]]])
        >>> print(f"{spectral_angle(reconstructed, image)[0]:.4f}")  # (pi / 4 + 0) / 2
        0.3927

    Reference: Kruse et al., The Spectral Image Processing System (SIPS) - Interactive Visualization
    and Analysis of Imaging Spectrometer Data, Remote Sensing of Environment 1993.
    """
    x, t, where = read_pair(reconstructed, image, where)
    return over_space(_by_pixel(_angles, x, t), where, reduction)


def spectral_information_divergence(
    reconstructed: Float[Array, "batch *space channels"],
    image: Shaped[Array, "batch *space channels"],
    *,
    where: Bool[Array, " batch *space"] | None = None,
    eps: Number = 1e-8,
    reduction: str = "mean",
) -> Float[Array, "batch ..."]:
    r"""Spectral information divergence: that of two spectra as distributions over the channels.

    .. math::
        L = \frac{1}{n} \sum_i \sum_c (p_{ic} - q_{ic}) \log \frac{p_{ic}}{q_{ic}}, \qquad
        p_{ic} = \frac{x_{ic} / \sum_k x_{ik} + \epsilon}{1 + C \epsilon}

    over the n pixels that count, and q of the image alike: the sum of both Kullback-Leibler
    divergences, in nats. It is blind to how bright a spectrum is, and heeds small values more than
    an angle does.

    Args:
        reconstructed: what the network gives back, at least 0: of a softplus, a softmax or the
            like.
        image: the spectra to be reached, at least 0, `batch *space channels`, of any integer or
            floating dtype.
        where: true = counted.
        eps: a share that each channel has besides, so that one of 0 is no infinite surprise; may be
            traced.
        reduction: over space: "mean", "sum", "none" (`batch *space`; 0 if masked), which is an
            anomaly score.

    Returns:
        One value per example, `batch`, at least 0, at most `2 log(1 + 1 / eps)`; 0 for an example
        that is masked whole. A negative value counts as 0. A spectrum of nothing but 0 is taken for
        a flat one.

    Gradient: smooth where all is above 0; at 0 and below it is 0, so a network must not end in
    values that stay there. Up to `1 / eps` over the sum of the spectrum for a value near 0 that
    should not be. 0 under the mask. Every order and both modes of differentiation work.

    Raises:
        ValueError: for shapes, dtypes or options outside the contract, and for an eps that is known
            while tracing and not above 0.

    Example:
        >>> import jax.numpy as jnp
        >>> image = jnp.array([[[1.0, 1.0], [2.0, 6.0]]])  # 1 example, 2 pixels, 2 channels
        >>> reconstructed = jnp.array([[[1.0, 3.0], [0.1, 0.3]]])
        >>> value = spectral_information_divergence(reconstructed, image)
        >>> print(f"{value[0]:.4f}")  # of the first pixel log(3) / 4; the second is the same
        0.1373

    Reference: Chang, An Information-Theoretic Approach to Spectral Variability, Similarity, and
    Discrimination for Hyperspectral Image Analysis, IEEE Transactions on Information Theory 2000.
    """
    positive("eps", eps)
    x, t, where = read_pair(reconstructed, image, where)
    share = number(eps, x)

    def divergences(x: Array, t: Array) -> Array:
        p, q = _shares(x, share), _shares(t, share)
        return jnp.sum((p - q) * jnp.log(p / q), axis=-1)

    return over_space(_by_pixel(divergences, x, t), where, reduction)


def _by_pixel(
    function: Callable[[Array, Array], Array], x: Array, t: Array
) -> Float[Array, " batch *space"]:
    """A function of two spectra; of many channels by blocks, which hold little beside the image."""
    if are_few(x.shape[-1]):
        return function(x, t)
    values = blockwise(function, _flat(x), _flat(t))
    return values.reshape(x.shape[:-1])


def _flat(x: Array) -> Float[Array, "batch pixels channels"]:
    batch, *space, channels = x.shape
    return x.reshape(batch, math.prod(space), channels)


def _angles(x: Array, t: Array) -> Array:
    (u, has_u), (v, has_v) = unit(x), unit(t)
    angle = 2 * jnp.arctan2(length(u - v), length(u + v))
    return jnp.where((has_u & has_v)[..., 0], angle, jnp.pi / 2)


def _shares(x: Array, eps: Array) -> Float[Array, "batch *space channels"]:
    """Shares of the sum, none of them 0; all alike for what is nowhere above 0."""
    is_zero = x <= 0  # NaN is not, so that it shows
    x = jnp.where(is_zero, 0, x)
    # A constant, as it cancels out: the sum neither overflows nor vanishes.
    largest = lax.stop_gradient(jnp.max(x, axis=-1, keepdims=True))
    there = ~(largest <= SHORTEST)
    x = jnp.where(there, x, 1) / jnp.where(there, largest, 1)
    share = x / jnp.sum(x, axis=-1, keepdims=True)
    return (share + eps) / (1 + x.shape[-1] * eps)
