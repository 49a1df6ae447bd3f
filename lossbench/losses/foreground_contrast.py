"""Foreground contrast: a rendering in which an object has another color than what is around it."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from lossbench import _checks
from lossbench.losses._inputs import Number, divide, number
from lossbench.losses._space import count, flat, positive, read_mask, read_vectors
from lossbench.ops.sums import sum_pixels

COLOR_SPACES = ("rgb", "oklab")
# Of cones, and of lightness and the two opponent colors, from Ottosson's definition.
_CONES = (
    (0.4122214708, 0.5363325363, 0.0514459929),
    (0.2119034982, 0.6806995451, 0.1073969566),
    (0.0883024619, 0.2817188376, 0.6299787005),
)
_LAB = (
    (0.2104542553, 0.7936177850, -0.0040720468),
    (1.9779984951, -2.4285922050, 0.4505937099),
    (0.0259040371, 0.7827717662, -0.8086757660),
)
# A root has an infinite derivative at 0, which is black: below this it is a line.
_DARK = 1e-6


def foreground_contrast(
    colors: Float[Array, "batch *space 3"],
    labels: Bool[Array, "batch ..."],
    *,
    where: Bool[Array, " batch *space"] | None = None,
    compactness: Number = 0.0,
    anchor: Number = 0.0,
    color_space: str = "rgb",
    assume_srgb: bool = True,
    eps: Number = 1e-6,
) -> Float[Array, " batch"]:
    r"""Foreground contrast: minus the distance of the mean colors of foreground and background.

    .. math::
        L = -\sqrt{\lVert \mu_f - \mu_b \rVert^2 + \epsilon}
        + \kappa \tfrac{1}{3} \sum_c \mathrm{Var}_f
        + \alpha \tfrac{1}{3} \left( \lVert \mu_f - \mu \rVert^2 + \lVert \mu_b - \mu \rVert^2
        \right)

    of each image, over the pixels that count: with means of the foreground, the background and the
    whole image, and the variance of the foreground in each channel. It trains what turns a spectrum
    into a color.

    Args:
        colors: an image of three channels, in [0, 1] for "oklab".
        labels: `batch *space`, true = foreground, such as the anomaly.
        where: true = counted.
        compactness: weight of the variance of the foreground; may be traced.
        anchor: weight of how far both means are from that of the image, against extreme colors; may
            be traced.
        color_space: in which distances are taken: "rgb" as they are, or "oklab", where they are
            those that are seen.
        assume_srgb: for "oklab": whether the colors are as a screen takes them, with the gamma
            curve of sRGB, or linear in the light.
        eps: keeps the root smooth where both means are the same; may be traced.

    Returns:
        One value per example, `batch`; negative, by as much as colors can differ. An image that
        lacks one of both sides, or is masked whole, costs 0 with gradient 0. So it counts in a mean
        over the batch; give it a weight of 0 (`weights` of a batch) to leave it out of that, too.

    Gradient: smooth everywhere for "rgb". For "oklab" the gamma curve has its bend at .04045; the
    cube root, whose slope is infinite at black, is continued as a line below 1e-6 of the light.
    Colors outside [0, 1] are finite as well. 0 under the mask. Every order and both modes of
    differentiation work.

    Raises:
        ValueError: for shapes, dtypes or options outside the contract.

    Example:
        >>> import jax.numpy as jnp
        >>> colors = jnp.array([[[0.9, 0.1, 0.1], [0.1, 0.1, 0.1], [0.1, 0.1, 0.1]]])
        >>> labels = jnp.array([[True, False, False]])
        >>> print(f"{foreground_contrast(colors, labels)[0]:.3f}")  # -0.8
        -0.800

    Reference: Ottosson, A Perceptual Color Space for Image Processing, 2020 (for "oklab"). The
    formula is that of cuvis-ai's `ForegroundContrastLoss`.
    """
    _checks.choice("color_space", color_space, COLOR_SPACES)
    positive("eps", eps)
    x, where = read_vectors("colors", colors, where, "3")
    if x.shape[-1] != 3:
        raise ValueError(f"colors: expected 3 channels, (batch, *space, 3), got {colors.shape}")
    foreground = read_mask(labels, x.shape[:-1], "foreground")
    background = ~foreground
    if where is not None:
        foreground, background = foreground & where, background & where
    if color_space == "oklab":
        x = _oklab(_linear(x) if assume_srgb else x)
    if where is not None:
        x = jnp.where(where[..., None], x, 0)
    front, back = (_mean(x, side) for side in (foreground, background))
    contrast = jnp.sqrt(jnp.sum(jnp.square(front - back), axis=-1) + number(eps, x))
    # Differences to the mean: a difference of squares would have no digits left of bright colors.
    spread = x - front.reshape(front.shape[:1] + (1,) * (x.ndim - 2) + (3,))
    variance = jnp.mean(_mean(spread * spread, foreground), axis=-1)
    whole = _mean(x, foreground | background)
    away = jnp.mean(jnp.square(front - whole) + jnp.square(back - whole), axis=-1)
    value = number(compactness, x) * variance + number(anchor, x) * away - contrast
    both = jnp.any(flat(foreground), axis=1) & jnp.any(flat(background), axis=1)
    return jnp.where(both, value, 0)


def _mean(x: Array, side: Array) -> Float[Array, "batch 3"]:
    """The mean over the pixels of a side; 0 without any."""
    total = jnp.stack([sum_pixels(flat(jnp.where(side, x[..., c], 0))) for c in range(3)], axis=1)
    return divide(total, count(x[..., 0], side)[:, None])


def _linear(x: Array) -> Array:
    """Light, from the values that a screen takes; a line below .04045, also below 0."""
    is_dark = x <= 0.04045
    bright = ((jnp.where(is_dark, 1, x) + 0.055) / 1.055) ** 2.4
    return jnp.where(is_dark, x / 12.92, bright)


def _oklab(x: Array) -> Array:
    """Lightness and opponent colors, from light."""
    cones = _times(_CONES, [x[..., c] for c in range(3)])
    return jnp.stack(_times(_LAB, [_root(cone) for cone in cones]), axis=-1)


def _times(matrix: tuple[tuple[float, ...], ...], channels: list[Array]) -> list[Array]:
    """A matrix times the channels; too small for a product that accelerators would round."""
    return [
        sum((m * c for m, c in zip(row, channels, strict=True)), jnp.zeros_like(channels[0]))
        for row in matrix
    ]


def _root(x: Array) -> Array:
    """The cube root, odd, and a line to 0 where its slope would be infinite."""
    is_dark = jnp.abs(x) < _DARK
    return jnp.where(is_dark, x * _DARK ** (-2 / 3), jnp.cbrt(jnp.where(is_dark, 1, x)))
