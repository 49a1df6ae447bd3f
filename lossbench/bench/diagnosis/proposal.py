"""Weights that balance the update, each with the reason in one sentence.

A term's weight is set to 1 over the norm of its gradient, so that weighted gradients are of one
length; of two terms each has half of the update then, exactly. The term in the middle keeps the
weight it has, so that the size of the update stays what it was.

Segment Anything's 20 : 1 of focal and Dice is what this gives for a mask that covers 4 % of the
image and has been found to about a pixel: focal is a mean over the image, Dice a ratio over the
mask, so at unsure edges Dice's gradient is larger by nearly 1 over the mask's share. A small U-Net
on discs of 2, 5 and 10 % of 64 x 64 pixels, trained at 20 : 1, had ratios of 44, 24 and 14 (medians
over two seeds and steps 100 to 400). Before training it is the other way round: with every logit at
0 the background makes focal's gradient the larger, in that U-Net up to ten times.
"""

import dataclasses
import math
from collections.abc import Mapping

import numpy as np

from lossbench.bench.diagnosis.findings import (
    MUCH,
    dominating,
    identical,
    noisy,
    number,
    repeats,
    saturated,
    weighing,
)
from lossbench.bench.diagnosis.moment import Moment, Pair, TermFacts, shares
from lossbench.bench.diagnosis.notes import finite

# Weights within this factor of the proposed ones are as good: norms over batches vary more.
GOOD_ENOUGH = 1.5


@dataclasses.dataclass(frozen=True)
class Proposed:
    """The weight proposed for a term.

    Attributes:
        name: of the term.
        now: its own weight at this step.
        weight: what is proposed, of two significant digits; 0 proposes to leave it out.
        share: of the update that it has then; NaN where it is left out of the balance.
        text: why, in a sentence.
    """

    name: str
    now: float
    weight: float
    share: float
    text: str


@dataclasses.dataclass(frozen=True)
class Proposal:
    """Weights that balance the update.

    Attributes:
        terms: what is proposed for each, in the order of the objective.
        ratio: of the balanced terms' weights, the least of them 1, as "20 : 1"; "" if fewer than
            two terms can be balanced.
        reference: the term that keeps its weight.
        balanced: true if the weights are as good as these already.
    """

    terms: tuple[Proposed, ...]
    ratio: str
    reference: str
    balanced: bool

    @property
    def kept(self) -> tuple[Proposed, ...]:
        """The terms that are balanced, those of the ratio."""
        return tuple(term for term in self.terms if term.weight and not math.isnan(term.share))

    def weights(self) -> dict[str, float]:
        """The proposed weight of each term by its name."""
        return {term.name: term.weight for term in self.terms}


def propose(moment: Moment) -> Proposal:
    """Weights that balance the gradients of the terms that have one, of copies the first only.

    Terms that are saturated or mostly noise are left out: of their gradients' size follows no
    weight. With parameters that are not finite nothing is proposed.
    """
    if not finite(moment):
        return Proposal((), "", "", balanced=False)
    repeated = repeats(moment)
    balanced = [
        term
        for term in weighing(moment)
        if term.name not in repeated and not (saturated(moment, term) or noisy(term))
    ]
    if not balanced:
        kept = tuple(_left_out(term, moment) for term in moment.terms)
        return Proposal(kept, "", "", balanced=False)
    reference = _reference(balanced, dominating(moment))
    exact = {term.name: reference.weight * reference.norm / term.norm for term in balanced}
    rounded = {name: _two_digits(weight) for name, weight in exact.items()}
    then = _shares(moment, rounded)
    proposed = []
    for term in moment.terms:
        if term.name in exact:
            alone = len(moment.terms) == 1
            text = _reason(term, reference, rounded, among=len(balanced), alone=alone)
            new = Proposed(term.name, term.weight, rounded[term.name], then[term.name], text)
        elif term.name in repeated:
            text = _drop(term, repeated[term.name])
            new = Proposed(term.name, term.weight, 0.0, 0.0, text)
        else:
            new = _left_out(term, moment)
        proposed.append(new)
    close = all(
        1 / GOOD_ENOUGH <= exact[term.name] / term.weight <= GOOD_ENOUGH for term in balanced
    )
    names = [term.name for term in moment.terms if term.name in exact]
    return Proposal(
        tuple(proposed),
        _ratio([exact[name] for name in names]) if len(names) > 1 else "",
        reference.name,
        balanced=close and not repeated,
    )


def _reference(balanced: list[TermFacts], first: TermFacts | None) -> TermFacts:
    """The term in the middle, of two the larger; never one that is too large itself.

    Nor one that hardly counts: brought down to it, the others would make a step of nothing.
    """
    able = [term for term in balanced if first is None or term.name != first.name] or balanced
    middle = able[: (len(able) - 1) // 2 + 1]
    return [term for term in middle if MUCH * term.weighted_norm > able[0].weighted_norm][-1]


def _shares(moment: Moment, weights: Mapping[str, float]) -> dict[str, float]:
    """Of the update, under constant weights."""
    names = moment.measured.names
    row = np.array([[weights.get(name, 0.0) for name in names]])
    return dict(zip(names, shares(moment.measured.products, row).tolist(), strict=True))


def _reason(
    term: TermFacts, reference: TermFacts, weights: Mapping[str, float], *, among: int, alone: bool
) -> str:
    if among == 1 and not alone:
        return (
            f"{term.name!r} keeps its weight of {number(term.weight)}: there is no other term to "
            "balance it against."
        )
    if among == 1:
        return f"{term.name!r} has the update for itself: its weight only scales the step."
    if term is reference:
        return (
            f"{term.name!r} keeps its weight of {number(term.weight)}: the others are balanced "
            "against it."
        )
    times = reference.norm / term.norm
    if 1 / 1.05 < times < 1.05:
        compared, ratio = f"as large as that of {reference.name!r}", "1 : 1"
    else:
        size = "smaller" if times > 1 else "larger"
        compared = f"{number(max(times, 1 / times))} times {size} than that of {reference.name!r}"
        ratio = _ratio([times, 1.0])
    what = "share of the update" if among == 2 else "length in the update"
    text = f"{term.name!r}: its gradient is {compared}, so {ratio} gives both the same {what}"
    change = weights[term.name] / term.weight
    if change > GOOD_ENOUGH:
        text += f"; that is {number(change, 2)} times its weight of {number(term.weight)}"
    elif change < 1 / GOOD_ENOUGH:
        text += f"; its weight of {number(term.weight)} is {number(1 / change, 2)} times that"
    return f"{text}."


def _drop(term: TermFacts, pair: Pair) -> str:
    if not identical(pair):
        return (
            f"{term.name!r}: it undoes what {pair.first!r} does, so it is left out here; if it is "
            "the one that is meant, drop the other."
        )
    text = f"{term.name!r}: it has the gradient of {pair.first!r}, so it can be dropped"
    if pair.ratio_spread <= 1.01:
        instead = number(term.weight * pair.ratio)
        text += f"; {instead} more on the weight of {pair.first!r} would be the same objective"
    return f"{text}."


def _left_out(term: TermFacts, moment: Moment) -> Proposed:
    """A term that nothing can be said about."""
    if term.dead:
        why = "no weight helps a gradient of exactly 0: repair the term or drop it"
    elif not term.finite:
        why = "it is not finite on any batch: repair it before it is weighed"
    elif not term.weighted_norm > 0:
        why = "its weight is 0 at this step, so it has no part in the balance"
    elif saturated(moment, term):
        why = (
            "it is saturated, and has no part in the balance: a large weight would only magnify "
            "what is left of its gradient"
        )
    else:
        why = (
            "its gradient is mostly noise, and has no part in the balance: no weight follows from "
            "the size of noise"
        )
    text = f"{term.name!r}: {why}."
    return Proposed(term.name, term.weight, term.weight, math.nan, text)


def _ratio(weights: list[float]) -> str:
    """Weights to two significant digits, the least of them 1: "20 : 1"."""
    least = min(weights)
    return " : ".join(number(weight / least, 2) for weight in weights)


def _two_digits(value: float) -> float:
    return float(f"{value:.1e}")
