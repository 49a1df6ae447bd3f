"""Curves of the collapse monitor: what a network does that maps everything to the center.

Drawn from NumPy arrays alone. Figures become SVG by `drawing.svg` and PNG by `drawing.figure_png`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from lossbench.anomaly.collapse import Limits
from lossbench.bench.drawing import DASHES, LINES, QUIET, canvas, sheet, short, thin
from lossbench.bench.results import columns_of


class Quantity(NamedTuple):
    """What the monitor watches.

    Attributes:
        label: of its axis.
        meaning: a few words for the reader of a report.
        lowest: below it a network has collapsed, if it alone can tell.
        highest: likewise, above it.
        logarithmic: whether its axis is.
    """

    label: str
    meaning: str
    lowest: float | None = None
    highest: float | None = None
    logarithmic: bool = False


_LIMITS = Limits()
QUANTITIES = {
    "spread": Quantity(
        "Spread (ratio to start)",
        "standard deviation of the embeddings over that before training",
        lowest=_LIMITS.spread,
        logarithmic=True,
    ),
    "effective_rank": Quantity(
        "Effective rank",
        "how many directions the embeddings fill; at 1 they lie on a line",
    ),
    "distinct": Quantity(
        "Distinct scores (ratio to start)",
        "share of scores that differ from all others, over that before training",
        lowest=_LIMITS.distinct,
        logarithmic=True,
    ),
    "outside": Quantity(
        "Outside the sphere (share)",
        "share of the training data outside the sphere, which the radius is to keep at ν",
    ),
    "radius": Quantity(
        "Radius of the sphere",
        "beyond it lies what is taken for an anomaly",
    ),
    "drift": Quantity(
        "Drift of the center",
        "how far the center has moved, in lengths of the center that it began as",
        highest=_LIMITS.drift,
    ),
    "offset": Quantity(
        "Offset of the center",
        "how far the mean embedding lies from the center, in spreads of the embeddings",
    ),
}
Columns = Mapping[str, np.ndarray]

__all__ = ["QUANTITIES", "collapse_curve", "collapse_curves", "columns_of", "crossed"]


def crossed(columns: Columns) -> dict[str, int]:
    """The first step at which each quantity is beyond its limit; those that never are, are not in.

    A value that is not defined is beyond it: embeddings that are not finite tell nothing apart.
    """
    steps = {}
    for name, quantity in QUANTITIES.items():
        if name in columns and (quantity.lowest is not None or quantity.highest is not None):
            low = -np.inf if quantity.lowest is None else quantity.lowest
            high = np.inf if quantity.highest is None else quantity.highest
            beyond = np.flatnonzero(~((columns[name] >= low) & (columns[name] <= high)))
            if beyond.size:
                steps[name] = int(columns["step"][beyond[0]])
    return steps


def collapse_curve(
    name: str,
    runs: Mapping[str, Sequence[Columns]],
    styles: Mapping[str, tuple[str, Any]] | None = None,
) -> Figure:
    """One quantity of the monitor against steps, one line a run, with its limit; without a title.

    Args:
        name: a key of `QUANTITIES`.
        runs: columns of each run, as `columns_of` gives them, by the loss's name.
        styles: color and dashes of each loss.
    """
    with canvas(1.9, width=2.6) as (figure, axes):
        _draw(axes, name, runs, styles or _styles(runs))
        return figure


def collapse_curves(runs: Mapping[str, Sequence[Columns]]) -> Figure:
    """All quantities of the monitor that the runs have, with a legend; arguments as above."""
    names = [name for name in QUANTITIES if any(name in run for rs in runs.values() for run in rs)]
    columns = min(3, max(1, len(names)))
    rows = -(-max(1, len(names)) // columns)
    styles = _styles(runs)
    with sheet(2.1 * rows + 0.4, 3.0 * columns, rows, columns) as (figure, axes):
        for panel, name in zip(axes.ravel(), names, strict=False):
            _draw(panel, name, runs, styles)
            panel.set_title(QUANTITIES[name].label, fontsize="medium")
        for panel in axes.ravel()[len(names) :]:
            panel.set_axis_off()
        for loss, (color, dashes) in styles.items():
            axes[0, 0].plot([], [], color=color, linestyle=dashes, label=short(loss))
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=4)
        return figure


def _draw(
    axes: Axes,
    name: str,
    runs: Mapping[str, Sequence[Columns]],
    styles: Mapping[str, tuple[str, Any]],
) -> None:
    quantity = QUANTITIES[name]
    for loss, each in runs.items():
        color, dashes = styles[loss]
        for run in each:
            if name not in run:
                continue
            values = run[name]
            if quantity.logarithmic:
                values = np.where(values > 0, values, np.nan)
            steps, values = thin(run["step"], values)
            marker = "o" if np.isfinite(values).sum() == 1 else None
            axes.plot(
                steps, values, color=color, linestyle=dashes, linewidth=1.1, marker=marker, ms=3
            )
    if quantity.logarithmic:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(numticks=6))
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.yaxis.set_minor_locator(NullLocator())
    else:
        axes.locator_params(axis="y", nbins=4)
    for limit in (quantity.lowest, quantity.highest):
        if limit is not None:
            _level(axes, limit, f"limit {limit:g}")
    if name == "effective_rank":
        _level(axes, 1.0, "a line")
    if name == "outside":
        told = [run["nu"] for each in runs.values() for run in each if "nu" in run]
        for nu in sorted({float(v) for values in told for v in values[np.isfinite(values)]})[:3]:
            _level(axes, nu, f"ν = {nu:g}")
    if not quantity.logarithmic:
        axes.set_ylim(bottom=0)  # no quantity is below it; the levels count in the axis' range
    axes.set_xlim(left=0)
    axes.locator_params(axis="x", nbins=4)
    axes.set_xlabel("Training step")


def _level(axes: Axes, value: float, label: str) -> None:
    axes.axhline(value, color="#000000", linewidth=1, linestyle=DASHES[2], zorder=1)
    axes.annotate(
        label,
        (1, value),
        xycoords=axes.get_yaxis_transform(),
        xytext=(-2, 2),
        textcoords="offset points",
        ha="right",
        va="bottom",
        fontsize="small",
        color=QUIET,
        zorder=5,
        bbox={"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 0.5},
    )


def _styles(runs: Mapping[str, Any]) -> dict[str, tuple[str, Any]]:
    return {
        loss: (LINES[k % len(LINES)], DASHES[k // len(LINES) % len(DASHES)])
        for k, loss in enumerate(runs)
    }
