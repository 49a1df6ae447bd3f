"""The plot of what weightings cost: a panel a number of terms, a line a weighting."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from lossbench.bench.cost.figure import save
from lossbench.bench.cost.rows import OURS
from lossbench.bench.cost.weighting_rows import LAST, Row

# Okabe and Ito's colors, and shapes, so that no one depends on color alone.
_MARKS = {
    OURS: ("#0072B2", "o", "#0072B2", 6.5),
    LAST: ("#0072B2", "o", "white", 5.0),
    "torchjd": ("#D55E00", "^", "#D55E00", 5.0),
    "torchjd autojac": ("#D55E00", "s", "#D55E00", 4.5),
    "torchjd autojac, one by one": ("#D55E00", "D", "#D55E00", 4.0),
    "torchjd autogram": ("#E69F00", "v", "#E69F00", 5.0),
    "torchjd autogram, last layer": ("#E69F00", "v", "white", 5.0),
}
_GRID = "#e3e6ea"


def write(folder: Path, rows: Sequence[Row]) -> None:
    """Writes `weighting-cost.png` and `weighting-cost.svg`; nothing if nothing was measured."""
    if any(row.times_plain for row in rows):
        save(folder, "weighting-cost", lambda: draw(rows))


def draw(rows: Sequence[Row]) -> Figure:
    """The figure; a row of panels a shape, weightings in the order of the run."""
    shapes = list(dict.fromkeys(row.shape for row in rows))
    terms = list(dict.fromkeys(row.terms for row in rows))
    methods = list(dict.fromkeys(row.method for row in rows))
    height = 1.1 + (0.7 + 0.24 * len(methods)) * len(shapes)
    width = max(2.2 + 2.7 * len(terms), 7.4)
    figure = Figure(figsize=(width, height), layout="constrained")
    panels = figure.subplots(len(shapes), len(terms), sharey=True, sharex="row", squeeze=False)
    for line, shape in zip(panels, shapes, strict=True):
        for panel, count in zip(line, terms, strict=True):
            here = [row for row in rows if (row.shape, row.terms) == (shape, count)]
            _panel(panel, here, methods)
            one = "term" if count == 1 else "terms"
            title = f"{count} {one}"
            panel.set_title(f"{_sizes(shape)}: {title}" if len(shapes) > 1 else title, fontsize=10)
        line[0].set_yticks(range(len(methods)), methods)
        line[0].set_ylim(len(methods) - 0.5, -0.5)
    for panel in panels[-1]:
        panel.set_xlabel("times one backward pass")
    figure.legend(handles=_legend(rows), loc="outside lower center", ncols=3 if width > 7 else 2)
    return figure


def _sizes(shape: str) -> str:
    return shape.replace("^3", "³").replace("^2", "²").replace("x", " × ")


def _panel(panel: Any, rows: Sequence[Row], methods: Sequence[str]) -> None:
    panel.set_xscale("log")
    panel.grid(axis="x", which="major")
    panel.tick_params(axis="y", length=0)
    panel.axvline(1, color="#9aa3ad", linewidth=0.8, zorder=1)
    for y, method in enumerate(methods):
        panel.axhline(y, color=_GRID, linewidth=0.6, zorder=0)
        for row in (row for row in rows if row.method == method and row.times_plain):
            if row.limit:
                panel.plot(row.limit, y, "|", color="black", ms=9, mew=1.4)
            if row.implementation in _MARKS:
                color, mark, fill, size = _MARKS[row.implementation]
                top = 4 if row.implementation in (OURS, LAST) else 3
                panel.plot(row.times_plain, y, mark, color=color, mfc=fill, ms=size, zorder=top)
    panel.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=8))
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panel.xaxis.set_minor_formatter(NullFormatter())
    panel.margins(x=0.08)


def _legend(rows: Sequence[Row]) -> list[Line2D]:
    def handle(label: str, color: str, mark: str, fill: str) -> Line2D:
        return Line2D([], [], linestyle="", marker=mark, color=color, mfc=fill, label=label)

    there = {row.implementation for row in rows if row.times_plain}
    found = [
        handle(name, color, mark, fill)
        for name, (color, mark, fill, _) in _MARKS.items()
        if name in there
    ]
    return [*found, handle("limit", "black", "|", "black")]
