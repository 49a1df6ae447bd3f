"""Checks of what must have no influence: masked pixels, padding, other examples."""

import numpy as np

from lossbench.testing import cases
from lossbench.testing.cases import Case
from lossbench.testing.compare import change, close
from lossbench.testing.subject import SCALAR, Subject
from lossbench.testing.verdict import Finding, failed, passed

KEPT = 4  # rows of the six


def mask_leak(subject: Subject) -> Finding:
    """Finite logits and labels under the mask change neither the value nor the gradient."""
    case = cases.part_masked(subject.random(), KEPT)
    expected = subject.evaluate(case)
    label = harmless(subject, (case.ids.max() + 1) % max(subject.classes, 2))
    changed = cases.soiled(case, 7.0, label)._replace(rubbish=None)
    logits = changed.logits.copy()
    logits[:, KEPT:, :, 0] = -7.0
    result = subject.evaluate(changed._replace(logits=logits))
    if not close(expected.value, result.value):
        return failed(f"other logits under the mask: {change(expected.value, result.value)}")
    if np.any(result.gradient[:, KEPT:] != 0):
        return failed(
            f"gradient under the mask up to {np.max(np.abs(result.gradient[:, KEPT:])):.2g}"
        )
    if not close(expected.gradient, result.gradient):
        return failed("other logits under the mask change the gradient elsewhere")
    return passed("what is under the mask changes nothing")


def masked_nan(subject: Subject) -> Finding:
    """NaN, infinity and impossible ids under the mask reach neither value nor gradient."""
    case = cases.part_masked(subject.random(), KEPT)
    expected = subject.evaluate(case)
    for rubbish, label in ((np.nan, 255), (np.inf, -1000), (-np.inf, subject.classes)):
        result = subject.evaluate(cases.soiled(case, rubbish, harmless(subject, label)))
        for name, was, x in (
            ("value", expected.value, result.value),
            ("gradient", expected.gradient, result.gradient),
        ):
            if not np.all(np.isfinite(x)):
                return failed(
                    f"logits of {rubbish}, ids of {label} under the mask: {name} not finite"
                )
            if not close(was, x):
                return failed(
                    f"logits of {rubbish}, ids of {label} under the mask change the {name}"
                )
    return passed("NaN, inf and impossible ids under the mask reach nothing")


def masked_is_removed(subject: Subject) -> Finding:
    """A masked border costs what the cropped picture costs: means divide by counted pixels."""
    case = cases.part_masked(subject.random(), KEPT)
    whole = subject.evaluate(case)
    crop = subject.evaluate(cases.take(case, np.s_[:, :KEPT])._replace(where=None))
    if not close(crop.value, whole.value):
        costs = change(crop.value, whole.value)
        return failed(f"two of six rows masked instead of cropped: {costs}")
    if not close(crop.gradient, whole.gradient[:, :KEPT]):
        return failed("the gradient differs from that of the cropped picture")
    return passed("masked costs what cropped costs")


def all_masked(subject: Subject) -> Finding:
    """An example that is masked whole costs 0, with gradient 0, and NaN for nobody."""
    case = subject.random()
    where = np.ones(case.ids.shape, bool)
    where[1] = False
    result = subject.evaluate(cases.masked(case, where))
    if not np.all(np.isfinite(result.value)) or not np.all(np.isfinite(result.gradient)):
        return failed("value or gradient NaN or infinite")
    if np.any(result.gradient[1] != 0):
        return failed("its gradient is not 0")
    if not np.any(result.gradient[0] != 0):
        return failed("the gradient of the other examples is 0")
    if subject.kind != SCALAR and abs(result.value[1]) > 1e-6:
        return failed(f"costs {result.value[1]:.4g} instead of 0")
    nothing = subject.evaluate(cases.masked(case, np.zeros_like(where)))
    if not np.all(np.isfinite(nothing.value)) or not np.all(np.isfinite(nothing.gradient)):
        return failed("a batch with nothing to count: value or gradient NaN or infinite")
    return passed("costs 0, with gradient 0" if subject.kind != SCALAR else "finite, gradient 0")


def padded_batch(subject: Subject) -> Finding:
    """An example that pads the batch, masked and full of NaN, changes nothing for the others."""
    case = subject.random()
    where = np.ones(case.ids.shape, bool)
    where[3] = False
    padded = cases.soiled(cases.masked(case, where), np.nan, harmless(subject, 255))
    value = subject.value(padded)
    alone = subject.value(cases.take(case, np.s_[:3]))
    if subject.kind == SCALAR:  # a mean over pixels, or over examples
        if not (close(alone, value) or close(0.75 * alone, value)):
            return failed(f"a batch of 3, padded to 4: {change(alone, value)}")
        return passed("a padded batch costs what it cost")
    if not close(alone, value[:3]):
        return failed(f"a batch of 3, padded to 4: {change(alone, value[:3])}")
    return passed("the other examples cost what they cost")


def examples_do_not_mix(subject: Subject) -> Finding:
    """An example costs the same whatever else is in the batch, and alone."""
    case, other = subject.random(), subject.random(seed=1)
    before = subject.value(case)
    logits, ids = 3 * other.logits, np.minimum(other.ids, 1)
    logits[1:], ids[1:] = case.logits[1:], case.ids[1:]
    after = subject.value(Case(logits, ids))
    if not close(before[1:], after[1:]):
        return failed(f"another first example: {change(before[1:], after[1:])}")
    alone = subject.value(cases.take(case, np.s_[:1]))
    if not close(alone, before[:1]):
        return failed(f"alone {alone.ravel()[0]:.4g}, in a batch {before[0]:.4g}")
    return passed("an example costs the same alone and among others")


def harmless(subject: Subject, label: int) -> int:
    """The class id for masked pixels: this one, or the one that masks them."""
    ignored = subject.segmentation.ignored
    return label if ignored is None else ignored
