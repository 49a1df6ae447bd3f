"""Inputs on which losses break: arrays of NumPy, channels last, with labels as class ids."""

from typing import NamedTuple

import numpy as np

BATCH = 4
# No two axes of the same length, and none of the number of classes: what mixes axes up, shows.
SPACE = (6, 5)
SCALES = (20.0, 90.0, 1e3, 1e4)


class Case(NamedTuple):
    """One batch.

    Attributes:
        logits: float32, `batch *space classes`.
        ids: class ids, `batch *space`.
        where: true = counted, `batch *space`; None counts everything.
        rubbish: where `ids` means nothing; labels of other forms are NaN there.
    """

    logits: np.ndarray
    ids: np.ndarray
    where: np.ndarray | None = None
    rubbish: np.ndarray | None = None


def random(classes: int, *, seed: int = 0, batch: int = BATCH, space=SPACE) -> Case:
    """Mediocre predictions; every example has every class."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(batch, *space, classes), scale=2).astype(np.float32)
    count = max(classes, 2)  # one class: 0 and 1
    ids = np.stack([rng.permutation(np.arange(int(np.prod(space))) % count) for _ in range(batch)])
    return Case(logits, ids.reshape(batch, *space).astype(np.int32))


def signs(ids: np.ndarray, classes: int) -> np.ndarray:
    """1 for the class that is true and -1 for the others, `batch *space classes`."""
    if classes == 1:
        return (2 * ids[..., None] - 1).astype(np.float32)
    return (2 * (ids[..., None] == np.arange(classes)) - 1).astype(np.float32)


def one_hot(ids: np.ndarray, classes: int) -> np.ndarray:
    """The labels as float32, one value a class; of one class, the ids 0 and 1 themselves."""
    return (signs(ids, classes) + 1) / 2


def saturated(case: Case) -> dict[str, Case]:
    """The case with logits beyond what a softmax in float32 can tell from certainty."""
    certain = signs(case.ids, case.logits.shape[-1])
    mixed = np.clip(case.logits, -1, 1)
    kinds = {"right": certain, "wrong": -certain, "mixed": mixed}
    kinds |= {"all high": np.ones_like(certain), "all low": -np.ones_like(certain)}
    return {
        f"logits of ±{scale:g} ({kind})": case._replace(logits=scale * logits)
        for scale in SCALES
        for kind, logits in kinds.items()
    }


def flat(case: Case) -> Case:
    """The case with equal logits: the kink of every maximum and norm."""
    return case._replace(logits=np.zeros_like(case.logits))


def degenerate(case: Case, kind: str) -> Case:
    """The case with other labels: "empty", "full", "one pixel" or "absent class"."""
    zeros = np.zeros_like(case.ids)
    if kind == "empty":
        return case._replace(ids=zeros)
    if kind == "full":
        return case._replace(ids=zeros + 1)
    if kind == "one pixel":
        zeros[:, 2, 1] = 1
        return case._replace(ids=zeros)
    return case._replace(ids=np.minimum(case.ids, case.logits.shape[-1] - 2))


def sides(case: Case) -> dict[str, Case]:
    """The case with its own logits, and with certain ones: right, then wrong."""
    certain = 1e3 * signs(case.ids, case.logits.shape[-1])
    return {
        "ordinary logits": case,
        "a perfect prediction": case._replace(logits=certain),
        "a prediction that is all wrong": case._replace(logits=-certain),
    }


def masked(case: Case, where: np.ndarray) -> Case:
    """The case with a mask, and harmless values under it."""
    return case._replace(where=where)


def part_masked(case: Case, kept: int = 4) -> Case:
    """The case with its last rows masked."""
    where = np.zeros(case.ids.shape, bool)
    where[:, :kept] = True
    return masked(case, where)


def soiled(case: Case, value: float, label: int) -> Case:
    """The case with this logit and this class id wherever it is masked."""
    assert case.where is not None
    return case._replace(
        logits=np.where(case.where[..., None], case.logits, np.float32(value)),
        ids=np.where(case.where, case.ids, label).astype(case.ids.dtype),
        rubbish=~case.where,
    )


def take(case: Case, index) -> Case:
    """Part of a case: every array under this index."""
    where, rubbish = (None if x is None else x[index] for x in (case.where, case.rubbish))
    return Case(case.logits[index], case.ids[index], where, rubbish)


def tiled(case: Case, repeats: tuple[int, ...]) -> Case:
    """The same picture beside itself, so many times along each axis of space."""
    return case._replace(
        logits=np.tile(case.logits, (1, *repeats, 1)), ids=np.tile(case.ids, (1, *repeats))
    )
