"""A training compiled: the functions of one model and one objective, for arrays of one shape.

Everything that differs between two runs of a comparison's loss (the seed) is an argument, so a
program is compiled once and serves them all.
"""

import contextlib
import dataclasses
import functools
import math
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.monitoring
import jax.numpy as jnp
import numpy as np
import optax
from jax.experimental import checkify
from jax.sharding import AxisType, Mesh

from lossbench import metrics
from lossbench._checks import debug_checks
from lossbench.objective import Objective
from lossbench.training.dead_terms import Probe, probe_terms
from lossbench.training.gradient import init_weighting
from lossbench.training.optimizers import learning_rate, optimizer, plateau
from lossbench.training.options import TrainOptions
from lossbench.training.state import Model, TrainState, init_state, inputs, stream_key
from lossbench.training.step import (
    Evaluation,
    StepLog,
    after_validation,
    apply_in_training,
    evaluation_step,
    term_gramian,
    train_step,
)

Arrays = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Program:
    """Compiled functions and what compiling them cost.

    Attributes:
        options: what the program was built from.
        objective: what it minimizes.
        mesh: one axis, `data`, over which batches are spread.
        init: key, batch -> state.
        train: state (donated), batch -> state, log.
        evaluate: evaluation, variables, batch, step -> evaluation, predictions.
        empty: () -> evaluation that has seen nothing.
        after_validation: state, a number of which higher is better -> state; the identity without
            a plateau rule.
        model: what is trained.
        gramian: state, batch -> inner products of the gradients of the terms; compiled when it is
            first called.
        examine: state, batch -> numbers that the model tells of itself; None if it tells none.
        probe: state, batch -> what the batch tells of every term (see `dead_terms`). Compiled when
            it is first called, apart from the training step, which it leaves as it is.
        compile_seconds: tracing and compiling the training step.
        compile_from_cache: true if the persistent cache had it.
        peak_bytes: arguments, outputs and temporaries of the training step, on one device.
    """

    options: TrainOptions
    objective: Objective
    mesh: Mesh
    init: "Init"
    train: Callable[[TrainState, dict[str, jax.Array]], tuple[TrainState, StepLog]]
    evaluate: Callable[..., tuple[Evaluation, jax.Array]]
    empty: Callable[[], Evaluation]
    after_validation: Callable[[TrainState, jax.Array], TrainState]
    model: Model
    gramian: Callable[[TrainState, dict[str, jax.Array]], jax.Array]
    examine: Callable[[TrainState, dict[str, jax.Array]], dict[str, jax.Array]] | None
    probe: Callable[[TrainState, dict[str, jax.Array]], dict[str, Probe]]
    compile_seconds: float
    compile_from_cache: bool
    peak_bytes: int

    def place(self, batch: Arrays) -> dict[str, jax.Array]:
        """A batch on the mesh, spread over its examples."""
        return jax.device_put(dict(batch), jax.NamedSharding(self.mesh, jax.P("data")))

    def replicate(self, tree: Any) -> Any:
        """Arrays on the whole mesh."""
        return jax.device_put(tree, jax.NamedSharding(self.mesh, jax.P()))


Init = Callable[[jax.Array, dict[str, jax.Array]], TrainState]


def build_init(model: Model, options: TrainOptions) -> Init:
    """The function that draws a state from a key, for every objective alike."""
    init = functools.partial(
        init_state,
        model=model,
        optimizer=_optimizer(model, options),
        plateau=plateau(options),
        averaged=options.ema_decay > 0,
    )
    return jax.jit(init, out_shardings=jax.NamedSharding(data_mesh(options), jax.P()))


def build_program(
    model: Model,
    objective: Objective,
    options: TrainOptions,
    *,
    init: Init,
    streams: Mapping[str, Mapping[str, Any]],
    batch: Arrays,
    num_classes: int,
    cases: int,
    spacing: tuple[float, ...] | None = None,
) -> Program:
    """Compiles a training.

    Args:
        model: a Linen module that takes an image and gives a dict of outputs.
        objective: what is minimized.
        options: how.
        init: from `build_init` with the same model and options.
        streams: metrics to evaluate: names in `lossbench.metrics.STATES`, with their options.
        batch: one training batch, for its shapes.
        num_classes: classes of labels, background included.
        cases: the most cases of any evaluation.
        spacing: size of a pixel along each axis, for metrics that are lengths; 1 by default.
    """
    mesh = data_mesh(options)
    rule = plateau(options)
    transformation = _optimizer(model, options)
    replicated = jax.NamedSharding(mesh, jax.P())
    step = functools.partial(
        train_step,
        model=model,
        objective=objective,
        optimizer=transformation,
        learning_rate=learning_rate(options),
        ema_decay=options.ema_decay,
        trainable=options.trainable,
    )
    evaluate = functools.partial(evaluation_step, model=model, objective=objective)

    def empty() -> Evaluation:
        evaluation = Evaluation(
            metrics.Collection.of(
                **{
                    name: metrics.get(name).empty(
                        cases=cases, num_classes=num_classes, spacing=spacing, **options
                    )
                    for name, options in streams.items()
                }
            ),
            {name: jnp.zeros(()) for name in (*objective.terms, "loss")},
            jnp.zeros(()),
        )
        return jax.device_put(evaluation, replicated)

    placed = jax.device_put(dict(batch), jax.NamedSharding(mesh, jax.P("data")))
    begin = _begin(init, objective, replicated)
    state = begin(stream_key(0, "init"), placed)
    start = time.perf_counter()
    with _cache_hits() as hits:
        train, peak = _compile(step, state, placed, replicated, debug=options.debug_checks)
    seconds = time.perf_counter() - start
    return Program(
        options=options,
        objective=objective,
        mesh=mesh,
        init=begin,
        train=train,
        evaluate=jax.jit(evaluate),
        empty=empty,
        after_validation=(
            jax.jit(functools.partial(after_validation, plateau=rule), out_shardings=replicated)
            if rule
            else lambda state, merit: state
        ),
        model=model,
        gramian=jax.jit(
            functools.partial(
                term_gramian, model=model, objective=objective, trainable=options.trainable
            ),
            out_shardings=replicated,
        ),
        examine=_examine(model),
        probe=_probe(model, objective, replicated),
        compile_seconds=seconds,
        compile_from_cache=bool(hits),
        peak_bytes=peak,
    )


def _optimizer(model: Model, options: TrainOptions) -> optax.GradientTransformation:
    """The optimizer of a model's parameters; the model may hold some of them back."""
    return optimizer(
        options, held=getattr(model, "held", ()), undecayed=getattr(model, "undecayed", ())
    )


def _begin(init: Init, objective: Objective, replicated: jax.NamedSharding) -> Init:
    """Draws a state with the weighting's; what is drawn for the model, all objectives share."""

    @functools.partial(jax.jit, out_shardings=replicated)
    def weighting(key: jax.Array, params: Any) -> Any:
        seed = jax.random.bits(jax.random.fold_in(key, zlib.crc32(b"weighting")))
        return init_weighting(objective, params, seed)

    def begin(key: jax.Array, batch: dict[str, jax.Array]) -> TrainState:
        state = init(key, batch)
        return dataclasses.replace(state, weighting=weighting(key, state.params))

    return begin if objective.weighting else init


def _examine(model: Model) -> Callable[..., dict[str, jax.Array]] | None:
    look = getattr(model, "examine", None)
    if look is None:
        return None
    return jax.jit(lambda state, batch: look(state.variables, *inputs(model, batch)))


def _probe(model: Model, objective: Objective, replicated: jax.NamedSharding) -> Callable:
    """Two programs: the model's is the same under every objective, and the compile cache has it."""
    forward = jax.jit(functools.partial(apply_in_training, model=model))
    terms = jax.jit(functools.partial(probe_terms, objective=objective), out_shardings=replicated)

    def probe(state: TrainState, batch: dict[str, jax.Array]) -> dict[str, Probe]:
        outputs, _ = forward(state.variables, batch)
        return terms(outputs, batch, state.step)

    return probe


def _compile(
    step: Callable,
    state: TrainState,
    batch: dict[str, jax.Array],
    replicated: jax.NamedSharding,
    *,
    debug: bool,
) -> tuple[Callable, int]:
    """The step ahead of time, with its memory."""
    # A compiled function takes no other sharding than it was compiled for: its state must come out
    # as it went in.
    jit = functools.partial(jax.jit, donate_argnums=0, out_shardings=replicated)
    if not debug:
        compiled = jit(step).lower(state, batch).compile()
        return compiled, _memory(compiled)
    with debug_checks():
        compiled = jit(checkify.checkify(step)).lower(state, batch).compile()

    def throwing(state: TrainState, batch: dict[str, jax.Array]) -> tuple[TrainState, StepLog]:
        error, result = compiled(state, batch)
        error.throw()
        return result

    return throwing, _memory(compiled)


def _memory(compiled: Any) -> int:
    """Bytes that a call of a compiled function needs; donated arguments count once."""
    memory = compiled.memory_analysis()
    if memory is None:  # not every backend says
        return 0
    return (
        memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        + memory.temp_size_in_bytes
        - memory.alias_size_in_bytes
    )


def data_mesh(options: TrainOptions) -> Mesh:
    """One axis over as many devices as asked for, or as divide every batch."""
    batches = math.gcd(options.batch_size, options.eval_batch_size or options.batch_size)
    available = len(jax.devices())
    size = options.devices or max(n for n in range(1, available + 1) if batches % n == 0)
    if size > available or batches % size:
        raise ValueError(
            f"train.devices: {size} devices asked for, {available} there; it must divide the batch "
            f"sizes ({options.batch_size}, evaluation {options.eval_batch_size})"
        )
    return jax.make_mesh(
        (size,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:size]
    )


@contextlib.contextmanager
def _cache_hits() -> Iterator[list[str]]:
    """Collects JAX's own word that the persistent compile cache had a program."""
    hits: list[str] = []

    def listen(event: str, **_: Any) -> None:
        if event.endswith("/compilation_cache/cache_hits"):
            hits.append(event)

    jax.monitoring.register_event_listener(listen)
    try:
        yield hits
    finally:
        jax.monitoring.unregister_event_listener(listen)
