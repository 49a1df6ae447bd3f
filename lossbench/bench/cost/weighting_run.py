"""`lossbench cost weighting`: measures every weighting at every number of terms."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lossbench.bench import environment, files
from lossbench.bench.cost import cases, measure, memory, weighting, weighting_figure
from lossbench.bench.cost import weighting_rows as rows
from lossbench.bench.cost import weighting_table as table
from lossbench.bench.cost import weighting_torch as peer
from lossbench.bench.cost.measure import Contestant
from lossbench.bench.cost.rows import OURS, rows_csv
from lossbench.bench.cost.run import load_average, no_compile_cache
from lossbench.bench.cost.weighting_rows import Row
from lossbench.weighting import WEIGHTINGS

PEER = "torchjd"


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is measured and how.

    Attributes:
        methods: names of weightings.
        terms: how many losses.
        shapes: of the logits: batch, space, classes.
        peers: whether TorchJD is measured, too.
        rounds: at most so many for each weighting, number and shape, at least three.
        seconds: no further round after so many.
        command: what the user called, for the report.
        keep_memory: whether freed memory is kept in the process, see `memory`.
    """

    methods: tuple[str, ...]
    terms: tuple[int, ...]
    shapes: tuple[tuple[int, ...], ...]
    peers: bool
    rounds: int
    seconds: float
    command: str
    keep_memory: bool = False


def settings(
    methods: Sequence[str], terms: str, shapes: Sequence[str], peers: str, **others: Any
) -> Settings:
    """Settings from what a user wrote.

    Raises:
        ValueError: for an unknown weighting or peer, or a shape or number out of range.
    """
    if peers not in ("all", "none", PEER):
        raise ValueError(f"--peers={peers}: the peer of weightings is {PEER}; all or none")
    chosen = Settings(
        weighting.names(methods),
        _numbers(terms),
        tuple(dict.fromkeys(cases.parse_shape(shape) for shape in shapes or weighting.SHAPES)),
        peers != "none",
        **others,
    )
    for shape in chosen.shapes:
        weighting.check_shape(shape)
    if chosen.rounds < 1:
        raise ValueError(f"--rounds={chosen.rounds}: at least 1 is needed")
    if not chosen.seconds >= 0:
        raise ValueError(f"--seconds={chosen.seconds}: at least 0 is needed")
    return chosen


def _numbers(text: str) -> tuple[int, ...]:
    most = len(weighting.LOSSES)
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and 1 <= int(part) <= most for part in parts):
        raise ValueError(f"--terms={text}: expected numbers from 1 to {most}, such as 2,3,8")
    return tuple(dict.fromkeys(int(part) for part in parts))


@dataclasses.dataclass(frozen=True)
class Measured:
    """What a run gave.

    Attributes:
        rows: the numbers.
        machine: device, versions, date, as `environment` has them, and the peer's versions.
        absent: the peer if it could not be imported, and why.
    """

    rows: list[Row]
    machine: dict[str, Any]
    absent: dict[str, str]


def cost(asked: Settings, folder: Path, *, say: Callable[[str], None]) -> Measured:
    """Measures, and writes `weighting-cost.csv`, `.json`, `.md`, `.png` and `.svg`.

    The table is written after every weighting: what was measured outlives an interruption.
    """
    folder.mkdir(parents=True, exist_ok=True)
    freed = memory.keep_freed_memory() if asked.keep_memory else memory.DEFAULT
    there, absent = peer.load() if asked.peers else (None, {})
    for name, why in absent.items():
        say(f"peer {name} is absent: {why}")
    machine = {
        **environment.environment(),
        "load_average": load_average(),
        "freed_memory": freed,
        **(there.versions if there else {}),
    }
    measured = Measured([], machine, absent)
    done, total = 0, len(asked.shapes) * len(asked.terms) * len(asked.methods)
    with no_compile_cache():
        for shape in asked.shapes:
            problem = weighting.make_problem(shape)
            for terms in asked.terms:
                plain = _plain(problem, terms, there)
                for method in asked.methods:
                    made = measure_case(method, problem, terms, plain, there, asked)
                    measured.rows.extend(made)
                    _write(folder, measured, asked)
                    done += 1
                    place = f"{cases.shape_text(shape)} {terms} terms {method}"
                    say(f"[{done}/{total}] {place}: {_told(made)}")
    weighting_figure.write(folder, measured.rows)
    return measured


def _plain(problem: weighting.Problem, terms: int, there: peer.TorchJD | None) -> list[Contestant]:
    """The plain sums that all weightings of so many terms are compared with."""
    ours = weighting.contestant(rows.PLAIN, problem, None, terms)
    return [ours, peer.plain(rows.TORCH_PLAIN, there, problem, terms)] if there else [ours]


def measure_case(
    method: str,
    problem: weighting.Problem,
    terms: int,
    plain: Sequence[Contestant],
    there: peer.TorchJD | None,
    asked: Settings,
) -> list[Row]:
    """One weighting of so many terms, its peers and the plain sums, in one race."""
    contestants, failures = [], []

    def add(label: str, make: Callable[[], Contestant]) -> None:
        try:
            contestants.append(make())
        except Exception as error:  # whatever a library raises is its row
            why = measure.reason(error)
            failures.append(rows.failed(method, problem.shape, terms, label, why))

    add(OURS, lambda: weighting.contestant(OURS, problem, method, terms))
    if WEIGHTINGS[method].form in weighting.SHARING:
        last = weighting.LAST_LAYER
        add(rows.LAST, lambda: weighting.contestant(rows.LAST, problem, method, terms, last))
    made = peer.contestants(method, there, problem, terms) if there else {}
    for label, make in made.items():
        add(label, make)
    used = plain if made else plain[:1]
    contestants = [*used, *contestants]
    timings = measure.race(contestants, rounds=asked.rounds, seconds=asked.seconds)
    return rows.rows_of(method, problem.shape, terms, contestants, timings) + failures


def _write(folder: Path, measured: Measured, asked: Settings) -> None:
    document = {
        "settings": dataclasses.asdict(asked),
        "machine": measured.machine,
        "absent_peers": measured.absent,
        "rows": [dataclasses.asdict(row) for row in measured.rows],
    }
    files.write_json(folder / "weighting-cost.json", document)
    files.write_text(folder / "weighting-cost.csv", rows_csv(measured.rows, measured.machine))
    text = table.markdown(measured.rows, measured.machine, measured.absent, asked.command)
    files.write_text(folder / "weighting-cost.md", text)


def _told(made: Sequence[Row]) -> str:
    return "; ".join(
        f"{row.implementation} failed: {row.error}"
        if row.error
        else f"{row.implementation} {row.milliseconds:.3g} ms"
        for row in made
    )
