"""Learned weights of the bands over the wavelengths, over the spectra that they are to tell apart.

Drawn from NumPy arrays alone. Figures become SVG by `drawing.svg` and PNG by `drawing.figure_png`.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from lossbench.bench.drawing import DASHES, LINES, QUIET, WIDTH, canvas, short

_FEW_BANDS = 40  # so many can be bars
_GAP = 4.0  # times the usual step between bands: nothing was measured there, no line is drawn
_MOST_MARKS = 8  # with their wavelength beside them
_SPECTRA = ("#9aa3ad", "#4a545e", "#c5cbd2")


def band_weights(
    weights: np.ndarray | Mapping[str, np.ndarray],
    wavelengths: Sequence[float] | np.ndarray | None = None,
    *,
    chosen: Sequence[int] | Mapping[str, Sequence[int]] | None = None,
    spectra: Mapping[str, np.ndarray] | None = None,
    width: float = WIDTH,
) -> Figure:
    """Weights of the bands, a line a selector (bars for one selector of few bands).

    Args:
        weights: `bands`, or `selectors bands`; or one or the other by name.
        wavelengths: `bands`, in nanometers, in any order; None numbers the bands.
        chosen: indices of bands to mark, for all selectors or by the selector's name.
        spectra: such as the means of normal and of anomalous pixels, `bands` each, drawn behind on
            an axis of their own; NaN where unknown.
        width: of the figure in inches.

    Raises:
        ValueError: if a length is not the number of bands.
    """
    lines = _named(weights)
    bands = len(next(iter(lines.values())))
    places = np.arange(bands, dtype=np.float64)
    if wavelengths is not None:
        places = np.asarray(wavelengths, np.float64)
    for name, values in {"wavelengths": places, **lines, **(spectra or {})}.items():
        if np.shape(values) != (bands,):
            raise ValueError(f"{name}: expected {bands} bands, got shape {np.shape(values)}")
    with canvas(0.55 * width, width=width) as (figure, axes):
        if spectra:
            behind = axes.twinx()
            axes.set_zorder(behind.get_zorder() + 1)
            for k, (name, values) in enumerate(spectra.items()):
                color, dashes = _SPECTRA[k % len(_SPECTRA)], DASHES[k % len(DASHES)]
                behind.plot(
                    *_in_order(places, values), color=color, linestyle=dashes, linewidth=1.6
                )
                axes.plot([], [], color=color, linestyle=dashes, label=f"{short(name)} spectrum")
            behind.set_ylabel("Mean spectrum", color=QUIET)
            behind.grid(visible=False)
            behind.spines["right"].set_visible(True)
            behind.locator_params(axis="y", nbins=5)
        known = np.concatenate(list(lines.values()))
        known = known[np.isfinite(known)]
        top = float(known.max(initial=0.0)) or 1.0
        marked = 0
        for k, (name, values) in enumerate(lines.items()):
            color, dashes = LINES[k % len(LINES)], DASHES[k // len(LINES) % len(DASHES)]
            label = short(name) if name else None
            if len(lines) == 1 and bands <= _FEW_BANDS:
                step = np.median(np.diff(np.sort(places))) if bands > 1 else 1.0
                axes.bar(places, values, 0.8 * step, color=color, label=label)
            else:
                axes.plot(
                    *_in_order(places, values),
                    color=color,
                    linestyle=dashes,
                    linewidth=1.4,
                    label=label,
                )
            for band in _chosen(chosen, name):
                axes.axvline(places[band], color=color, linewidth=0.8, linestyle=DASHES[2])
                axes.plot(
                    places[band], 1.08 * top, marker="v", color=color, clip_on=False, markersize=6
                )
                marked += 1
                if marked <= _MOST_MARKS:
                    axes.annotate(
                        f"{places[band]:.0f}",
                        (places[band], 1.08 * top),
                        xytext=(0, 6),
                        textcoords="offset points",
                        ha="center",
                        fontsize="small",
                        color=color,
                    )
        axes.set_ylim(float(known.min(initial=0.0)), 1.12 * top)
        axes.set_xlabel("Band" if wavelengths is None else "Wavelength (nm)")
        axes.set_ylabel("Weight")
        if axes.get_legend_handles_labels()[1]:
            columns = 3 if width >= WIDTH else 2
            figure.legend(loc="outside lower center", ncols=columns, handlelength=1.8)
        return figure


def _named(weights: np.ndarray | Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A row for each selector by its name; a single one without a name has none."""
    given = weights if isinstance(weights, Mapping) else {"": weights}
    lines = {}
    for name, values in given.items():
        values = np.asarray(values, np.float64)
        if values.ndim == 1:
            lines[str(name)] = values
        elif values.ndim == 2:
            for k, row in enumerate(values, start=1):
                lines[f"{name} {k}" if name else f"selector {k}"] = row
        else:
            raise ValueError(f"weights: expected bands or selectors bands, got {values.shape}")
    if not lines or 0 in next(iter(lines.values())).shape:
        raise ValueError("weights: expected at least one selector and band, got none")
    return lines


def _chosen(chosen: Sequence[int] | Mapping[str, Sequence[int]] | None, name: str) -> list[int]:
    if chosen is None:
        return []
    return list(chosen.get(name, ()) if isinstance(chosen, Mapping) else chosen)


def _in_order(places: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """By wavelength, with a break where bands are missing between."""
    order = np.argsort(places, kind="stable")
    x, y = places[order], np.asarray(values, np.float64)[order]
    steps = np.diff(x)
    if steps.size:
        gaps = np.flatnonzero(steps > _GAP * np.median(steps)) + 1
        x, y = np.insert(x, gaps, x[gaps]), np.insert(y, gaps, np.nan)
    return x, y
