"""Finds out how a loss wants to be called: by its signature, then by trying."""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np

from lossbench._names import unknown
from lossbench.testing import cases, stand_ins, torch_adapter
from lossbench.testing.engine import Engine
from lossbench.testing.jax_engine import JaxEngine, arrays
from lossbench.testing.subject import LABELS, LAYOUTS, Form, Subject, kind_of
from lossbench.testing.torch_adapter import TorchEngine, TorchLoss

MASKS = ("where", "mask")
PREDICTIONS = {"logits", "predictions", "preds", "pred", "y_pred", "input", "inputs", "scores"}
TRUTHS = {"labels", "label", "targets", "target", "y_true", "true", "truth", "y"}
Options = Mapping[str, Any] | Callable[[int], Mapping[str, Any]]


def subject_of(
    fn: Any,
    *,
    name: str | None = None,
    options: Options | None = None,
    classes: int | None = None,
    labels: str | None = None,
    layout: str | None = None,
    where: str | None = "auto",
    ignored: int | None = None,
    probabilities: bool = False,
    compiler_options: Mapping[str, Any] | None = None,
) -> Subject:
    """The loss with conventions under which it runs, and tells right from wrong if any do.

    Args:
        fn: a function on JAX arrays, or what `from_torch` gives.
        name: for the title.
        options: keyword arguments of the loss; or a function that gives them for a number of
            classes.
        classes: how many; default: 3, else 2, else 1, whichever runs.
        labels: "ids", "ids_channel" or "one_hot"; default: whichever runs.
        layout: "channels_last" (default for JAX) or "channels_first" (default for PyTorch).
        where: the name of the mask argument; None for none; "auto" looks in the signature.
        ignored: the class id that is not counted, for losses without a mask argument.
        probabilities: true if the loss takes the softmax (one channel: sigmoid) of the logits.
        compiler_options: XLA's for its programs, by name; default: those of the process.

    Raises:
        ValueError: if the loss runs under no convention; it says what each try gave.
    """
    loss = as_torch(fn)
    torch = isinstance(loss, TorchLoss)
    parameters = loss.arguments() if torch else _parameters(loss)
    stands = stand_ins.stands_for(parameters)
    if stands == stand_ins.MATRIX:
        found = subject_of_inputs(loss, stand_ins.matrix(parameters), name=name, options=options)
        return dataclasses.replace(found, origin=stand_ins.ORIGINS[stands])
    if stands is not None:
        loss = stand_ins.of_logits(loss, parameters)
        parameters = _parameters(loss)
        labels, classes = labels or "ids", classes or 3
    if labels not in (None, *LABELS):
        raise unknown("form of labels", str(labels), LABELS)
    if layout not in (None, *LAYOUTS):
        raise unknown("layout", str(layout), LAYOUTS)
    if where == "auto":
        where = next((m for m in MASKS if m in parameters and ignored is None), None)
    required = (
        where is not None
        and where in parameters
        and parameters[where].default is inspect.Parameter.empty
    )
    _check_needs(
        parameters,
        options,
        where,
        loss.options if torch else {},
        loss.parameters() if torch else {},
    )
    base = Form(
        layout=layout or ("channels_first" if torch else "channels_last"),
        where=where,
        where_required=required,
        ignored=ignored,
    )
    names = list(parameters)[:2]
    swapped = len(names) == 2 and names[0] in TRUTHS and names[1] in PREDICTIONS
    option_names = tuple(loss.parameters() if torch else parameters)

    def options_of(classes: int, extra: Mapping[str, Any]) -> dict[str, Any]:
        return {**(options(classes) if callable(options) else options or {}), **extra}

    @functools.cache  # forms that differ in their arrays only share what is compiled
    def engine_of(classes: int, compiled: bool, **extra: Any) -> Engine:
        given = options_of(classes, extra)
        apply = _apply(loss, given, where, swapped=swapped, probabilities=probabilities)
        if torch:
            return TorchEngine(apply)
        return JaxEngine(apply, compiled=compiled, compiler_options=compiler_options)

    def build(form: Form, compiled: bool, **extra: Any) -> Subject:
        per_class = form.classes if callable(options) else 0
        return Subject(
            name or getattr(loss, "name", None) or getattr(loss, "__name__", str(loss)),
            engine_of(per_class, compiled, **extra),
            form,
            parameters=option_names,
            options=options_of(form.classes, extra),
            traces=torch or compiled,
            labeled=stands is None,
            origin=stand_ins.ORIGINS.get(stands or "", Subject.origin),
        )

    def that_traces(form: Form) -> Subject:
        subject = build(form, compiled=not torch)
        return subject if torch or _traces(subject) else build(form, compiled=False)

    forms = [
        base._replace(classes=c, labels=y)
        for c in ((classes,) if classes else (3, 2, 1))
        for y in ((labels,) if labels else _order(torch))
    ]
    found = _that_runs(that_traces, forms)
    kind = kind_of(found.engine.value(*found.plain()), cases.BATCH)
    compiled = found.traces and not torch

    def rebuild(form: Form = found.segmentation, **extra: Any) -> Subject:
        again = build(form, compiled, **extra)
        return dataclasses.replace(again, kind=kind, rebuild=rebuild)

    return rebuild(_with_mask(rebuild, found.segmentation))


def subject_of_inputs(
    fn: Any, inputs: Mapping[str, Any] | tuple, *, name: str | None = None, options: Any = None
) -> Subject:
    """Any loss with the user's own arrays, by name or in order; the first floating one is derived.

    Raises:
        ValueError: if none of them is floating.
    """
    loss = as_torch(fn)
    named = isinstance(inputs, Mapping)
    held = {str(key): np.asarray(x) for key, x in (inputs.items() if named else enumerate(inputs))}
    keys = list(held)
    first = next((k for k in keys if held[k].dtype.kind == "f"), None)
    if first is None:
        raise ValueError("inputs: none of the arrays is floating; nothing could be differentiated")
    others = [k for k in keys if k != first]
    call = loss.with_options(**(options or {})).build() if isinstance(loss, TorchLoss) else loss
    more = {} if isinstance(loss, TorchLoss) else dict(options or {})

    def apply(x, rest):
        values = {first: x, **dict(zip(others, rest, strict=True))}
        if named:
            return call(**values, **more)
        return call(*(values[k] for k in keys), **more)

    torch = isinstance(loss, TorchLoss)
    engine: Engine = TorchEngine(apply) if torch else JaxEngine(apply, compiled=False)
    title = name or getattr(loss, "name", None) or getattr(loss, "__name__", str(loss))
    subject = Subject(title, engine, None, inputs=(held[first], *(held[k] for k in others)))
    if torch:
        return subject
    if not _traces(subject):
        return dataclasses.replace(subject, traces=False)
    return dataclasses.replace(subject, engine=JaxEngine(apply))


def as_torch(fn: Any) -> Any:
    """A module of PyTorch, or a class of them, as a `TorchLoss`; anything else as it is."""
    if torch_adapter.is_module(fn) or torch_adapter.is_module_class(fn):
        return torch_adapter.from_torch(fn)
    if not callable(fn) and not isinstance(fn, TorchLoss):
        raise ValueError(f"the loss is no function: {fn!r}")
    return fn


def first_line(error: BaseException) -> str:
    """An error in one line of at most 160 characters."""
    lines = str(error).strip().splitlines() or [""]
    text = f"{type(error).__name__}: {lines[0].strip()}".rstrip(": ")
    return text if len(text) <= 160 else f"{text[:157]}..."


def _order(torch: bool) -> tuple[str, ...]:
    return ("ids", "ids_channel", "one_hot") if torch else ("ids", "one_hot", "ids_channel")


def _parameters(fn: Callable) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(fn).parameters
    except (TypeError, ValueError):  # some callables of C have none
        return {}


def _check_needs(
    parameters: Mapping[str, inspect.Parameter],
    options: Options | None,
    where: str | None,
    bound: Mapping[str, Any],
    constructor: Mapping[str, inspect.Parameter],
) -> None:
    """Raises if the loss needs more than predictions, labels and a mask, or lacks an option."""
    chosen = {**bound, **(options(3) if callable(options) else options or {})}
    given = {*chosen, where}
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    known = {**parameters, **constructor}
    if known and not any(p.kind is inspect.Parameter.VAR_KEYWORD for p in known.values()):
        for name in chosen:
            if name not in known:
                raise unknown(
                    "option of the loss", name, [n for n in list(known)[2:] if n != where]
                )
    needed = [
        name
        for name, parameter in list(parameters.items())
        if parameter.default is inspect.Parameter.empty and parameter.kind not in kinds
    ]
    missing = [name for name in needed[2:] if name not in given]
    if missing:
        raise ValueError(
            f"the loss needs more than predictions and labels: {', '.join(missing)}; give them as "
            "options, or all its arrays as inputs"
        )


def _apply(loss, options, where, *, swapped: bool, probabilities: bool) -> Callable:
    if isinstance(loss, TorchLoss):
        call, more, activate = loss.with_options(**options).build(), {}, torch_adapter.softmax
    else:
        call, more, activate = loss, options, _probabilities

    def apply(x, rest):
        labels, *mask = rest
        x = activate(x) if probabilities else x
        masks = {where: mask[0]} if mask else {}
        return call(*((labels, x) if swapped else (x, labels)), **masks, **more)

    return apply


def _probabilities(x: jax.Array) -> jax.Array:
    return jax.nn.sigmoid(x) if x.shape[-1] == 1 else jax.nn.softmax(x)


def _that_runs(build: Callable[[Form], Subject], forms: list[Form]) -> Subject:
    """The first form under which right costs less than wrong; else the first that runs."""
    runs, errors = [], {}
    for form in forms:
        try:
            subject = build(form)
            case = subject.random()
            sure = 3 * cases.signs(case.ids, form.classes)
            right, wrong = (
                subject.engine.value(*subject.arguments(case._replace(logits=x))).sum()
                for x in (sure, -sure)
            )
        except Exception as error:  # whatever somebody's loss raises
            tries = errors.setdefault(first_line(error), [])
            tries.append(f"{form.classes} x {form.labels}")
            continue
        if right < wrong:
            return subject
        runs.append(subject)
    if not runs:
        lines = "\n".join(f"  {error} ({', '.join(tries)})" for error, tries in errors.items())
        raise ValueError(f"the loss runs with no number of classes and form of labels:\n{lines}")
    return runs[0]


def _traces(subject: Subject) -> bool:
    """True if the value can be traced with every array an argument."""
    try:
        jax.make_jaxpr(subject.engine.apply)(*arrays(*subject.plain()))
    except Exception:  # whatever somebody's loss raises; the checks will say it
        return False
    return True


def _with_mask(rebuild: Callable[..., Subject], form: Form) -> Form:
    """The form with a mask of one value a pixel, or with a channel axis if only that runs."""
    if form.where is None:
        return form
    for candidate in _masks(form):
        subject = rebuild(candidate)
        case = subject.random()
        x, rest = subject.arguments(cases.masked(case, np.ones(case.ids.shape, bool)))
        try:
            value = subject.engine.value(x, rest)
        except Exception:  # whatever somebody's loss raises
            continue
        if kind_of(value, cases.BATCH) == subject.kind:
            return candidate
    return form


def _masks(form: Form) -> Iterator[Form]:
    yield form._replace(where_channel=False)
    yield form._replace(where_channel=True)
