"""The list of checks, and `check_loss`, which runs them on one loss."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax

from lossbench._names import unknown
from lossbench.testing import discovery, labels, masks, numbers, precision, programs
from lossbench.testing.discovery import first_line
from lossbench.testing.subject import SCALAR, Subject
from lossbench.testing.verdict import Finding, Verdict, failed, not_applicable

MEMORY_LIMIT = 1.5
# A loss that cannot be traced fails these, and most others cannot look at it.
TRACED = ("jit = eager", "one trace")
UNTRACED = "cannot be traced, see jit = eager"


class Check(NamedTuple):
    """One property, and what a loss must have for it to mean anything.

    Attributes:
        function: from a loss to what was found.
        needs: of "form" (not the user's own inputs), "own" (those), "labels" (class ids that mean
            something), "mask" (an argument for it), "examples" (a value for each), "jax" (no
            PyTorch), "trace" (a program).
    """

    function: Callable[[Subject], Finding]
    needs: frozenset[str]


def _check(function: Callable[[Subject], Finding], *needs: str) -> Check:
    return Check(function, frozenset(needs))


CHECKS = {
    "finite": _check(numbers.finite, "own"),
    "right costs less": _check(labels.right_costs_less, "form", "labels"),
    "saturated logits": _check(numbers.saturated_logits, "form"),
    "equal logits": _check(numbers.equal_logits, "form"),
    "gamma 0 and .5": _check(numbers.small_gamma, "form"),
    "gradient": _check(numbers.gradient),
    "gradient dtype": _check(numbers.gradient_dtype),
    "gradient not dead": _check(numbers.alive),
    "second derivative": _check(numbers.second_derivative),
    "float16": _check(precision.float16, "form"),
    "bfloat16": _check(precision.bfloat16, "form"),
    "2^18 pixels": _check(precision.sums, "form"),
    "256^3 sums": _check(precision.large_sums, "form"),
    "empty mask": _check(labels.empty_mask, "form", "labels"),
    "full mask": _check(labels.full_mask, "form", "labels"),
    "one-pixel mask": _check(labels.one_pixel, "form", "labels"),
    "absent class": _check(labels.absent_class, "form", "labels"),
    "class permutation": _check(labels.class_permutation, "form", "labels"),
    "label dtype": _check(labels.label_dtype, "form", "labels"),
    "mask leak": _check(masks.mask_leak, "form", "mask"),
    "NaN under mask": _check(masks.masked_nan, "form", "mask"),
    "masked = removed": _check(masks.masked_is_removed, "form", "mask"),
    "all masked": _check(masks.all_masked, "form", "mask"),
    "padded batch": _check(masks.padded_batch, "form", "mask"),
    "examples apart": _check(masks.examples_do_not_mix, "form", "examples"),
    "pure": _check(programs.pure, "jax"),
    "jit = eager": _check(programs.jit_equals_eager, "jax"),
    "one trace": _check(programs.one_trace, "jax"),
    "no callback": _check(programs.no_callback, "jax", "trace"),
    "vmap": _check(programs.vmap, "jax", "trace"),
    "sharded": _check(programs.sharded, "jax", "trace"),
    "memory": _check(programs.memory, "form", "jax", "trace"),
}


def check_loss(
    fn: Any,
    *,
    name: str | None = None,
    options: Mapping[str, Any] | Callable[[int], Mapping[str, Any]] | None = None,
    inputs: Mapping[str, Any] | tuple | None = None,
    classes: int | None = None,
    labels: str | None = None,
    layout: str | None = None,
    where: str | None = "auto",
    ignored: int | None = None,
    probabilities: bool = False,
    background: bool = False,
    large: bool = True,
    memory_limit: float = MEMORY_LIMIT,
    memory_classes: int = 100,
    only: Iterable[str] | None = None,
    skip: Iterable[str] = (),
    raise_on_failure: bool = False,
) -> Verdict:
    """Tortures a loss and says what it found.

    How the loss wants to be called is found out from its signature and by trying; the first line
    of the verdict says what was found, and every argument below overrides it.

    Args:
        fn: `fn(logits, labels, ...)` of JAX arrays, or what `from_torch` gives. Its value may be
            one an example, one a pixel, or a scalar.
        name: for the verdict; default: the function's.
        options: keyword arguments for the loss; or a function that gives them for a number of
            classes, where they depend on it.
        inputs: arrays of your own, in order or by name, for a loss of anything else than logits
            and labels; only checks that mean something for any loss are run then.
        classes: the number of classes; default: 3, else 2, else 1, whichever runs.
        labels: "ids", "ids_channel" (with an axis of length 1) or "one_hot" (floating).
        layout: "channels_last", or "channels_first" (default for PyTorch).
        where: the name of the mask argument, true = counted; default: "where" or "mask", if the
            loss has one; None for none.
        ignored: the class id that is not counted, for losses that mask in this way.
        probabilities: true if the loss wants probabilities; they are the softmax of the logits
            (the sigmoid for one channel).
        background: true if class 0 may be treated differently from the others.
        large: false to leave out the sums over 256^3 voxels, which take seconds and 1 GB.
        memory_limit: temporary memory of value and gradient, as a multiple of the logits, that is
            allowed.
        memory_classes: the number of classes to measure that with.
        only: the names of the checks to run; default: all of `CHECKS`.
        skip: the names of checks to leave out.
        raise_on_failure: true to raise where the verdict is not passed.

    Returns:
        The verdict: true if nothing failed, readable as text.

    Raises:
        ValueError: if the loss runs under no convention, or a check is unknown.
        AssertionError: if the loss fails and `raise_on_failure` is true.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> def naive(logits, labels):
        ...     p = jnp.take_along_axis(jax.nn.softmax(logits), labels[..., None], -1)
        ...     return -jnp.mean(jnp.log(p), (1, 2, 3))
        >>> verdict = check_loss(naive, only=("saturated logits", "absent class"))
        >>> [finding.name for finding in verdict.failures]
        ['saturated logits', 'absent class']
    """
    for check in (*(only or ()), *skip):
        if check not in CHECKS:
            raise unknown("check", check, CHECKS)
    if inputs is not None:
        subject = discovery.subject_of_inputs(fn, inputs, name=name, options=options)
    else:
        subject = discovery.subject_of(
            fn,
            name=name,
            options=options,
            classes=classes,
            labels=labels,
            layout=layout,
            where=where,
            ignored=ignored,
            probabilities=probabilities,
        )
    subject = with_limits(
        subject,
        special_background=background or subject.special_background,
        memory_limit=memory_limit,
        memory_classes=memory_classes,
    )
    left_out = {*skip, *(() if large else ("256^3 sums",))}
    verdict = check_subject(subject, only=only, left_out=left_out)
    return verdict.raise_if_failed() if raise_on_failure else verdict


def check_subject(
    subject: Subject, *, only: Iterable[str] | None = None, left_out: Iterable[str] = ()
) -> Verdict:
    """The verdict of these checks, by default all, but for those that are left out."""
    wanted = set(CHECKS if only is None else only)
    own = subject.form is None
    names = [n for n in CHECKS if n in wanted and (own or "own" not in CHECKS[n].needs)]
    return Verdict(subject.title, [run_check(n, subject, left_out) for n in names])


def with_limits(subject: Subject, **limits: Any) -> Subject:
    """The subject with these fields, which also hold for what it rebuilds."""
    rebuild = subject.rebuild
    if rebuild is not None:
        limits["rebuild"] = lambda *form, **options: with_limits(
            rebuild(*form, **options), **limits
        )
    return dataclasses.replace(subject, **limits)


def run_check(name: str, subject: Subject, left_out: Iterable[str] = ()) -> Finding:
    """One finding; a check that crashes has failed."""
    finding = _without(name, subject, left_out)
    if finding is None:
        try:
            finding = CHECKS[name].function(subject)
        except jax.errors.JAXTypeError as error:
            untraced = not subject.traces and name not in TRACED
            finding = not_applicable(UNTRACED) if untraced else failed(first_line(error))
        except Exception as error:  # whatever somebody's loss raises
            finding = failed(first_line(error))
    return finding._replace(name=name)


def _without(name: str, subject: Subject, left_out: Iterable[str]) -> Finding | None:
    """Why a check does not apply, or None if it does."""
    needs = CHECKS[name].needs
    if name in left_out:
        return not_applicable("left out as asked")
    if "form" in needs and subject.form is None:
        return not_applicable(subject.origin)
    if "labels" in needs and not subject.labeled:
        return not_applicable("the loss is not of classes")
    if "jax" in needs and subject.engine.library != "JAX":
        return not_applicable("no JAX program")
    if "trace" in needs and not subject.traces:
        return not_applicable(UNTRACED)
    if "mask" in needs and not subject.takes_mask:
        return not_applicable("the loss takes no mask")
    if "examples" in needs and subject.kind == SCALAR:
        return not_applicable("one value for the batch")
    return None
