"""The cost plot: a panel a shape, a line a loss, a mark an implementation, time on a log scale."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from lossbench.bench.cost.rows import COPY, OURS, Row

# Okabe and Ito's colors, and shapes, so that no one depends on color alone.
_MARKS = {
    "torch": ("#E69F00", "s"),
    "monai": ("#D55E00", "^"),
    "smp": ("#009E73", "D"),
    "kornia": ("#CC79A7", "v"),
    "exacta": ("#56B4E9", "P"),
    "optax": ("#7a7f87", "X"),
}
_OURS = ("#0072B2", "o")
_INK, _QUIET, _GRID = "#1b1f24", "#5b6570", "#e3e6ea"
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "lossbench",
    "text.parse_math": False,
    "font.size": 9,
    "text.color": _INK,
    "axes.edgecolor": "#9aa3ad",
    "axes.labelcolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": _GRID,
    "xtick.color": _QUIET,
    "ytick.color": _INK,
    "legend.frameon": False,
    "savefig.facecolor": "white",
}


def write(folder: Path, rows: Sequence[Row]) -> None:
    """Writes `cost.png` and `cost.svg`; nothing if nothing was measured."""
    if any(row.milliseconds for row in rows):
        save(folder, "cost", lambda: draw(rows))


def save(folder: Path, name: str, draw: Callable[[], Figure]) -> None:
    """Draws a figure in the style of these, and writes it as png and svg, each at once."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        drawn = draw()
        for ending in ("png", "svg"):
            part = folder / f".{name}.{os.getpid()}.{ending}"
            metadata = {"Date": None} if ending == "svg" else None
            drawn.savefig(part, dpi=160, metadata=metadata)
            os.replace(part, folder / f"{name}.{ending}")


def draw(rows: Sequence[Row]) -> Figure:
    """The figure; losses keep the order of the run."""
    shapes = list(dict.fromkeys(row.shape for row in rows))
    losses = list(dict.fromkeys(row.loss for row in rows))
    width = 2.4 + 2.7 * len(shapes)
    figure = Figure(figsize=(max(width, 6.4), 1.7 + 0.24 * len(losses)), layout="constrained")
    axes = figure.subplots(1, len(shapes), sharey=True, squeeze=False)[0]
    for panel, shape in zip(axes, shapes, strict=True):
        _panel(panel, [row for row in rows if row.shape == shape], losses)
        panel.set_title(
            shape.replace("^3", "³").replace("^2", "²").replace("x", " × "), fontsize=10
        )
        panel.set_xlabel("milliseconds")
    axes[0].set_yticks(range(len(losses)), losses)
    axes[0].set_ylim(len(losses) - 0.5, -0.5)
    figure.legend(handles=_legend(rows), loc="outside lower center", ncols=5 if width > 7 else 3)
    return figure


def _panel(panel: Any, rows: Sequence[Row], losses: Sequence[str]) -> None:
    panel.set_xscale("log")
    panel.grid(axis="x", which="major")
    panel.tick_params(axis="y", length=0)
    for y, loss in enumerate(losses):
        panel.axhline(y, color=_GRID, linewidth=0.6, zorder=0)
        for row in (row for row in rows if row.loss == loss and row.milliseconds):
            name, _, compiled = row.implementation.partition(" ")
            if row.implementation == OURS:
                if row.limit_milliseconds:
                    panel.plot(row.limit_milliseconds, y, "|", color="black", ms=9, mew=1.4)
                panel.plot(row.milliseconds, y, _OURS[1], color=_OURS[0], ms=6.5, zorder=4)
            elif row.is_peer:
                color, mark = _MARKS.get(name, ("#000000", "*"))
                fill = "white" if compiled else color
                panel.plot(row.milliseconds, y, mark, color=color, mfc=fill, ms=5, zorder=3)
    panel.xaxis.set_major_locator(LogLocator(subs=(1.0,), numticks=6))
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panel.xaxis.set_minor_formatter(NullFormatter())
    panel.margins(x=0.08)


def _legend(rows: Sequence[Row]) -> list[Line2D]:
    def handle(label: str, color: str, mark: str, fill: str | None = None) -> Line2D:
        return Line2D(
            [], [], linestyle="", marker=mark, color=color, mfc=fill or color, label=label
        )

    handles = [handle(OURS, *_OURS), handle(f"limit (measured {COPY})", "black", "|")]
    names = {row.implementation for row in rows if row.is_peer}
    order = [*_MARKS, *sorted(name.partition(" ")[0] for name in names)]
    for name in sorted(names, key=lambda n: (order.index(n.partition(" ")[0]), n)):
        color, mark = _MARKS.get(name.partition(" ")[0], ("#000000", "*"))
        handles.append(handle(name, color, mark, "white" if " " in name else None))
    return handles
