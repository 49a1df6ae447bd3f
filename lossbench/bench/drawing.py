"""How figures of a report are drawn: colors, style, names, SVG that can share a page.

Figures are built without pyplot and with matplotlib's own defaults, so that neither global state
nor a user's settings reach the report. Text stays text; the browser draws it.
"""

import contextlib
import io
import re
import warnings
from collections.abc import Iterator
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lossbench.bench.tables import plain

# Okabe and Ito's colors, told apart by people with any common form of color blindness; their
# yellow is left out of lines because it is too light for white paper. The baseline is black.
LINES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
DASHES = ("-", (0, (4, 1.5)), (0, (1, 1)))
INK, QUIET, _GRID = "#1b1f24", "#5b6570", "#e3e6ea"
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "lossbench",
    "text.parse_math": False,
    "font.size": 9.5,
    "text.color": INK,
    "axes.edgecolor": "#9aa3ad",
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.formatter.useoffset": False,
    "axes.unicode_minus": True,
    "grid.color": _GRID,
    "grid.linewidth": 0.8,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}
WIDTH = 5.4  # inches, at 72 points each: half of the page
LONGEST_LABEL = 24


_MOST_POINTS = 200  # of a curve; longer ones are averaged in blocks


@contextlib.contextmanager
def style() -> Iterator[None]:
    """The report's style for as long as the block runs, whatever a user's settings are."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield


@contextlib.contextmanager
def canvas(height: float, width: float = WIDTH) -> Iterator[tuple[Figure, Axes]]:
    """A figure with one axes, in the report's style for as long as the block runs."""
    with sheet(height, width) as (figure, axes):
        yield figure, axes[0, 0]


@contextlib.contextmanager
def sheet(
    height: float, width: float = WIDTH, rows: int = 1, columns: int = 1
) -> Iterator[tuple[Figure, np.ndarray]]:
    """A figure with `rows columns` axes, in the report's style for as long as the block runs."""
    with style():
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure, figure.subplots(rows, columns, squeeze=False)


def svg(figure: Figure, name: str) -> str:
    """The figure as an `<svg>` element that can stand beside others in one page."""
    buffer = io.StringIO()
    with style(), warnings.catch_warnings():
        # The browser has the fonts: a name in any script is no reason to warn.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(buffer, format="svg", metadata=metadata)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<style.*?</style>", "", text, count=1, flags=re.DOTALL)

    def rewrite(match: re.Match[str]) -> str:
        tag = match[0]
        tag = re.sub(r'\bid="', f'id="{name}-', tag)
        tag = re.sub(r'(?:xlink:)?href="#', f'href="#{name}-', tag)
        tag = tag.replace('xlink:href="data:', 'href="data:')
        tag = re.sub(r"url\(#", f"url(#{name}-", tag)
        return re.sub(r' xmlns(:xlink)?="[^"]*"', "", tag)

    # Text between tags has its angle brackets escaped, so only markup is rewritten.
    return re.sub(r"<[^<>]*>", rewrite, text)


def figure_png(figure: Figure, dots: float = 144) -> bytes:
    """The figure as a PNG file on white, for a notebook or a folder; `dots` an inch."""
    buffer = io.BytesIO()
    with style(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(
            buffer, format="png", dpi=dots, facecolor="white", metadata={"Software": None}
        )
    return buffer.getvalue()


def thin(steps: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means over blocks, so that a long curve has at most `_MOST_POINTS` points."""
    values = np.where(np.isfinite(values), values, np.nan)
    size = -(-values.size // _MOST_POINTS)
    if size <= 1:
        return steps, values
    starts = np.arange(0, values.size, size)
    count = np.diff(np.append(starts, values.size))
    return np.add.reduceat(steps, starts) / count, np.add.reduceat(values, starts) / count


def short(name: str) -> str:
    """A name that fits beside a figure: cut where it is too long."""
    text = plain(name)
    return text if len(text) <= LONGEST_LABEL else text[: LONGEST_LABEL - 1] + "…"


def brief(value: float) -> str:
    """Three significant digits as people write them: `2,390`, `0.0125`, `1.2e-07`."""
    text = f"{value:.3g}"
    return f"{float(text):,.0f}" if 1e3 <= abs(float(text)) < 1e7 else text


def apart(limits: tuple[float, float]) -> tuple[float, float]:
    """Limits that an axis can have: a constant gets room on both sides."""
    low, high = limits
    if high > low:
        return low, high
    room = max(abs(low), 1.0) * 0.05
    return low - room, low + room
