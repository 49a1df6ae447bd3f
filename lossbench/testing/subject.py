"""A loss as the checks see it: how it is called, and what shape its value has."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from lossbench.testing import cases
from lossbench.testing.cases import Case
from lossbench.testing.engine import Arrays, Engine, Result

LABELS = ("ids", "ids_channel", "one_hot")
LAYOUTS = ("channels_last", "channels_first")
SCALAR, EXAMPLE, CLASSES, PIXELS = "scalar", "example", "classes", "pixels"
KINDS = {
    SCALAR: "one value for the batch",
    EXAMPLE: "one value an example",
    CLASSES: "one value a class and example",
    PIXELS: "one value a pixel",
}
FORMS = {"ids": "class ids", "ids_channel": "class ids with a channel axis", "one_hot": "one-hot"}


class Form(NamedTuple):
    """How a segmentation loss wants its arrays.

    Attributes:
        classes: their number; 1 for a binary loss of one channel.
        labels: "ids", "ids_channel" (an axis of length 1 for the channel) or "one_hot" (floating).
        layout: "channels_last" or "channels_first".
        where: the name of its mask argument, or None.
        where_required: true if it cannot do without.
        where_channel: true if the mask has an axis of length 1 for the channel.
        ignored: the class id that is not counted, for losses without a mask argument.
    """

    classes: int = 3
    labels: str = "ids"
    layout: str = "channels_last"
    where: str | None = None
    where_required: bool = False
    where_channel: bool = False
    ignored: int | None = None


@dataclasses.dataclass(frozen=True)
class Subject:
    """A loss with its calling conventions.

    Attributes:
        name: for the title of the verdict.
        engine: evaluates it.
        form: how it wants its arrays; None if the inputs are the user's own.
        kind: what a value stands for; "scalar", "example", "classes" or "pixels".
        parameters: the names of its options.
        options: those that are set.
        rebuild: the subject with further options, and with another form.
        inputs: the user's own arrays, the differentiated one first.
        traces: true if the value can be traced with every array an argument (JAX).
        special_background: true if class 0 may be treated differently.
        memory_limit: temporary memory that is allowed, as a multiple of the logits.
        memory_classes: the number of classes to measure that with.
        labeled: false for a loss to which the classes of labels mean nothing, or something else.
        origin: of the inputs, where they are not logits and labels.
    """

    name: str
    engine: Engine
    form: Form | None
    kind: str = SCALAR
    parameters: tuple[str, ...] = ()
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    rebuild: Callable[..., "Subject"] | None = None
    inputs: Arrays = ()
    traces: bool = True
    special_background: bool = False
    memory_limit: float = 1.5
    memory_classes: int = 100
    labeled: bool = True
    origin: str = "inputs of your own"

    @property
    def classes(self) -> int:
        """The number of classes."""
        return self.segmentation.classes

    @property
    def segmentation(self) -> Form:
        """The form, of a loss that is known to have one."""
        assert self.form is not None
        return self.form

    @property
    def takes_mask(self) -> bool:
        """True if pixels can be left out."""
        form = self.form
        return form is not None and (form.where is not None or form.ignored is not None)

    @property
    def title(self) -> str:
        """The loss and how it was called."""
        if self.form is None:
            return f"{self.name} ({self.engine.library}): {self.origin}"
        form = self.form
        several = "1 channel" if form.classes == 1 else f"{form.classes} classes"
        mask = f"mask {form.where!r}" if form.where else "no mask"
        mask = mask if form.ignored is None else f"ignored id {form.ignored}"
        labels = f"labels as {FORMS[form.labels]}"
        if not self.labeled:
            several, labels = f"{form.classes} {self.origin}", "no classes"
        return (
            f"{self.name} ({self.engine.library}): {several}, {labels}, {mask}; {KINDS[self.kind]}"
        )

    def random(self, **options: Any) -> Case:
        """Mediocre predictions of its number of classes; see `cases.random`."""
        return cases.random(self.classes, **options)

    def arguments(self, case: Case) -> tuple[np.ndarray, Arrays]:
        """The arrays it is called with: the differentiated one, and the others."""
        form = self.segmentation
        x, labels = case.logits, _labels(case, form)
        where = case.where
        if where is None and form.where_required:
            where = np.ones(case.ids.shape, bool)
        mask = () if where is None or form.where is None else (where,)
        if form.where_channel:
            mask = tuple(m[..., None] for m in mask)
        if form.layout == "channels_first":
            x, *rest = (
                np.moveaxis(a, -1, 1) if a.ndim == case.logits.ndim else a
                for a in (x, labels, *mask)
            )
            return np.ascontiguousarray(x), tuple(np.ascontiguousarray(a) for a in rest)
        return x, (labels, *mask)

    def plain(self, seed: int = 0) -> tuple[np.ndarray, Arrays]:
        """Ordinary inputs: random ones, or the user's own (slightly changed, but for seed 0)."""
        if self.form is not None:
            return self.arguments(self.random(seed=seed))
        x, *rest = self.inputs
        if seed:
            noise = np.random.default_rng(seed).normal(size=x.shape, scale=0.01 * np.std(x))
            x = (x + noise).astype(x.dtype)
        return x, tuple(rest)

    def value(self, case: Case, *, dtype: str = "float32") -> np.ndarray:
        """The value for each example, or of the batch, in float64."""
        return self.per_example(self.engine.value(*self.arguments(case), dtype=dtype))

    def evaluate(self, case: Case, *, dtype: str = "float32") -> Result:
        """Value and gradient; the gradient in the case's own layout.

        The gradient is that of the mean, and of the sum for one value a pixel.
        """
        x, rest = self.arguments(case)
        result = self.engine.value_and_gradient(x, rest, dtype=dtype, total=self.kind == PIXELS)
        gradient = result.gradient
        if self.segmentation.layout == "channels_first":
            gradient = np.moveaxis(gradient, 1, -1)
        return result._replace(value=self.per_example(result.value), gradient=gradient)

    def per_example(self, value: np.ndarray) -> np.ndarray:
        """One number an example: the sum of pixels, the mean of classes; a scalar as it is."""
        if self.kind in (PIXELS, CLASSES):
            flat = value.reshape(value.shape[0], -1)
            return flat.sum(axis=1) if self.kind == PIXELS else flat.mean(axis=1)
        return value.mean() if self.kind == SCALAR else value


def kind_of(value: np.ndarray, batch: int) -> str:
    """What the values stand for, by their shape."""
    if value.ndim == 0 or value.shape[0] != batch:
        return SCALAR
    if value.ndim == 1:
        return EXAMPLE
    return CLASSES if value.ndim == 2 else PIXELS


def _labels(case: Case, form: Form) -> np.ndarray:
    ids = case.ids
    if form.ignored is not None and case.where is not None:
        ids = np.where(case.where, ids, form.ignored).astype(ids.dtype)
    if form.labels == "ids":
        return ids
    if form.labels == "ids_channel":
        return ids[..., None]
    labels = cases.one_hot(ids, form.classes)
    if case.rubbish is not None:
        labels[case.rubbish] = np.nan
    return labels
