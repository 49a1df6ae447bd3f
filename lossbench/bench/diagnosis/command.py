"""`lossbench diagnose`: a configuration's objective on its data, before and during its training."""

import dataclasses
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import lossbench
from lossbench._names import unknown
from lossbench.bench.compare import open_bench
from lossbench.bench.diagnosis import page, text
from lossbench.bench.diagnosis.examination import BATCHES, Diagnosis, examiner, take
from lossbench.bench.diagnosis.figures import figures
from lossbench.bench.diagnosis.notes import notes
from lossbench.bench.environment import environment
from lossbench.bench.files import write_json
from lossbench.bench.plan import Plan
from lossbench.data import Dataset, augmentation, training_batches
from lossbench.training.phases import prepare
from lossbench.training.program import Program
from lossbench.training.state import TrainState, stream_key
from lossbench.training.step import StepLog

Say = Callable[[str], None]
# Without a word from the user: before the first step, and after a tenth of them.
SHARE, MOST_STEPS = 10, 100


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is looked at.

    Attributes:
        loss: of the configuration.
        seed: of initialization, order and augmentation, as in the comparison.
        batches: how many.
        at: after which steps.
        shared: patterns of the parameters whose gradients are looked at; those of the objective,
            or all, if there are none.
    """

    loss: str
    seed: int
    batches: int
    at: tuple[int, ...]
    shared: tuple[str, ...] = ()


def settings(
    plan: Plan,
    *,
    loss: str | None = None,
    seed: int | None = None,
    batches: int | None = None,
    at: str | None = None,
    shared: Sequence[str] = (),
) -> Settings:
    """Settings from what a user wrote.

    Raises:
        ValueError: for a loss or a seed that the configuration does not have, or a number out of
            range.
    """
    if loss is None:  # the one that has most to tell; of equals the first
        loss = max(plan.losses, key=lambda name: len(plan.losses[name]["terms"]))
    if loss not in plan.losses:
        raise unknown("loss of the configuration", loss, plan.losses)
    seed = plan.seeds[0] if seed is None else seed
    if seed not in plan.seeds:
        raise unknown("seed of the configuration", str(seed), map(str, plan.seeds))
    count = BATCHES if batches is None else batches
    if count < 1:
        raise ValueError(f"--batches={count}: at least 1 is needed, 2 to tell signal from noise")
    return Settings(loss, seed, count, _moments(at, plan.train.steps), tuple(shared))


def diagnose_plan(plan: Plan, asked: Settings, *, say: Say) -> Diagnosis:
    """Trains as the plan says, and looks at the objective after the steps asked for.

    Every moment sees the same batches: those of the training's data, drawn and augmented as in
    training under a seed of their own. Of data with fewer examples than they hold, some come again.

    Raises:
        ValueError: if data or configuration cannot run, or the training ends before the first of
            these steps.
    """
    bench = open_bench(plan, Path(), say=say)
    program = bench.program(asked.loss)
    if isinstance(program, Exception):
        raise ValueError(f"losses.{asked.loss}: {program}") from program
    model, dataset = program.model, bench.datasets[asked.seed]
    # A seed that no run has but one that differs in its highest bit.
    batches = take(_batches(plan, dataset, asked.seed ^ 2**30), asked.batches)
    objective = program.objective
    shared = asked.shared or objective.shared
    examine = examiner(model, objective, shared, place=program.place)
    found = []
    ended = ""
    for step, state in _training(program, plan, dataset, asked):
        if isinstance(state, str):
            lost = [str(at) for at in asked.at if at >= step]
            steps = f"steps {', '.join(lost)}" if len(lost) > 1 else f"step {lost[0]}"
            ended = f"The training ended at step {step} {state}; {steps} cannot be looked at."
            break
        say(f"{asked.loss}: looking at {text.counted(len(batches))} at step {step}")
        found.append(examine(state.variables, state.weighting, batches, step))
    if not found:
        raise ValueError(f"{ended.removesuffix('.')}; --at=0 looks before the first step")
    return Diagnosis(tuple(found), shared, ended)


def check_folder(folder: Path) -> None:
    """Raises a ValueError where nothing could be written, before anything is computed.

    It is tried, as permissions do not tell of a system that is read-only; nothing is left behind.
    """
    made: list[Path] = []
    try:
        for path in (*reversed(folder.absolute().parents), folder.absolute()):
            if not path.is_dir():
                path.mkdir()
                made.append(path)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        why = error.strerror or error
        raise ValueError(f"--out: {folder} cannot be made or written to: {why}") from error
    finally:
        for path in reversed(made):
            path.rmdir()


def write(folder: Path, diagnosis: Diagnosis, plan: Plan, asked: Settings, *, command: str) -> Path:
    """Writes `diagnosis.json`, `.md` and `.html` and the figures; each whole or not at all.

    Returns:
        The path of the page.
    """
    title = f"Diagnosis of {asked.loss}: {plan.config['title']}"
    document = {
        "title": title,
        "command": command,
        "lossbench": lossbench.__version__,
        "environment": environment(),
        **dataclasses.asdict(asked),
        "objective": plan.losses[asked.loss],
        "config": plan.config,
        **as_values(diagnosis),
    }
    whole = page.html(diagnosis, title=title, command=command)
    drawn = figures(diagnosis)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "diagnosis.json", document)
    _replace(folder / "diagnosis.md", text.markdown(diagnosis, title, command))
    for figure in drawn:
        svg = figure["svg"].replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1)
        svg = svg.replace("<svg", '<svg xmlns:xlink="http://www.w3.org/1999/xlink"', 1)
        _replace(folder / f"{figure['name']}.svg", svg)
    _replace(folder / "diagnosis.html", whole)
    return folder / "diagnosis.html"


def as_values(diagnosis: Diagnosis) -> dict[str, Any]:
    """The diagnosis as plain values, as JSON has it."""
    return {
        "shared": diagnosis.shared,
        "ended": diagnosis.ended,
        "headline": diagnosis.moment.step,
        "moments": [
            {
                "step": one.moment.step,
                "batches": one.moment.batches,
                "notes": notes(one.moment),
                "parameters": one.moment.measured.parameters,
                "terms": [
                    {**dataclasses.asdict(term), "variance": term.variance}
                    for term in one.moment.terms
                ],
                "pairs": [dataclasses.asdict(pair) for pair in one.moment.pairs],
                "values": one.moment.measured.values,
                "gradient_norms": one.moment.measured.norms,
                "findings": [dataclasses.asdict(finding) for finding in one.findings],
                "proposal": dataclasses.asdict(one.proposal),
            }
            for one in diagnosis.examinations
        ],
        "changes": diagnosis.changes(),
    }


def _training(
    program: Program, plan: Plan, dataset: Dataset, asked: Settings
) -> Iterator[tuple[int, TrainState | str]]:
    """The step and the state at each moment; a state lasts until the next is asked for.

    Ends after the first step whose parameters are not finite, with words on why in their place.
    """
    sound = jax.jit(lambda tree: jnp.stack([jnp.isfinite(x).all() for x in jax.tree.leaves(tree)]))
    size = plan.train.batch_size
    first = program.place({k: v[None].repeat(size, 0) for k, v in dataset.train[0].items()})
    state = prepare(program, program.init(stream_key(asked.seed, "init"), first), dataset.train)
    stream = _batches(plan, dataset, asked.seed)
    done = 0
    for step in asked.at:
        while done < step:
            state, log = program.train(state, program.place(next(stream)))
            done += 1
            if not np.all(sound(state.params)):
                yield done, _why(log, list(program.objective.terms))
                return
        yield step, state


def _why(log: StepLog, names: Sequence[str]) -> str:
    """What of a step made parameters that are not finite."""
    value = log.objective
    bad = [n for n in names if not np.isfinite(value.weights[n] * value.terms[n])]
    what = "not finite"
    if not bad and log.gramian is not None:
        squares = np.diagonal(log.gramian)
        bad = [n for n, square in zip(names, squares, strict=True) if not np.isfinite(square)]
        what = (
            "finite, but not its gradient" if len(bad) == 1 else "finite, but not their gradients"
        )
    if len(bad) == 1:
        return f"by the term {bad[0]!r}: it was {what}"
    if bad:
        return f"by the terms {', '.join(map(repr, bad))}: they were {what}"
    if not np.isfinite(log.gradient_norm):
        return "by its gradient: it was not finite, though every term was"
    return "by its parameters: they were not finite after it, though the gradient was"


def _batches(plan: Plan, dataset: Dataset, seed: int):
    options = plan.config["augment"]
    augment = augmentation(options, dataset.train[0]["labels"].ndim) if options else None
    return training_batches(
        dataset.train, batch_size=plan.train.batch_size, seed=seed, augment=augment
    )


def _moments(at: str | None, steps: int) -> tuple[int, ...]:
    if at is None:
        return (0, max(1, min(steps // SHARE, MOST_STEPS)))
    parts = [part.strip() for part in at.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise ValueError(f"--at={at}: expected steps, such as 0,50")
    chosen = tuple(sorted({int(part) for part in parts}))
    if chosen[-1] > steps:
        raise ValueError(
            f"--at={at}: the training has {steps} steps; --config.train.steps=N asks for more"
        )
    return chosen


def _replace(path: Path, content: str) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_text(content, encoding="utf-8", errors="backslashreplace")
    os.replace(part, path)
