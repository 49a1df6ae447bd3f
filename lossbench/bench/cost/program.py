"""What a compiled program tells of itself: scratch memory, bytes, exponentials."""

import dataclasses
import math
import re
from typing import Any


@dataclasses.dataclass(frozen=True)
class Program:
    """What the compiler says of a program.

    Attributes:
        compile_seconds: tracing, lowering and compiling, without any cache.
        temporary_bytes: scratch memory beside arguments and results; None if it is not told.
        accessed_bytes: what the compiler counts as read and written, cached or not.
        exponentials: exponentials, logistics and tangents that a run takes, per logit.
    """

    compile_seconds: float
    temporary_bytes: int | None = None
    accessed_bytes: float | None = None
    exponentials: float | None = None


def describe(compiled: Any, seconds: float, logits: int) -> Program:
    """The description of a compiled JAX program on so many logits."""
    memory, costs = compiled.memory_analysis(), compiled.cost_analysis() or {}
    return Program(
        seconds,
        None if memory is None else int(memory.temp_size_in_bytes),
        costs.get("bytes accessed"),
        exponentials(compiled.as_text() or "") / logits,
    )


_HEAD = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\) -> .*\{$")
_WORK = re.compile(r"= \w+\[([\d,]*)\]\S* (?:exponential|exponential-minus-one|logistic|tanh)\(")
_CALL = re.compile(r"(calls|to_apply|body|condition|branch_computations)=(\{[^}]*\}|%?[\w.\-]+)")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')


def exponentials(text: str) -> int:
    """How many values go through an exponential, a logistic or a tangent in a run of a program.

    A loop counts as often as it is known to run; once if that is not known.

    Args:
        text: the program as XLA prints it.
    """
    own: dict[str, int] = {}
    calls: dict[str, list[tuple[str, int]]] = {}
    name = entry = ""
    for line in map(str.strip, text.splitlines()):
        head = _HEAD.match(line)
        if head:
            name = head[2]
            entry = name if head[1] else entry
            own[name], calls[name] = 0, []
        elif name:
            for shape in _WORK.findall(line):
                own[name] += math.prod(int(size) for size in shape.split(",") if size)
            trips = _TRIPS.search(line)
            for _, called in _CALL.findall(line):
                times = int(trips[1]) if trips else 1
                calls[name] += [(one, times) for one in re.findall(r"[\w.\-]+", called)]

    def total(computation: str) -> int:
        inner = calls.get(computation, [])
        return own.get(computation, 0) + sum(times * total(one) for one, times in inner)

    return total(entry)
