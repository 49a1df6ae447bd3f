"""Histograms of anomaly scores with the threshold, and what a detection costs in false alarms."""

import math

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from lossbench.bench.drawing import LINES, WIDTH, apart, brief, canvas

_BINS = 60
# What is spread farther than this is drawn on a logarithmic axis.
_DECADES = 2.0


def score_histogram(
    scores: np.ndarray,
    labels: np.ndarray,
    *,
    where: np.ndarray | None = None,
    threshold: float | None = None,
    threshold_name: str = "threshold",
    width: float = WIDTH,
    bins: int = _BINS,
) -> Figure:
    """Scores of normal and of anomalous pixels, each as shares of their own, and the threshold.

    The axis is logarithmic if the scores are positive and spread over more than two decades. What
    lies beyond it (half a thousandth at each end) is counted in the outermost bars.

    Args:
        scores: any shape.
        labels: likewise, true or above 0 = anomalous; there may be none.
        where: true = counted.
        threshold: what is at it or above is flagged; the shares beyond are written.
        threshold_name: what to call it, such as "radius²".
        width: of the figure in inches.
        bins: how many bars.
    """
    scores, true = np.asarray(scores, np.float64).ravel(), np.asarray(labels).ravel() > 0
    kept = ~np.isnan(scores)
    if where is not None:
        kept &= np.asarray(where, bool).ravel()
    groups = {"normal": scores[kept & ~true], "anomalous": scores[kept & true]}
    known = np.concatenate(list(groups.values()))
    known = known[np.isfinite(known)]
    if threshold is not None and math.isfinite(threshold):
        known = np.append(known, threshold)
    low, high = apart(
        (float(np.percentile(known, 0.05)), float(np.percentile(known, 99.95)))
        if known.size
        else (0.0, 1.0)
    )
    if threshold is not None and math.isfinite(threshold):
        low, high = min(low, threshold), max(high, threshold)
    logarithmic = low > 0 and math.log10(high / low) > _DECADES
    edges = (np.geomspace if logarithmic else np.linspace)(low, high, bins + 1)
    with canvas(0.32 * width + 1.1, width=width) as (figure, axes):
        for (name, values), color in zip(groups.items(), (LINES[0], LINES[1]), strict=True):
            if not values.size:
                axes.plot([], [], color=color, linewidth=2, label=f"no {name} pixel")
                continue
            counts = np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0]
            axes.stairs(
                counts / values.size, edges, fill=True, color=color, alpha=0.35, linewidth=0
            )
            beyond = ""
            if threshold is not None:
                beyond = f", {_share(float((values >= threshold).mean()))} at or above"
            label = f"{values.size:,} {name}{beyond}"
            axes.stairs(counts / values.size, edges, color=color, linewidth=1.4, label=label)
        if threshold is not None and math.isfinite(threshold):
            axes.axvline(
                threshold,
                color="#000000",
                linewidth=1.2,
                linestyle=(0, (4, 1.5)),
                label=f"{threshold_name} {brief(threshold)}",
            )
        if logarithmic:
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(numticks=6))
            axes.xaxis.set_major_formatter(lambda value, _: brief(value))
            axes.xaxis.set_minor_locator(NullLocator())
        else:
            axes.locator_params(axis="x", nbins=5)
        axes.set_xlabel("Score")
        axes.set_ylabel("Share of pixels")
        axes.set_ylim(bottom=0)
        figure.legend(loc="outside lower center", handlelength=1.4, fontsize="small")
        return figure


def false_alarm_rates(
    scores: np.ndarray, labels: np.ndarray, where: np.ndarray | None = None
) -> np.ndarray:
    """What each pixel's detection would cost: the share of normal pixels that score as high.

    It does not change with the scores' unit, so that detectors can be compared by it; 1 everywhere
    for a constant map, 0 above all normal pixels.

    Args:
        scores: any shape, higher is more anomalous.
        labels: likewise, true or above 0 = anomalous.
        where: true = counted.

    Returns:
        The scores' shape, float64 in [0, 1]; NaN for a pixel without a score or not counted, and
        everywhere if no normal pixel is counted.
    """
    scores = np.asarray(scores, np.float64)
    counted = ~np.isnan(scores) & (True if where is None else np.asarray(where, bool))
    normal = np.sort(scores[counted & ~(np.asarray(labels) > 0)])
    if not normal.size:
        return np.full(scores.shape, np.nan)
    below = np.searchsorted(normal, scores, side="left")
    return np.where(counted, 1 - below / normal.size, np.nan)


def _share(value: float) -> str:
    percent = 100 * value
    return f"{percent:.3g} %" if percent < 99.95 or value == 1 else "> 99.9 %"
