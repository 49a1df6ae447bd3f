"""Heat maps of anomaly scores on one scale, and a scene from its picture to the decision.

Drawn from NumPy arrays alone. Figures become SVG by `drawing.svg` and PNG by `drawing.figure_png`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from lossbench._colors import FOUND, HEAT, NO_SCORE
from lossbench.bench.drawing import INK, apart, brief, canvas, sheet, short
from lossbench.bench.outcome_figures import draw_outcomes, ground_of
from lossbench.bench.rasters import FIGURE_PIXELS, check_map, grid_size, highest, indexed_png, show
from lossbench.training.heat import PERCENTILES, common_limits, heat, shares


def score_maps(
    maps: Mapping[str, Any],
    *,
    limits: tuple[float, float] | None = None,
    percentiles: tuple[float, float] = PERCENTILES,
    label: str = "Anomaly score",
    columns: int = 4,
) -> Figure:
    """Heat maps side by side on one scale, never each on its own.

    Args:
        maps: raw scores `height width` by the detector's name; or by the scene's and then the
            detector's, a row a scene. NaN (what is not counted) is grey.
        limits: scores of the first and of the last color. None: percentiles of all maps together.
        percentiles: which.
        label: of the color bar.
        columns: at most so many beside each other, where there is one row of maps.
    """
    nested = all(isinstance(entry, Mapping) for entry in maps.values())
    if nested:
        rows = [(str(scene), list(row.items())) for scene, row in maps.items()]
    else:
        items = list(maps.items())
        rows = [("", items[k : k + columns]) for k in range(0, len(items), columns)]
    every = [np.asarray(scores, np.float64) for _, row in rows for _, scores in row]
    if not every:
        raise ValueError("maps: expected at least one, got none")
    for scores in every:
        check_map("maps", scores)
    told = limits is None
    limits = limits or common_limits(every, percentiles)
    wide = max(len(row) for _, row in rows)
    height, width = grid_size([scores.shape for scores in every], len(rows), wide)
    with sheet(height + 0.25, width + 0.9, len(rows), wide) as (figure, axes):
        for line, (scene, row) in zip(axes, rows, strict=True):
            for panel, (name, scores) in zip(line, row, strict=False):
                show(panel, heat(highest(np.asarray(scores, float), FIGURE_PIXELS), limits))
                panel.set_title(short(name), fontsize="medium")
            for panel in line[len(row) :]:
                panel.set_axis_off()
            line[0].set_ylabel(short(scene))
        words = f"{label}, {_between(percentiles)} of all" if told else label
        _color_bar(figure, axes.ravel().tolist(), limits, every, words)
        return figure


def scene(
    color: np.ndarray,
    scores: np.ndarray,
    *,
    labels: np.ndarray | None = None,
    flagged: np.ndarray | None = None,
    where: np.ndarray | None = None,
    limits: tuple[float, float] | None = None,
    title: str = "Scene",
) -> Figure:
    """One scene from picture to decision: its colors, its scores, what is flagged.

    Args:
        color: `height width 3` in [0, 1], as `lossbench.data.false_color` gives it.
        scores: `height width`.
        labels: `height width`, the truth where it is known.
        flagged: `height width`, the decision.
        where: `height width`, true = counted.
        limits: of the color scale. None: percentiles of these scores.
        title: above the picture of the scene.
    """
    scores = np.asarray(scores, float)
    check_map("scores", scores)
    scores = scores if where is None else np.where(where, scores, np.nan)
    told = limits is None
    limits = limits or common_limits([scores])
    count = 2 + (flagged is not None or labels is not None)
    height, width = grid_size([scores.shape], 1, count)
    with sheet(height + 0.85, width + 0.9, 1, count) as (figure, axes):
        picture, map_, *rest = axes[0]
        step = -(-max(scores.shape) // FIGURE_PIXELS)
        show(picture, np.clip(np.asarray(color, float), 0, 1)[::step, ::step])
        picture.set_title(short(title), fontsize="medium")
        show(map_, heat(highest(scores, FIGURE_PIXELS), limits))
        map_.set_title("Scores", fontsize="medium")
        words = f"Score, {_between(PERCENTILES)}" if told else "Score"
        _color_bar(figure, [map_], limits, [scores], words)
        if rest and labels is not None and flagged is not None:
            draw_outcomes(rest[0], labels, flagged, color, where=where)
            rest[0].set_title("Decision", fontsize="medium")
        elif rest:
            shown = np.asarray(flagged if flagged is not None else labels) > 0
            shown = shown if where is None else shown & where
            ground = ground_of(color)
            ground[highest(shown.astype(np.int8), FIGURE_PIXELS) > 0] = to_rgb(FOUND)
            show(rest[0], ground)
            name = "flagged" if flagged is not None else "anomalous"
            rest[0].set_title(f"{int(shown.sum()):,} {name}", fontsize="medium")
        return figure


def heat_bar(
    limits: tuple[float, float], label: str, ticks: Mapping[float, str] | None = None
) -> Figure:
    """The scale of heat maps that stand elsewhere; `ticks` are the names of places on it."""
    with canvas(0.9, width=3.6) as (figure, axes):
        low, high = apart(limits)
        axes.imshow(
            np.linspace(0, 1, 256)[None], cmap=_color_map(), extent=(low, high, 0, 1), aspect="auto"
        )
        axes.set_yticks([])
        axes.grid(visible=False)
        ticks = ticks or {at: brief(at) for at in np.linspace(*limits, 3)}
        axes.set_xticks(list(ticks), list(ticks.values()))
        axes.set_xlabel(label)
        return figure


def heat_png(scores: np.ndarray, limits: tuple[float, float]) -> bytes:
    """One heat map of 255 colors, `H W`; a pixel of a large one is the highest score of a block."""
    share = shares(highest(np.asarray(scores, np.float64)), limits)
    missing = np.isnan(share)
    indices = np.where(missing, 255, np.round(254 * np.where(missing, 0, share)))
    palette = heat(np.append(np.linspace(0, 1, 255), np.nan), (0.0, 1.0))
    return indexed_png(indices, palette)


def _color_bar(
    figure: Figure,
    axes: list[Axes],
    limits: tuple[float, float],
    maps: Sequence[np.ndarray],
    label: str,
) -> None:
    low, high = limits
    beyond = (
        any(bool((scores < low).any()) for scores in maps),
        any(bool((scores > high).any()) for scores in maps),
    )
    extend = {(False, False): "neither", (True, False): "min", (False, True): "max"}.get(
        beyond, "both"
    )
    scale = ScalarMappable(Normalize(*apart(limits)), _color_map())
    bar = figure.colorbar(scale, ax=axes, extend=extend, shrink=0.9, aspect=28, pad=0.02)
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    bar.set_label(label, fontsize="small")
    if any(bool(np.isnan(scores).any()) for scores in maps):
        figure.legend(
            handles=[Patch(facecolor=NO_SCORE, label="not counted, or no score")],
            loc="outside lower right",
            fontsize="small",
            handlelength=0.9,
            handleheight=0.9,
            labelcolor=INK,
        )


def _color_map() -> LinearSegmentedColormap:
    return LinearSegmentedColormap.from_list("heat", list(HEAT))


def _between(percentiles: tuple[float, float]) -> str:
    return "percentiles {:g} to {:g}".format(*percentiles)
