"""Reconstruction: how far what an autoencoder gives back is from what it was given."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

from lossbench import _checks
from lossbench.losses._inputs import Number, number
from lossbench.losses._space import over_space, positive, read_vectors

KINDS = ("squared", "absolute", "huber")


def reconstruction(
    reconstructed: Float[Array, "batch *space channels"],
    image: Shaped[Array, "batch *space channels"],
    *,
    where: Bool[Array, " batch *space"] | None = None,
    kind: str = "squared",
    delta: Number = 1.0,
    reduction: str = "mean",
) -> Float[Array, "batch ..."]:
    r"""Reconstruction error: the mean over pixels and channels of the error of each value.

    .. math::
        L = \frac{1}{n C} \sum_i \sum_c \rho(x_{ic} - t_{ic})

    over the n pixels that count and the C channels, where rho is the square, the absolute value, or
    Huber's function: half the square up to delta, and beyond, where outliers are, the line that
    goes on from there, `delta (|e| - delta / 2)`.

    Args:
        reconstructed: what the network gives back.
        image: what it was given, `batch *space channels`, of any integer or floating dtype.
        where: true = counted.
        kind: "squared", "absolute" or "huber".
        delta: of "huber"; may be traced.
        reduction: over space, of the mean over channels: "mean", "sum", "none" (`batch *space`; 0
            if masked), which is the anomaly score.

    Returns:
        One value per example, `batch`, at least 0; 0 for an example that is masked whole.

    Gradient: of "absolute" it jumps where nothing is wrong, and is 0 there; the others are smooth
    (the second derivative of "huber" jumps at delta). Also for the image, if it is floating; 0
    under the mask. Every order and both modes of differentiation work.

    Raises:
        ValueError: for shapes, dtypes or options outside the contract, and for a delta that is
            known while tracing and not above 0.

    Example:
        >>> import jax.numpy as jnp
        >>> image = jnp.array([[[1.0, 2.0], [3.0, 4.0]]])  # 1 example, 2 pixels, 2 channels
        >>> reconstructed = jnp.array([[[1.0, 2.0], [3.0, 8.0]]])
        >>> for kind in ("squared", "absolute", "huber"):
        ...     print(reconstruction(reconstructed, image, kind=kind))
        [4.]
        [1.]
        [0.875]

    Reference: Hinton and Salakhutdinov, Reducing the Dimensionality of Data with Neural Networks,
    Science 2006; Huber, Robust Estimation of a Location Parameter, Annals of Mathematical
    Statistics 1964.
    """
    _checks.choice("kind", kind, KINDS)
    positive("delta", delta)
    x, t, where = read_pair(reconstructed, image, where)
    error = x - t
    if kind == "squared":
        costs = error * error
    elif kind == "absolute":
        # The derivative of an absolute value of 0 would be 1.
        costs = jnp.where(error == 0, 0, jnp.abs(error))
    else:
        most = number(delta, error)
        near = jnp.clip(error, -most, most)
        costs = near * (error - near / 2)
    return over_space(jnp.mean(costs, axis=-1), where, reduction)


def read_pair(
    reconstructed: Array, image: Array, where: Array | None
) -> tuple[
    Float[Array, "batch *space channels"],
    Float[Array, "batch *space channels"],
    Bool[Array, " batch *space"] | None,
]:
    """Both in the dtype of the computation, 0 where masked; and the mask."""
    x, where = read_vectors("reconstructed", reconstructed, where, "channels")
    image = jnp.asarray(image)
    if not (jnp.issubdtype(image.dtype, jnp.floating) or jnp.issubdtype(image.dtype, jnp.integer)):
        raise ValueError(f"image: expected an integer or floating dtype, got {image.dtype}")
    _checks.shape("image", image, x.shape, "the shape of reconstructed")
    t = image.astype(x.dtype)
    return x, t if where is None else jnp.where(where[..., None], t, 0), where
