"""A comparison's answer in plain words, never surer than the runs behind it."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from lossbench.bench import tables
from lossbench.bench.results import COMPLETED, DIVERGED, FAILED, PENDING, Comparison, Run
from lossbench.bench.statistics import (
    BETTER,
    NO_PAIR,
    NOT_TOLD_APART,
    ONE_SEED,
    WORSE,
    Standing,
)


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
    findings = [(loss, _finding(comparison, loss, row, digits)) for loss, row in others.items()]
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
    if comparison.data.folds is not None and comparison.data.folds_are_tasks:
        return (
            "Each seed is a task of its own, such as another normal class. Intervals and tests"
            " cover the choice of the task together with the training seed; they do not cover other"
            " data, another model, or another training configuration, learning rate included."
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
    """What one repetition is: a seed, a fold or a task."""
    if comparison.data.folds is not None and comparison.data.folds_are_tasks:
        return "task"
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
    no_answer = "No answer yet" if comparison.count(PENDING) else "No answer"
    never = _never_defined(comparison)
    if baseline in never:
        remedy = "; ask for empty='worst'" if _may_count_empty(comparison) else ""
        return f"{no_answer}: {_never_text(comparison, never)}{remedy}."
    if rows[baseline].interval.n == 0:
        return f"No answer yet: the baseline {baseline} has no test score."
    if len(rows) == 1:
        return f"{baseline} is the only loss: there is nothing to compare it with."
    if not told(BETTER, WORSE, NOT_TOLD_APART):
        if lacking := _lacking(comparison, rows):
            return f"{no_answer}: {'; '.join(lacking.values())}."
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
    lacking = _lacking(comparison, rows)
    parts += [f"{text}." for text in lacking.values()]
    if short := [loss for loss in told(ONE_SEED, NO_PAIR) if loss not in lacking]:
        have = "has" if len(short) == 1 else "have"
        parts.append(f"{join(short)} {have} too few completed runs for a comparison.")
    return " ".join(parts)


def _never_defined(comparison: Comparison) -> list[str]:
    """The losses of which runs completed, but none with a value of the metric."""
    return [
        loss
        for loss, scores in comparison.scores(comparison.metric).items()
        if comparison.count(COMPLETED, loss) and not np.isfinite(scores).any()
    ]


def _never_text(comparison: Comparison, losses: Sequence[str]) -> str:
    count = sum(comparison.count(COMPLETED, loss) for loss in losses)
    runs = "the only completed run" if count == 1 else f"all {count} completed runs"
    return f"{tables.metric_label(comparison.metric)} is undefined in {runs} of {join(losses)}"


def _may_count_empty(comparison: Comparison) -> bool:
    """Whether a class that was not found is left out, and could count as a large distance."""
    facts = comparison.declared
    return bool(facts.unit) and facts.options.get("empty", "nan") in ("nan", "skip")


def _lacking(comparison: Comparison, rows: Mapping[str, Standing]) -> dict[str, str]:
    """Losses that lack values of the metric for a comparison, not runs; and what they lack."""
    texts, never = {}, _never_defined(comparison)
    for loss, row in rows.items():
        pairs = len(comparison.pairs(loss))
        if row.difference is None or row.difference.n >= min(2, pairs):
            continue
        texts[loss] = (
            _never_text(comparison, [loss])
            if loss in never
            else f"{tables.metric_label(comparison.metric)} is defined for both {loss} and "
            f"{comparison.baseline} in only {row.difference.n} of {pairs} {unit(comparison)}s"
        )
    return texts


def _finding(comparison: Comparison, loss: str, row: Standing, digits: int) -> str:
    difference, one = row.difference, unit(comparison)
    if difference is None or difference.n == 0:
        return f"{_lacking(comparison, {loss: row}).get(loss, NO_PAIR)}."
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
    """Where the metric has no value, and whether that is elsewhere than under the baseline."""
    metric, baseline = comparison.metric, comparison.baseline
    label = tables.metric_label(metric)
    texts, elsewhere = [], []
    if never := _never_defined(comparison):
        texts.append(f"{_never_text(comparison, never)}.")
    for loss in comparison.losses:
        # Seed by seed: a loss that lacks a run lacks its undefined cases, too.
        pairs = [
            (_without(ours, metric), _without(theirs, metric))
            for ours, theirs in comparison.pairs(loss)
            if metric in ours.test and metric in theirs.test
        ]
        if any(not np.array_equal(ours, theirs) for ours, theirs in pairs):
            ours, theirs = (
                sum(int(mask.sum()) for mask in masks) for masks in zip(*pairs, strict=True)
            )
            elsewhere.append(f"{loss} ({ours} values against {theirs}, same {unit(comparison)}s)")
    if elsewhere:
        texts.append(
            f"{label} is undefined for other cases under {join(elsewhere)} than under the baseline"
            f" {baseline}. The means leave these out, so they are not over the same cases."
        )
    if texts and _may_count_empty(comparison):
        texts.append(
            f"A class without a pixel in the prediction or in the labels has no {label}. With the"
            " metric's option empty='worst' one that was missed or made up counts as the diagonal"
            " of the image."
        )
    return texts


def _without(run: Run, metric: str) -> np.ndarray:
    """True for each case and class for which the metric has no value."""
    return np.isnan(run.test[metric].per_case)


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
    seeing = [run for run in ended if _was_validated(run, comparison.metric)]
    if blind := len(ended) - len(seeing):
        texts.append(
            f"In {blind} of {_runs(len(ended))} {tables.metric_label(comparison.metric)} was"
            " undefined at every validation: no checkpoint could be chosen, the last was tested."
        )
    still = sum(run.best_step == run.steps for run in seeing)
    if comparison.config.get("select") != "last" and still > len(seeing) / 2:
        texts.append(
            f"{still} of {len(seeing)} runs were best at their last validation: with more steps the"
            " losses may compare otherwise."
        )
    if sum(row.interval.n > 0 for row in others.values()) > 1:
        texts.append(
            f"Every loss is compared with {comparison.baseline} alone; the others are not compared"
            " with each other, whatever the order of their means."
        )
    return texts


def _was_validated(run: Run, metric: str) -> bool:
    """Whether the metric was defined at a validation; of a run without a history, so be it."""
    if run.history is None or not run.history.validation_steps.size:
        return True
    return bool(np.isfinite(run.history.validation[metric]).any())


def _runs(count: int) -> str:
    return f"{count} run" if count == 1 else f"{count} runs"
