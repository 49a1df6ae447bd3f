"""What is wrong with an objective, each in a sentence with the numbers that say so."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

from lossbench.bench.diagnosis.moment import Moment, Pair, TermFacts
from lossbench.training.dead_terms import reason

# From so many times the next larger gradient on, a term leaves the others no say.
MUCH = 30.0
# Cosines from which on, in every batch, two gradients are one: float32 and an epsilon apart.
SAME = 0.9999
# Where gradients are against each other on this share of the batches, and on average by this much.
MOSTLY, AGAINST = 0.75, -0.1
# A value this near its least has been reached.
NEAR = 1e-5
# What a step of the size of the parameters would change of a value, at first order, that is flat.
FLAT = 1e-6
# Where a logit leads by this much, float32's sigmoid and softmax hardly move.
LARGE_LOGIT = 15.0

Probes = Mapping[str, Sequence[Mapping[str, float]]]


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that the numbers say.

    Attributes:
        kind: "not finite", "dominates", "dead", "identical", "opposite", "saturated", "drowned",
            "conflict", "noise", "sometimes zero" or "weight 0".
        terms: whom it is about.
        text: a sentence.
    """

    kind: str
    terms: tuple[str, ...]
    text: str


def findings(moment: Moment, probes: Probes) -> tuple[Finding, ...]:
    """All there is to say, the worst first.

    Args:
        moment: the numbers.
        probes: what `dead_terms.probe_terms` found on each batch, by term; empty if nobody asked.
    """
    found = [
        *_not_finite(moment),
        *_dominates(moment),
        *_dead(moment, probes),
        *_twins(moment),
        *_saturated(moment, probes),
        *_drowned(moment, probes),
        *_conflicts(moment),
        *_noise(moment),
        *_notes(moment),
    ]
    return tuple(found)


def weighing(moment: Moment) -> list[TermFacts]:
    """Terms that have a gradient and a weight, the largest weighted gradient first."""
    terms = [term for term in moment.terms if term.live and term.weighted_norm > 0]
    return sorted(terms, key=lambda term: -term.weighted_norm)


def dominating(moment: Moment) -> TermFacts | None:
    """The term whose weighted gradient leaves the others no say, if there is one.

    Where that is because of the others' small weights, it is none.
    """
    terms = weighing(moment)
    if _far_apart(terms) and not _underweighted(terms):
        return terms[0]
    return None


def _far_apart(terms: Sequence[TermFacts]) -> bool:
    return len(terms) > 1 and terms[0].weighted_norm >= MUCH * terms[1].weighted_norm


def _underweighted(terms: Sequence[TermFacts]) -> bool:
    """Whether weights keep all but the first from counting, and are further from 1 than its."""
    if not _far_apart(terms):
        return False
    first, second = (term.weighted_norm / term.norm for term in terms[:2])
    by_weight, by_size = first / second, terms[0].norm / terms[1].norm
    # With a margin, as these ratios are of rounded numbers.
    return by_weight > by_size and abs(math.log(second)) > abs(math.log(first)) + 0.01


def at_its_least(term: TermFacts) -> bool:
    """Whether a term has reached the least value that it can have."""
    return term.live and math.isfinite(term.bound) and term.greatest - term.bound <= NEAR


def saturated(moment: Moment, term: TermFacts) -> bool:
    """Whether there is nothing left that a term could train, or its gradient has vanished."""
    flat = term.norm * max(moment.measured.length, 1.0) <= FLAT * abs(term.mean)
    return at_its_least(term) or (term.live and flat)


def noisy(term: TermFacts) -> bool:
    """Whether the batches do not tell a term's gradient from 0."""
    # What a mean over this many batches of gradients around 0 would reach by itself.
    return term.live and term.finite > 2 and term.signal_to_noise <= 1 / term.finite


def identical(pair: Pair) -> bool:
    """Whether two gradients have one direction in every batch."""
    return pair.batches > 0 and pair.lowest >= SAME


def opposite(pair: Pair) -> bool:
    """Whether two gradients have opposite directions in every batch."""
    return pair.batches > 0 and pair.highest <= -SAME


def repeats(moment: Moment) -> dict[str, Pair]:
    """Terms whose gradient is an earlier one's, or its opposite, each with the pair that says so.

    Of terms without a gradient or a weight there is no saying.
    """
    there = {term.name for term in weighing(moment)}
    found: dict[str, Pair] = {}
    for pair in moment.pairs:  # the first of a pair comes first in the objective
        known = {pair.first, pair.second} <= there and pair.first not in found
        if known and (identical(pair) or opposite(pair)):
            found.setdefault(pair.second, pair)
    return found


def conflicting(pair: Pair) -> bool:
    """Whether two gradients are mostly against each other."""
    mostly = pair.batches > 0 and pair.against >= MOSTLY * pair.batches
    return mostly and pair.batch_cosine <= AGAINST and not opposite(pair)


def number(value: float, digits: int = 3) -> str:
    """A number of so many significant digits: 0.00123, 19.6, 1 230, 1.23e-07.

    Example:
        >>> [number(x) for x in (19.6248, 1234.5, 0.00123, 1.2e-7, 20.0, 1e7, float("nan"))]
        ['19.6', '1230', '0.00123', '1.2e-07', '20', '1e+07', '–']
    """
    if math.isnan(value):
        return "–"
    if not math.isfinite(value) or value == 0:
        return f"{value:g}"
    rounded = float(f"{value:.{digits - 1}e}")
    whole = 10**digits <= abs(rounded) < 1e6
    return f"{rounded:.0f}" if whole else f"{rounded:.{digits}g}"


def percent(share: float) -> str:
    """A share in percent, with the digits that it takes to be neither 0 nor 1.

    Example:
        >>> [percent(x) for x in (0.5, 0.99901, 0.000123, -0.031, 1.0)]
        ['50 %', '99.9 %', '0.01 %', '-3.1 %', '100 %']
    """
    if not math.isfinite(share):
        return "–"
    value = 100 * share
    rest = min(abs(value), abs(100 - value))
    digits = 0 if rest >= 10 or rest == 0 else 1 if rest >= 0.05 else 2
    # Adding 0 makes a 0 of a negative one.
    return f"{round(value, digits) + 0.0:.{digits}f}".removesuffix(".00").removesuffix(".0") + " %"


def _not_finite(moment: Moment) -> list[Finding]:
    if not math.isfinite(moment.measured.length):
        names = tuple(term.name for term in moment.terms)
        text = "The parameters are not finite: the training has diverged, and no term can be told."
        return [Finding("not finite", names, text)]
    goes_on = (
        "the training goes on without it there, as skip_nonfinite is set"
        if moment.skips
        else "a training ends there, or goes on without the term if its weighting has "
        "skip_nonfinite"
    )
    found = []
    for i, term in enumerate(moment.terms):
        wrong = moment.batches - term.finite
        if not wrong:
            continue
        values = [v for v in moment.measured.values[:, i] if not math.isfinite(v)]
        what = _spelled(values[0]) if values else "finite, but its gradient is not,"
        others = " The other terms were measured without it." if len(moment.terms) > 1 else ""
        found.append(
            Finding(
                "not finite",
                (term.name,),
                f"{term.name!r} is {what} on {_of(wrong, moment.batches)}: {goes_on}.{others}",
            )
        )
    return found


def _dominates(moment: Moment) -> list[Finding]:
    first = dominating(moment)
    if first is None:
        return []
    second = weighing(moment)[1]
    times = number(first.weighted_norm / second.weighted_norm)
    weight = _weighted_by(first)
    text = (
        f"{first.name!r} is too large: its gradient{weight} is {times} times that of the next "
        f"largest, {second.name!r}"
    )
    if math.isfinite(first.share):
        text += f", and makes {percent(first.share)} of the update"
    return [Finding("dominates", (first.name,), f"{text}; the other terms hardly count.")]


def _dead(moment: Moment, probes: Probes) -> list[Finding]:
    found = []
    for term in moment.terms:
        if not term.dead:
            continue
        reason = _dead_reason(probes.get(term.name, ()))
        found.append(
            Finding(
                "dead",
                (term.name,),
                f"{term.name!r} trains nothing: its gradient is exactly zero on "
                f"{_every(term.finite)}{reason}.",
            )
        )
    return found


def _dead_reason(probes: Sequence[Mapping[str, float]]) -> str:
    told = [probe for probe in probes if not math.isnan(probe["gradient"])]
    if not told:
        return ""
    if any(probe["gradient"] != 0 for probe in told):
        return ", although it has one at the model's outputs: none of it reaches these parameters"
    why = reason(told)
    return f", likely because {why}" if why else ""


def _twins(moment: Moment) -> list[Finding]:
    """Terms that are another, or its opposite; of several equals each is said once."""
    found = []
    for pair in repeats(moment).values():
        names = (pair.first, pair.second)
        if identical(pair):
            # Of constant ratio, one is the other times a number, and can take over its weight.
            constant = pair.ratio_spread <= 1.01
            how = f"by a factor of {number(pair.ratio)}" if constant else "by their lengths"
            apart = "" if constant and abs(pair.ratio - 1) < 0.01 else f" and differ only {how}"
            found.append(
                Finding(
                    "identical",
                    names,
                    f"{pair.first!r} and {pair.second!r} are one term: their gradients have the "
                    f"same direction on {_every(pair.batches)}{apart}; one of them is enough.",
                )
            )
        else:
            found.append(
                Finding(
                    "opposite",
                    names,
                    f"{pair.first!r} and {pair.second!r} are opposites: the cosine between their "
                    f"gradients is -1 on {_every(pair.batches)}, so what one does the other "
                    "undoes; no weights make both fall, one of them has to go.",
                )
            )
    return found


def _saturated(moment: Moment, probes: Probes) -> list[Finding]:
    found = []
    for term in moment.terms:
        if at_its_least(term):
            text = (
                f"{term.name!r} is saturated: it is at its least value, {number(term.bound)}, on "
                f"{_every(term.finite)}; there is nothing left that it could train."
            )
        elif saturated(moment, term):
            text = (
                f"{term.name!r} is saturated: at a value of {number(term.mean)} its gradient has "
                f"all but vanished ({number(term.norm)}){_flat(probes.get(term.name, ()))}."
            )
        else:
            continue
        found.append(Finding("saturated", (term.name,), text))
    return found


def _flat(probes: Sequence[Mapping[str, float]]) -> str:
    reach = min((probe["reach"] for probe in probes), default=0.0)
    if reach < LARGE_LOGIT:
        return ""
    return f", likely because activations are flat where logits are as large as {number(reach)}"


def _drowned(moment: Moment, probes: Probes) -> list[Finding]:
    """Terms far below the middle of the others, but for the one that dominates."""
    first = dominating(moment)
    terms = [term for term in weighing(moment) if term != first]
    small = _underweighted(terms)
    found = []
    for term in terms[1:]:
        others = sorted(other.weighted_norm for other in terms if other != term)
        middle = math.sqrt(others[(len(others) - 1) // 2]) * math.sqrt(others[len(others) // 2])
        middle = terms[0].weighted_norm if small else middle
        whom = f"that of {terms[0].name!r}" if small else "that of the others"
        if middle < MUCH * term.weighted_norm:
            continue
        times = number(middle / term.weighted_norm)
        found.append(
            Finding(
                "drowned",
                (term.name,),
                f"{term.name!r} hardly counts: its gradient{_weighted_by(term)} is {times} times "
                f"smaller than {whom}{_flat(probes.get(term.name, ()))}.",
            )
        )
    return found


def _conflicts(moment: Moment) -> list[Finding]:
    """Pairs that pull against each other; a weighting of gradients is what helps there."""
    told = repeats(moment)
    return [
        Finding(
            "conflict",
            (pair.first, pair.second),
            f"{pair.first!r} and {pair.second!r} are in conflict: the cosine between their "
            f"gradients is {pair.batch_cosine:.2f} on average and below 0 on "
            f"{_of(pair.against, pair.batches)}; weights alone decide who loses, a combination "
            "of gradients such as 'upgrad' or 'pcgrad' keeps a step from making either worse.",
        )
        for pair in moment.pairs
        if conflicting(pair) and pair.first not in told and pair.second not in told
    ]


def _noise(moment: Moment) -> list[Finding]:
    found = []
    for term in moment.terms:
        if noisy(term):
            found.append(
                Finding(
                    "noise",
                    (term.name,),
                    f"{term.name!r} is mostly noise: the mean of its gradient over "
                    f"{term.finite} batches cannot be told from 0 (signal to noise "
                    f"{number(term.signal_to_noise, 2)} a batch); more batches would tell more, "
                    "and larger ones would train it better.",
                )
            )
    return found


def _notes(moment: Moment) -> list[Finding]:
    found = []
    for term in moment.terms:
        if term.live and term.zero:
            found.append(
                Finding(
                    "sometimes zero",
                    (term.name,),
                    f"{term.name!r} has no gradient on {_of(term.zero, term.finite)}: nothing in "
                    "them concerns it, or it is satisfied there.",
                )
            )
        if term.live and term.weight == 0:
            found.append(
                Finding("weight 0", (term.name,), f"{term.name!r} has the weight 0 at this step.")
            )
    return found


def _weighted_by(term: TermFacts) -> str:
    weight = term.weight * (term.factor if math.isfinite(term.factor) else 1)
    return "" if weight == 1 else f", times its weight of {number(weight)},"


def _spelled(value: float) -> str:
    return "NaN" if math.isnan(value) else "infinite" if value > 0 else "minus infinity"


def _of(some: int, batches: int) -> str:
    return _every(batches) if some == batches else f"{some} of {batches} batches"


def _every(batches: int) -> str:
    return f"each of {batches} batches" if batches > 1 else "the one batch"
