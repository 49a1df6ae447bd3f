"""Pictures of a cube: three of its bands as red, green and blue, or one as grey."""

from collections.abc import Sequence

import numpy as np

# Wavelengths of red, green and blue in nanometers, and how far off a band still stands for one.
VISIBLE = (650.0, 550.0, 450.0)
_FARTHEST = 60.0
# Where nothing is visible: places among the bands, long waves red.
_SPREAD = (5 / 6, 1 / 2, 1 / 6)
_MOST_PIXELS = 100_000  # that principal components are taken from


def false_color(
    cube: np.ndarray,
    wavelengths: Sequence[float] | np.ndarray | None = None,
    *,
    where: np.ndarray | None = None,
    method: str = "bands",
    percentiles: tuple[float, float] = (2.0, 98.0),
    gamma: float = 1.5,
) -> np.ndarray:
    """A cube as a color image, each color stretched between two percentiles of its own.

    Args:
        cube: `height width bands`, any real numbers; NaN and infinity are left out of the stretch.
        wavelengths: `bands`, in nanometers, in any order.
        where: `height width`, true = counted; what is not counted is black.
        method: "bands" takes those nearest to 650, 550 and 450 nm or, where the wavelengths are
            not known or do not reach there, three spread evenly; a band that says nothing (one
            value everywhere) is passed over for the next that does. "components" takes the first
            three principal components instead.
        percentiles: of the darkest and of the brightest.
        gamma: the stretched values are raised to its inverse: cubes are linear in light, screens
            are not. 1 leaves them.

    Returns:
        `height width 3`, float32 in [0, 1]; 0 where a pixel has no finite value.

    Raises:
        ValueError: if the shapes do not fit, or the method is unknown.

    Example:
        >>> cube = np.random.default_rng(0).normal(size=(4, 5, 60))
        >>> image = false_color(cube, np.linspace(400, 1000, 60))
        >>> image.shape, float(image.min()), float(image.max())
        ((4, 5, 3), 0.0, 1.0)
    """
    cube = _checked(cube)
    counted = _counted(cube, where)
    if method == "components":
        views = _components(cube, counted)
    elif method == "bands":
        views = [cube[..., k] for k in color_bands(cube, wavelengths, where=where)]
    else:
        raise ValueError(f"method: expected 'bands' or 'components', got {method!r}")
    stretched = np.stack([_stretch(view, counted, percentiles) for view in views], axis=-1)
    return stretched ** np.float32(1 / gamma)


def band_view(
    cube: np.ndarray,
    band: int,
    *,
    where: np.ndarray | None = None,
    percentiles: tuple[float, float] = (2.0, 98.0),
) -> np.ndarray:
    """One band in grey, stretched between two percentiles.

    Args:
        cube: `height width bands`.
        band: which; negative ones count from the end.
        where: `height width`, true = counted; what is not counted is black.
        percentiles: of the darkest and of the brightest.

    Returns:
        `height width`, float32 in [0, 1]; 0 where a pixel has no finite value.

    Raises:
        ValueError: if there is no such band, or the shapes do not fit.
    """
    cube = _checked(cube)
    if not -cube.shape[-1] <= band < cube.shape[-1]:
        raise ValueError(f"band: expected one of {cube.shape[-1]} bands, got {band}")
    return _stretch(cube[..., band], _counted(cube, where), percentiles)


def color_bands(
    cube: np.ndarray,
    wavelengths: Sequence[float] | np.ndarray | None = None,
    *,
    where: np.ndarray | None = None,
) -> tuple[int, int, int]:
    """The bands that stand for red, green and blue; arguments as of `false_color`."""
    cube = _checked(cube)
    bands = cube.shape[-1]
    places, targets = np.arange(bands, dtype=np.float64), [share * (bands - 1) for share in _SPREAD]
    if wavelengths is not None:
        known = np.asarray(wavelengths, np.float64)
        if known.shape != (bands,):
            raise ValueError(f"wavelengths: expected {bands}, one a band, got shape {known.shape}")
        order = np.argsort(known)
        if np.isfinite(known).any() and all(
            np.nanmin(np.abs(known - target)) <= _FARTHEST for target in VISIBLE
        ):
            places, targets = known, list(VISIBLE)
        else:  # evenly over the bands, the longest waves red whatever their order
            places = np.argsort(order).astype(np.float64)
    counted, live = _counted(cube, where), {}
    chosen: list[int] = []
    for target in targets:
        nearest = np.argsort(np.abs(places - target), kind="stable")
        for k in map(int, nearest):
            if k not in live:
                live[k] = _says_something(cube[..., k], counted)
            if live[k] and k not in chosen:
                break
        else:  # fewer bands than colors
            k = next((k for k in map(int, nearest) if live[k]), int(nearest[0]))
        chosen.append(k)
    return chosen[0], chosen[1], chosen[2]


def _checked(cube: np.ndarray) -> np.ndarray:
    cube = np.asarray(cube)
    if cube.ndim != 3 or 0 in cube.shape:
        raise ValueError(f"cube: expected height width bands, got shape {cube.shape}")
    return cube


def _counted(cube: np.ndarray, where: np.ndarray | None) -> np.ndarray:
    if where is None:
        return np.ones(cube.shape[:2], bool)
    where = np.asarray(where, bool)
    if where.shape != cube.shape[:2]:
        raise ValueError(f"where: expected shape {cube.shape[:2]}, got {where.shape}")
    return where


def _says_something(view: np.ndarray, counted: np.ndarray) -> bool:
    values = view[counted]
    values = values[np.isfinite(values)]
    return bool(values.size) and values.min() < values.max()


def _stretch(view: np.ndarray, counted: np.ndarray, percentiles: tuple[float, float]) -> np.ndarray:
    view = view.astype(np.float64)
    seen = counted & np.isfinite(view)
    if not seen.any():
        return np.zeros(view.shape, np.float32)
    low, high = np.percentile(view[seen], percentiles)
    if low == high:  # nearly all is one value: what differs from it is shown
        low, high = view[seen].min(), view[seen].max()
    stretched = (np.where(seen, view, low) - low) / (high - low if high > low else 1.0)
    return np.clip(stretched, 0, 1).astype(np.float32)


def _components(cube: np.ndarray, counted: np.ndarray) -> list[np.ndarray]:
    """The first three principal components, each with the sign by which bright stays bright."""
    whole = counted & np.isfinite(cube).all(axis=-1)
    pixels = cube[whole].astype(np.float64)
    pixels = pixels[:: -(-len(pixels) // _MOST_PIXELS) or 1]
    if len(pixels) < 2:
        return [np.full(cube.shape[:2], np.nan)] * 3
    mean = pixels.mean(axis=0)
    vectors = np.linalg.eigh(np.cov(pixels - mean, rowvar=False, ddof=0).reshape(2 * [len(mean)]))
    axes = vectors.eigenvectors[:, ::-1][:, : min(3, len(mean))]
    axes = axes * np.where(axes.sum(axis=0) < 0, -1, 1)
    filled = np.where(whole[..., None], cube, mean)
    views = np.where(whole[..., None], (filled - mean) @ axes, np.nan)
    return [views[..., min(k, axes.shape[1] - 1)] for k in range(3)]
