"""Deep SVDD trained in memory: the trainer's own steps and passes, without folders."""

import contextlib
import warnings
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from lossbench.anomaly.deep_svdd import DeepSvdd
from lossbench.data import Source, training_batches
from lossbench.objective import Objective
from lossbench.training.options import TrainOptions
from lossbench.training.phases import finish, prepare
from lossbench.training.program import build_init, build_program
from lossbench.training.state import stream_key

MONITORS = ("stop", "warn", "off")
# How often in a training the sphere is looked at.
LOOKS = 10


def train_svdd(
    model: DeepSvdd,
    loss: str,
    options: TrainOptions,
    source: Source,
    *,
    seed: int,
    monitor: str = "stop",
) -> tuple[Mapping[str, Any], np.ndarray]:
    """Trains: statistics and center, gradients, radius.

    Args:
        model: with its preprocessing and its sphere.
        loss: its name.
        options: of the training; checkpoints, validation and logs there are none of.
        source: what to train on.
        seed: of parameters and batches.
        monitor: what a collapse does: "stop" raises, "warn" warns once, "off" goes unseen.

    Returns:
        The variables, and the loss of each step.

    Raises:
        RuntimeError: if the embeddings collapse, or the loss is not finite.
    """
    batch = {name: np.stack([array] * options.batch_size) for name, array in source[0].items()}
    program = build_program(
        model,
        Objective.from_config({"terms": {loss: {}}}),
        options,
        init=build_init(model, options),
        streams={},
        batch=batch,
        num_classes=2,
        cases=1,
    )
    state = program.init(stream_key(seed, "init"), program.place(batch))
    state = prepare(program, state, source)
    losses, told, every = [], False, max(1, options.steps // LOOKS)
    batches = training_batches(source, batch_size=options.batch_size, seed=seed)
    with contextlib.closing(batches):
        for step in range(1, options.steps + 1):
            placed = program.place(next(batches))
            state, logged = program.train(state, placed)
            losses.append(logged.objective.total)
            if step % every and step < options.steps:
                continue
            if not np.isfinite(losses[-1]):
                raise RuntimeError(
                    f"step {step}: the loss is {losses[-1]}; lower learning_rate, or preprocess X"
                )
            if monitor == "off" or program.examine is None:
                continue
            facts = jax.device_get(program.examine(state, placed))
            alarm = model.alarm({name: float(value) for name, value in facts.items()})
            if alarm and monitor == "stop":
                raise RuntimeError(f"step {step}: {alarm}")
            if alarm and not told:
                warnings.warn(f"step {step}: {alarm}", RuntimeWarning, stacklevel=3)
                told = True
    return finish(program, state, source).evaluated, np.array(jax.device_get(losses))
