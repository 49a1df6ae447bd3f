"""The cost table as text for a terminal and as Markdown for a file."""

from collections.abc import Mapping, Sequence
from typing import Any

from lossbench.bench.cost.rows import OURS, Row
from lossbench.bench.cost.summary import Line, geometric_mean, lines, targets

_HEAD = (
    "loss",
    "ms",
    "x limit",
    "temp MB",
    "/ logits",
    "exp / logit",
    "compile s",
    "best peer",
    "its ms",
    "its / ours",
    "apart / together",
)
BUSY = 0.3  # load a core from which times are doubtful
_LEFT = (0, 7)  # columns of text
NOTES = (
    "ms: value and gradient, median over rounds in which all took turns. x limit: against the"
    " time a copy of the logits, measured in the same rounds, leaves for reading logits and labels"
    " and writing the gradient once. temp: the program's scratch memory, beside logits and"
    " gradient. exp / logit: exponentials in the compiled program. A peer marked * has another"
    " value than our loss: another pooling, smoothing or mean of it, about the same work."
)


def text(rows: Sequence[Row], machine: Mapping[str, Any], absent: Mapping[str, str]) -> list[str]:
    """The tables, one a shape, and what they come to."""
    found = lines(rows)
    out = []
    for shape in dict.fromkeys(row.shape for row in rows):
        here = [line for line in found if line.ours.shape == shape]
        out += [_title(shape, rows), *aligned([_HEAD, *map(_cells, here)]), ""]
        out += [*_mean_line(here), *_failures(rows, shape), ""]
    return [*out, *_ending(found, machine, absent)]


def markdown(
    rows: Sequence[Row], machine: Mapping[str, Any], absent: Mapping[str, str], command: str
) -> str:
    """The same as a document, with every implementation, the machine and the versions."""
    found = lines(rows)
    out = ["# Cost of the losses", "", f"`{command}`", "", NOTES, ""]
    for shape in dict.fromkeys(row.shape for row in rows):
        here = [line for line in found if line.ours.shape == shape]
        out += [f"## {_title(shape, rows)}", "", *piped([_HEAD, *map(_cells, here)]), ""]
        out += [*_mean_line(here), "", *(f"- {line}" for line in _failures(rows, shape)), ""]
        names = dict.fromkeys(row.implementation for row in rows if row.is_peer)
        names = [n for n in names if any(line.of(n) for line in here)]
        if names:
            everyone = [("ms", OURS, *names)]
            everyone += [
                (x.ours.loss, *(_peer_cell(x, name) for name in (OURS, *names))) for x in here
            ]
            out += ["All implementations, milliseconds:", "", *piped(everyone), ""]
    out += ["## Summary", "", *(f"- {line}" for line in _ending(found, machine, absent)), ""]
    out += ["## Machine", "", *piped([("what", "is"), *((k, str(v)) for k, v in machine.items())])]
    return "\n".join(out) + "\n"


def _accelerator(machine: Mapping[str, Any]) -> bool:
    return "(cpu)" not in str(machine.get("device", "(cpu)"))


def _title(shape: str, rows: Sequence[Row]) -> str:
    size = next((row.logits_bytes for row in rows if row.shape == shape and row.logits_bytes), 0)
    return f"{shape}: {digits(size / 1e6)} MB of logits"


def _cells(line: Line) -> tuple[str, ...]:
    ours, best = line.ours, line.best
    if ours.error:
        return (ours.loss, "failed", *[""] * (len(_HEAD) - 2))
    star = "*" if best and best.other_form else ""
    return (
        ours.loss,
        digits(ours.milliseconds),
        digits(ours.times_limit),
        digits(None if ours.temporary_bytes is None else ours.temporary_bytes / 1e6),
        fixed(ours.temporary_to_logits, 2),
        fixed(ours.exponentials, 2),
        fixed(ours.compile_seconds, 2),
        f"{best.implementation}{star}" if best else "-",
        digits(best.milliseconds) if best else "-",
        fixed(line.ratio, 2),
        fixed(line.saved, 2),
    )


def _peer_cell(line: Line, name: str) -> str:
    row = line.ours if name == OURS else line.of(name)
    return digits(row.milliseconds) + ("*" if row.other_form else "") if row else ""


def _mean_line(here: Sequence[Line]) -> list[str]:
    mean, n = geometric_mean(here), sum(1 for line in here if line.ratio)
    return [f"best peer / ours, geometric mean over {n}: {mean:.2f}"] if mean else []


def _failures(rows: Sequence[Row], shape: str) -> list[str]:
    return [
        f"{row.loss}, {row.implementation}: failed: {row.error}"
        for row in rows
        if row.error and row.shape == shape
    ]


def _ending(
    found: Sequence[Line], machine: Mapping[str, Any], absent: Mapping[str, str]
) -> list[str]:
    ending = [f"peer {name} is absent: {why}" for name, why in absent.items()]
    if geometric_mean(found) is None:
        ending.append("no peer was measured")
    for target, how in targets(found, accelerator=_accelerator(machine)):
        ending.append(f"target: {target}: {how}")
    return [*ending, *doubts(machine)]


def doubts(machine: Mapping[str, Any]) -> list[str]:
    """What speaks against the times: a line if the machine had other work."""
    load, cores = machine.get("load_average"), machine.get("cpu_count")
    if not load or not cores or load <= BUSY * cores:
        return []
    return [
        f"the machine was busy before the run (load {load:.1f} on {cores} cores): times and"
        " ratios are not those of a quiet one"
    ]


def aligned(table: Sequence[Sequence[str]], left: Sequence[int] = _LEFT) -> list[str]:
    """Rows under one another; columns of text on the left, of numbers on the right."""
    widths = [max(len(row[k]) for row in table) for k in range(len(table[0]))]
    return [
        "  ".join(
            cell.ljust(width) if k in left else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    ]


def piped(table: Sequence[Sequence[str]]) -> list[str]:
    """Rows as Markdown has them."""
    cells = [[cell.replace("|", r"\|") for cell in row] for row in table]
    head, *body = ["| " + " | ".join(row) + " |" for row in cells]
    return [head, "|" + " --- |" * len(table[0]), *body]


def digits(value: float | None) -> str:
    """Three significant digits, without an exponent."""
    if value is None:
        return "-"
    if value == 0:
        return "0"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def fixed(value: float | None, digits: int) -> str:
    """So many digits after the point."""
    return "-" if value is None else f"{value:.{digits}f}"
