"""Read a comparison folder into frozen records: files only, no training code, no device.

A comparison is a plan and one folder a run. A run of the plan without a result is pending, so a
report can be built at any moment while runs go on. What is undefined is null on disk and NaN here.
"""

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lossbench.bench.examples import Examples, read_examples

COMPLETED, DIVERGED, FAILED, PENDING = "completed", "diverged", "failed", "pending"
STATES = (COMPLETED, DIVERGED, FAILED, PENDING)
# In place of the names of classes, of a metric that is one number a case.
ALL_CLASSES = ("all classes",)
# What a row of the collapse monitor of Deep SVDD may have.
COLLAPSE = (
    *("step", "spread", "effective_rank", "distinct", "outside", "nu"),
    *("radius", "drift", "offset"),
)


@dataclasses.dataclass(frozen=True)
class Metric:
    """What a number of a metric says.

    `unit` is that of a length; of a share, from 0 to 1, it is empty. `options` are the metric's.
    """

    higher_is_better: bool = True
    unit: str = ""
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Score:
    """One metric of one run on the test cases; `per_case` has the shape `cases classes`."""

    mean: float
    per_class: tuple[float, ...]
    classes: tuple[str, ...]
    per_case: np.ndarray
    undefined: int

    def case_means(self) -> np.ndarray:
        """Mean over the classes that are defined, for each case; NaN where none is."""
        defined = np.isfinite(self.per_case)
        total = np.where(defined, self.per_case, 0.0).sum(axis=1)
        count = defined.sum(axis=1)
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)


@dataclasses.dataclass(frozen=True)
class Failure:
    """Why a run did not complete: the step and the term of the objective, where known."""

    step: int | None
    term: str
    message: str


@dataclasses.dataclass(frozen=True)
class History:
    """Curves of one run: training loss, weights, and loss and metrics on the validation data.

    `collapse` has the columns of `COLLAPSE` that were written, `selector_weights` the last weights
    of learned band selectors, `selectors bands`.
    """

    train_steps: np.ndarray
    train_loss: np.ndarray
    weights: Mapping[str, np.ndarray]
    validation_steps: np.ndarray
    validation: Mapping[str, np.ndarray]
    collapse: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    selector_weights: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Cost:
    """What one run cost; NaN where it was not measured."""

    step_seconds: float = math.nan
    compile_seconds: float = math.nan
    compile_from_cache: bool = False
    peak_bytes: float = math.nan
    train_seconds: float = math.nan


@dataclasses.dataclass(frozen=True)
class Run:
    """One loss trained with one seed. Only a completed run has scores.

    `warnings` are sentences on what went wrong without ending the run.
    """

    id: str
    loss: str
    seed: int
    state: str
    folder: Path
    error: Failure | None = None
    warnings: tuple[str, ...] = ()
    steps: int | None = None
    stopped_early: bool = False
    best_step: int | None = None
    test: Mapping[str, Score] = dataclasses.field(default_factory=dict)
    cases: tuple[str, ...] = ()
    history: History | None = None
    cost: Cost = Cost()
    parameters: int | None = None
    environment: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def score(self, metric: str) -> float:
        """Mean of the metric over the test cases, NaN unless the run completed."""
        return self.test[metric].mean if metric in self.test else math.nan

    def examples(self) -> Examples | None:
        """The slices to show, read from disk; None where there are none."""
        return read_examples(self.folder / "examples.npz")


@dataclasses.dataclass(frozen=True)
class Data:
    """The data set as the plan describes it; numbers of cases, `class_names[0]` is background."""

    name: str
    description: str
    class_names: tuple[str, ...]
    spacing: tuple[float, ...] | None
    train: int
    validation: int
    test: int
    folds: int | None
    folds_share_cases: bool = True
    folds_are_tasks: bool = False


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A plan and the state of each of its runs, in the plan's order.

    `metric` is the one that losses are compared by; `metrics` says of each what its numbers mean.
    """

    name: str
    title: str
    question: str
    baseline: str
    metric: str
    metrics: Mapping[str, Metric]
    losses: Mapping[str, Any]
    seeds: tuple[int, ...]
    data: Data
    config: Mapping[str, Any]
    command: str
    folder: str
    version: str
    runs: tuple[Run, ...]

    def of(self, loss: str) -> tuple[Run, ...]:
        """The runs of one loss, in the order of the seeds."""
        return tuple(run for run in self.runs if run.loss == loss)

    def count(self, state: str, loss: str | None = None) -> int:
        """How many runs (of a loss, if named) are in a state."""
        return sum(run.state == state for run in self.runs if loss in (None, run.loss))

    def scores(self, metric: str) -> dict[str, np.ndarray]:
        """For each loss one value per seed of the plan, NaN where the run did not complete."""
        by_place = {(run.loss, run.seed): run.score(metric) for run in self.runs}
        return {
            loss: np.array([by_place.get((loss, seed), math.nan) for seed in self.seeds])
            for loss in self.losses
        }

    def pairs(self, loss: str) -> list[tuple[Run, Run]]:
        """A loss's run and the baseline's, for each seed under which both completed."""
        done = {run.seed: run for run in self.of(self.baseline) if run.state == COMPLETED}
        ours = [run for run in self.of(loss) if run.state == COMPLETED]
        return [(run, done[run.seed]) for run in ours if run.seed in done]

    @property
    def declared(self) -> Metric:
        """What a number of the metric says that losses are compared by."""
        return self.metrics[self.metric]

    @property
    def test_to_train(self) -> float | None:
        """Test cases / training cases if the seeds are folds of shared cases, else None."""
        data = self.data
        shared = data.folds_share_cases and not data.folds_are_tasks
        if data.folds is None or data.train == 0 or not shared:
            return None
        return self.data.test / self.data.train


def load(directory: str | Path) -> Comparison:
    """Read the plan and all that its runs have left so far.

    Args:
        directory: the comparison's folder, with `plan.json` and `runs/`.

    Returns:
        The comparison. A run without a result is pending; one whose result cannot be read is
        failed, with the reason as its message.
    """
    folder = Path(directory)
    path = folder / "plan.json"
    if not path.is_file():
        single = (
            " (single runs only: `lossbench compare` plans)" if (folder / "runs").is_dir() else ""
        )
        raise ValueError(f"{folder}: not a comparison folder, it has no plan.json{single}")
    try:
        plan = json.loads(path.read_text(encoding="utf-8"))
        metrics = _metrics(plan["metrics"])
        comparison = Comparison(
            name=folder.resolve().name,
            title=plan["title"],
            question=plan["question"],
            baseline=plan["baseline"],
            metric=plan["metric"],
            metrics=metrics,
            losses=plan["losses"],
            seeds=tuple(plan["seeds"]),
            data=_data(plan["data"]),
            config=plan["config"],
            command=plan.get("command", ""),
            folder=str(folder),
            version=plan["lossbench"],
            runs=tuple(
                _run(folder / "runs" / spec["id"], spec, tuple(metrics)) for spec in plan["runs"]
            ),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: not a plan that can be read ({_reason(error)})") from error
    for name, value, allowed in (
        ("baseline", comparison.baseline, comparison.losses),
        ("metric", comparison.metric, comparison.metrics),
    ):
        if value not in allowed:
            raise ValueError(f"{path}: the {name} {value!r} is not among {list(allowed)}")
    return comparison


def _metrics(entry: Any) -> dict[str, Metric]:
    """What the plan says of each metric; one that lists names alone has shares, higher better."""
    if not isinstance(entry, Mapping):
        return {name: Metric() for name in entry}
    metrics = {name: Metric(**facts) for name, facts in entry.items()}
    for name, metric in metrics.items():
        if not isinstance(metric.options, Mapping) or not isinstance(metric.unit, str):
            raise ValueError(
                f"metrics.{name}: options must be a mapping and unit a text, got "
                f"{metric.options!r} and {metric.unit!r}"
            )
    return metrics


def _data(entry: Mapping[str, Any]) -> Data:
    spacing = entry.get("spacing")
    return Data(
        name=entry["name"],
        description=entry["description"],
        class_names=tuple(entry["class_names"]),
        spacing=None if spacing is None else tuple(spacing),
        train=entry["train"],
        validation=entry["validation"],
        test=entry["test"],
        folds=entry.get("folds"),
        folds_share_cases=entry.get("folds_share_cases", True),
        folds_are_tasks=entry.get("folds_are_tasks", False),
    )


def _run(folder: Path, spec: Mapping[str, Any], metrics: tuple[str, ...]) -> Run:
    place = {"id": spec["id"], "loss": spec["loss"], "seed": spec["seed"], "folder": folder}
    path = folder / "result.json"
    if not path.is_file():
        return Run(state=PENDING, **place)
    try:
        return _ended(json.loads(path.read_text(encoding="utf-8")), place, metrics)
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        message = f"result.json cannot be read ({_reason(error)})"
        return Run(state=FAILED, error=Failure(None, "", message), **place)


def _ended(result: Mapping[str, Any], place: Mapping[str, Any], metrics: tuple[str, ...]) -> Run:
    state = result["state"]
    if state not in (COMPLETED, DIVERGED, FAILED):
        raise ValueError(f"unknown state {state!r}")
    error = result.get("error")
    test = (result.get("test") or {}) if state == COMPLETED else {}
    cost = result.get("cost") or {}
    return Run(
        **place,
        state=state,
        error=error
        and Failure(error.get("step"), error.get("term") or "", error.get("message") or ""),
        warnings=tuple(result.get("warnings") or ()),
        steps=result.get("steps"),
        stopped_early=bool(result.get("stopped_early")),
        best_step=result.get("best_step"),
        test={name: _score(test[name]) for name in metrics if name in test},
        cases=tuple(result.get("cases") or ()),
        history=_history(result.get("history") or {}, metrics),
        cost=Cost(
            step_seconds=_number(cost.get("step_seconds")),
            compile_seconds=_number(cost.get("compile_seconds")),
            compile_from_cache=bool(cost.get("compile_from_cache")),
            peak_bytes=_number(cost.get("peak_bytes")),
            train_seconds=_number(cost.get("train_seconds")),
        ),
        parameters=result.get("parameters"),
        environment=result.get("environment") or {},
    )


def _score(entry: Mapping[str, Any]) -> Score:
    classes = tuple(entry["classes"])
    cases = [[_number(value) for value in case] for case in entry["per_case"]]
    return Score(
        mean=_number(entry["mean"]),
        per_class=tuple(_number(value) for value in entry["per_class"]),
        classes=classes,
        per_case=np.array(cases, np.float64).reshape(len(cases), len(classes)),
        undefined=int(entry.get("undefined") or 0),
    )


def _history(entry: Mapping[str, Any], metrics: tuple[str, ...]) -> History:
    train, validation = entry.get("train") or [], entry.get("validation") or []
    return History(
        train_steps=_column(train, "step"),
        train_loss=_column(train, "loss"),
        weights={
            term: _column([row.get("weights") or {} for row in train], term)
            for term in (train[0].get("weights") or {} if train else {})
        },
        validation_steps=_column(validation, "step"),
        validation={name: _column(validation, name) for name in ("loss", *metrics)},
        collapse=columns_of(entry.get("collapse") or []),
        selector_weights=_last_weights(entry.get("selector_weights") or []),
    )


def columns_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """Rows of the collapse monitor as columns; what a row lacks is NaN, what all lack is left out.

    Rows without a step are numbered.
    """
    names = [name for name in COLLAPSE if any(row.get(name) is not None for row in rows)]
    columns = {name: _column(rows, name) for name in names}
    return {"step": np.arange(len(rows), dtype=np.float64), **columns} if rows else {}


def _last_weights(rows: Sequence[Mapping[str, Any]]) -> np.ndarray | None:
    """`selectors bands` of the last row that has them; None if there is none."""
    told = [row["weights"] for row in rows if row.get("weights")]
    weights = np.array(told[-1] if told else [], np.float64)
    return np.atleast_2d(weights) if weights.size and weights.ndim <= 2 else None


def _column(rows: Sequence[Mapping[str, Any]], name: str) -> np.ndarray:
    return np.array([_number(row.get(name)) for row in rows], np.float64)


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _reason(error: Exception) -> str:
    return f"no {error}" if isinstance(error, KeyError) else str(error)
