"""A comparison's answer in plain words, never surer than the runs behind it."""

import dataclasses
from collections.abc import Mapping, Sequence

from lossbench.bench import tables
from lossbench.bench.results import COMPLETED, DIVERGED, FAILED, PENDING, Comparison
from lossbench.bench.statistics import BETTER, NO_PAIR, NOT_TOLD_APART, ONE_SEED, WORSE, Standing


@dataclasses.dataclass(frozen=True)
class Answer:
    """What the report says first.

    Attributes:
        headline: the answer in one or two sentences.
        findings: for each loss beside the baseline its name and what was found; empty where
            there is nothing to say beyond the headline.
        progress: how many runs have completed, and what became of the others.
        cautions: what a reader must know before relying on the answer.
    """

    headline: str
    findings: tuple[tuple[str, str], ...]
    progress: str
    cautions: tuple[str, ...]


def answer(comparison: Comparison) -> Answer:
    """Answer the comparison's question from the runs so far, on its declared metric."""
    rows = tables.standings(comparison, comparison.metric)
    others = {loss: row for loss, row in rows.items() if row.difference is not None}
    digits = tables.decimals(rows)
    findings = [(loss, _finding(comparison, row, digits)) for loss, row in others.items()]
    compared = any(row.difference and row.difference.n for row in others.values())
    return Answer(
        headline=_headline(comparison, rows),
        findings=tuple(findings) if compared else (),
        progress=_progress(comparison),
        cautions=(
            *_unfinished(comparison),
            *_warnings(comparison),
            *_undefined(comparison),
            *_limits(comparison, others),
        ),
    )


def covers(comparison: Comparison) -> str:
    """What the intervals and tests speak for, and what they do not."""
    if comparison.test_to_train is not None:
        return (
            f"The seeds are {comparison.data.folds} folds of one data set. Intervals and tests"
            " carry the correction of Nadeau and Bengio for training sets that overlap. They cover"
            " the choice of the fold together with the training seed; they do not cover other data,"
            " another model, or another training configuration, learning rate included."
        )
    if comparison.data.folds is not None:
        return (
            "Each seed has training, validation and test cases of its own that no other seed sees."
            " Intervals and tests cover the draw of these cases together with the training seed;"
            " they do not cover other data, another model, or another training configuration,"
            " learning rate included."
        )
    return (
        "Intervals and tests cover the training seed: initialization, order of batches and"
        " augmentation, on one fixed split of one data set. They do not cover another split or a"
        " new sample of test cases, other data, another model, or another training configuration,"
        " learning rate included."
    )


def unit(comparison: Comparison) -> str:
    """What one repetition is: a seed, or a fold."""
    return "seed" if comparison.test_to_train is None else "fold"


def join(names: Sequence[str]) -> str:
    """Names as a sentence lists them: `a, b and c`."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def _headline(comparison: Comparison, rows: Mapping[str, Standing]) -> str:
    baseline, one = comparison.baseline, unit(comparison)

    def told(*verdicts: str) -> list[str]:
        return [loss for loss, row in rows.items() if row.verdict in verdicts]

    if comparison.count(COMPLETED) == 0:
        return "No answer yet: no run has completed."
    if rows[baseline].interval.n == 0:
        return f"No answer yet: the baseline {baseline} has no test score."
    if len(rows) == 1:
        return f"{baseline} is the only loss: there is nothing to compare it with."
    if not told(BETTER, WORSE, NOT_TOLD_APART):
        if told(ONE_SEED):
            return f"One {one} cannot tell losses apart: run at least two, better five."
        return f"No answer yet: no loss has a test score beside one of {baseline}."
    beside = f"the baseline {baseline} on {tables.metric_label(comparison.metric)}"
    # Where lower is better the words that everybody expects are the wrong way round.
    upward = comparison.declared.higher_is_better
    better, worse = ("higher", "lower") if upward else ("lower (better)", "higher (worse)")
    parts = [
        f"{join(names)} {'scores' if len(names) == 1 else 'score'} {how} than {beside}."
        for names, how in ((told(BETTER), better), (told(WORSE), worse))
        if names
    ]
    if undecided := told(NOT_TOLD_APART):
        parts.append(f"{join(undecided)} cannot be told apart from {'it' if parts else beside}.")
    if short := told(ONE_SEED, NO_PAIR):
        have = "has" if len(short) == 1 else "have"
        parts.append(f"{join(short)} {have} too few completed runs for a comparison.")
    return " ".join(parts)


def _finding(comparison: Comparison, row: Standing, digits: int) -> str:
    difference, one = row.difference, unit(comparison)
    if difference is None or difference.n == 0:
        return f"{NO_PAIR}."
    seen = tables.interval_text(difference, digits, signed=True)
    seen = f"{seen} {comparison.declared.unit}".rstrip()
    over = f"{seen} over {difference.n} {one}{'s' if difference.n > 1 else ''}"
    if row.verdict == ONE_SEED:
        return f"{over}; one {one} gives no interval."
    text = f"{row.verdict}, {over} (p = {tables.p_text(row.p_holm)}).".replace("= <", "<")
    if row.verdict != NOT_TOLD_APART:
        return text
    if difference.low > 0 or difference.high < 0:
        text += " The interval alone leaves 0 out; with this many comparisons that is not enough."
    if row.seeds_needed:
        text += (
            f" If the true difference is as large as the one seen, about {row.seeds_needed:,} seeds"
            f" would be needed to find it (power 80 %; a rough figure, from {difference.n} seeds)."
        )
    elif difference.mean == 0:
        text += " No difference was seen at all."
    return text


def _progress(comparison: Comparison) -> str:
    parts = [
        f"{count} {state}"
        for state in (DIVERGED, FAILED, PENDING)
        if (count := comparison.count(state))
    ]
    text = f"{comparison.count(COMPLETED)} of {_runs(len(comparison.runs))} completed"
    return ", ".join([text, *parts])


def _unfinished(comparison: Comparison) -> list[str]:
    texts = []
    if pending := comparison.count(PENDING):
        texts.append(
            f"Preliminary: {_runs(pending)} still to come. A verdict that is read again after"
            " every run errs more often than its level says."
        )
    if comparison.count(COMPLETED) == 0:
        return texts
    for loss in comparison.losses:
        lost = comparison.count(DIVERGED, loss) + comparison.count(FAILED, loss)
        if lost and comparison.count(COMPLETED, loss):
            texts.append(
                f"{loss}: {lost} of {_runs(len(comparison.of(loss)))} did not complete. Its scores"
                f" are over the {unit(comparison)}s that did, which may flatter it."
            )
        elif lost and not comparison.count(PENDING, loss):
            texts.append(f"{loss}: no run completed.")
    return texts


def _warnings(comparison: Comparison) -> list[str]:
    """What the runs of a loss warn of, once each."""
    texts = []
    for loss in comparison.losses:
        runs = comparison.of(loss)
        for warning in dict.fromkeys(text for run in runs for text in run.warnings):
            count = sum(warning in run.warnings for run in runs)
            texts.append(f"{loss}, {count} of {_runs(len(runs))}: {warning}.")
    return texts


def _undefined(comparison: Comparison) -> list[str]:
    """Whether the metric is defined for more cases under one loss than under another."""
    metric = comparison.metric
    counts = {
        loss: [run.test[metric].undefined for run in comparison.of(loss) if metric in run.test]
        for loss in comparison.losses
    }
    a_run = {loss: sum(found) / len(found) for loss, found in counts.items() if found}
    if len(set(a_run.values())) < 2:
        return []
    listed = join([f"{loss} {count:.3g}" for loss, count in a_run.items()])
    return [
        f"{tables.metric_label(metric)} is undefined for a class of a case more often under some"
        f" losses than under others (in a run: {listed}). The means leave that out, so they are not"
        " over the same cases."
    ]


def _limits(comparison: Comparison, others: Mapping[str, Standing]) -> list[str]:
    texts, one = [], unit(comparison)
    constant = [
        loss
        for loss, row in others.items()
        if row.difference and row.difference.standard_deviation == 0 and row.difference.mean != 0
    ]
    if constant:
        texts.append(
            f"The difference of {join(constant)} is the same for every {one}: check that the {one}"
            " changes the training at all."
        )
    ended = [run for run in comparison.runs if run.best_step is not None and run.steps]
    still = sum(run.best_step == run.steps for run in ended)
    if still > len(ended) / 2:
        texts.append(
            f"{still} of {len(ended)} runs were best at their last validation: with more steps the"
            " losses may compare otherwise."
        )
    if sum(row.interval.n > 0 for row in others.values()) > 1:
        texts.append(
            f"Every loss is compared with {comparison.baseline} alone; the others are not compared"
            " with each other, whatever the order of their means."
        )
    return texts


def _runs(count: int) -> str:
    return f"{count} run" if count == 1 else f"{count} runs"
