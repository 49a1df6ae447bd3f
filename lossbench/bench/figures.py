"""The report's pictures: figures as inline SVG, example slices as small PNG files."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullLocator

from lossbench._colors import CLASS_COLORS
from lossbench.bench.drawing import DASHES, INK, LINES, QUIET, canvas, short, svg, thin
from lossbench.bench.rasters import fit, paint, png
from lossbench.bench.results import DIVERGED, Comparison
from lossbench.bench.statistics import NO_PAIR, ONE_SEED, UNDEFINED, Standing
from lossbench.bench.tables import measure, metric_label, plain

ERRORS = {
    "false positive": "#D55E00",
    "false negative": "#56B4E9",
    "wrong class": "#CC79A7",
    "correct": "#FFFFFF",
}
# Short forms, beside a row of a figure.
_BESIDE = {ONE_SEED: "one seed", NO_PAIR: "no pair", UNDEFINED: "undefined"}


def loss_colors(comparison: Comparison) -> dict[str, str]:
    """A color for each loss, black for the baseline."""
    others = [loss for loss in comparison.losses if loss != comparison.baseline]
    colors = {loss: LINES[k % len(LINES)] for k, loss in enumerate(others)}
    return {loss: colors.get(loss, "#000000") for loss in comparison.losses}


def class_colors(count: int) -> tuple[str, ...]:
    """A color for each of `count` foreground classes."""
    return tuple(CLASS_COLORS[k % len(CLASS_COLORS)] for k in range(count))


def means(comparison: Comparison, rows: Mapping[str, Standing]) -> str:
    """Forest plot: each loss's mean with its interval, the single seeds below it as dots."""
    scores = comparison.scores(comparison.metric)
    with canvas(_row_height(rows)) as (figure, axes):
        for y, (loss, standing) in enumerate(rows.items()):
            color = loss_colors(comparison)[loss]
            interval = standing.interval
            # No distance is below 0, whatever the t interval says.
            low = np.maximum(interval.low, 0) if comparison.declared.unit else interval.low
            _whisker(axes, y - 0.12, interval.mean, low, interval.high, color)
            _dots(axes, scores[loss], y + 0.2, color)
        _name_rows(axes, rows)
        _keep_within(axes, comparison, 0.0, 1.0)
        axes.set_xlabel(f"Test {_measured(comparison)}")
        return svg(figure, "means")


def differences(comparison: Comparison, rows: Mapping[str, Standing]) -> str:
    """Forest plot of the paired differences to the baseline, seed by seed below each interval."""
    scores = comparison.scores(comparison.metric)
    with canvas(_row_height(rows)) as (figure, axes):
        axes.axvline(0, color="#000000", linewidth=1)
        for y, (loss, standing) in enumerate(rows.items()):
            color = loss_colors(comparison)[loss]
            if standing.difference:
                d = standing.difference
                _whisker(axes, y - 0.12, d.mean, d.low, d.high, color)
                _dots(axes, scores[loss] - scores[comparison.baseline], y + 0.2, color)
            axes.text(
                1.02,
                y,
                _BESIDE.get(standing.verdict, standing.verdict),
                transform=axes.get_yaxis_transform(),
                va="center",
                color=QUIET,
            )
        _name_rows(axes, rows)
        _keep_within(axes, comparison, -1.0, 1.0)
        to = short(comparison.baseline)
        axes.set_xlabel(f"Difference in test {_measured(comparison)} to {to}")
        return svg(figure, "differences")


def paired(comparison: Comparison) -> str:
    """Each seed as one line through its scores under all losses: parallel lines, paired effects."""
    scores = comparison.scores(comparison.metric)
    places = np.arange(len(scores))
    by_seed = np.array(list(scores.values())).T
    colors = loss_colors(comparison)
    with canvas(_row_height(scores)) as (figure, axes):
        for values in by_seed:
            there = np.isfinite(values)
            axes.plot(values[there], places[there], color="#9aa3ad", linewidth=1, zorder=1)
        for y, (loss, values) in enumerate(scores.items()):
            _dots(axes, values, y, colors[loss], size=26)
        _name_rows(axes, scores)
        axes.set_xlabel(f"Test {_measured(comparison)}, one line a seed")
        return svg(figure, "paired")


def validation_curves(comparison: Comparison) -> str:
    """The metric on the validation cases against steps, one line a run."""
    metric = comparison.metric
    longest = max(len(short(loss)) for loss in comparison.losses)
    columns = int(np.clip(80 // (longest + 7), 1, 4))
    with canvas(2.7 + 0.2 * -(-len(comparison.losses) // columns)) as (figure, axes):
        for loss, (color, dashes) in line_styles(comparison).items():
            label = short(loss)
            for run in comparison.of(loss):
                if run.history and run.history.validation_steps.size:
                    values = run.history.validation[metric]
                    steps = run.history.validation_steps
                    axes.plot(*thin(steps, values), color=color, linestyle=dashes, linewidth=1.1)
                    _mark_end(axes, run.state, steps, values, color)
            axes.plot([], [], color=color, linestyle=dashes, linewidth=2, label=label)
        axes.set_xlabel("Training step")
        axes.set_ylabel(f"Validation {_measured(comparison)}")
        axes.set_xlim(left=0)
        figure.legend(
            loc="outside lower center", ncols=columns, handlelength=1.6, columnspacing=1.4
        )
        return svg(figure, "validation")


def training_curve(comparison: Comparison, loss: str) -> str:
    """The training loss of one loss against steps, one line a seed, on a scale of its own."""
    color, dashes = line_styles(comparison)[loss]
    number = list(comparison.losses).index(loss)
    with canvas(1.75, width=2.6) as (figure, axes):
        for run in comparison.of(loss):
            if run.history and run.history.train_steps.size:
                steps, values = run.history.train_steps, run.history.train_loss
                axes.plot(*thin(steps, values), color=color, linestyle=dashes, linewidth=1)
                _mark_end(axes, run.state, steps, values, color)
        axes.set_xlim(0, max(1.0, _last_step(comparison)))
        axes.locator_params(nbins=4)
        axes.set_xlabel("Training step")
        return svg(figure, f"training{number}")


def weight_curve(comparison: Comparison, loss: str) -> str:
    """The weight of each term of one loss against steps, one line a seed, logarithmic."""
    terms = list(comparison.losses[loss]["terms"])
    colors = ("#000000", *LINES)
    with canvas(1.85 + 0.2 * len(terms), width=2.6) as (figure, axes):
        for k, term in enumerate(terms):
            color, dashes = colors[k % len(colors)], DASHES[k // len(colors) % len(DASHES)]
            for run in comparison.of(loss):
                if run.history and term in run.history.weights:
                    steps, values = run.history.train_steps, run.history.weights[term]
                    values = np.where(values > 0, values, np.nan)
                    axes.plot(*thin(steps, values), color=color, linestyle=dashes, linewidth=1)
            axes.plot([], [], color=color, linestyle=dashes, linewidth=2, label=short(term))
        axes.set_yscale("log")
        # Weights that stand still would be drawn on a scale of their last digits.
        low, high = axes.get_ylim()
        axes.set_ylim(low / 1.5, high * 1.5)
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=5))
        axes.yaxis.set_major_formatter(lambda weight, _: f"{weight:g}")
        axes.yaxis.set_minor_locator(NullLocator())
        axes.set_xlim(0, max(1.0, _last_step(comparison)))
        axes.set_xlabel("Training step")
        figure.legend(loc="outside lower center", handlelength=1.2)
        return svg(figure, f"weights{list(comparison.losses).index(loss)}")


def image_png(image: np.ndarray) -> bytes:
    """A slice in [0, 1], not finite is black; `image` is `H W` in grey or `H W 3` in color."""
    shown = np.nan_to_num(np.clip(fit(image), 0, 1))
    shown = shown if shown.ndim == 3 else np.repeat(shown[..., None], 3, axis=-1)
    return png(np.round(shown * 255).astype(np.uint8))


def labels_png(labels: np.ndarray) -> bytes:
    """Class ids as translucent colors, the background clear; `labels` is `H W`."""
    present = [int(k) for k in np.unique(labels) if k > 0]
    layers = [(labels == k, CLASS_COLORS[(k - 1) % len(CLASS_COLORS)], 0.72) for k in present]
    return paint(labels.shape, layers)


def errors_png(labels: np.ndarray, prediction: np.ndarray) -> bytes:
    """Where a prediction goes wrong, by the kind of error; `ERRORS` has the colors."""
    found, true, same = prediction > 0, labels > 0, prediction == labels
    masks = (found & ~true, ~found & true, found & true & ~same, found & same)
    alphas = (1.0, 1.0, 1.0, 0.45)
    return paint(labels.shape, list(zip(masks, ERRORS.values(), alphas, strict=True)))


def _row_height(rows: Mapping[str, object]) -> float:
    return 0.75 + 0.42 * max(1, len(rows))


def _name_rows(axes: Axes, rows: Mapping[str, object]) -> None:
    axes.set_yticks(range(len(rows)), [short(name) for name in rows])
    axes.set_ylim(max(1, len(rows)) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    axes.margins(x=0.06)
    axes.locator_params(axis="x", nbins=6)


def _whisker(axes: Axes, y: float, mean: float, low: float, high: float, color: str) -> None:
    if np.isfinite(low):
        axes.plot([low, high], [y, y], color=color, linewidth=2.2, solid_capstyle="butt", zorder=2)
    if np.isfinite(mean):
        axes.plot(mean, y, marker="o", markersize=7, color=color, zorder=3)


def _dots(axes: Axes, values: np.ndarray, y: float, color: str, size: float = 14) -> None:
    kept = values[np.isfinite(values)]
    axes.scatter(
        kept,
        np.full(kept.shape, y),
        s=size,
        color="white",
        edgecolor=color,
        linewidth=1.1,
        zorder=3,
    )


def _keep_within(axes: Axes, comparison: Comparison, low: float, high: float) -> None:
    """Cut the view at what a share can reach: an interval from two seeds may pass it by far."""
    values = np.concatenate(list(comparison.scores(comparison.metric).values()))
    values = values[np.isfinite(values)]
    if comparison.declared.unit or not np.all((values >= 0) & (values <= 1)):
        return
    left, right = axes.get_xlim()
    margin = 0.02 * (high - low)
    axes.set_xlim(max(left, low - margin), min(right, high + margin))


def line_styles(comparison: Comparison) -> dict[str, tuple[str, Any]]:
    """Color and dashes for each loss; the dashes change when the colors are used up."""
    colors = loss_colors(comparison)
    others = [loss for loss in comparison.losses if loss != comparison.baseline]
    rounds = {loss: k // len(LINES) for k, loss in enumerate(others)}
    return {
        loss: (color, DASHES[rounds.get(loss, 0) % len(DASHES)]) for loss, color in colors.items()
    }


def _mark_end(axes: Axes, state: str, steps: np.ndarray, values: np.ndarray, color: str) -> None:
    """A cross where the curve of a diverged run ends."""
    there = np.flatnonzero(np.isfinite(values))
    if state == DIVERGED and there.size:
        axes.plot(steps[there[-1]], values[there[-1]], marker="x", markersize=7, color=color)


def _last_step(comparison: Comparison) -> float:
    ends = [run.history.train_steps.max(initial=0.0) for run in comparison.runs if run.history]
    return float(max(ends, default=1.0))


def _measured(comparison: Comparison) -> str:
    """The metric with its unit and direction; if it is too long, the name alone is cut."""
    label = metric_label(comparison.metric)
    rest = plain(measure(comparison, comparison.metric).removeprefix(label))
    return f"{short(label)} {rest}".rstrip()
