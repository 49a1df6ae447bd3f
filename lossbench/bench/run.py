"""One run, from its specification to its result; a finished one is not run again."""

import json
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lossbench import metrics
from lossbench.bench.environment import environment
from lossbench.bench.files import write_arrays, write_json
from lossbench.bench.plan import Plan, RunSpec
from lossbench.bench.results import ALL_CLASSES, COMPLETED, DIVERGED, FAILED
from lossbench.data import Dataset, augmentation
from lossbench.detection.detector import trained_detector
from lossbench.detection.files import FOLDER
from lossbench.detection.saved import save
from lossbench.metrics import Scores
from lossbench.training.dead_terms import dead_terms
from lossbench.training.display import Slice, has_picture, picture
from lossbench.training.evaluate import evaluate
from lossbench.training.loop import Diverged, Fitted, fit
from lossbench.training.program import Arrays, Program
from lossbench.training.rows import warnings_of
from lossbench.training.step import Predicted


def finished(folder: Path) -> dict[str, Any] | None:
    """The result of a run that need not be run again; a failed one may be tried again."""
    try:
        result = json.loads((folder / "result.json").read_text())
    except (OSError, ValueError):
        return None
    whole = isinstance(result, dict) and result.get("state") in (COMPLETED, DIVERGED)
    return result if whole else None


def execute(
    spec: RunSpec,
    plan: Plan,
    dataset: Dataset,
    program: Program | Exception,
    folder: Path,
    *,
    label: str,
) -> dict[str, Any]:
    """Runs or continues a run and writes its result; what goes wrong becomes the result, too.

    Args:
        spec: which run.
        plan: the comparison it belongs to.
        dataset: its data.
        program: its compiled functions, or why there are none.
        folder: of the run.
        label: what its progress is headed.

    Returns:
        The result, as in `result.json`.
    """
    done = finished(folder)
    if done:
        return done
    folder.mkdir(parents=True, exist_ok=True)
    identity = {"id": spec.id, "loss": spec.loss, "seed": spec.seed, "fold": spec.fold}
    write_json(folder / "spec.json", {**identity, "content": spec.content})
    (folder / "error.txt").unlink(missing_ok=True)
    warnings: list[str] = []
    try:
        if isinstance(program, Exception):
            raise program
        fitted = fit(
            program,
            dataset,
            seed=spec.seed,
            folder=folder,
            metric=plan.select,
            label=label,
            augment=_augmentation(plan, dataset),
        )
        result = _completed(fitted, program, plan, dataset, folder)
        warnings = _warnings(fitted.history, program)
        warnings += keep_detector(fitted, program, plan, dataset, folder / FOLDER)
    except Diverged as error:
        where = {"step": error.step, "term": error.term, "message": str(error)}
        result = {"state": DIVERGED, "error": where, "steps": error.step, "history": error.history}
        warnings = _warnings(error.history, program)
    except Exception as error:
        (folder / "error.txt").write_text(traceback.format_exc(), "utf-8", "backslashreplace")
        message = f"{type(error).__name__}: {error}"
        result = {"state": FAILED, "error": {"step": None, "term": "", "message": message}}
    cost = {} if isinstance(program, Exception) else _compiling(program)
    result = {"error": None, "warnings": warnings, "cost": cost, **result}
    result = {**identity, **result, "environment": environment()}
    write_json(folder / "result.json", result)
    return result


def _warnings(history: Mapping[str, Any], program: Any) -> list[str]:
    alarms = []
    if program.examine is not None:
        rows = ((row["step"], program.model.alarm(row)) for row in history["collapse"])
        alarms = [f"step {step}: {text}" for step, text in rows if text][:1]
    return [*dead_terms(history["probes"]), *warnings_of(history, program.objective), *alarms]


def _augmentation(plan: Plan, dataset: Dataset) -> Any:
    options = plan.config["augment"]
    return augmentation(options, dataset.train[0]["labels"].ndim) if options else None


def keep_detector(
    fitted: Fitted, program: Program, plan: Plan, dataset: Dataset, folder: Path
) -> list[str]:
    """Saves what was tested where it is a detector of anomalies, for `lossbench score`.

    Args:
        fitted: the training.
        program: its functions.
        plan: the comparison that it belongs to.
        dataset: its data.
        folder: where the detector is to lie.

    Returns:
        Why it could not be saved, as sentences for the report: the run is complete without it.
    """
    if not any(metrics.get(name).ranks_scores for name in plan.metrics):
        return []
    try:
        detector = trained_detector(
            program.model,
            fitted.best.evaluated,
            shape=dataset.train[0]["image"].shape,
            wavelengths=dataset.wavelengths,
            name=plan.config["model"]["name"],
        )
        save(folder, detector)
    except (ValueError, OSError) as error:
        return [f"the detector was not saved: {error}"]
    return []


def _completed(
    fitted: Fitted, program: Program, plan: Plan, dataset: Dataset, folder: Path
) -> dict[str, Any]:
    """The test, of the best checkpoint."""
    slices: dict[int, Slice] = {}
    scored = any(metrics.get(name).ranks_scores for name in plan.metrics)

    def watch(batch: Arrays, found: Predicted) -> None:
        for i in np.flatnonzero(batch["weights"]) if has_picture(batch) else ():
            case = int(batch["case"][i])
            seen = picture(batch, found, int(i), dataset.wavelengths, scored=scored)
            if case not in slices or seen.foreground > slices[case].foreground:
                slices[case] = seen

    tested = evaluate(program, fitted.best, dataset.test, watch=watch)
    if len({s.labels.shape for s in slices.values()}) == 1:
        arrays = examples(slices, len(dataset.test.names))
        if dataset.wavelengths is not None and scored:
            arrays["wavelengths"] = np.asarray(dataset.wavelengths, np.float32)
        write_arrays(folder / "examples.npz", **arrays)
    return {
        "state": COMPLETED,
        "steps": int(fitted.last.step),
        "stopped_early": fitted.stopped_early,
        "best_step": fitted.best_step,
        "test": {
            name: _score(scores, dataset.class_names, by_class=metrics.get(name).by_class)
            for name, scores in tested.scores.items()
        },
        "test_loss": tested.terms["loss"],
        "cases": list(dataset.test.names),
        "history": fitted.history,
        "cost": {
            **_compiling(program),
            "step_seconds": fitted.step_seconds,
            "train_seconds": fitted.train_seconds,
        },
        "parameters": sum(x.size for x in jax.tree.leaves(fitted.best.params)),
    }


def examples(slices: Mapping[int, Slice], cases: int) -> dict[str, np.ndarray]:
    """The arrays of the pictures of all cases; see `results.Examples`."""
    shown = [slices[case] for case in range(cases)]
    arrays = {
        "image": np.stack([s.image for s in shown]).astype(np.float16),
        "labels": np.stack([s.labels for s in shown]).astype(np.uint8),
        "prediction": np.stack([s.prediction for s in shown]).astype(np.uint8),
        "axis_slice": np.array([s.index for s in shown], np.int32),
    }
    scores = [s.scores for s in shown if s.scores is not None]
    if len(scores) == cases:
        arrays["scores"] = np.stack(scores).astype(np.float32)
    return arrays


def _compiling(program: Program) -> dict[str, Any]:
    """What is known of the cost before a step is taken."""
    return {
        "compile_seconds": program.compile_seconds,
        "compile_from_cache": program.compile_from_cache,
        "peak_bytes": program.peak_bytes,
    }


def _score(scores: Scores, class_names: tuple[str, ...], *, by_class: bool) -> Mapping[str, Any]:
    """The foreground's scores, class 0 is the background; or those of all classes together."""
    first = 1 if by_class else 0
    return {
        "mean": float(scores.mean),
        "per_class": scores.per_class[first:],
        "pooled": scores.pooled[first:],
        "classes": list(class_names[1:] if by_class else ALL_CLASSES),
        "per_case": scores.per_case[:, first:],
        "undefined": int(np.isnan(scores.per_case[:, first:]).sum()),
    }
