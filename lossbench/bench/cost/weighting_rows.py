"""The numbers of weightings: one row a weighting, number of terms, shape and implementation."""

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence

import numpy as np

from lossbench.bench.cost import weighting
from lossbench.bench.cost.cases import shape_text
from lossbench.bench.cost.measure import Contestant, Timing
from lossbench.bench.cost.rows import OURS
from lossbench.weighting import WEIGHTINGS

PLAIN = "plain sum"
LAST = "lossbench, last layer"
TORCH_PLAIN = "torch, plain sum"
# Rows of these are compared with a plain sum; all but ours with PyTorch's.
OWN = (OURS, LAST, PLAIN)


@dataclasses.dataclass(frozen=True)
class Row:
    """One implementation of one weighting; what is not known is None.

    Attributes:
        method: the weighting.
        form: of it, as the catalog has it.
        shape: batch, space and classes, as text.
        terms: how many losses.
        implementation: "lossbench"; "lossbench, last layer" (looks at the gradients of that layer
            alone); "plain sum" (no weighting: one backward pass); "torch, plain sum"; or a peer.
        error: why there are no numbers.
        milliseconds: forward pass, terms, their gradients and the combined one; the median over
            rounds.
        fastest_milliseconds: the least over rounds.
        all_cores_milliseconds: the work of all cores of the host together, the median over rounds.
        rounds: how many there were.
        times_plain: against the plain sum in the same library: the median over rounds of the ratio
            within a round.
        times_plain_low: the lower quartile of these ratios.
        times_plain_high: the upper one.
        limit: what `times_plain` is meant to be at most; None if nothing is asked.
        compile_seconds: tracing and compiling.
        temporary_bytes: scratch memory of the program, beside arguments and results.
        temporary_to_plain: that against the plain sum's.
        value: the sum of the terms, unweighted.
        other_value: true if it is not ours, to three digits: then the network or a term differs.
    """

    method: str
    form: str
    shape: str
    terms: int
    implementation: str
    error: str | None = None
    milliseconds: float | None = None
    fastest_milliseconds: float | None = None
    all_cores_milliseconds: float | None = None
    rounds: int = 0
    times_plain: float | None = None
    times_plain_low: float | None = None
    times_plain_high: float | None = None
    limit: float | None = None
    compile_seconds: float | None = None
    temporary_bytes: int | None = None
    temporary_to_plain: float | None = None
    value: float | None = None
    other_value: bool | None = None

    @property
    def is_peer(self) -> bool:
        """True for another library's form of the weighting that was measured."""
        return self.implementation not in (*OWN, TORCH_PLAIN) and self.milliseconds is not None


def failed(method: str, shape: Sequence[int], terms: int, implementation: str, error: str) -> Row:
    """The row of what could not be measured."""
    form = WEIGHTINGS[method].form
    return Row(method, form, shape_text(shape), terms, implementation, error=error)


def rows_of(
    method: str,
    shape: Sequence[int],
    terms: int,
    contestants: Sequence[Contestant],
    timings: Mapping[str, Timing],
) -> list[Row]:
    """The rows of one race; the plain sums are among the contestants."""
    programs = {one.name: one.program for one in contestants}
    plain = programs.get(PLAIN)
    made = []
    for one in contestants:
        timing = timings[one.name]
        if timing.error or not timing.seconds:
            why = timing.error or "no round was taken"
            made.append(failed(method, shape, terms, one.name, why))
            continue
        base = timings.get(PLAIN if one.name in OWN else TORCH_PLAIN)
        low, ratio, high = _quartiles(timing, base)
        temporary = one.program.temporary_bytes if one.program else None
        plain_bytes = plain.temporary_bytes if plain and one.name in OWN else None
        made.append(
            Row(
                method,
                WEIGHTINGS[method].form,
                shape_text(shape),
                terms,
                one.name,
                milliseconds=1e3 * timing.median,
                fastest_milliseconds=1e3 * min(timing.seconds),
                all_cores_milliseconds=1e3 * statistics.median(timing.busy),
                rounds=len(timing.seconds),
                times_plain=ratio,
                times_plain_low=low,
                times_plain_high=high,
                limit=_limit(method, terms) if one.name == OURS else None,
                compile_seconds=one.program.compile_seconds if one.program else None,
                temporary_bytes=temporary,
                temporary_to_plain=temporary / plain_bytes if temporary and plain_bytes else None,
                value=timing.value,
                other_value=_differs(timing, timings.get(PLAIN)),
            )
        )
    return made


def _limit(method: str, terms: int) -> float:
    return weighting.limit(WEIGHTINGS[method].form, terms)


def _quartiles(
    timing: Timing, base: Timing | None
) -> tuple[float, float, float] | tuple[None, None, None]:
    """Of the ratios to the plain sum, each within a round, so that a slow moment is both's."""
    if base is None or not base.seconds:
        return None, None, None
    ratios = [a / b for a, b in zip(timing.seconds, base.seconds, strict=True)]
    low, middle, high = np.quantile(ratios, (0.25, 0.5, 0.75)).tolist()
    return low, middle, high


def _differs(timing: Timing, plain: Timing | None) -> bool | None:
    if plain is None or plain.value is None or timing.value is None:
        return None
    return not math.isclose(timing.value, plain.value, rel_tol=1e-3)
