"""Checks of precision: half types, and sums over many pixels."""

import numpy as np

from lossbench.testing import cases
from lossbench.testing.compare import not_finite, number
from lossbench.testing.masks import harmless
from lossbench.testing.numbers import first_not_finite
from lossbench.testing.subject import PIXELS, Subject
from lossbench.testing.verdict import FAILED, Finding, failed, not_applicable, passed

TOLERANCE = 1e-3  # of a value from half precision
LARGE = (256, 256, 257)  # beyond 2^24, where float32 stops counting
LARGE_FLAT = (4096, 4112)
PART, PART_FLAT = (16, 16, 257), (64, 16)
FEW = (4, 8)


def float16(subject: Subject) -> Finding:
    """Inputs of float16."""
    return _half(subject, "float16")


def bfloat16(subject: Subject) -> Finding:
    """Inputs of bfloat16."""
    return _half(subject, "bfloat16")


def _half(subject: Subject, dtype: str) -> Finding:
    """Finite, and near the value that float32 gives for the very same inputs."""
    saturated = cases.saturated(subject.random())
    if wrong := first_not_finite(subject, saturated, dtype):
        return failed(wrong)
    given = subject.evaluate(next(iter(saturated.values())), dtype=dtype).value_dtype
    if subject.takes_mask:
        case = cases.part_masked(subject.random())
        rubbish = cases.soiled(case, np.nan, harmless(subject, 255))
        if wrong := first_not_finite(subject, {"NaN under the mask": rubbish}, dtype):
            return failed(wrong)
    # Half a million pixels of one example: more than float16 can hold, or bfloat16 count.
    small = cases.random(subject.classes, batch=1, space=(32, 32))
    easy = small._replace(logits=small.logits / 4 + 2.5 * cases.signs(small.ids, subject.classes))
    worst = 0.0
    for kind, case in {"ordinary": small, "good": easy}.items():
        case = cases.tiled(case._replace(logits=_rounded(case.logits, dtype)), (23, 23))
        pixels = f"{case.ids.size} pixels ({kind} predictions)"
        value, full = subject.value(case, dtype=dtype), subject.value(case)
        error = np.max(np.abs(value - full) / np.maximum(np.abs(full), 1e-6))
        worst = max(worst, float(error))
        if not np.all(np.abs(value - full) <= TOLERANCE * np.abs(full) + _rounding(full, given)):
            return failed(f"{pixels} cost {number(value)}, in float32 {number(full)}")
        if subject.kind == PIXELS:
            continue
        if wrong := not_finite(subject.evaluate(case, dtype=dtype)):
            return failed(f"{wrong} at {pixels}")
    return passed(f"finite; {worst:.2g} from the value in float32")


def sums(subject: Subject) -> Finding:
    """A picture of 2^18 pixels costs what its part costs: no count overflows."""
    other = _few_classes(subject)
    if other.kind == PIXELS:
        return not_applicable("the sum over pixels is left to the caller")
    # Counts of one byte overflow before the part of the next comparison is full. So few pixels feel
    # a smoothing constant more than in proportion, hence the tolerance.
    bytes_wrong = _tiled(other, FEW, (16, 64), "2^10 pixels", tolerance=0.25)
    if bytes_wrong.state == FAILED:
        return bytes_wrong
    return _tiled(other, (50, 20), (500, 540), "2^18 pixels")


def large_sums(subject: Subject) -> Finding:
    """The same for a little more than 256^3 voxels, where float32 stops counting."""
    other = _few_classes(subject)
    if other.kind == PIXELS:
        return not_applicable("the sum over pixels is left to the caller")
    try:
        other.value(cases.random(other.classes, batch=1, space=PART))
    except Exception:  # many losses take two axes of space only
        return _tiled(other, PART_FLAT, LARGE_FLAT, "2^24 pixels")
    return _tiled(other, PART, LARGE, "256^3 voxels")


def _few_classes(subject: Subject) -> Subject:
    """The loss with two classes, to save memory, if it runs with two."""
    if subject.classes <= 2:
        return subject
    assert subject.rebuild is not None
    other = subject.rebuild(subject.segmentation._replace(classes=2))
    try:
        other.value(other.random(batch=1, space=FEW))
    except Exception:  # a loss of so many classes only
        return subject
    return other


def _tiled(
    subject: Subject,
    part: tuple[int, ...],
    space: tuple[int, ...],
    what: str,
    *,
    tolerance: float = 1e-4,
) -> Finding:
    """The cost of a tiled picture follows from four small ones.

    A mean, or a ratio with its smoothing, is linear in one over the number of tiles; with pixels
    that are special at the border, in one over the tiles along each axis.
    """
    base = cases.random(subject.classes, batch=1, space=part)
    # Unequal shares, for overflows that would hit all classes alike. Mostly right, so that many
    # pixels cost little: what a running sum loses first.
    rare = np.random.default_rng(0).random(base.ids.shape) < 0.3
    base = base._replace(ids=np.where(rare, base.ids, 0).astype(np.int32))
    base = base._replace(logits=base.logits / 2 + cases.signs(base.ids, subject.classes))
    rest = (1,) * (len(part) - 2)

    def cost(rows: int, columns: int) -> float:
        return float(np.mean(subject.value(cases.tiled(base, (rows, columns, *rest)))))

    rows, columns = (a // b for a, b in zip(space[:2], part[:2], strict=True))
    one, high, wide, four = cost(1, 1), cost(2, 1), cost(1, 2), cost(2, 2)
    if abs(four - 4 * one) < 0.05 * abs(four):
        one, high, wide, four = one, high / 2, wide / 2, four / 4
        factor = rows * columns
    elif abs(four - one) < 0.1 * abs(one):
        factor = 1
    else:
        return not_applicable("the cost of a tiled picture is neither that of its part nor a sum")
    corner = 4 * (one - high - wide + four)
    along, across = 2 * (one - high) - corner, 2 * (one - wide) - corner
    limit = one - along - across - corner
    expected = factor * (limit + along / rows + across / columns + corner / (rows * columns))
    found = cost(rows, columns)
    if subject.segmentation.where is not None and len(part) == 2:
        whole = cases.tiled(base, (rows, columns))
        counted = np.mean(subject.value(cases.masked(whole, np.ones(whole.ids.shape, bool))))
        if not abs(counted - found) <= TOLERANCE * abs(found):
            return failed(f"{what} cost {found:.6g}, with a mask that keeps all {counted:.6g}")
    error = abs(found - expected) / max(abs(expected), 1e-30)
    if not error < tolerance:
        return failed(f"{what} cost {found:.6g}, the same picture in small {expected:.6g}")
    return passed(f"{what} cost what the same picture costs in small, to {error:.1g}")


def _rounding(value: np.ndarray, dtype: str) -> np.ndarray:
    """How far the nearest number of a half type may be; 0 for other types."""
    if dtype == "float16":
        return np.spacing(np.abs(value).astype(np.float16)).astype(np.float64) / 2
    return np.abs(value) * (1 / 256 if dtype == "bfloat16" else 0.0)


def _rounded(x: np.ndarray, dtype: str) -> np.ndarray:
    """The nearest values that the half type holds; by truncation for bfloat16."""
    if dtype == "float16":
        return x.astype(np.float16).astype(np.float32)
    return (np.ascontiguousarray(x, np.float32).view(np.uint32) & 0xFFFF0000).view(np.float32)
