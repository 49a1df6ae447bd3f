"""The numbers of a cost run: one row a loss, shape and implementation."""

import csv
import dataclasses
import io
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from lossbench.bench.cost.cases import Inputs, shape_text
from lossbench.bench.cost.measure import Contestant, Timing

OURS, COPY, APART = "lossbench", "copy", "terms apart"
# Implementations that are no peers.
_OWN = (OURS, COPY, APART)


@dataclasses.dataclass(frozen=True)
class Row:
    """One implementation of one loss at one shape; what is not known is None.

    Attributes:
        loss: its name, `dice+focal` for an objective of two.
        shape: batch, space and classes, as text.
        implementation: "lossbench", a peer ("monai", "monai compiled"), "copy" (logits read and
            written once), or "terms apart" (an objective's terms, each in a program of its own).
        error: why there are no numbers.
        milliseconds: value and gradient, the median over rounds.
        fastest_milliseconds: the least over rounds.
        all_cores_milliseconds: the work of all cores of the host together, the median over rounds.
        rounds: how many there were.
        limit_milliseconds: the time that the copy's bandwidth allows for what must be moved.
        times_limit: milliseconds / limit_milliseconds.
        bandwidth_share: its inverse: least_bytes a second, against the copy's.
        compile_seconds: tracing and compiling.
        temporary_bytes: scratch memory of the program, beside arguments and results.
        temporary_to_logits: that over the bytes of the logits.
        logits_bytes: the bytes of the logits.
        least_bytes: logits read, gradient written, labels read.
        accessed_bytes: what the compiler counts.
        exponentials: exponentials in the program, per logit.
        value: of the loss; peers that compute another form of it have another one.
        other_form: true if the value is not ours, to three digits.
    """

    loss: str
    shape: str
    implementation: str
    error: str | None = None
    milliseconds: float | None = None
    fastest_milliseconds: float | None = None
    all_cores_milliseconds: float | None = None
    rounds: int = 0
    limit_milliseconds: float | None = None
    times_limit: float | None = None
    bandwidth_share: float | None = None
    compile_seconds: float | None = None
    temporary_bytes: int | None = None
    temporary_to_logits: float | None = None
    logits_bytes: int | None = None
    least_bytes: int | None = None
    accessed_bytes: float | None = None
    exponentials: float | None = None
    value: float | None = None
    other_form: bool | None = None

    @property
    def is_peer(self) -> bool:
        """True for another library's loss that was measured."""
        return self.implementation not in _OWN and self.milliseconds is not None

    @property
    def classes(self) -> int:
        """The number of classes."""
        return int(self.shape.rpartition("x")[2])


def failed(loss: str, shape: Sequence[int], implementation: str, error: str) -> Row:
    """The row of what could not be measured."""
    return Row(loss, shape_text(shape), implementation, error=error)


def rows_of(
    loss: str,
    shape: Sequence[int],
    inputs: Inputs,
    contestants: Sequence[Contestant],
    timings: Mapping[str, Timing],
) -> list[Row]:
    """The rows of one race."""
    copy, ours = timings[COPY], timings.get(OURS)
    limit = None
    if copy.seconds:
        # The copy moves the logits twice; the least a loss can do is that and its labels.
        limit = 1e3 * copy.median * inputs.least_bytes / (2 * inputs.logits_bytes)
    value = None if ours is None else ours.value
    return [_row(loss, shape, inputs, c, timings[c.name], limit, value) for c in contestants]


def _row(
    loss: str,
    shape: Sequence[int],
    inputs: Inputs,
    one: Contestant,
    timing: Timing,
    limit: float | None,
    ours: float | None,
) -> Row:
    if timing.error or not timing.seconds:
        return failed(loss, shape, one.name, timing.error or "no round was taken")
    milliseconds = 1e3 * timing.median
    program, copy = one.program, one.name == COPY
    temporary = program.temporary_bytes if program else None
    other = None
    if one.name not in _OWN and ours is not None and timing.value is not None:
        other = not math.isclose(timing.value, ours, rel_tol=1e-3, abs_tol=1e-6)
    return Row(
        loss,
        shape_text(shape),
        one.name,
        milliseconds=milliseconds,
        fastest_milliseconds=1e3 * min(timing.seconds),
        all_cores_milliseconds=1e3 * statistics.median(timing.busy) if timing.busy else None,
        rounds=len(timing.seconds),
        limit_milliseconds=limit,
        times_limit=milliseconds / limit if limit and not copy else None,
        bandwidth_share=limit / milliseconds if limit and not copy else None,
        compile_seconds=program.compile_seconds if program else None,
        temporary_bytes=temporary,
        temporary_to_logits=None if temporary is None else temporary / inputs.logits_bytes,
        logits_bytes=inputs.logits_bytes,
        least_bytes=inputs.least_bytes,
        accessed_bytes=program.accessed_bytes if program else None,
        exponentials=program.exponentials if program else None,
        value=None if one.name in (COPY, APART) else timing.value,
        other_form=other,
    )


def rows_csv(rows: Sequence[Any], machine: Mapping[str, Any]) -> str:
    """A line a row, each with the machine and the versions, so that files can be put together.

    Args:
        rows: of one dataclass, whose fields are the columns; at least one.
        machine: the same for all rows.
    """
    columns = [field.name for field in dataclasses.fields(rows[0])]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*columns, *machine])
    for row in rows:
        values = [getattr(row, column) for column in columns]
        writer.writerow(["" if v is None else v for v in (*values, *machine.values())])
    return out.getvalue()
