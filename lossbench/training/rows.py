"""Rows of a training's log: what the steps between two of them come to."""

import collections
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from lossbench.objective import Objective
from lossbench.training.step import StepLog

History = dict[str, list[dict[str, Any]]]


def empty_history() -> History:
    """A log before the first step."""
    kinds = ("train", "validation", "gradients", "probes", "collapse", "selector_weights")
    return {kind: [] for kind in kinds}


class Diverged(Exception):
    """A loss or gradient was not finite.

    Attributes:
        step: the step, counted from 0, whose loss or gradient it was.
        term: the term of the objective, or "gradient" if all terms were finite.
        history: the log up to there.
    """

    def __init__(self, step: int, term: str, value: float) -> None:
        what = "the gradient" if term == "gradient" else f"the term {term!r}"
        super().__init__(f"{what} is {value} at step {step}")
        self.step, self.term = step, term
        self.history = empty_history()


class Collapsed(Diverged):
    """A model says that going on makes no sense, as of a one-class network that is constant."""

    def __init__(self, step: int, message: str) -> None:
        Exception.__init__(self, message)
        self.step, self.term = step, ""
        self.history = empty_history()


def mean_row(logs: list[StepLog], *, first_step: int, objective: Objective) -> dict[str, Any]:
    """The mean of some steps' logs.

    Raises:
        Diverged: for the first step whose loss or gradient is not finite.
    """
    names = list(objective.terms)  # in their order; JAX sorts the names of a dict
    skipped: collections.Counter[str] = collections.Counter()
    for i, one in enumerate(logs):
        terms, weights = one.objective.terms, one.objective.weights
        if objective.skip_nonfinite and any(np.isfinite(value) for value in terms.values()):
            out = _left_out(one, names)
            skipped.update(out)
            terms = {name: terms[name] for name in names if name not in out}
        # A finite term may have an infinite weight.
        weighted = {name: weights[name] * value for name, value in terms.items()}
        for term, value in (
            *terms.items(),
            *weighted.items(),
            ("gradient", one.gradient_norm),
        ):
            if not np.isfinite(value):
                raise Diverged(first_step + i, term, float(value))
    terms = {name: _finite_mean([one.objective.terms[name] for one in logs]) for name in names}
    row = {
        "step": first_step + len(logs),
        "loss": float(np.mean([one.objective.total for one in logs])),
        "terms": terms,
        "weights": {
            name: float(np.mean([one.objective.weights[name] for one in logs])) for name in names
        },
        "gradient_norm": float(np.mean([one.gradient_norm for one in logs])),
        "learning_rate": float(logs[-1].learning_rate),
    }
    gramians = [np.asarray(one.gramian) for one in logs if one.gramian is not None]
    if len(names) > 1 and gramians:
        row |= gradient_facts(gramians, names)
    if skipped:
        row["skipped"] = dict(skipped)
    return row


def _left_out(log: StepLog, names: Sequence[str]) -> set[str]:
    """The terms whose value or gradient was not finite in a step."""
    squares = np.ones(len(names)) if log.gramian is None else np.diagonal(log.gramian)
    return {
        name
        for name, square in zip(names, squares, strict=True)
        if not (np.isfinite(log.objective.terms[name]) and np.isfinite(square))
    }


def warnings_of(history: Mapping[str, Sequence[Mapping[str, Any]]], objective: Objective) -> list:
    """Sentences on what a training went on in spite of.

    Args:
        history: with the rows of the training so far.
        objective: what it minimizes.
    """
    rows = history["train"]
    steps = rows[-1]["step"] if rows else 0
    texts = []
    for name in objective.terms:
        skipped = sum(row.get("skipped", {}).get(name, 0) for row in rows)
        if skipped:
            texts.append(
                f"term {name!r}: left out of {skipped} of {steps} steps, in which its value or its "
                "gradient was not finite"
            )
        least = min((row["terms"][name] for row in rows), default=0.0)
        if least < 0 and getattr(objective.weighting, "positive", False):
            texts.append(
                f"term {name!r}: it was negative ({least:.3g}), but the weighting takes "
                "logarithms, roots or ratios of the losses; take one that does not, such as upgrad"
            )
    return texts


def _finite_mean(values: Sequence[Any]) -> float:
    """The mean of those that are finite; NaN if none is."""
    finite = [float(value) for value in values if np.isfinite(value)]
    return float(np.mean(finite)) if finite else math.nan


def scalars(row: dict[str, Any]) -> dict[str, float]:
    """The numbers of a row by name, as TensorBoard takes them: "terms/dice"."""
    plain = {k: row[k] for k in ("loss", "gradient_norm", "learning_rate")}
    groups = ("terms", "weights", "gradient_norms", "cosines")
    return plain | nested(row, [group for group in groups if group in row])


def nested(row: Mapping[str, Any], groups: Iterable[str]) -> dict[str, float]:
    """The numbers of some groups of a row, each by its group and its own name."""
    return {f"{group}/{k}": v for group in groups for k, v in row[group].items()}


def gradient_facts(gramians: Sequence[np.ndarray], names: Sequence[str]) -> dict[str, Any]:
    """What a log tells of the gradients of the terms: their norms, and the cosine of each pair.

    Args:
        gramians: of some steps, `terms terms` each.
        names: of the terms.

    Returns:
        "gradient_norms" by term, the mean over the steps, and "cosines" by "one and other", the
        mean over those steps in which both gradients are there.
    """
    norms, cosines = {}, {}
    for i, name in enumerate(names):
        norms[name] = _finite_mean([np.sqrt(products[i, i]) for products in gramians])
        for j, other in enumerate(names[:i]):
            scales = [math.sqrt(products[i, i] * products[j, j]) for products in gramians]
            defined = [
                products[i, j] / scale
                for products, scale in zip(gramians, scales, strict=True)
                if scale > 0
            ]
            cosines[f"{other} and {name}"] = float(np.mean(defined)) if defined else math.nan
    return {"gradient_norms": norms, "cosines": cosines}
