"""`lossbench diagnose`: a configuration's objective on its data, before and during its training."""

import dataclasses
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lossbench
from lossbench._names import unknown
from lossbench.bench.compare import open_bench
from lossbench.bench.diagnosis import page, text
from lossbench.bench.diagnosis.examination import BATCHES, Diagnosis, examiner, take
from lossbench.bench.diagnosis.figures import figures
from lossbench.bench.environment import environment
from lossbench.bench.files import write_json
from lossbench.bench.plan import Plan
from lossbench.data import Dataset, augmentation, training_batches
from lossbench.training.program import Program
from lossbench.training.state import stream_key

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
        ValueError: if data or configuration cannot run.
    """
    bench = open_bench(plan, Path(), say=say)
    program = bench.program(asked.loss)
    if isinstance(program, Exception):
        raise ValueError(f"losses.{asked.loss}: {program}") from program
    assert bench.init is not None
    model, dataset = bench.init[0], bench.datasets[asked.seed]
    # A seed that no run has but one that differs in its highest bit.
    batches = take(_batches(plan, dataset, asked.seed ^ 2**30), asked.batches)
    objective = program.objective
    shared = asked.shared or objective.shared
    examine = examiner(model, objective, shared, place=program.place)
    found = []
    for step, state in _training(program, plan, dataset, asked):
        say(f"{asked.loss}: looking at {len(batches)} batches at step {step}")
        found.append(examine(state.variables, state.weighting, batches, step))
    return Diagnosis(tuple(found), shared)


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
        "moments": [
            {
                "step": one.moment.step,
                "batches": one.moment.batches,
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


def _training(program: Program, plan: Plan, dataset: Dataset, asked: Settings):
    """The step and the state at each moment; a state lasts until the next is asked for."""
    size = plan.train.batch_size
    first = program.place({k: v[None].repeat(size, 0) for k, v in dataset.train[0].items()})
    state = program.init(stream_key(asked.seed, "init"), first)
    stream = _batches(plan, dataset, asked.seed)
    done = 0
    for step in asked.at:
        while done < step:
            state, _ = program.train(state, program.place(next(stream)))
            done += 1
        yield step, state


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
