"""Checks of what labels do: degenerate ones, their order, their names, their dtype."""

import numpy as np

from lossbench.testing import cases
from lossbench.testing.cases import Case
from lossbench.testing.compare import change, close, not_finite
from lossbench.testing.subject import Subject
from lossbench.testing.verdict import Finding, failed, not_applicable, passed


def right_costs_less(subject: Subject) -> Finding:
    """A right prediction costs less than none, and than a wrong one."""
    case = subject.random()
    sure = 3 * cases.signs(case.ids, subject.classes)
    right, none, wrong = (
        subject.value(case._replace(logits=(x * sure).astype(np.float32))) for x in (1, 0, -1)
    )
    costs = f"right {np.mean(right):.3g}, none {np.mean(none):.3g}, wrong {np.mean(wrong):.3g}"
    if not (np.all(right < none) and np.all(right < wrong)):
        return failed(costs)
    return passed(costs)


def empty_mask(subject: Subject) -> Finding:
    """Every pixel is background."""
    return _degenerate(subject, "empty")


def full_mask(subject: Subject) -> Finding:
    """Every pixel is class 1."""
    return _degenerate(subject, "full")


def one_pixel(subject: Subject) -> Finding:
    """One pixel is class 1, the others background."""
    return _degenerate(subject, "one pixel")


def absent_class(subject: Subject) -> Finding:
    """The last class is nowhere."""
    if subject.classes < 3:
        return not_applicable("fewer than three classes")
    return _degenerate(subject, "absent class")


def _degenerate(subject: Subject, kind: str) -> Finding:
    for logits, case in cases.sides(cases.degenerate(subject.random(), kind)).items():
        if wrong := not_finite(subject.evaluate(case)):
            return failed(f"{wrong} with {logits}")
    return passed("value and gradient finite")


def class_permutation(subject: Subject) -> Finding:
    """Classes renamed in logits and labels cost the same: none but the background is special."""
    if subject.classes < 3:
        return not_applicable("fewer than three classes")
    case = subject.random()
    # Rare and common classes: with equal shares a weight by number would hide.
    case = case._replace(ids=np.where(case.logits[..., 0] > 0.5, case.ids, 1).astype(np.int32))
    before = subject.value(case)
    foreground = subject.value(_renamed(case, (0, 2, 1)))
    if not close(before, foreground):
        return failed(f"classes 1 and 2 exchanged: {change(before, foreground)}")
    background = subject.value(_renamed(case, (1, 2, 0)))
    if close(before, background):
        return passed("the value stays the same")
    if subject.special_background:
        return passed("the value stays the same; class 0, the background, is special")
    return failed(
        f"class 0 is special: {change(before, background)}. If that is meant: background=True"
    )


def _renamed(case: Case, names: tuple[int, ...]) -> Case:
    """Class c is called `names[c]`."""
    logits = np.empty_like(case.logits)
    logits[..., list(names)] = case.logits
    return case._replace(logits=logits, ids=np.asarray(names, case.ids.dtype)[case.ids])


def label_dtype(subject: Subject) -> Finding:
    """Ids of one byte mean what ids of four mean, also where 300 pixels are counted."""
    if subject.segmentation.labels == "one_hot":
        return not_applicable("labels are no class ids")
    case = subject.random(space=(36, 25))
    expected = subject.value(case)
    try:
        value = subject.value(case._replace(ids=case.ids.astype(np.uint8)))
    except Exception as error:  # whatever somebody's loss raises
        return not_applicable(f"refuses ids of uint8 ({type(error).__name__})")
    if not close(expected, value):
        return failed(f"ids of uint8 instead of int32: {change(expected, value)}")
    return passed("ids of uint8 and int32 cost the same")
