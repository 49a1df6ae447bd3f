"""Decisions on a scene: what is found, missed and falsely flagged, over a grey view."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from lossbench._colors import FALSE_ALARM, FOUND, MISSED
from lossbench.bench.drawing import QUIET, sheet, short
from lossbench.bench.rasters import FIGURE_PIXELS, check_map, grid_size, highest, paint, show

OUTCOMES = {"found": FOUND, "false alarm": FALSE_ALARM, "missed": MISSED}
NOT_COUNTED = "#5b6570"


def outcomes(
    labels: np.ndarray, flagged: np.ndarray, where: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Where a decision is right and how it is wrong: a mask for each key of `OUTCOMES`.

    Args:
        labels: any shape, true or above 0 = anomalous.
        flagged: likewise, what was taken for anomalous.
        where: true = counted; what is not is in none of the masks.

    Raises:
        ValueError: if the shapes differ.
    """
    true, found = np.asarray(labels) > 0, np.asarray(flagged) > 0
    counted = np.ones(true.shape, bool) if where is None else np.asarray(where, bool)
    for name, mask in (("flagged", found), ("where", counted)):
        if mask.shape != true.shape:
            raise ValueError(f"{name}: expected the labels' shape {true.shape}, got {mask.shape}")
    return {
        "found": true & found & counted,
        "false alarm": ~true & found & counted,
        "missed": true & ~found & counted,
    }


def outcomes_png(labels: np.ndarray, flagged: np.ndarray, where: np.ndarray | None = None) -> bytes:
    """What is found, missed and falsely flagged in the colors of `OUTCOMES`, on a clear ground."""
    codes = highest(codes_of(labels, flagged, where))
    return paint(
        codes.shape,
        [(codes == k, color, 1.0) for k, color in enumerate(OUTCOMES.values(), start=1)]
        + [(codes == -1, NOT_COUNTED, 0.8)],
    )


def outcome_maps(
    labels: np.ndarray,
    flagged: Mapping[str, np.ndarray],
    background: np.ndarray,
    *,
    where: np.ndarray | None = None,
    columns: int = 4,
) -> Figure:
    """What each detector finds, misses and falsely flags, over a grey view, with counts.

    A scene without an anomaly is drawn like any other: whatever is flagged there is a false alarm.

    Args:
        labels: `height width`, true or above 0 = anomalous.
        flagged: likewise, by the detector's name.
        background: `height width` in [0, 1], such as a band's view; or `height width 3`.
        where: `height width`, true = counted.
        columns: at most so many beside each other.
    """
    labels = np.asarray(labels)
    check_map("labels", labels)
    rows = -(-len(flagged) // columns)
    wide = min(columns, len(flagged))
    height, width = grid_size([labels.shape], rows, wide)
    with sheet(height + 0.75 * rows, width, rows, wide) as (figure, axes):
        panels = axes.ravel()
        for panel, (name, mask) in zip(panels, flagged.items(), strict=False):
            draw_outcomes(panel, labels, mask, background, where=where)
            panel.set_title(short(name), fontsize="medium")
        for panel in panels[len(flagged) :]:
            panel.set_axis_off()
        return figure


def draw_outcomes(
    axes: Axes,
    labels: np.ndarray,
    flagged: np.ndarray,
    background: np.ndarray,
    *,
    where: np.ndarray | None = None,
) -> None:
    """One panel of `outcome_maps`, with its legend below."""
    codes = codes_of(labels, flagged, where)
    picture = ground_of(background)
    coarse = highest(codes, FIGURE_PIXELS)
    for k, color in enumerate(OUTCOMES.values(), start=1):
        picture[coarse == k] = to_rgb(color)
    picture[coarse == -1] = to_rgb(NOT_COUNTED)
    show(axes, picture)
    handles = [
        Patch(facecolor=color, edgecolor=QUIET, linewidth=0.5, label=count_text(int(n), name))
        for n, (name, color) in zip(
            np.bincount(codes[codes > 0], minlength=4)[1:], OUTCOMES.items(), strict=True
        )
    ]
    axes.legend(
        handles=handles,
        loc="upper center",
        bbox_to_anchor=(0.5, -0.01),
        ncols=1,
        fontsize="small",
        handlelength=0.9,
        handleheight=0.9,
        labelspacing=0.25,
        borderaxespad=0.2,
    )


def count_text(count: int, outcome: str) -> str:
    """`12 missed`, `1 false alarm`, `3 false alarms`."""
    return f"{count:,} {outcome}{'s' if outcome == 'false alarm' and count != 1 else ''}"


def ground_of(background: np.ndarray) -> np.ndarray:
    """A grey ground `H W 3` on which every color of `OUTCOMES` is seen: neither black nor white."""
    grey = grey_of(background)
    step = -(-max(grey.shape) // FIGURE_PIXELS)
    return np.repeat(0.15 + 0.6 * grey[::step, ::step, None], 3, axis=-1)


def grey_of(image: np.ndarray) -> np.ndarray:
    """An image in [0, 1] without its colors: `height width` from that or `height width 3`."""
    grey = image if image.ndim == 2 else image @ np.array([0.299, 0.587, 0.114])
    return np.nan_to_num(np.clip(grey, 0, 1))


def codes_of(labels: np.ndarray, flagged: np.ndarray, where: np.ndarray | None) -> np.ndarray:
    """1, 2, 3 in the order of `OUTCOMES`: the highest of a block is its worst; -1 not counted."""
    codes = np.zeros(np.shape(labels), np.int8)
    for k, mask in enumerate(outcomes(labels, flagged, where).values(), start=1):
        codes[mask] = k
    if where is not None:
        codes[~np.asarray(where, bool)] = -1
    return codes
