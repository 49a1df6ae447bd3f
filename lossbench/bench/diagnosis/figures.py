"""The figures of a diagnosis, each an inline SVG in the style of the report."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from lossbench.bench.diagnosis.examination import Diagnosis, Examination
from lossbench.bench.diagnosis.findings import number
from lossbench.bench.diagnosis.moment import Moment, TermFacts
from lossbench.bench.diagnosis.notes import finite
from lossbench.bench.diagnosis.text import cosine_entry
from lossbench.bench.drawing import DASHES, LINES, canvas, short, svg

_NOW, _THEN, _QUIET, _INK = "#0072B2", "#E69F00", "#7a838d", "#1b1f24"
# Orange against, blue along; told apart with any common form of color blindness.
_SIDES = LinearSegmentedColormap.from_list("sides", ["#D55E00", "#ffffff", "#0072B2"])


def figures(diagnosis: Diagnosis, *, prefix: str = "") -> list[dict[str, str]]:
    """Each moment's figures: name, title and caption, and the `svg` itself.

    A moment whose parameters are not finite has none.

    Args:
        diagnosis: what to draw.
        prefix: of the ids inside the figures, where several diagnoses stand on one page.
    """
    made = []
    for k, examination in enumerate(diagnosis.examinations):
        moment = examination.moment
        if not finite(moment):
            continue
        for name, draw, caption in _FIGURES:
            if name == "cosines" and len(moment.terms) < 2:
                continue
            identity = f"step{moment.step}-{name}"
            svg = draw(examination, f"{prefix}{k}-{identity}")
            made.append(
                {"name": identity, "step": str(moment.step), "caption": caption, "svg": svg}
            )
    if sum(finite(one.moment) for one in diagnosis.examinations) > 1:
        caption = "Weighted gradient norms against the step."
        svg = steps(diagnosis, f"{prefix}steps")
        made.append({"name": "steps", "step": "", "caption": caption, "svg": svg})
    return made


def norms(examination: Examination, name: str) -> str:
    """Norms of the gradients on a log scale: batches open, their root mean square filled."""
    moment = examination.moment
    measured = moment.measured
    with canvas(_height(moment)) as (figure, axes):
        for y, term in enumerate(moment.terms):
            scale = term.weighted_norm / term.norm if term.norm > 0 else math.nan
            _dots(axes, measured.norms[:, y] * scale, y)
            if term.weighted_norm > 0:
                axes.plot(term.weighted_norm, y, "o", color=_NOW, markersize=7, zorder=4)
                axes.plot(term.norm, y, "|", color=_INK, markersize=15, mew=1.6, zorder=5)
            else:
                _note(axes, y, _absence(term))
        _name_rows(axes, moment)
        if any(term.weighted_norm > 0 for term in moment.terms):
            axes.set_xscale("log")
            _log_ticks(axes.xaxis)
        axes.set_xlabel("Norm of the gradient")
        return svg(figure, name)


def shares(examination: Examination, name: str) -> str:
    """Shares of the update: as it is, and under the proposed weights."""
    moment = examination.moment
    then = {term.name: term.share for term in examination.proposal.terms}
    with canvas(_height(moment)) as (figure, axes):
        axes.axvline(0, color=_INK, linewidth=1)
        for y, term in enumerate(moment.terms):
            _bar(axes, y - 0.19, term.share, _NOW, "as it is" if y == 0 else None)
            _bar(axes, y + 0.19, then[term.name], _THEN, "as proposed" if y == 0 else None)
        _name_rows(axes, moment)
        axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %".replace("-", "−"))
        axes.set_xlabel("Share of the update")
        figure.legend(loc="outside lower center", ncols=2, handlelength=1)
        return svg(figure, name)


def cosines(examination: Examination, name: str) -> str:
    """Cosines between the mean gradients; below them in small type the mean over batches."""
    moment = examination.moment
    names = [term.name for term in moment.terms]
    table = np.full((len(names), len(names)), math.nan)
    with canvas(1.1 + 0.55 * len(names)) as (figure, axes):
        for i, first in enumerate(names):
            for j, second in enumerate(names):
                if i == j:
                    table[i, j] = 1.0 if moment.term(first).live else math.nan
                    text = "1" if moment.term(first).live else "–"
                else:
                    pair = moment.pair(first, second)
                    table[i, j] = pair.cosine
                    text = cosine_entry(pair).replace(" ", "\n")
                color = "white" if abs(table[i, j]) > 0.6 else _INK
                axes.text(j, i, text.replace("-", "−"), ha="center", va="center", color=color)
        axes.imshow(table, cmap=_SIDES, vmin=-1, vmax=1, aspect="auto")
        axes.set_xticks(range(len(names)), [short(n) for n in names], rotation=25, ha="right")
        axes.set_yticks(range(len(names)), [short(n) for n in names])
        axes.tick_params(length=0, labelcolor=_INK)
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        return svg(figure, name)


def values(examination: Examination, name: str) -> str:
    """Each term's value on every batch, in units of its mean: range and variance at one glance."""
    moment = examination.moment
    with canvas(_height(moment)) as (figure, axes):
        axes.axvline(1, color=_INK, linewidth=1)
        for y, term in enumerate(moment.terms):
            if math.isnan(term.mean) or not term.mean:
                _note(axes, y, _absence(term) if math.isnan(term.mean) else "0 on average")
                continue
            found = moment.measured.values[:, y] / term.mean
            axes.plot(
                [found[np.isfinite(found)].min(), found[np.isfinite(found)].max()],
                [y, y],
                color=_NOW,
                linewidth=1.6,
                zorder=1,
            )
            _dots(axes, found, y)
        _name_rows(axes, moment)
        axes.set_xlabel("Value on a batch, over its mean")
        return svg(figure, name)


def signals(examination: Examination, name: str) -> str:
    """Signal to noise of each gradient; left of the grey line it cannot be told from noise."""
    moment = examination.moment
    ratios = np.array([term.signal_to_noise for term in moment.terms])
    floor = 1 / max(moment.batches, 1)
    with canvas(_height(moment)) as (figure, axes):
        axes.set_xscale("log")
        axes.axvline(floor, color=_QUIET, linewidth=1, linestyle=(0, (4, 1.5)))
        axes.axvline(1, color=_INK, linewidth=1)
        for y, (term, ratio) in enumerate(zip(moment.terms, ratios, strict=True)):
            if ratio > 0 and math.isfinite(ratio):
                axes.plot(max(ratio, floor / 10), y, "o", color=_NOW, markersize=7)
            elif ratio == 0:
                axes.plot(floor / 10, y, "<", color=_NOW, markersize=7)
            else:
                _note(axes, y, "no noise" if ratio > 0 else _absence(term))
        _name_rows(axes, moment)
        _log_ticks(axes.xaxis)
        axes.set_xlabel("Signal to noise of the gradient of one batch")
        return svg(figure, name)


def steps(diagnosis: Diagnosis, name: str) -> str:
    """Weighted norms of the gradients against the step, a line a term."""
    moments = [one.moment for one in diagnosis.examinations if finite(one.moment)]
    with canvas(3.1) as (figure, axes):
        for k, term in enumerate(moments[0].terms):
            found = np.array([m.term(term.name).weighted_norm for m in moments])
            there = np.isfinite(found) & (found > 0)
            axes.plot(
                np.array([m.step for m in moments])[there],
                found[there],
                marker="o",
                color=LINES[k % len(LINES)],
                linestyle=DASHES[k // len(LINES) % len(DASHES)],
                label=short(term.name),
            )
        axes.set_yscale("log")
        _log_ticks(axes.yaxis)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("Training step")
        axes.set_ylabel("Norm of the weighted gradient")
        figure.legend(loc="outside lower center", ncols=3)
        return svg(figure, name)


_FIGURES: Sequence[tuple[str, Any, str]] = (
    (
        "norms",
        norms,
        "Gradient norms. Filled: with its weight; open: single batches; bar: without weight.",
    ),
    ("shares", shares, "Share of the update, as it is and under the proposed weights."),
    (
        "cosines",
        cosines,
        "Cosines between the mean gradients; in brackets the mean over batches.",
    ),
    ("values", values, "Values on each batch over their mean, with their range."),
    (
        "signals",
        signals,
        "Signal to noise of the gradient. Black: as much signal as noise; left of the dashed line "
        "these batches cannot tell it from 0.",
    ),
)


def _height(moment: Moment) -> float:
    return 1.0 + 0.42 * len(moment.terms)


def _name_rows(axes: Axes, moment: Moment) -> None:
    axes.set_yticks(range(len(moment.terms)), [short(term.name) for term in moment.terms])
    axes.set_ylim(len(moment.terms) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0, labelcolor=_INK)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    axes.margins(x=0.06)


def _log_ticks(axis: Axis) -> None:
    """Plain numbers at decades, or at 1, 2 and 5 of few; text stays text in an SVG."""
    low, high = sorted(axis.get_view_interval())
    few = low > 0 and high < 500 * low
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if few else (1.0,), numticks=7))
    axis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
    axis.set_minor_formatter(NullFormatter())


def _dots(axes: Axes, found: np.ndarray, y: float) -> None:
    kept = found[np.isfinite(found) & (found != 0)]
    rows = np.full(kept.shape, y)
    axes.scatter(kept, rows, s=15, color="white", edgecolor=_NOW, linewidth=0.9, zorder=3)


def _bar(axes: Axes, y: float, share: float, color: str, label: str | None) -> None:
    axes.barh(y, 0.0 if math.isnan(share) else share, height=0.34, color=color, label=label)


def _note(axes: Axes, y: float, text: str) -> None:
    axes.text(0.02, y, text, transform=axes.get_yaxis_transform(), va="center", color=_QUIET)


def _absence(term: TermFacts) -> str:
    """Why there is no number to draw."""
    if not term.finite:
        return "not finite"
    return "zero" if term.dead or not term.weighted_norm else "undefined"
