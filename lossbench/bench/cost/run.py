"""`lossbench cost`: measures every loss at every shape and writes what came out."""

import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax

from lossbench.bench import environment, files
from lossbench.bench.cost import cases, figure, measure, memory, peers, table
from lossbench.bench.cost.measure import Contestant
from lossbench.bench.cost.rows import APART, OURS, Row, failed, rows_csv, rows_of


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is measured and how.

    Attributes:
        losses: names of the catalog, places of losses of one's own, or several joined by `+`.
        shapes: batch, space, classes.
        peers: names of `peers.PEERS`.
        compiled: peers to be measured under `torch.compile`, too.
        rounds: at most so many for each loss and shape, at least three.
        seconds: no further round after so many.
        command: what the user called, for the report.
        keep_memory: whether freed memory is kept in the process, see `memory`.
    """

    losses: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    peers: tuple[str, ...]
    compiled: tuple[str, ...]
    rounds: int
    seconds: float
    command: str
    keep_memory: bool = False


def settings(
    losses: Sequence[str], shapes: Sequence[str], peers_text: str, compiled: str, **others: Any
) -> Settings:
    """Settings from what a user wrote.

    Raises:
        ValueError: for an unknown loss or peer, or a shape or number out of range.
    """
    names = tuple(dict.fromkeys(losses or cases.loss_names()))
    for name in names:
        cases.terms_of(name)
    chosen = Settings(
        names,
        tuple(dict.fromkeys(cases.parse_shape(shape) for shape in shapes or cases.SHAPES)),
        tuple(peers.names(peers_text, "--peers")),
        tuple(peers.names(compiled, "--compile")),
        **others,
    )
    if chosen.rounds < 1:
        raise ValueError(f"--rounds={chosen.rounds}: at least 1 is needed")
    if not chosen.seconds >= 0:
        raise ValueError(f"--seconds={chosen.seconds}: at least 0 is needed")
    return chosen


@dataclasses.dataclass(frozen=True)
class Measured:
    """What a run gave.

    Attributes:
        rows: the numbers.
        machine: device, versions, date, as `environment` has them, and the peers' versions.
        absent: peers that could not be imported, and why.
    """

    rows: list[Row]
    machine: dict[str, Any]
    absent: dict[str, str]


def cost(asked: Settings, folder: Path, *, say: Callable[[str], None]) -> Measured:
    """Measures, and writes `cost.csv`, `cost.json`, `cost.md`, `cost.png` and `cost.svg`.

    The table is written after every case: what was measured outlives an interruption.
    """
    folder.mkdir(parents=True, exist_ok=True)
    freed = memory.keep_freed_memory() if asked.keep_memory else memory.DEFAULT
    there = peers.load(asked.peers)
    for name, why in there.absent.items():
        say(f"peer {name} is absent: {why}")
    machine = {
        **environment.environment(),
        "load_average": load_average(),
        "freed_memory": freed,
        **there.versions,
    }
    rows: list[Row] = []
    measured = Measured(rows, machine, there.absent)
    total = len(asked.losses) * len(asked.shapes)
    with no_compile_cache():
        for shape in asked.shapes:
            for name in asked.losses:
                made = measure_case(name, shape, there, asked)
                rows += made
                _write(folder, measured, asked)
                done = len({(row.loss, row.shape) for row in rows})
                say(f"[{done}/{total}] {cases.shape_text(shape)} {name}: {_told(made)}")
    figure.write(folder, rows)
    return measured


def measure_case(
    name: str, shape: tuple[int, ...], there: peers.Peers, asked: Settings
) -> list[Row]:
    """One loss at one shape, its peers and the copy, in one race."""
    inputs = cases.make_inputs(name, shape)
    try:
        own = list(_own(name, inputs))
    except Exception as error:  # a loss of the user's own may raise anything
        return [failed(name, shape, OURS, measure.reason(error))]
    contestants, failures = [*own, measure.copying(inputs.logits)], []
    for label, one in peers.contestants(name, inputs, there, asked.compiled):
        if isinstance(one, str):
            failures.append(failed(name, shape, label, one))
        else:
            contestants.append(one)
    timings = measure.race(contestants, rounds=asked.rounds, seconds=asked.seconds)
    return rows_of(name, shape, inputs, contestants, timings) + failures


def _own(name: str, inputs: cases.Inputs) -> Iterator[Contestant]:
    """Our program; for an objective also its terms one by one."""
    arguments = cases.arguments(name, inputs)
    yield measure.compiled(OURS, cases.objective(name), arguments)
    terms = list(cases.terms_of(name))
    if len(terms) > 1:
        parts = [
            measure.compiled(term, cases.objective(term), cases.arguments(term, inputs))
            for term in terms
        ]
        yield measure.in_turns(*parts, name=APART)


def load_average() -> float | None:
    """How many processes wanted a core in the last minute, where the system tells it."""
    try:
        return round(os.getloadavg()[0], 2)
    except (AttributeError, OSError):
        return None


def _write(folder: Path, measured: Measured, asked: Settings) -> None:
    rows, machine, absent = measured.rows, measured.machine, measured.absent
    document = {
        "settings": dataclasses.asdict(asked),
        "machine": machine,
        "absent_peers": absent,
        "rows": [dataclasses.asdict(row) for row in rows],
    }
    files.write_json(folder / "cost.json", document)
    files.write_text(folder / "cost.csv", rows_csv(rows, machine))
    files.write_text(folder / "cost.md", table.markdown(rows, machine, absent, asked.command))


def _told(rows: Sequence[Row]) -> str:
    return "; ".join(
        f"{row.implementation} failed: {row.error}"
        if row.error
        else f"{row.implementation} {row.milliseconds:.3g} ms"
        for row in rows
    )


@contextmanager
def no_compile_cache() -> Iterator[None]:
    """Compile times are those of compiling."""
    before = jax.config.jax_enable_compilation_cache  # pyright: ignore[reportAttributeAccessIssue]
    jax.config.update("jax_enable_compilation_cache", False)
    try:
        yield
    finally:
        jax.config.update("jax_enable_compilation_cache", before)
