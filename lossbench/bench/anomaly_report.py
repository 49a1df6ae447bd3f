"""What a report shows of anomaly detection: scores and decisions, collapse, weights of bands.

Each part is a mapping for the template, or None where no run has what it shows.
"""

import base64
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure

from lossbench.bench import figures
from lossbench.bench.anomaly_figures import heat_bar, heat_png
from lossbench.bench.band_figures import band_weights
from lossbench.bench.collapse_figures import QUANTITIES, collapse_curve, crossed
from lossbench.bench.drawing import brief, svg
from lossbench.bench.examples import Examples
from lossbench.bench.outcome_figures import (
    OUTCOMES,
    count_text,
    grey_of,
    outcomes,
    outcomes_png,
)
from lossbench.bench.rasters import highest
from lossbench.bench.results import COMPLETED, Comparison, Run
from lossbench.bench.score_histogram import false_alarm_rates, score_histogram
from lossbench.bench.tables import number
from lossbench.training.heat import PERCENTILES, common_limits

_MOST_DECADES = 4


def scores(
    comparison: Comparison, cases: Sequence[tuple[str, str, str]], ratio: Any
) -> dict[str, Any] | None:
    """Heat maps and decisions of some cases under every loss, and the histograms of all cases.

    Args:
        comparison: whose runs may have scores.
        cases: the kind, name and mean score (as text) of each case to show.
        ratio: gives the aspect ratio of a slice from its shape.
    """
    shown = _shown_runs(comparison)
    if not shown:
        return None
    maps = {
        loss: np.where(examples.where, _scores_of(examples), np.nan)
        for loss, (_, examples) in shown.items()
    }
    limits = common_limits(maps.values())
    rates = {loss: _rates(shown[loss][1], maps[loss]) for loss in shown}
    decades = _decades([examples for _, examples in shown.values()])
    every = list(dict.fromkeys(name for run, _ in shown.values() for name in run.cases))
    cases = list(cases) or [("", name, "") for name in every[:3]]
    panels = [
        _case(shown, maps, rates, limits, decades, case, ratio, comparison.metric)
        for case in cases
        if case[1] in every
    ]
    seeds = {run.seed for run, _ in shown.values()}
    return {
        "cases": panels,
        "seed": seeds.pop() if len(seeds) == 1 else None,
        "outcomes": {_plural(kind): color for kind, color in OUTCOMES.items()},
        "low": brief(limits[0]),
        "high": brief(limits[1]),
        "percentiles": "{:g} to {:g}".format(*PERCENTILES),
        "bar": _markup(heat_bar(limits, "Score"), "heat"),
        "cost_bar": _markup(
            heat_bar(
                (0.0, float(decades)),
                "Share of normal pixels that score as high",
                {float(k): f"{10.0**-k:g}" if k else "1" for k in range(decades + 1)},
            ),
            "cost",
        ),
        "costs": any(np.isfinite(r).any() for r in rates.values()),
        "histograms": {
            loss: _markup(
                score_histogram(
                    maps[loss],
                    examples.labels == 1,
                    threshold=_threshold(examples, maps[loss]),
                    width=3.6,
                ),
                f"histogram{k}",
            )
            for k, (loss, (_, examples)) in enumerate(shown.items())
        },
    }


def collapse(comparison: Comparison) -> dict[str, Any] | None:
    """The curves of the collapse monitor, and the runs that went beyond a limit."""
    runs = {
        loss: [run for run in comparison.of(loss) if run.history and run.history.collapse]
        for loss in comparison.losses
    }
    runs = {loss: each for loss, each in runs.items() if each}
    if not runs:
        return None
    columns = {
        loss: [run.history.collapse for run in each if run.history] for loss, each in runs.items()
    }
    styles = figures.line_styles(comparison)
    present = [
        name
        for name in QUANTITIES
        if any(name in column for each in columns.values() for column in each)
    ]
    return {
        "curves": [
            {
                "name": QUANTITIES[name].label,
                "meaning": QUANTITIES[name].meaning,
                "svg": _markup(collapse_curve(name, columns, styles), f"collapse-{name}"),
            }
            for name in present
        ],
        "losses": list(runs),
        "beyond": [
            (loss, run.seed, _beyond(column))
            for loss, each in runs.items()
            for run, column in zip(each, columns[loss], strict=True)
            if crossed(column)
        ],
    }


def selectors(comparison: Comparison) -> dict[str, Markup] | None:
    """The last weights of each loss's band selectors, of its first run that has them."""
    made = {}
    for k, loss in enumerate(comparison.losses):
        for run in comparison.of(loss):
            weights = run.history.selector_weights if run.history else None
            if weights is None:
                continue
            made[loss] = _markup(_selector_figure(weights, run), f"bands{k}")
            break
    return made or None


def _selector_figure(weights: np.ndarray, run: Run) -> Figure:
    bands = weights.shape[1]
    examples = run.examples()
    wavelengths = examples.wavelengths if examples else None
    spectra = examples.spectra if examples else None
    known = spectra is not None and spectra.shape == (2, bands)
    names = [f"selector {k}" for k in range(1, len(weights) + 1)]
    rows = dict(zip(names, weights, strict=True))
    return band_weights(
        rows,
        wavelengths if wavelengths is not None and wavelengths.shape == (bands,) else None,
        chosen={
            name: [int(np.nanargmax(row))] for name, row in rows.items() if np.isfinite(row).any()
        },
        spectra=dict(zip(("normal", "anomalous"), spectra, strict=True))
        if known and spectra is not None
        else None,
    )


def _shown_runs(comparison: Comparison) -> dict[str, tuple[Run, Examples]]:
    """For each loss a run with scores: of the first seed that all have, else its first."""
    runs = {
        loss: [
            run
            for run in comparison.of(loss)
            if run.state == COMPLETED and (run.folder / "examples.npz").is_file()
        ]
        for loss in comparison.losses
    }
    seeds = [{run.seed for run in each} for each in runs.values() if each]
    shared = [seed for seed in comparison.seeds if seeds and all(seed in s for s in seeds)]
    found = {}
    for loss, each in runs.items():
        for run in sorted(each, key=lambda run: run.seed not in shared[:1]):
            examples = run.examples()
            if examples is not None:  # one run tells whether its loss has scores
                if examples.scores is not None:
                    found[loss] = (run, examples)
                break
    return found


def _case(
    shown: Mapping[str, tuple[Run, Examples]],
    maps: Mapping[str, np.ndarray],
    rates: Mapping[str, np.ndarray],
    limits: tuple[float, float],
    decades: int,
    case: tuple[str, str, str],
    ratio: Any,
    metric: str,
) -> dict[str, Any]:
    """One case: its image and truth, and under each loss its scores, their cost, the decision."""
    kind, name, mean = case
    made: dict[str, Any] = {"kind": kind, "name": name, "score": mean, "losses": []}
    for loss, (run, examples) in shown.items():
        index = run.cases.index(name) if name in run.cases else len(examples.labels)
        if index >= len(examples.labels):
            continue
        labels, where = examples.labels[index] == 1, examples.where[index]
        flagged, image = examples.prediction[index] > 0, examples.image[index]
        if "image" not in made:
            counted = int((labels & where).sum())
            made |= {
                "image": _uri(figures.image_png(image)),
                "ground": _uri(figures.image_png(0.15 + 0.6 * grey_of(image))),
                "truth": _uri(outcomes_png(labels, labels, where)),
                "anomalous": f"{counted:,} anomalous pixel{'' if counted == 1 else 's'}",
                "ratio": ratio(labels.shape),
                "large": highest(labels.astype(np.int8)).shape != labels.shape,
            }
        with np.errstate(divide="ignore"):
            cost = -np.log10(rates[loss][index])
        masks = outcomes(labels, flagged, where)
        values = run.test[metric].case_means() if metric in run.test else []
        value = float(values[index]) if index < len(values) else math.nan
        made["losses"].append(
            {
                "loss": loss,
                "seed": run.seed,
                "value": number(value, 3),
                "heat": _uri(heat_png(maps[loss][index], limits)),
                "cost": _uri(heat_png(cost, (0.0, float(decades)))),
                "outcomes": _uri(outcomes_png(labels, flagged, where)),
                "counts": ", ".join(count_text(int(m.sum()), k) for k, m in masks.items()),
            }
        )
    return made


def _scores_of(examples: Examples) -> np.ndarray:
    assert examples.scores is not None
    return examples.scores


def _rates(examples: Examples, scores: np.ndarray) -> np.ndarray:
    """False-alarm rates over all cases of a run together, where one threshold would lie."""
    return false_alarm_rates(scores, examples.labels == 1, examples.where)


def _decades(shown: Sequence[Examples]) -> int:
    """How many powers of ten of false alarms the normal pixels can tell."""
    normal = max(int(((e.labels != 1) & e.where).sum()) for e in shown)
    return int(np.clip(math.floor(math.log10(max(normal, 1))), 1, _MOST_DECADES))


def _threshold(examples: Examples, scores: np.ndarray) -> float | None:
    """The lowest flagged score if every score from there on is flagged; else there is no one."""
    flagged = (examples.prediction > 0) & examples.where
    rest = ~flagged & examples.where
    if not flagged.any() or (rest.any() and scores[rest].max() >= scores[flagged].min()):
        return None
    return float(scores[flagged].min())


def _beyond(columns: Mapping[str, np.ndarray]) -> str:
    return ", ".join(
        f"{QUANTITIES[name].label.partition(' (')[0].lower()} from step {step}"
        for name, step in crossed(columns).items()
    )


def _plural(kind: str) -> str:
    return f"{kind}s" if kind == "false alarm" else kind


def _markup(figure: Figure, name: str) -> Markup:
    return Markup(svg(figure, name))


def _uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")
