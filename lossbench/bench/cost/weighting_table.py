"""The table of what weightings cost, as text for a terminal and as Markdown for a file."""

import dataclasses
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lossbench.bench.cost.rows import OURS
from lossbench.bench.cost.table import aligned, digits, doubts, fixed, piped
from lossbench.bench.cost.weighting import LAST_LAYER, LOOKING, LOSSES
from lossbench.bench.cost.weighting_rows import LAST, PLAIN, TORCH_PLAIN, Row

_HEAD = (
    "weighting",
    "ms",
    "x plain",
    "quartiles",
    "limit",
    "x memory",
    "compile s",
    "last layer",
    "torchjd ms",
    "x plain",
    "its / ours",
)
_LEFT = (0,)
NOTES = (
    "ms: the gradient of one training step of a U-Net (forward pass, terms, their gradients, the"
    " combined one; no optimizer), median over rounds in which all took turns. x plain: against the"
    " plain sum of the same terms, which is one backward pass with its forward pass, in the same"
    " library and the same round; median and quartiles of these ratios. All gradients share one"
    " forward pass. x memory: scratch memory of the program, against the plain sum's. last layer:"
    f" x plain where it looks at the gradients of {LAST_LAYER} alone. torchjd: the fastest of its"
    " ways, eager, on the same network; its / ours: their times."
)


@dataclasses.dataclass(frozen=True)
class Line:
    """One weighting of so many terms at one shape."""

    ours: Row
    last: Row | None
    peers: tuple[Row, ...]

    @property
    def best(self) -> Row | None:
        """The fastest way of the peer that looks at all parameters."""
        whole = [row for row in self.peers if "last layer" not in row.implementation]
        return min(whole, key=lambda row: row.milliseconds or 0, default=None)

    @property
    def ratio(self) -> float | None:
        """How many times longer the peer takes."""
        if not self.best or not self.best.milliseconds or not self.ours.milliseconds:
            return None
        return self.best.milliseconds / self.ours.milliseconds


def lines(rows: Sequence[Row]) -> list[Line]:
    """One line a weighting, number of terms and shape, in the order of the run."""
    return [_line(row, rows) for row in rows if row.implementation == OURS]


def _line(ours: Row, rows: Sequence[Row]) -> Line:
    case = [row for row in rows if _case(row) == _case(ours)]
    last = [row for row in case if row.implementation == LAST and row.milliseconds]
    return Line(ours, last[0] if last else None, tuple(row for row in case if row.is_peer))


def _case(row: Row) -> tuple[str, int, str]:
    return (row.shape, row.terms, row.method)


def targets(lines: Sequence[Line]) -> list[tuple[str, str]]:
    """Each target that the run can tell of, with "met" or what misses it."""
    found = []

    def target(text: str, asked: Sequence[Line], value: Callable[[Line], float | None]) -> None:
        """Adds a target; `value` is above 1 where it is missed."""
        known = [(line, value(line)) for line in asked]
        known = [(line, times) for line, times in known if times is not None]
        missed = [_missed(line) for line, times in known if times > 1]
        if known:
            found.append((text, f"missed by {', '.join(missed)}" if missed else "met"))

    def over_limit(line: Line) -> float | None:
        ours = line.ours
        return ours.times_plain / ours.limit if ours.times_plain and ours.limit else None

    def slower(line: Line) -> float | None:
        return 1 / line.ratio if line.ratio else None

    looking = [line for line in lines if line.ours.form in LOOKING]
    others = [line for line in lines if line.ours.form not in LOOKING]
    target("weights of losses: at most 1.05 backward passes", others, over_limit)
    target("weights of gradients: at most T + 0.3 backward passes", looking, over_limit)
    target("at least as fast as TorchJD", lines, slower)
    return found


def _missed(line: Line) -> str:
    ours = line.ours
    ratio = f", TorchJD {line.ratio:.2f}" if line.ratio else ""
    return f"{ours.method} with {ours.terms} at {ours.shape} ({_fixed(ours.times_plain)}{ratio})"


def text(rows: Sequence[Row], machine: Mapping[str, Any], absent: Mapping[str, str]) -> list[str]:
    """The tables, one a shape and number of terms, and what they come to."""
    found = lines(rows)
    out = []
    for shape, terms in dict.fromkeys((row.shape, row.terms) for row in rows):
        here = [line for line in found if (line.ours.shape, line.ours.terms) == (shape, terms)]
        out += [_title(rows, shape, terms), *aligned([_HEAD, *map(_cells, here)], _LEFT), ""]
        out += [*_failures(rows, shape, terms), ""]
    return [*out, *_ending(found, machine, absent)]


def markdown(
    rows: Sequence[Row], machine: Mapping[str, Any], absent: Mapping[str, str], command: str
) -> str:
    """The same as a document, with every implementation, the machine and the versions."""
    found = lines(rows)
    out = ["# Cost of the weightings", "", f"`{command}`", "", NOTES, ""]
    out += [f"The terms, in this order: {', '.join(LOSSES)}.", ""]
    for shape, terms in dict.fromkeys((row.shape, row.terms) for row in rows):
        here = [line for line in found if (line.ours.shape, line.ours.terms) == (shape, terms)]
        out += [f"## {_title(rows, shape, terms)}", ""]
        out += [*piped([_HEAD, *map(_cells, here)]), ""]
        out += [f"- {line}" for line in _failures(rows, shape, terms)]
        everyone = dict.fromkeys(row.implementation for line in here for row in _all(line))
        if set(everyone) - {OURS}:
            table = [("x plain", *everyone)]
            table += [(line.ours.method, *_times(line, everyone)) for line in here]
            out += ["", "All ways, against the plain sum in the same library:", "", *piped(table)]
        out += [""]
    out += ["## Summary", "", *(f"- {line}" for line in _ending(found, machine, absent)), ""]
    out += ["## Machine", "", *piped([("what", "is"), *((k, str(v)) for k, v in machine.items())])]
    return "\n".join(out) + "\n"


def _all(line: Line) -> list[Row]:
    return [row for row in (line.ours, line.last, *line.peers) if row]


def _times(line: Line, names: Sequence[str] | dict[str, None]) -> list[str]:
    times = {row.implementation: row.times_plain for row in _all(line)}
    return [_fixed(times.get(name)) for name in names]


def _title(rows: Sequence[Row], shape: str, terms: int) -> str:
    def plain(name: str) -> float | None:
        here = [
            row.milliseconds
            for row in rows
            if (row.implementation, row.shape, row.terms) == (name, shape, terms)
            and row.milliseconds
        ]
        return statistics.median(here) if here else None

    ours, torch = plain(PLAIN), plain(TORCH_PLAIN)
    beside = f", PyTorch's {digits(torch)} ms" if torch else ""
    return f"{shape}, {terms} {'term' if terms == 1 else 'terms'}: the plain sum takes " + (
        f"{digits(ours)} ms{beside}"
    )


def _cells(line: Line) -> tuple[str, ...]:
    ours, last, best = line.ours, line.last, line.best
    if ours.error:
        return (ours.method, "failed", *[""] * (len(_HEAD) - 2))
    return (
        ours.method,
        digits(ours.milliseconds),
        _fixed(ours.times_plain),
        f"{_fixed(ours.times_plain_low)} to {_fixed(ours.times_plain_high)}",
        _fixed(ours.limit),
        _fixed(ours.temporary_to_plain),
        _fixed(ours.compile_seconds),
        _fixed(last.times_plain if last else None),
        digits(best.milliseconds if best else None) + ("*" if best and best.other_value else ""),
        _fixed(best.times_plain if best else None),
        _fixed(line.ratio),
    )


def _fixed(value: float | None) -> str:
    return fixed(value, 2)


def _failures(rows: Sequence[Row], shape: str, terms: int) -> list[str]:
    return [
        f"{row.method}, {row.implementation}: failed: {row.error}"
        for row in rows
        if row.error and (row.shape, row.terms) == (shape, terms)
    ]


def _ending(
    found: Sequence[Line], machine: Mapping[str, Any], absent: Mapping[str, str]
) -> list[str]:
    ending = [f"peer {name} is absent: {why}" for name, why in absent.items()]
    ratios = [line.ratio for line in found if line.ratio]
    if ratios:
        mean = statistics.geometric_mean(ratios)
        ending.append(f"TorchJD / ours, geometric mean over {len(ratios)}: {mean:.2f}")
    else:
        ending.append("no peer was measured")
    if any(row.other_value for line in found for row in line.peers):
        ending.append("*: the peer's terms have other values than ours: the networks differ")
    ending += [f"target: {target}: {how}" for target, how in targets(found)]
    return [*ending, *doubts(machine)]
