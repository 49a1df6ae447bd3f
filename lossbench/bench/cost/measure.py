"""Measuring: contestants in turns, in an order that is drawn anew each round, medians of rounds."""

import dataclasses
import functools
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from lossbench.bench.cost.program import Program, describe

# One sample lasts about this long on a device that works on its own: so many calls in a row.
_SAMPLE_SECONDS = 0.02
_MOST_CALLS = 50
# Threads of the one before spin for a moment when their work is done.
_SETTLE_SECONDS = 0.005
_LEAST_ROUNDS = 3


@dataclasses.dataclass(frozen=True)
class Contestant:
    """Something whose time is taken.

    Attributes:
        name: the implementation.
        start: starts the work once and returns its value (a scalar of any library) first.
        wait: returns when the work of what `start` returned is done.
        program: what the compiler says, if there is one.
        queues: true if several calls may wait in line, as on an accelerator.
    """

    name: str
    start: Callable[[], Any]
    wait: Callable[[Any], Any]
    program: Program | None = None
    queues: bool = False


@dataclasses.dataclass(frozen=True)
class Timing:
    """The times of a contestant.

    Attributes:
        seconds: of a call, one for each round.
        busy: the same of all cores together, which other programs on the machine change less.
        value: what it computed.
        error: why there are no times.
    """

    seconds: tuple[float, ...] = ()
    busy: tuple[float, ...] = ()
    value: float | None = None
    error: str | None = None

    @property
    def median(self) -> float:
        """The median over rounds."""
        return statistics.median(self.seconds)


def compiled(
    name: str,
    function: Callable[..., jax.Array],
    arguments: Sequence[Any],
    *,
    clock: Callable[[], float] = time.perf_counter,
) -> Contestant:
    """Value and gradient, by the first argument, of a scalar JAX function.

    The arrays are arguments of the program: what it closed over would be folded into it.
    """
    return program(name, jax.value_and_grad(function), arguments, clock=clock)


def program(
    name: str,
    function: Callable[..., Any],
    arguments: Sequence[Any],
    *,
    clock: Callable[[], float] = time.perf_counter,
) -> Contestant:
    """A JAX function whose result begins with a scalar, compiled for these arguments."""
    begin = clock()
    program = jax.jit(function).lower(*arguments).compile()
    took = clock() - begin
    size = sum(leaf.size for leaf in jax.tree.leaves(arguments[0]))
    return Contestant(
        name,
        functools.partial(program, *arguments),
        jax.block_until_ready,
        describe(program, took, size),
        queues=jax.default_backend() != "cpu",
    )


def copying(logits: Sequence[np.ndarray]) -> Contestant:
    """The limit: reads as many bytes as the logits have and writes them anew, doubled."""
    arrays = [jax.numpy.asarray(level) for level in logits]
    program = jax.jit(lambda xs: [2 * x for x in xs]).lower(arrays).compile()

    def start() -> Any:
        return (0.0, program(arrays))

    return Contestant("copy", start, jax.block_until_ready, queues=jax.default_backend() != "cpu")


def in_turns(*parts: Contestant, name: str) -> Contestant:
    """Several programs one after the other, as one contestant; its value is that of the first."""

    def start() -> Any:
        results = []
        for part in parts:
            results.append(part.start())
            if not part.queues:
                part.wait(results[-1])
        return results[0][0], results

    known = [part.program for part in parts if part.program]
    program = Program(
        sum(p.compile_seconds for p in known),
        max((p.temporary_bytes or 0 for p in known), default=None),
        exponentials=sum(p.exponentials or 0 for p in known),
    )
    queues = all(part.queues for part in parts)
    return Contestant(name, start, lambda out: jax.block_until_ready(out[1]), program, queues)


def race(
    contestants: Sequence[Contestant],
    *,
    rounds: int,
    seconds: float,
    seed: int = 0,
    clock: Callable[[], float] = time.perf_counter,
    busy: Callable[[], float] = time.process_time,
    settle: Callable[[float], Any] = time.sleep,
) -> dict[str, Timing]:
    """The times of all, taken in rounds, so that whatever else the machine does falls on all.

    Args:
        contestants: one that fails is left out from there on; the others go on.
        rounds: how many.
        seconds: no new round after so many, but at least three rounds.
        seed: of the order within each round.
        clock: tells the time in seconds.
        busy: tells the seconds that all cores together have worked for this process.
        settle: called with some seconds before each sample.
    """
    errors: dict[str, str] = {}
    values: dict[str, float] = {}
    calls: dict[str, int] = {}
    times: dict[str, list[tuple[float, float]]] = {one.name: [] for one in contestants}
    for one in contestants:
        with _caught(errors, one.name):
            values[one.name], took = _warm_up(one, clock, busy)
            calls[one.name] = _calls(took) if one.queues else 1
    rng = np.random.default_rng(seed)
    begin = clock()
    for k in range(rounds):
        if k >= _LEAST_ROUNDS and clock() - begin > seconds:
            break
        for i in rng.permutation(len(contestants)):
            one = contestants[i]
            if one.name not in errors:
                settle(_SETTLE_SECONDS)
                with _caught(errors, one.name):
                    times[one.name].append(_sample(one, calls[one.name], clock, busy))
    return {
        name: Timing(error=errors[name])
        if name in errors
        else Timing(tuple(t for t, _ in took), tuple(b for _, b in took), values[name])
        for name, took in times.items()
    }


def _warm_up(
    one: Contestant, clock: Callable[[], float], busy: Callable[[], float]
) -> tuple[float, float]:
    """The value, and the time of a second call; compilers of peers work in the first."""
    out = one.start()
    one.wait(out)
    return float(out[0]), _sample(one, 1, clock, busy)[0]


def _calls(seconds: float) -> int:
    return max(1, min(_MOST_CALLS, round(_SAMPLE_SECONDS / max(seconds, 1e-9))))


def _sample(
    one: Contestant, calls: int, clock: Callable[[], float], busy: Callable[[], float]
) -> tuple[float, float]:
    begin, begin_busy = clock(), busy()
    out = one.start()
    for _ in range(calls - 1):
        out = one.start()
    one.wait(out)
    return (clock() - begin) / calls, (busy() - begin_busy) / calls


class _caught:
    """Keeps the error of a contestant, of which the others must hear nothing."""

    def __init__(self, errors: dict[str, str], name: str) -> None:
        self.errors, self.name = errors, name

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> bool:
        if not isinstance(error, Exception):
            return False
        self.errors[self.name] = reason(error)
        return True


def reason(error: Exception) -> str:
    """An error in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    return text if len(text) <= 200 else text[:199] + "…"
