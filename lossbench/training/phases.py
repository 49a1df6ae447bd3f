"""What happens before the first step of a training and after its last: passes over the data.

A model that fits something to its training data, such as preprocessing or the center of a sphere,
says so by `prepare` and `finish` (see `Model`). Then come the gradients.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lossbench.data import Source, wholes
from lossbench.training.program import Program
from lossbench.training.state import TrainState

Batches = Callable[[], Iterable[dict[str, jax.Array]]]


def prepare(program: Program, state: TrainState, source: Source) -> TrainState:
    """The state with all that the model fits to its training data before the first step."""
    fit = getattr(program.model, "prepare", None)
    return state if fit is None else _replaced(program, state, fit, source)


def finish(program: Program, state: TrainState, source: Source) -> TrainState:
    """The state with all that the model fits to its training data after the last step."""
    fit = getattr(program.model, "finish", None)
    if fit is None:
        return state
    variables = fit(state.evaluated, passes(program, source))
    changed = {name: program.replicate(variables[name]) for name in state.model_state}
    return dataclasses.replace(state, model_state=changed)


def passes(program: Program, source: Source) -> Batches:
    """Passes over a source: all that its examples are drawn from, each once, in its order.

    They come in batches of those that are alike in shape; the last may be smaller than the others.
    """

    def batches() -> Iterator[dict[str, jax.Array]]:
        pending: list[Mapping[str, np.ndarray]] = []
        for example in wholes(source):
            unlike = pending and _kind(pending[0]) != _kind(example)
            if unlike:
                yield _stacked(program, pending)
                pending = []
            pending.append(example)
            if len(pending) == program.options.batch_size:
                yield _stacked(program, pending)
                pending = []
        if pending:
            yield _stacked(program, pending)

    return batches


def _kind(example: Mapping[str, np.ndarray]) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in example.items()}


def _stacked(program: Program, examples: list[Mapping[str, np.ndarray]]) -> dict[str, jax.Array]:
    """A batch on every device: one that is not full would not divide."""
    stacked = {k: np.stack([example[k] for example in examples]) for k in examples[0]}
    return program.replicate(stacked)


def _replaced(
    program: Program, state: TrainState, fit: Callable[..., Any], source: Source
) -> TrainState:
    variables = dict(program.replicate(fit(state.variables, passes(program, source))))
    params = variables.pop("params")
    average = jax.tree.map(jnp.copy, params) if state.average else state.average
    return dataclasses.replace(state, params=params, model_state=variables, average=average)
