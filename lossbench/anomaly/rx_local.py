"""Local RX: the squared Mahalanobis distance of a pixel to those around it."""

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Shaped

from lossbench import _checks
from lossbench.anomaly._inputs import as_floats
from lossbench.anomaly.rx import check_options

FLOOR = 1e-3
# Pixels whose windows are in memory together.
TOGETHER = 8


def rx_local(
    image: Shaped[Array, "height width channels"],
    *,
    inner: int,
    outer: int,
    where: Bool[Array, "height width"] | None = None,
    shrinkage: float | Float[Array, ""] = 0.0,
    floor: float | Float[Array, ""] = FLOOR,
) -> Float[Array, "height width"]:
    r"""Scores each pixel by mean and covariance of the pixels between two windows around it.

    .. math::
        s(x) = (x - \mu)^T \Sigma^{-1} (x - \mu), \qquad
        \Sigma = (1 - a) S + a \frac{\mathrm{tr}\, S}{C} I

    where `S` is the covariance (n - 1) of the pixels in the outer window that are not in the inner
    one, and each diagonal element is taken times `1 + f`, f being `floor`. The inner window keeps
    an anomaly out of its own background: it should be as large as those that are looked for.

    Windows end at the border of the image. A window of n pixels has a covariance of rank n - 1:
    with fewer pixels than bands the result hangs on floor and shrinkage, and of bands that are as
    alike as neighbors are it does even with many.

    It is exact, by a Cholesky decomposition of the background of each pixel, and costs about
    `2 C^2 (outer^2 + C / 6)` operations a pixel: for a scene of 100 x 100 with 200 bands and
    windows of 5 and 15, 2e11, which two cores take some seconds for.

    Args:
        image: one scene; `vmap` for more. Floats or integers.
        inner: side of the inner window, odd; 1 leaves out the pixel alone.
        outer: side of the outer window, odd and larger.
        where: true = counted, as background; scores are given for all pixels.
        shrinkage: a in [0, 1].
        floor: share of its own variance that is added to each band's. Scores are those of float64
            to about `1e-7 C / floor`: less than 1e-4 is not of use without shrinkage.

    Returns:
        Squared distances, higher is more anomalous. Bands that are constant in the background count
        for nothing. NaN with less than 2 background pixels.

    Raises:
        ValueError: for shapes, dtypes or options that do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> image = jnp.zeros((5, 5, 1)).at[::2].set(2.0).at[2, 2].set(9.0)
        >>> scores = rx_local(image, inner=1, outer=5, floor=0.0)
        >>> print(f"{scores[2, 2]:.3f}")  # of the other 24: mean 7/6, variance 70/69
        60.485

    Reference: Kwon, Der and Nasrabadi, Adaptive Anomaly Detection Using Subspace Separation for
    Hyperspectral Imagery, Optical Engineering 2003.
    """
    image = as_floats(image, "image")
    if image.ndim != 3 or image.size == 0:
        raise ValueError(
            f"image: expected shape (height, width, channels), not empty, got {image.shape}"
        )
    for name, side in (("inner", inner), ("outer", outer)):
        if isinstance(side, bool) or not isinstance(side, int) or side < 1 or side % 2 == 0:
            raise ValueError(f"{name}: expected an odd number of pixels, got {side}")
    if not inner < outer:
        raise ValueError(f"outer: expected more than inner, which is {inner}, got {outer}")
    _checks.where(where, image.shape[:2], "height, width")
    check_options(shrinkage, floor)
    counted = jnp.ones(image.shape[:2], bool) if where is None else jnp.asarray(where)
    numbers = (jnp.asarray(x, jnp.float32) for x in (shrinkage, floor))
    return _rx_local(image, counted, *numbers, inner, outer)


# Compiled once also where it is called outside of a `jit`.
@functools.partial(jax.jit, static_argnums=(4, 5))
def _rx_local(image, counted, shrinkage, floor, inner, outer) -> Array:
    height, width, channels = image.shape
    reach, hole = outer // 2, (outer - inner) // 2
    ring = jnp.ones((outer, outer), bool).at[hole : hole + inner, hole : hole + inner].set(False)
    # What is beyond the border does not count.
    around = jnp.pad(image, ((reach, reach), (reach, reach), (0, 0)))
    there = jnp.pad(counted, reach)

    def score(place: Array) -> Array:
        row, column = place // width, place % width
        window = lax.dynamic_slice(around, (row, column, 0), (outer, outer, channels))
        on = ring & lax.dynamic_slice(there, (row, column), (outer, outer))
        x = image[row, column]
        return _distance(x, window.reshape(-1, channels), on.reshape(-1), shrinkage, floor)

    places = jnp.arange(height * width)
    scores = lax.map(score, places, batch_size=min(TOGETHER, height * width))
    return scores.reshape(height, width)


def _distance(x, background, on, shrinkage, floor) -> Array:
    """The squared Mahalanobis distance to the background pixels that are on."""
    number = jnp.sum(on, dtype=jnp.int32)
    some = jnp.maximum(number, 1)
    on = on[:, None]
    # About a pixel of the background, to which differences are nearly exact.
    first = background[jnp.argmax(on[:, 0])]
    d = jnp.where(on, background - first[None], 0)
    offset = jnp.sum(d, axis=0) / some
    d = jnp.where(on, d - offset[None], 0)
    x = jnp.where(number > 0, x - first, 0) - offset
    variance = jnp.sum(d * d, axis=0) / jnp.maximum(number - 1, 1)
    total = (1 - shrinkage) * variance + shrinkage * jnp.mean(variance)
    varies = total > 0
    scale = jnp.where(varies, jax.lax.rsqrt(jnp.where(varies, total, 1)), 0)
    # In units of its diagonal. Bands without a variance get one of 1.
    d = d * (scale * jnp.sqrt((1 - shrinkage) / jnp.maximum(number - 1, 1)))[None]
    ridge = shrinkage * jnp.mean(variance) * scale**2 + jnp.where(varies, floor, 1)
    covariance = jnp.matmul(d.T, d, precision=lax.Precision.HIGHEST) + jnp.diag(ridge)
    factor = lax.linalg.cholesky(covariance, symmetrize_input=False)
    y = lax.linalg.triangular_solve(factor, (x * scale)[:, None], left_side=True, lower=True)
    return jnp.where(number > 1, jnp.sum(y * y), jnp.nan)
