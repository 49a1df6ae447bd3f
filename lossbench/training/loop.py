"""The loop over steps: the only place with one."""

import contextlib
import dataclasses
import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lossbench import metrics
from lossbench.data import Dataset, Example, training_batches
from lossbench.training.checkpoint import Checkpoint, Checkpoints, open_checkpoints
from lossbench.training.dead_terms import WATCHED_STEPS, all_alive, dead_terms, probe_row
from lossbench.training.display import Slice, has_picture, picture
from lossbench.training.evaluate import evaluate
from lossbench.training.logging import Log, MlflowRun
from lossbench.training.options import TrainOptions
from lossbench.training.phases import finish, prepare
from lossbench.training.program import Arrays, Program
from lossbench.training.progress import Progress
from lossbench.training.rows import (
    Collapsed,
    Diverged,
    History,
    empty_history,
    gradient_facts,
    mean_row,
    nested,
    scalars,
    warnings_of,
)
from lossbench.training.state import TrainState, stream_key
from lossbench.training.step import Predicted, StepLog

SHOWN_EXAMPLES = 4
# Selects the last checkpoint.
LAST = "last"


@dataclasses.dataclass(frozen=True)
class Fitted:
    """A training that has ended.

    Attributes:
        last: the state after the last step.
        best: the state at the best validation.
        best_step: its step.
        history: rows of the log, "train" and "validation"; "gradients" of the terms at each
            validation, where the steps do not tell them; "probes" of the first steps.
        step_seconds: median time of a step, data included, validation and checkpoint not; NaN if
            nothing was left to do.
        train_seconds: time of training, validation and checkpoints included; of what a kill threw
            away, nothing is known.
        stopped_early: true if the metric did not improve for the patience.
    """

    last: TrainState
    best: TrainState
    best_step: int
    history: History
    step_seconds: float
    train_seconds: float
    stopped_early: bool


def fit(
    program: Program,
    dataset: Dataset,
    *,
    seed: int,
    folder: Path,
    metric: str,
    label: str,
    augment: Callable[[Example, np.random.Generator], Example] | None = None,
) -> Fitted:
    """Trains to the end, from the latest checkpoint in `folder` if there is one.

    A run that was killed at any moment and started again ends with the parameters, to the bit on
    the CPU, of one that was not.

    Args:
        program: the compiled functions.
        dataset: what to train on and to validate with.
        seed: of parameters, batch order and augmentation.
        folder: of checkpoints and logs.
        metric: the validation metric that says which checkpoint is best; which way is better, the
            metric itself says. Or "loss", the objective on the validation data; or "last", which
            takes the last checkpoint, whatever its metrics.
        label: what the progress calls the run.
        augment: augmentation of training examples.

    Raises:
        Diverged: if a loss or gradient is not finite; as `Collapsed`, if the model itself says that
            going on makes no sense.
    """
    options = program.options
    if metric == LAST and options.early_stopping_patience:
        raise ValueError(
            "train.early_stopping_patience: there is nothing to be patient with if the last "
            "checkpoint is selected; select by 'loss' or by a metric"
        )
    iterator = training_batches(
        dataset.train, batch_size=options.batch_size, seed=seed, augment=augment
    )
    first = program.place(
        {k: v[None].repeat(options.batch_size, 0) for k, v in dataset.train[0].items()}
    )
    state = program.init(stream_key(seed, "init"), first)
    history = empty_history()
    begun = time.perf_counter()
    with (
        contextlib.closing(iterator),
        open_checkpoints(folder / "checkpoints", keep_best=options.keep_best) as checkpoints,
    ):
        found = checkpoints.latest(state)
        if found:
            state, history = found.state, found.history
            iterator.set_state(found.position)
            begun -= found.seconds
        else:
            state = prepare(program, state, dataset.train)
        done = int(state.step)
        with (
            Log(folder / "tensorboard", resumed_at=done, mlflow=_mlflow(options, folder)) as log,
            Progress(label, steps=options.steps, done=done) as progress,
        ):
            pending: list[StepLog] = []
            seconds: list[float] = []
            mark = time.perf_counter()
            while done < options.steps and not _patience_is_over(history, metric, program):
                batch = program.place(next(iterator))
                state, logged = program.train(state, batch)
                if done < WATCHED_STEPS and not all_alive(history["probes"]):
                    mark += _probe(program, state, batch, logged, history["probes"], progress)
                pending.append(logged)
                done += 1
                validates = done % options.eval_every == 0 or done == options.steps
                if validates or done % options.log_every == 0:
                    try:
                        row = mean_row(
                            jax.device_get(pending),
                            first_step=done - len(pending),
                            objective=program.objective,
                        )
                    except Diverged as error:
                        error.history = history
                        raise
                    seconds.append((time.perf_counter() - mark) / len(pending))
                    pending = []
                    history["train"].append(row)
                    log.scalars("train", scalars(row), done)
                    _warn(history, program, progress)
                    _examine(program, state, batch, history, log, progress)
                    progress.step(done, row["loss"])
                    mark = time.perf_counter()
                if validates:
                    _log_gradients(program, state, batch, history, log)
                    state = _validate(program, state, dataset, history, metric, log, progress)
                    elapsed = time.perf_counter() - begun
                    _save(
                        checkpoints,
                        Checkpoint(state, iterator.get_state(), history, elapsed),
                        metric,
                    )
                    mark = time.perf_counter()
        best = best_step(history, metric)
        best_state = state if best == done else checkpoints.load(best, state).state
        best_state = finish(program, best_state, dataset.train)
    return Fitted(
        last=state,
        best=best_state,
        best_step=best,
        history=history,
        # The first interval holds what is done once; a median of several forgets it anyway.
        step_seconds=statistics.median(seconds[1:] or seconds or [math.nan]),
        train_seconds=time.perf_counter() - begun,
        stopped_early=done < options.steps,
    )


def _warn(history: History, program: Program, progress: Progress) -> None:
    """Tells what is wrong with a term for the first time in this row, and for the last time."""
    now = warnings_of(history, program.objective)
    before = warnings_of({"train": history["train"][:-1]}, program.objective)
    last = history["train"][-1]["step"] == program.options.steps
    told = {text.partition("(")[0].partition(":")[0] for text in before}
    for text in now:
        if last or text.partition("(")[0].partition(":")[0] not in told:
            progress.warn(text)


def _mlflow(options: TrainOptions, folder: Path) -> MlflowRun | None:
    """The run in MLflow, if there is to be one."""
    if not options.mlflow:
        return None
    return MlflowRun(
        options.mlflow,
        options.mlflow_experiment,
        name=folder.name,
        folder=folder,
        parameters=dataclasses.asdict(options),
    )


def _probe(
    program: Program,
    state: TrainState,
    batch: dict[str, jax.Array],
    logged: StepLog,
    rows: list[dict[str, Any]],
    progress: Progress,
) -> float:
    """Looks for terms that train nothing, and says so after the last look; the time it took."""
    jax.block_until_ready(state)
    begun = time.perf_counter()
    names, norm = list(logged.objective.terms), float(logged.gradient_norm)
    if len(names) == 1 and norm > 0:  # the step has answered already
        rows.append({"step": len(rows) + 1, "terms": {names[0]: {"gradient": norm}}})
    else:
        rows.append(probe_row(program.probe(state, batch), step=len(rows) + 1))
    if len(rows) == min(WATCHED_STEPS, program.options.steps):
        for text in dead_terms(rows):
            progress.warn(text)
    return time.perf_counter() - begun


def best_step(history: History, metric: str) -> int:
    """The step of the best validation, the earliest of equals; the last one if none is defined."""
    rows = history["validation"]
    if metric == LAST:
        return rows[-1]["step"]
    defined = [row for row in rows if not math.isnan(row[metric])]
    # `max` keeps the first of equals.
    best = max(defined, key=lambda row: _merit(metric, row[metric])) if defined else rows[-1]
    return best["step"]


def _merit(metric: str, value: float) -> float:
    """A validation's value such that higher is better."""
    lower = metric == "loss" or not metrics.get(metric).higher_is_better
    return -value if lower else value


def _patience_is_over(history: History, metric: str, program: Program) -> bool:
    patience, rows = program.options.early_stopping_patience, history["validation"]
    if not patience or not rows or metric == LAST:
        return False
    # An undefined value is no improvement; if there is no other, none has been the best.
    defined = any(not math.isnan(row[metric]) for row in rows)
    steps = [row["step"] for row in rows]
    until_best = 1 + steps.index(best_step(history, metric)) if defined else 0
    return len(rows) - until_best >= patience


def _validate(
    program: Program,
    state: TrainState,
    dataset: Dataset,
    history: History,
    metric: str,
    log: Log,
    progress: Progress,
) -> TrainState:
    """Evaluates, logs, and tells the plateau rule."""
    slices: list[Slice] = []
    scored = any(stream.ranks_scores for stream in program.empty().metrics.states().values())

    done = int(state.step)

    def watch(batch: Arrays, found: Predicted) -> None:
        rows = history["selector_weights"]
        if found.selector_weights is not None and (not rows or rows[-1]["step"] < done):
            rows.append({"step": done, "weights": np.asarray(found.selector_weights).tolist()})
        for i in np.flatnonzero(batch["weights"]) if has_picture(batch) else ():
            if len(slices) < SHOWN_EXAMPLES:
                slices.append(picture(batch, found, int(i), dataset.wavelengths, scored=scored))

    means = evaluate(program, state, dataset.validation, watch=watch).means()
    history["validation"].append({"step": done, **means})
    log.scalars("validation", means, done)
    if slices:
        log.slices(slices, done)
    watched = "loss" if metric == LAST else metric
    progress.validation(done, watched, means[watched])
    return program.after_validation(state, jnp.float32(_merit(watched, means[watched])))


def _save(checkpoints: Checkpoints, checkpoint: Checkpoint, metric: str) -> None:
    done = int(checkpoint.state.step)
    improved = best_step(checkpoint.history, metric) == done
    merit = done if metric == LAST else _merit(metric, checkpoint.history["validation"][-1][metric])
    checkpoints.save(checkpoint, step=done, best=improved, merit=merit)


def _examine(
    program: Program,
    state: TrainState,
    batch: dict[str, jax.Array],
    history: History,
    log: Log,
    progress: Progress,
) -> None:
    """Asks the model how it is, if it can tell; warns or stops where it says that it collapsed."""
    if program.examine is None:
        return
    done = int(state.step)
    facts = {k: float(v) for k, v in jax.device_get(program.examine(state, batch)).items()}
    history["collapse"].append({"step": done, **facts})
    log.scalars("model", facts, done)
    model: Any = program.model
    text = model.alarm(facts)
    if text and model.stops:
        error = Collapsed(done, f"step {done}: {text}")
        error.history = history
        raise error
    before = history["collapse"][:-1]
    if text and not (before and model.alarm(before[-1])):
        progress.warn(f"step {done}: {text}")


def _log_gradients(
    program: Program,
    state: TrainState,
    batch: dict[str, jax.Array],
    history: History,
    log: Log,
) -> None:
    """Logs the gradients of the terms, if the objective weighs them and its steps do not tell."""
    names = list(program.objective.terms)
    told = history["train"] and "cosines" in history["train"][-1]
    if program.objective.weighting is None or len(names) < 2 or told:
        return
    done = int(state.step)
    facts = gradient_facts([jax.device_get(program.gramian(state, batch))], names)
    history["gradients"].append({"step": done, **facts})
    log.scalars("train", nested(facts, facts), done)
