"""A diagnosis as plain text and as Markdown."""

import math
from collections.abc import Callable, Iterable, Sequence

from lossbench.bench.diagnosis.examination import Diagnosis, Examination
from lossbench.bench.diagnosis.findings import number, percent
from lossbench.bench.diagnosis.moment import Moment, Pair, TermFacts
from lossbench.bench.diagnosis.notes import finite, notes
from lossbench.bench.tables import plain

# What heads a column, and what is in it.
COLUMNS: tuple[tuple[str, Callable[[TermFacts], str]], ...] = (
    ("value [range]", lambda t: f"{number(t.mean)} [{number(t.least)}, {number(t.greatest)}]"),
    ("least", lambda t: number(t.bound)),
    ("std/mean", lambda t: percent(t.variation)),
    ("gradient", lambda t: number(t.norm)),
    ("signal/noise", lambda t: number(t.signal_to_noise, 2)),
    ("weight", lambda t: _weight(t)),
    ("weighted", lambda t: number(t.weighted_norm)),
    ("share", lambda t: percent(t.share)),
)
READING = (
    "value: mean over batches, without weight, and its range; least: what the loss can reach; "
    "std/mean: of the value over batches.",
    "gradient: norm, root of the mean square over batches, without weight; signal/noise: squared "
    "norm of its expectation over its variance from batch to batch, both unbiased.",
    "weighted: the gradient's norm times the weight; share: of the update, the inner product of "
    "the weighted gradient with it over its squared norm; below 0 it works against it. Shares add "
    "up to 100 %, but for those under a transformation of gradients that is no weighted sum.",
)


def rows(moment: Moment) -> list[list[str]]:
    """The table of a moment with its head, as text."""
    head = ["term", *(name for name, _ in COLUMNS)]
    return [head, *([plain(t.name), *(cell(t) for _, cell in COLUMNS)] for t in moment.terms)]


def cosine_rows(moment: Moment) -> list[list[str]]:
    """The cosines between the mean gradients, in brackets the mean over batches, as text."""
    names = [term.name for term in moment.terms]

    def entry(first: str, second: str) -> str:
        if first == second:
            return "1" if moment.term(first).live else "–"
        return cosine_entry(moment.pair(first, second))

    head = ["cosine", *map(plain, names)]
    return [head, *([plain(a), *(entry(a, b) for b in names)] for a in names)]


def cosine_entry(pair: Pair) -> str:
    """Of the mean gradients, in brackets the mean over batches: "-0.31 (-0.20)"."""
    if math.isnan(pair.batch_cosine):
        return "–"
    return f"{_cosine(pair.cosine)} ({_cosine(pair.batch_cosine)})"


def heading(diagnosis: Diagnosis, moment: Moment) -> str:
    """What a table is of."""
    count = f"{moment.measured.parameters:,}"
    of = f"the {count} parameters of {', '.join(diagnosis.shared)}"
    of = of if diagnosis.shared else f"all {count} parameters"
    return f"Step {moment.step}, {counted(moment.batches)}, gradients of {of}"


def counted(batches: int) -> str:
    """So many batches, in words: "1 batch", "2 batches"."""
    return "1 batch" if batches == 1 else f"{batches} batches"


def proposal_heads(examination: Examination) -> list[str]:
    """What the proposed weights come to together."""
    proposal = examination.proposal
    if not finite(examination.moment):
        return ["The parameters are not finite: no weights are proposed."]
    if not proposal.reference:
        told = any(term.weighted_norm > 0 for term in examination.moment.terms)
        what = "a gradient that weights could be told from" if told else "a gradient and a weight"
        return [f"No term has {what}: there is nothing to balance."]
    lines = []
    if proposal.ratio:
        then = [
            f"{plain(term.name)} {number(term.weight)} ({percent(term.share)} of the update)"
            for term in proposal.kept
        ]
        lines.append(f"{', '.join(then)}; a ratio of {proposal.ratio}.")
    if proposal.ratio and proposal.balanced:
        lines.append(
            "The weights as they are come near enough to that: none is off by half as much again."
        )
    proposed = {term.name for term in proposal.terms if not math.isnan(term.share)}
    there = {term.name for term in examination.moment.terms if term.weighted_norm > 0}
    if proposal.ratio and there - proposed:
        lines.append("Shares are of the update of these terms alone, without those left out.")
    if examination.moment.weighted:
        lines.append("That is for a sum of the terms, without the weighting that they have.")
    return lines


def proposal_lines(examination: Examination) -> list[str]:
    """Proposed weights together, then a sentence on each."""
    reasons = [plain(term.text) for term in examination.proposal.terms]
    return [*proposal_heads(examination), *reasons]


def text(diagnosis: Diagnosis) -> str:
    """All of it for a terminal."""
    lines: list[str] = [*_items(map(plain, diagnosis.notices())), ""] if diagnosis.notices() else []
    for examination in diagnosis.examinations:
        moment = examination.moment
        lines += [heading(diagnosis, moment), "", *_aligned(rows(moment)), ""]
        if len(moment.terms) > 1:
            lines += [*_aligned(cosine_rows(moment)), ""]
        lines += _found(examination)
        lines += ["Weights that balance the update:"]
        lines += [*_items(proposal_lines(examination)), ""]
    changes = diagnosis.changes()
    if changes:
        lines += ["What changed:", *_items(changes), ""]
    return "\n".join([*lines, *READING])


def markdown(diagnosis: Diagnosis, title: str, command: str) -> str:
    """All of it as a Markdown page."""
    lines = [f"# {_escaped(plain(title))}", "", f"    {plain(command)}", ""]
    if diagnosis.notices():
        lines += [*map(_escaped, _items(map(plain, diagnosis.notices()))), ""]
    for examination in diagnosis.examinations:
        moment = examination.moment
        lines += [f"## {heading(diagnosis, moment)}", "", *_markdown_table(rows(moment)), ""]
        if len(moment.terms) > 1:
            lines += [*_markdown_table(cosine_rows(moment)), ""]
        lines += ["### Findings", "", *map(_escaped, _found(examination))]
        lines += ["### Weights that balance the update", ""]
        lines += [*map(_escaped, _items(proposal_lines(examination))), ""]
    changes = diagnosis.changes()
    if changes:
        lines += ["## What changed", "", *map(_escaped, _items(changes)), ""]
    return "\n".join([*lines, "## How to read it", "", *(f"- {line}" for line in READING), ""])


def _found(examination: Examination) -> list[str]:
    said = [f"Note: {note}" for note in notes(examination.moment)]
    if not examination.findings:
        return ["Nothing is wrong with its terms.", *said, ""]
    return [*_items([plain(one.text) for one in examination.findings]), *_items(said), ""]


def _items(sentences: Iterable[str]) -> list[str]:
    return [f"- {sentence}" for sentence in sentences]


def _cosine(value: float) -> str:
    return "–" if math.isnan(value) else f"{round(value, 2) + 0.0:.2f}"


def _weight(term: TermFacts) -> str:
    if term.factor == 1 or math.isnan(term.factor):
        return number(term.weight)
    return f"{number(term.weight)} x {number(term.factor)}"


def _aligned(table: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[k]) for row in table) for k in range(len(table[0]))]
    return [
        "  ".join(
            cell.ljust(width) if k == 0 else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    ]


def _markdown_table(table: Sequence[Sequence[str]]) -> list[str]:
    rule = ["---", *["--:"] * (len(table[0]) - 1)]
    lines = [" | ".join(map(_escaped, row)) for row in (table[0], *table[1:])]
    return [f"| {line} |" for line in (lines[0], " | ".join(rule), *lines[1:])]


def _escaped(text: str) -> str:
    for mark in ("\\", "|", "*", "_", "`", "<", "["):
        text = text.replace(mark, f"\\{mark}")
    return text
