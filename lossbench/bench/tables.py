"""A comparison as tables: rows for a spreadsheet, JSON, LaTeX and the terminal.

Names come from data and configuration and may hold anything; each format escapes them its own way.
"""

import csv
import dataclasses
import io
import json
import math
import unicodedata
from collections.abc import Mapping
from typing import Any

import numpy as np

from lossbench.bench import statistics
from lossbench.bench.results import COMPLETED, STATES, Comparison, Cost
from lossbench.bench.statistics import NO_PAIR, UNDEFINED, Interval, PairedDifference, Standing

CONFIDENCE = 0.95
LENGTHS = ("tolerance",)  # options of metrics, in the unit of the spacing
_LABELS = {"dice": "Dice", "iou": "IoU", "hd95": "HD95", "assd": "ASSD", "nsd": "NSD"}
_LABELS |= {"cl_dice": "clDice", "f_beta": "F-beta", "mcc": "MCC", "cohen_kappa": "kappa"}
_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    **{character: f"\\{character}" for character in "_%&#${}"},
}


def standings(comparison: Comparison, metric: str) -> dict[str, Standing]:
    """Where each loss stands on one metric, against the declared baseline."""
    rows = statistics.standings(
        comparison.scores(metric),
        comparison.baseline,
        CONFIDENCE,
        comparison.test_to_train,
        higher_is_better=comparison.metrics[metric].higher_is_better,
    )
    return {
        # The scores do not tell a run that is missing from one that has no value.
        loss: dataclasses.replace(row, verdict=UNDEFINED)
        if row.verdict == NO_PAIR and comparison.pairs(loss)
        else row
        for loss, row in rows.items()
    }


def class_names(comparison: Comparison, metric: str) -> tuple[str, ...]:
    """Foreground classes of a metric: those that the runs report, else those of the data."""
    for run in comparison.runs:
        if metric in run.test:
            return run.test[metric].classes
    return comparison.data.class_names[1:]


def class_intervals(comparison: Comparison, metric: str) -> dict[str, tuple[Interval, ...]]:
    """For each loss one t interval over seeds for each foreground class."""
    count = len(class_names(comparison, metric))

    def intervals(loss: str) -> tuple[Interval, ...]:
        rows = [r.test[metric].per_class for r in comparison.of(loss) if metric in r.test]
        scores = np.array([row for row in rows if len(row) == count]).reshape(-1, count)
        return tuple(
            statistics.t_interval(scores[:, k], CONFIDENCE, comparison.test_to_train)
            for k in range(count)
        )

    return {loss: intervals(loss) for loss in comparison.losses}


def median_cost(comparison: Comparison, loss: str) -> Cost:
    """Median over the runs of a loss, failed ones included where they were measured.

    The compile time is that of runs that compiled afresh; `compile_from_cache` says that none did.
    """
    costs = [run.cost for run in comparison.of(loss)]
    fresh = [cost for cost in costs if not cost.compile_from_cache]
    compiled = _median([cost.compile_seconds for cost in fresh])
    cached = _median([cost.compile_seconds for cost in costs])
    return Cost(
        step_seconds=_median([cost.step_seconds for cost in costs]),
        compile_seconds=cached if math.isnan(compiled) else compiled,
        compile_from_cache=math.isnan(compiled) and not math.isnan(cached),
        peak_bytes=_median([cost.peak_bytes for cost in costs]),
        train_seconds=_median([cost.train_seconds for cost in costs]),
    )


def results_csv(comparison: Comparison) -> str:
    """One row a run and test case; a run without scores has one row with its state.

    For each metric a column with the mean over the classes, and one for each class. What is
    undefined is empty. Text that a spreadsheet would run as a formula starts with an apostrophe.
    """
    columns = ["id", "loss", "seed", "state", "case"]
    metrics = [(metric, class_names(comparison, metric)) for metric in comparison.metrics]
    for metric, classes in metrics:
        columns += [metric, *(f"{metric}_{name}" for name in classes)]
    rows: list[list[Any]] = [columns]
    for run in comparison.runs:
        head = [run.id, run.loss, run.seed, run.state]
        scored = {
            metric: np.column_stack([score.case_means(), score.per_case])
            for metric, score in run.test.items()
            if score.classes == class_names(comparison, metric)
        }
        cases = run.cases if scored else ("",)
        for index, case in enumerate(cases):
            row = [*head, case]
            for metric, classes in metrics:
                values = scored.get(metric, np.empty((0, 0)))
                has = index < len(values)
                row += values[index].tolist() if has else [math.nan] * (1 + len(classes))
            rows.append(row)
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([_cell(value) for value in row] for row in rows)
    return out.getvalue()


def results_json(comparison: Comparison) -> str:
    """All that the report's tables show, and every run by its id; NaN becomes null."""

    def on_metric(metric: str) -> dict[str, dict[str, Any]]:
        classes = class_names(comparison, metric)
        by_class = class_intervals(comparison, metric)
        return {
            loss: {
                **vars(standing.interval),
                "difference": standing.difference and vars(standing.difference),
                "p_holm": standing.p_holm,
                "verdict": standing.verdict,
                "seeds_needed": standing.seeds_needed,
                "classes": [
                    {"class": name, **vars(interval)}
                    for name, interval in zip(classes, by_class[loss], strict=True)
                ],
            }
            for loss, standing in standings(comparison, metric).items()
        }

    by_metric = {metric: on_metric(metric) for metric in comparison.metrics}
    document = {
        "title": comparison.title,
        "question": comparison.question,
        "lossbench": comparison.version,
        "data": vars(comparison.data),
        "baseline": comparison.baseline,
        "metric": comparison.metric,
        "metrics": {name: vars(metric) for name, metric in comparison.metrics.items()},
        "confidence": CONFIDENCE,
        "seeds": comparison.seeds,
        "losses": {
            loss: {
                "runs": {state: comparison.count(state, loss) for state in STATES},
                "metrics": {metric: by_metric[metric][loss] for metric in comparison.metrics},
                "cost": vars(median_cost(comparison, loss)),
            }
            for loss in comparison.losses
        },
        "runs": [
            {
                "id": run.id,
                "loss": run.loss,
                "seed": run.seed,
                "state": run.state,
                "error": run.error and vars(run.error),
                "warnings": run.warnings,
                "steps": run.steps,
                "best_step": run.best_step,
                "stopped_early": run.stopped_early,
                "parameters": run.parameters,
                "scores": {
                    metric: {
                        "mean": score.mean,
                        "per_class": score.per_class,
                        "undefined": score.undefined,
                    }
                    for metric, score in run.test.items()
                },
                "cost": vars(run.cost),
                "environment": run.environment,
            }
            for run in comparison.runs
        ],
        "config": comparison.config,
    }
    return json.dumps(_finite(document), indent=1, allow_nan=False) + "\n"


def latex(comparison: Comparison) -> str:
    r"""The main table in LaTeX; needs `\usepackage{booktabs}` and nothing else."""
    metric = comparison.metric
    rows = standings(comparison, metric)
    digits = decimals(rows)
    unit = comparison.declared.unit
    arrow = "" if comparison.declared.higher_is_better else r" $\downarrow$"

    def cells(loss: str, standing: Standing) -> list[str]:
        difference = standing.difference
        return [
            f"{{{latex_text(loss)}}}",  # braces: a row must not begin with a bare [ or *
            runs_text(comparison, loss),
            dash(interval_text(standing.interval, digits, minus="$-$"), "--"),
            dash(interval_text(difference, digits, signed=True, minus="$-$"), "--"),
            dash(p_text(standing.p_holm), "--").replace("<", "$<$"),
            standing.verdict,
        ]

    head = [
        "Loss",
        "Runs",
        rf"{latex_text(in_unit(comparison, metric))}{arrow} [95\,\% interval]",
        rf"Difference{f' ({latex_text(unit)})' if unit else ''} [95\,\% interval]",
        r"$p$ (Holm)",
        "Verdict",
    ]
    lines = [
        r"% Needs \usepackage{booktabs}. Mean over seeds with a t interval; differences are paired",
        r"% by seed, to the baseline; p values of the paired t test are adjusted by Holm's method,",
        r"% intervals are each for itself: one may leave out 0 where p does not.",
        f"% {'Higher' if comparison.declared.higher_is_better else 'Lower'} is better.",
        r"\begin{tabular}{llllll}",
        r"\toprule",
        " & ".join(head) + r" \\",
        r"\midrule",
        *(" & ".join(cells(loss, standing)) + r" \\" for loss, standing in rows.items()),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def summary_lines(comparison: Comparison) -> list[str]:
    """The main table for a terminal, in plain characters."""
    metric = comparison.metric
    rows = standings(comparison, metric)
    digits = decimals(rows)
    baseline = plain(comparison.baseline)
    unit, upward = comparison.declared.unit, comparison.declared.higher_is_better
    words = f"{metric} in {unit}" if unit else metric
    read = plain(words if upward else f"{words}, lower is better")
    table = [("loss", "runs", f"{read} [95 %]", f"minus {baseline} [95 %]", "p", "verdict")]
    for loss, standing in rows.items():
        difference = standing.difference
        table.append(
            (
                plain(loss),
                runs_text(comparison, loss),
                dash(interval_text(standing.interval, digits, minus="-")),
                dash(interval_text(difference, digits, signed=True, minus="-")),
                dash(p_text(standing.p_holm)),
                standing.verdict,
            )
        )
    widths = [max(len(row[k]) for row in table) for k in range(len(table[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]


def metric_label(metric: str) -> str:
    """A metric's name as print has it."""
    return _LABELS.get(metric, metric)


def in_unit(comparison: Comparison, metric: str) -> str:
    """A metric's name with its unit: `HD95 (mm)`."""
    unit = comparison.metrics[metric].unit
    return f"{metric_label(metric)} ({unit})" if unit else metric_label(metric)


def measure(comparison: Comparison, metric: str) -> str:
    """What heads a column or an axis: name, unit, and an arrow where lower is better."""
    upward = comparison.metrics[metric].higher_is_better
    return in_unit(comparison, metric) + ("" if upward else " ↓")


def reading(comparison: Comparison, metric: str) -> str:
    """The unit or range of a metric's numbers, and which way is better."""
    facts = comparison.metrics[metric]
    values = f"in {facts.unit}" if facts.unit else "at most 1"
    return f"{values}, {'higher' if facts.higher_is_better else 'lower'} is better"


def meaning(comparison: Comparison, metric: str) -> str:
    """How to read the numbers of a metric, its options included."""
    length = "mm" if comparison.data.spacing else "pixels"
    options = [
        f"with {name} = {value} {length}" if name in LENGTHS else f"with {name}={value!r}"
        for name, value in comparison.metrics[metric].options.items()
    ]
    return ", ".join([*options, reading(comparison, metric)])


def decimals(rows: Mapping[str, Standing]) -> int:
    """Digits after the point that the intervals warrant: 4 if they are narrow, else 3."""
    halves = [
        (part.high - part.low) / 2
        for standing in rows.values()
        for part in (standing.interval, standing.difference)
        if part is not None and math.isfinite(part.high)
    ]
    return 4 if halves and float(np.median(halves)) < 0.005 else 3


def number(value: float, digits: int, signed: bool = False, minus: str = "−") -> str:
    """A number with a fixed count of decimals, a dash where it is undefined."""
    if not math.isfinite(value):
        return "–"
    text = f"{value:+.{digits}f}" if signed else f"{value:.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("+-")
    return text.replace("-", minus)


def interval_text(
    interval: Interval | PairedDifference | None,
    digits: int,
    signed: bool = False,
    minus: str = "−",
) -> str:
    """`mean [low, high]`, the mean alone where there are no bounds."""
    if interval is None:
        return "–"
    mean = number(interval.mean, digits, signed, minus)
    if not math.isfinite(interval.low):
        return mean
    low, high = (number(v, digits, signed, minus) for v in (interval.low, interval.high))
    return f"{mean} [{low}, {high}]"


def p_text(p: float) -> str:
    """A p value to three decimals."""
    if not math.isfinite(p):
        return "–"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def dash(text: str, replacement: str = "-") -> str:
    """A cell of numbers with its dash for "undefined" as another format writes it."""
    return text.replace("–", replacement)


def runs_text(comparison: Comparison, loss: str) -> str:
    """`2 of 3`: runs completed and planned."""
    return f"{comparison.count(COMPLETED, loss)} of {len(comparison.of(loss))}"


def plain(text: str) -> str:
    """One printable line: control characters and lone surrogates become a replacement mark."""
    kept = " ".join(str(text).split())
    return "".join("\ufffd" if unicodedata.category(c) in ("Cc", "Cs") else c for c in kept)


def latex_text(text: str) -> str:
    """Text with every character that LaTeX would act on spelled out."""
    return "".join(_LATEX.get(character, character) for character in plain(text))


def _cell(value: Any) -> Any:
    if isinstance(value, float):
        return "" if math.isnan(value) else value
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r", "\n")):
        return "'" + value
    return value


def _finite(value: Any) -> Any:
    """The same tree with None for NaN and infinity, which JSON does not have."""
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _median(values: list[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return float(np.median(known)) if known else math.nan
