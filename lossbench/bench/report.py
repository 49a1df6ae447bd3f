"""The report of a comparison: one HTML file that needs nothing else, and the tables beside it.

Everything is rebuilt from the files of the comparison, so a report can be written while runs are
still going and again when they are done. The template escapes all that comes from data or
configuration; only the figures, which escape their own text, go in as they are.
"""

import base64
import functools
import importlib.resources
import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup

from lossbench.bench import anomaly_report, answer, figures, rasters, tables
from lossbench.bench.results import (
    ALL_CLASSES,
    COMPLETED,
    DIVERGED,
    FAILED,
    PENDING,
    Comparison,
    Run,
    load,
)
from lossbench.bench.statistics import BETTER, NOT_TOLD_APART, WORSE, Standing
from lossbench.bench.tables import interval_text, metric_label, number

_ENTRIES = {"git_dirty": "uncommitted changes", "cpu_count": "CPU cores"}
_SYMBOLS = {BETTER: "▲", WORSE: "▼", NOT_TOLD_APART: "≈"}


def write_report(directory: str | Path) -> Path:
    """Write `report.html`, `results.csv`, `results.json` and `table.tex` into the folder.

    Args:
        directory: the comparison's folder; runs that have no result yet are shown as pending.

    Returns:
        The path of `report.html`. Each file is replaced whole: a reader never sees half of one.
    """
    folder = Path(directory)
    comparison = load(folder)
    _replace(folder / "results.csv", tables.results_csv(comparison))
    _replace(folder / "results.json", tables.results_json(comparison))
    _replace(folder / "table.tex", tables.latex(comparison))
    _replace(folder / "report.html", html(comparison))
    return folder / "report.html"


def html(comparison: Comparison) -> str:
    """The report as one HTML document."""
    source = importlib.resources.files("lossbench.bench").joinpath("report.html.j2")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(source.read_text(encoding="utf-8"))
    rows = tables.standings(comparison, comparison.metric)
    chosen = _chosen(comparison)
    better = "right" if comparison.declared.higher_is_better else "left"
    return template.render(
        comparison=comparison,
        metric=metric_label(comparison.metric),
        measure=tables.measure(comparison, comparison.metric),
        meaning=tables.meaning(comparison, comparison.metric),
        by_class=tuple(tables.class_names(comparison, comparison.metric)) != ALL_CLASSES,
        reading=tables.reading(comparison, comparison.metric),
        better=better,
        answer=answer.answer(comparison),
        covers=answer.covers(comparison),
        unit=answer.unit(comparison),
        colors=figures.loss_colors(comparison),
        standings=_standing_rows(comparison, comparison.metric),
        metric_tables=[
            {
                **_class_table(comparison, name),
                "rows": [] if name == comparison.metric else _standing_rows(comparison, name),
            }
            for name in sorted(comparison.metrics, key=lambda name: name != comparison.metric)
        ],
        figures=_figures(comparison, rows),
        cases=_cases(comparison, chosen),
        anomaly=anomaly_report.scores(comparison, chosen, functools.partial(_aspect, comparison)),
        collapse=anomaly_report.collapse(comparison),
        selectors=anomaly_report.selectors(comparison),
        class_colors=dict(
            zip(
                tables.class_names(comparison, comparison.metric),
                figures.class_colors(len(tables.class_names(comparison, comparison.metric))),
                strict=True,
            )
        ),
        error_colors=figures.ERRORS,
        costs=_cost_rows(comparison),
        unfinished=[run for run in comparison.runs if run.state != COMPLETED],
        runs=[(run, number(run.score(comparison.metric), 4)) for run in comparison.runs],
        environment=_environment(comparison),
        commands=_commands(comparison),
        config=json.dumps(comparison.config, indent=2, ensure_ascii=False),
    )


def _standing_rows(comparison: Comparison, metric: str) -> list[dict[str, Any]]:
    rows = tables.standings(comparison, metric)
    digits = tables.decimals(rows)

    def bounds(part: Any, signed: bool = False) -> str:
        if part is None or not math.isfinite(part.low):
            return "–"
        low, high = (number(value, digits, signed) for value in (part.low, part.high))
        return f"[{low}, {high}]"

    return [
        {
            "loss": loss,
            "runs": tables.runs_text(comparison, loss),
            "lost": ", ".join(
                f"{count} {state}"
                for state in (DIVERGED, FAILED, PENDING)
                if (count := comparison.count(state, loss))
            ),
            "mean": number(row.interval.mean, digits),
            "interval": bounds(row.interval),
            "difference": number(row.difference.mean, digits, True) if row.difference else "–",
            "difference_interval": bounds(row.difference, signed=True),
            "pairs": row.difference.n if row.difference else None,
            "p": tables.p_text(row.p_holm),
            "verdict": row.verdict,
            "symbol": _SYMBOLS.get(row.verdict, ""),
            "kind": row.verdict.split(" ")[0].strip(":"),
        }
        for loss, row in rows.items()
    ]


def _class_table(comparison: Comparison, metric: str) -> dict[str, Any]:
    digits = tables.decimals(tables.standings(comparison, metric))
    undefined = {
        loss: sum(run.test[metric].undefined for run in comparison.of(loss) if metric in run.test)
        for loss in comparison.losses
    }
    return {
        "metric": metric_label(metric),
        "measure": tables.measure(comparison, metric),
        "meaning": tables.meaning(comparison, metric),
        "classes": tables.class_names(comparison, metric),
        "by_class": {
            loss: [
                (number(i.mean, digits), interval_text(i, digits).partition(" ")[2])
                for i in intervals
            ]
            for loss, intervals in tables.class_intervals(comparison, metric).items()
        },
        "undefined": undefined if any(undefined.values()) else {},
    }


def _figures(comparison: Comparison, rows: dict[str, Standing]) -> dict[str, Any]:
    """Figures as markup; those that would be empty are left out."""
    histories = [run.history for run in comparison.runs if run.history]
    made: dict[str, Any] = {"training": {}, "weights": {}}
    if comparison.count(COMPLETED):
        made["means"] = Markup(figures.means(comparison, rows))
        made["paired"] = Markup(figures.paired(comparison))
        if any(row.difference and row.difference.n for row in rows.values()):
            made["differences"] = Markup(figures.differences(comparison, rows))
    if any(history.validation_steps.size for history in histories):
        made["validation"] = Markup(figures.validation_curves(comparison))
    if any(history.train_steps.size for history in histories):
        made["training"] = {
            loss: Markup(figures.training_curve(comparison, loss)) for loss in comparison.losses
        }
        made["weights"] = {
            loss: Markup(figures.weight_curve(comparison, loss))
            for loss, objective in comparison.losses.items()
            if "weighting" in objective
        }
    return made


def _chosen(comparison: Comparison) -> list[tuple[str, str, str]]:
    """Kind, name and score of the best, median and worst test case, by the mean over all runs."""
    completed = [run for run in comparison.runs if run.state == COMPLETED]
    scores: dict[str, list[float]] = {}
    for run in completed:
        for name, value in _case_scores(comparison, run).items():
            scores.setdefault(name, []).append(value)
    means = sorted((float(np.mean(values)), name) for name, values in scores.items())
    if not means:
        return []
    metric = comparison.declared
    ranked = means if metric.higher_is_better else means[::-1]  # from worst to best
    places = {"Best": len(ranked) - 1, "Median": len(ranked) // 2, "Worst": 0}
    chosen: dict[int, list[str]] = {}
    for kind, place in places.items():
        chosen.setdefault(place, []).append(kind)
    return [
        (
            answer.join(kinds),
            ranked[place][1],
            f"{number(ranked[place][0], 3)} {metric.unit}".rstrip(),
        )
        for place, kinds in chosen.items()
    ]


def _cases(comparison: Comparison, chosen: list[tuple[str, str, str]]) -> list[dict[str, Any]]:
    """The slices of the chosen cases; those with anomaly scores are shown elsewhere."""
    cases = []
    for kind, name, score in chosen:
        panels = _panels(comparison, name)
        if panels:
            cases.append({"kind": kind, "name": name, "score": score, **panels})
    return cases


def _case_scores(comparison: Comparison, run: Run) -> dict[str, float]:
    if comparison.metric not in run.test:
        return {}
    means = run.test[comparison.metric].case_means()
    return {
        name: float(value)
        for name, value in zip(run.cases, means, strict=False)
        if math.isfinite(value)
    }


def _panels(comparison: Comparison, case: str) -> dict[str, Any] | None:
    """The slice of one case: image and truth once, prediction and errors for each loss."""
    first: dict[str, Any] | None = None
    predictions, unit = [], comparison.declared.unit
    for loss in comparison.losses:
        for run in comparison.of(loss):
            examples = run.examples() if case in run.cases and run.state == COMPLETED else None
            index = run.cases.index(case) if examples else 0
            if examples is None or index >= len(examples.prediction):
                continue
            if examples.scores is not None:
                break
            labels, prediction = examples.labels[index], examples.prediction[index]
            value = _case_scores(comparison, run).get(case, math.nan)
            if first is None:
                first = {
                    "image": _uri(figures.image_png(examples.image[index])),
                    "truth": _uri(figures.labels_png(labels)),
                    "ratio": _aspect(comparison, labels.shape),
                    "slice": int(examples.axis_slice[index]),
                    "every": rasters.shown_every(labels.shape),
                }
            predictions.append(
                {
                    "loss": loss,
                    "seed": run.seed,
                    "score": f"{number(value, 3)} {unit}".rstrip(),
                    "prediction": _uri(figures.labels_png(prediction)),
                    "errors": _uri(figures.errors_png(labels, prediction)),
                }
            )
            break
    return first and {**first, "predictions": predictions}


def _aspect(comparison: Comparison, shape: Sequence[int]) -> str:
    """Width over height of a slice, in millimeters where the spacing is known."""
    rows, columns = (comparison.data.spacing or (1.0, 1.0))[:2]
    return f"{shape[1] * columns:.4g} / {shape[0] * rows:.4g}"


def _cost_rows(comparison: Comparison) -> list[dict[str, Any]]:
    costs = {loss: tables.median_cost(comparison, loss) for loss in comparison.losses}
    base = costs[comparison.baseline]

    def ratio(value: float, reference: float) -> str:
        return f"{value / reference:.2f}" if reference > 0 and math.isfinite(value) else "–"

    return [
        {
            "loss": loss,
            "step": number(cost.step_seconds * 1e3, 1),
            "step_ratio": ratio(cost.step_seconds, base.step_seconds),
            "compile": number(cost.compile_seconds, 1),
            "cached": cost.compile_from_cache,
            "memory": number(cost.peak_bytes / 2**20, 1),
            "memory_ratio": ratio(cost.peak_bytes, base.peak_bytes),
            "train": number(cost.train_seconds, 1),
        }
        for loss, cost in costs.items()
    ]


def _environment(comparison: Comparison) -> dict[str, str]:
    """Each entry of the runs' environments; several values where the runs differ."""
    keys = dict.fromkeys(key for run in comparison.runs for key in run.environment)
    entries = {}
    for key in keys:
        values = [run.environment[key] for run in comparison.runs if key in run.environment]
        distinct = sorted({_word(value) for value in values})
        if key == "date":  # of the first and of the last run
            distinct = [" to ".join(dict.fromkeys((distinct[0], distinct[-1])))]
        entries[_ENTRIES.get(key, key.replace("_", " "))] = "; ".join(distinct)
    parameters = sorted({run.parameters for run in comparison.runs if run.parameters is not None})
    if parameters:
        entries["model parameters"] = "; ".join(f"{count:,}" for count in parameters)
    return entries


def _commands(comparison: Comparison) -> str:
    commits = {run.environment.get("git_commit") for run in comparison.runs} - {None}
    dirty = any(run.environment.get("git_dirty") for run in comparison.runs)
    note = "    # the runs had uncommitted changes on top of it" if dirty else ""
    lines = [f"git checkout {commit}{note}" for commit in sorted(map(str, commits))[:1]]
    lines.append(comparison.command or "lossbench compare --config=CONFIG")
    lines.append(
        f"lossbench report {comparison.folder}    # this report again, from its files alone"
    )
    return "\n".join(lines)


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "unknown" if value is None else str(value)


def _uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def _replace(path: Path, text: str) -> None:
    """Write beside the file, then put it in its place in one step."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        beside.write_bytes(text.encode("utf-8", errors="backslashreplace"))
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
