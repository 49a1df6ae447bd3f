"""What the numbers come to: each loss beside its best peer, the limit and the targets."""

import dataclasses
import statistics
from collections.abc import Sequence

from lossbench.bench.cost.rows import APART, OURS, Row

# What the project asks of itself.
FASTER = 1.2  # than the best peer, each loss
FASTER_MEAN = 2.0  # the geometric mean over losses
TIMES_LIMIT = 4.0
LIMITED = ("dice", "tversky", "focal", "cross_entropy")
LIMITED_SHAPE = "2x96^3x3"
TEMPORARY = 1.1  # of the logits' bytes
MANY_CLASSES = 100
SHARED = "dice+cross_entropy"  # one softmax for both: one exponential a logit less
ACCELERATOR_FASTER = 1.5  # than torch.compile of MONAI
ACCELERATOR_SHARE = 0.6  # of the bandwidth


@dataclasses.dataclass(frozen=True)
class Line:
    """One loss at one shape: our row, the peers' rows, the fastest of them."""

    ours: Row
    peers: tuple[Row, ...]
    apart: Row | None

    @property
    def best(self) -> Row | None:
        """The fastest peer."""
        return min(self.peers, key=lambda row: row.milliseconds or 0, default=None)

    @property
    def ratio(self) -> float | None:
        """How many times longer the best peer takes."""
        return _over(self.best, self.ours)

    @property
    def saved(self) -> float | None:
        """How many times longer an objective's terms take one by one."""
        return _over(self.apart, self.ours)

    @property
    def saved_exponentials(self) -> float | None:
        """How many exponentials a logit an objective's terms have more, one by one."""
        if not self.apart or self.apart.exponentials is None or self.ours.exponentials is None:
            return None
        return self.apart.exponentials - self.ours.exponentials

    def of(self, implementation: str) -> Row | None:
        """The row of one peer."""
        return next((row for row in self.peers if row.implementation == implementation), None)


def _over(other: Row | None, ours: Row) -> float | None:
    if other is None or not other.milliseconds or not ours.milliseconds:
        return None
    return other.milliseconds / ours.milliseconds


def lines(rows: Sequence[Row]) -> list[Line]:
    """One line a loss and shape, in the order in which they were measured."""
    return [_line(ours, rows) for ours in rows if ours.implementation == OURS]


def _line(ours: Row, rows: Sequence[Row]) -> Line:
    case = [row for row in rows if (row.loss, row.shape) == (ours.loss, ours.shape)]
    apart = [row for row in case if row.implementation == APART and row.milliseconds]
    return Line(ours, tuple(row for row in case if row.is_peer), apart[0] if apart else None)


def geometric_mean(lines: Sequence[Line]) -> float | None:
    """Of the ratios to the best peer, over what has one."""
    ratios = [line.ratio for line in lines if line.ratio]
    return statistics.geometric_mean(ratios) if ratios else None


def targets(lines: Sequence[Line], *, accelerator: bool) -> list[tuple[str, str]]:
    """Each target that the run can tell of, with "met" or what misses it."""
    compared = [line for line in lines if line.ratio]
    found = []

    def target(text: str, asked: Sequence[Line], missed: Sequence[str]) -> None:
        if asked:
            found.append((text, f"missed by {', '.join(missed)}" if missed else "met"))

    target(
        f"at least {FASTER} times faster than the best peer",
        compared,
        [f"{_case(x)} ({x.ratio:.2f})" for x in compared if (x.ratio or 0) < FASTER],
    )
    mean = geometric_mean(compared)
    if mean is not None:
        found.append(
            (
                f"geometric mean of these ratios at least {FASTER_MEAN:g}",
                f"{'met' if mean >= FASTER_MEAN else 'missed'}: {mean:.2f}",
            )
        )
    measured = [x for x in lines if x.ours.times_limit]
    limited = [x for x in measured if x.ours.loss in LIMITED and x.ours.shape == LIMITED_SHAPE]
    if accelerator:
        shares = [(x, x.ours.bandwidth_share or 0) for x in measured if x.ours.loss in LIMITED]
        target(
            f"{', '.join(LIMITED)}: at least {ACCELERATOR_SHARE:.0%} of the bandwidth",
            [x for x, _ in shares],
            [f"{_case(x)} ({share:.0%})" for x, share in shares if share < ACCELERATOR_SHARE],
        )
        ratios = [(x, _over(x.of("monai compiled"), x.ours)) for x in lines]
        known = [(x, ratio) for x, ratio in ratios if ratio]
        target(
            f"at least {ACCELERATOR_FASTER} times faster than torch.compile of MONAI",
            [x for x, _ in known],
            [f"{_case(x)} ({ratio:.2f})" for x, ratio in known if ratio < ACCELERATOR_FASTER],
        )
    else:
        target(
            f"{', '.join(LIMITED)} at {LIMITED_SHAPE}: within {TIMES_LIMIT:g} times of the limit",
            limited,
            [
                f"{x.ours.loss} ({x.ours.times_limit:.1f})"
                for x in limited
                if (x.ours.times_limit or 0) > TIMES_LIMIT
            ],
        )
    many = [
        (x, x.ours.temporary_to_logits)
        for x in lines
        if x.ours.classes >= MANY_CLASSES and x.ours.temporary_to_logits is not None
    ]
    target(
        f"temporary memory with {MANY_CLASSES} classes at most {TEMPORARY} times the logits",
        [x for x, _ in many],
        [f"{x.ours.loss} ({share:.2f})" for x, share in many if share > TEMPORARY],
    )
    shared = [x for x in lines if x.ours.loss == SHARED and x.saved_exponentials is not None]
    target(
        f"{SHARED} share one softmax: one exponential a logit less than apart",
        shared,
        [
            f"{x.ours.shape} ({x.saved_exponentials:.2f} less)"
            for x in shared
            if (x.saved_exponentials or 0) < 0.9
        ],
    )
    return found


def _case(line: Line) -> str:
    return f"{line.ours.loss} at {line.ours.shape}"
